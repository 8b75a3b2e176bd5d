"""A search over an experiment's settings; the best goes on as a normal run."""

import contextlib
import io
import math
import os
import pathlib
import shutil
import warnings

import keras_tuner

from training import commands, files, kinds
from training.experiments.config import as_dict
from training.experiments.experiment import Experiment, checked, full_name
from training.experiments.names import near
from training.fitting import loop, strategies
from training.fitting.callbacks import Progress
from training.run import Run

TUNERS = ("hyperband", "bayesian", "random")
WATCHED = 0.1  # validation share of an experiment that has none
FIXED = ("data.", "kind", "seed", "training.epochs")  # beginnings of the full names of what has one value


def tune(
    experiment: Experiment,
    choices: dict[str, str] | None = None,
    workdir: str | os.PathLike | None = None,
    strategy: str = "auto",
    tuner: str = "hyperband",
    trials: int = 10,
    restart: bool = False,
    report: bool = True,
) -> Run:
    """Searches with keras-tuner for the lowest error on the validation split, by the metric that the kind of data is judged by,
    then trains the best experiment.

    An experiment without a validation split gets one, a tenth of the training split, and keeps it.

    Args:
        experiment: the one to start from.
        choices: text `A,B,C` by setting; around the experiment's width, depth, k and learning rate unless given. A setting
            with one value is fixed, and so are those of the data. k is searched up to the experiment's own: the error alone
            would always take the largest.
        workdir: folder of the best run, `runs/NAME-tuned` unless given; the trials lie beside it in `WORKDIR-trials`, and a
            killed search goes on from them.
        tuner: `hyperband`, `bayesian` or `random`.
        trials: of the last two; Hyperband follows from the experiment's epochs.
        restart: throw away the search and the run of the same folder first.
        report: draw the report of the run too.

    Raises:
        ValueError: an unknown setting or tuner, a value of the wrong type or out of range; a folder with another search; no
            trial that ended with a finite error.
    """
    if tuner not in TUNERS:
        raise ValueError(f"Expected a tuner of {', '.join(TUNERS)}. Received: {tuner!r}. {near(tuner, TUNERS)}")
    folder = pathlib.Path(workdir or os.path.join("runs", f"{experiment.name}-tuned"))
    experiment, space = _space(experiment, choices or {})
    search = _Search(experiment, space, strategy)
    asked = {"experiment": as_dict(experiment), "space": space, "tuner": tuner, "trials": trials}
    trials_folder = pathlib.Path(f"{os.path.abspath(folder)}-trials")
    _take_folder(trials_folder, asked, restart)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the bars go to stderr
        warnings.simplefilter("ignore")
        oracle = _oracle(search, tuner, trials, experiment, trials_folder)
        try:
            oracle.search(verbose=0)
        except RuntimeError as error:
            raise ValueError(_no_trial(next(iter(str(error).splitlines()), "none"))) from error
    best = next(iter(oracle.oracle.get_best_trials(1)), None)
    if best is None or best.score is None or not math.isfinite(best.score):
        raise ValueError(_no_trial("none"))
    chosen = search.experiment(best.hyperparameters)
    error = f"validation {kinds.of(experiment).objective.replace('_', ' ')} {best.score:.4g}"
    count = len(oracle.oracle.trials)
    print(f"best of {count} trial{'s' if count > 1 else ''}: {error} with {_text(space, chosen)}")
    return commands.train(chosen, folder, strategy, restart, report)


def _oracle(search, tuner: str, trials: int, experiment: Experiment, folder: pathlib.Path):
    settings = {
        "hypermodel": search,
        "objective": keras_tuner.Objective(f"val_{kinds.of(experiment).objective}", "min"),
        "directory": folder.parent,
        "project_name": folder.name,
        "seed": experiment.seed,
    }
    if tuner == "hyperband":
        kind, length = keras_tuner.Hyperband, {"max_epochs": experiment["training.epochs"], "factor": 3}
    else:
        kind = keras_tuner.BayesianOptimization if tuner == "bayesian" else keras_tuner.RandomSearch
        length = {"max_trials": trials}
    begun = (folder / "oracle.json").exists()  # read by the constructor, which then builds no model
    with files.reading(folder, "a search that can go on", "--restart") if begun else contextlib.nullcontext():
        return kind(**length, **settings)


def _take_folder(folder: pathlib.Path, asked: dict, restart: bool) -> None:
    """Keeps what was asked for beside the trials, since keras-tuner goes on with whatever trials it finds."""
    request = folder / "request.json"
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    if request.exists() and files.read_json(request) != asked:
        raise ValueError(
            f"Expected the same search, or a new folder. Received: {folder}, which holds another one. "
            "Try another --workdir, or --restart to throw away the search that is there."
        )
    files.write_json(request, asked)


def _no_trial(received: str) -> str:
    return f"Expected a trial with a finite error. Received: {received}. Try lower values of --learning_rate."


def _space(experiment: Experiment, choices: dict[str, str]) -> tuple[Experiment, dict[str, list]]:
    """The experiment with what is fixed, and the values of what is searched; every one of them is a valid experiment.

    Raises:
        ValueError: an unknown setting, a value of the wrong type or out of range, several values for a setting of the data.
    """
    fixed = experiment.override({key: text for key, text in choices.items() if "," not in text})
    named = {full_name(key, fixed) for key, text in choices.items() if "," not in text}
    several = {full_name(key, fixed): text for key, text in choices.items() if "," in text}
    fixed = fixed.override({key: text for key, text in several.items() if key.startswith(FIXED)})
    space = {
        key: [checked(key, word, fixed.schema[key]) for word in text.split(",")]
        for key, text in several.items()
        if not key.startswith(FIXED)
    }
    if fixed.get("data.validation") == 0:
        fixed = fixed.override({"data.validation": WATCHED})
    around = {key: values for key, values in _around(fixed).items() if key not in named}
    return fixed, around | space


class _Search(keras_tuner.HyperModel):
    """Trials of one experiment over a space of settings; the data are opened once."""

    def __init__(self, experiment: Experiment, space: dict[str, list], strategy: str):
        super().__init__()
        self.base, self.space, self.strategy = experiment, space, strategy
        self.kind = kinds.of(experiment)
        strategies.scope(strategy)
        self.data = self.kind.open(experiment)
        for key, values in space.items():  # what cannot be trained is said now
            for value in values:
                self._compiled(experiment.override({key: value}))

    def experiment(self, hp) -> Experiment:
        return self.base.override({key: hp.Choice(key, values) for key, values in self.space.items()})

    def build(self, hp):
        with strategies.scope(self.strategy):
            return self._compiled(self.experiment(hp))

    def _compiled(self, experiment: Experiment):
        model = self.kind.build(experiment, self.data)
        loop.compile(model, self.data, experiment)
        return model

    def fit(self, hp, model, epochs=None, initial_epoch=0, callbacks=(), **_):
        experiment = self.experiment(hp)
        part = range(initial_epoch, epochs or experiment["training.epochs"])
        bar = Progress(part, f"trial with {_text(self.space, experiment)}")
        return loop.fit_epochs(model, self.data, experiment, part, [*callbacks, bar])


def _around(experiment: Experiment) -> dict[str, list]:
    """Choices about an experiment's own values, of the settings that it has."""

    def candidates(name: str, value: float) -> list:
        return {
            "width": [max(1, value // 2), value, 2 * value],
            "depth": [1, 2, 3],
            "k": sorted({max(1, value // 2), value}),
            "learning_rate": [float(f"{value * factor:.3g}") for factor in (0.3, 1.0, 3.0)],
        }[name]

    found = {}
    for name in ("width", "depth", "k", "learning_rate"):
        with contextlib.suppress(ValueError):  # no such setting
            key = full_name(name, experiment)
            found[key] = candidates(name, experiment[key])
    return found


def _text(space: dict[str, list], experiment: Experiment) -> str:
    return ", ".join(f"{experiment.short(key)}={experiment[key]}" for key in space)
