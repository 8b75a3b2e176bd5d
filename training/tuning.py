"""A search over an experiment's settings; the best goes on as a normal run."""

import dataclasses
import os
import pathlib
import warnings

import keras_tuner

from training import commands, fitting, strategies
from training.callbacks import Progress
from training.experiments import Experiment, parse
from training.run import Run

TUNERS = ("hyperband", "bayesian", "random")
WATCHED = 0.1  # validation share of an experiment that has none


def tune(
    experiment: Experiment,
    choices: dict[str, str] | None = None,
    workdir: str | os.PathLike | None = None,
    strategy: str = "auto",
    tuner: str = "hyperband",
    trials: int = 10,
) -> Run:
    """Searches with keras-tuner for the lowest squared error on the validation split, then trains the best experiment.

    Args:
        experiment: the one to start from.
        choices: text `A,B,C` by setting; around the experiment's width, depth, k and learning rate unless given. A setting with
            one value is fixed. k is searched up to the experiment's own: the error alone would always take the largest.
        workdir: folder of the best run, `runs/NAME-tuned` unless given; the trials lie beside it in `WORKDIR-trials`, and a
            killed search goes on from them.
        tuner: `hyperband`, `bayesian` or `random`.
        trials: of the last two; Hyperband follows from the experiment's epochs.

    Raises:
        ValueError: an unknown setting or tuner, a value of the wrong type.
    """
    if tuner not in TUNERS:
        raise ValueError(f"Expected a tuner of {', '.join(TUNERS)}. Received: {tuner!r}. Try --tuner=hyperband.")
    folder = pathlib.Path(workdir or os.path.join("runs", f"{experiment.name}-tuned"))
    space = _around(experiment) | {key: [parse(key, word) for word in text.split(",")] for key, text in (choices or {}).items()}
    watched = dataclasses.replace(experiment, validation=experiment.validation or WATCHED)
    search = _Search(watched, space, strategy)
    settings = {
        "hypermodel": search,
        "objective": keras_tuner.Objective("val_squared_error", "min"),
        "directory": folder.parent,
        "project_name": f"{folder.name}-trials",
        "seed": experiment.seed,
    }
    if tuner == "hyperband":
        oracle = keras_tuner.Hyperband(max_epochs=experiment.epochs, factor=3, **settings)
    else:
        kind = keras_tuner.BayesianOptimization if tuner == "bayesian" else keras_tuner.RandomSearch
        oracle = kind(max_trials=trials, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle.search(verbose=0)
    best = oracle.oracle.get_best_trials(1)[0]
    chosen = search.experiment(best.hyperparameters)
    print(f"best of {len(oracle.oracle.trials)} trials: validation squared error {best.score:.4g} with {_text(space, chosen)}")
    return commands.train(dataclasses.replace(chosen, validation=experiment.validation), folder, strategy)


class _Search(keras_tuner.HyperModel):
    """Trials of one experiment over a space of settings; the data are opened once."""

    def __init__(self, experiment: Experiment, space: dict[str, list], strategy: str):
        super().__init__()
        self.base, self.space, self.strategy = experiment, space, strategy
        self.data = commands.open_data(experiment)

    def experiment(self, hp) -> Experiment:
        return dataclasses.replace(self.base, **{key: hp.Choice(key, values) for key, values in self.space.items()})

    def build(self, hp):
        experiment = self.experiment(hp)
        with strategies.scope(self.strategy):
            model = fitting.build(experiment, self.data)
            fitting.compile(model, self.data, experiment)
        return model

    def fit(self, hp, model, epochs=None, initial_epoch=0, callbacks=(), **_):
        experiment = self.experiment(hp)
        part = range(initial_epoch, epochs or experiment.epochs)
        bar = Progress(part, f"trial with {_text(self.space, experiment)}")
        return fitting.fit_epochs(model, self.data, experiment, part, [*callbacks, bar])


def _around(experiment: Experiment) -> dict[str, list]:
    """Choices about an experiment's own values."""
    return {
        "width": [max(1, experiment.width // 2), experiment.width, 2 * experiment.width],
        "depth": [1, 2, 3],
        "k": sorted({max(1, experiment.k // 2), experiment.k}),
        "learning_rate": [float(f"{experiment.learning_rate * factor:.3g}") for factor in (0.3, 1.0, 3.0)],
    }


def _text(space: dict[str, list], experiment: Experiment) -> str:
    return ", ".join(f"{key}={getattr(experiment, key)}" for key in space)
