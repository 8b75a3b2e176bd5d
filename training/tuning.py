"""A search for the best settings of an experiment, which is then trained as a normal run."""

import contextlib
import io
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Sequence

import keras
import keras_tuner

from training import commands, files, kinds, workers
from training.experiments.config import as_dict
from training.experiments.experiment import Experiment, full_name
from training.experiments.names import near
from training.experiments.values import parsed
from training.fitting import loop, strategies
from training.fitting.callbacks import Progress
from training.run import Run

TUNERS = ("hyperband", "bayesian", "random")
VALIDATION = 0.1  # share of the validation split that an experiment without one gets
FIXED = ("data.", "kind", "seed", "training.epochs")  # full names, or their beginnings, of settings that are not searched


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
    """Searches with keras-tuner for the settings with the lowest error on the validation split, and trains with them.

    The error is the `objective` of the experiment's kind of data. An experiment without a validation split gets one, a tenth of
    the training split, which the final run keeps.

    Args:
        experiment: the one to start from.
        choices: the values to try, as text `A,B,C`, by setting. The width, depth, k and learning rate are always searched
            around the experiment's own values unless given here. A setting with a single value is fixed. k is searched only
            up to the experiment's own, because the lowest error would always select the largest.
        workdir: folder of the final run; `runs/NAME-tuned` unless given. The trials are kept in `WORKDIR-trials`, from which
            an interrupted search is resumed.
        tuner: `hyperband`, `bayesian` or `random`.
        trials: number of trials of `bayesian` and `random`; for Hyperband it follows from the experiment's epochs.
        restart: delete the search and the run of these folders first.
        report: write the report of the final run.

    Raises:
        ValueError: an unknown setting or tuner; a value of the wrong type or out of range; several values for a setting of the
            data; a folder of another search; no trial ended with a finite error.
    """
    if tuner not in TUNERS:
        raise ValueError(f"Expected a tuner of {', '.join(TUNERS)}. Received: {tuner!r}. {near(tuner, TUNERS)}")
    workers.require_alone(strategy, "a search", "--strategy=one, and the settings that it finds with multiworker")
    folder = pathlib.Path(workdir or os.path.join("runs", f"{experiment.name}-tuned"))
    experiment, space = _space(experiment, choices or {})
    search = _Search(experiment, space, strategy)
    request = {"experiment": as_dict(experiment), "space": space, "tuner": tuner, "trials": trials}
    trials_folder = pathlib.Path(f"{os.path.abspath(folder)}-trials")
    _claim_folder(trials_folder, request, restart)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the progress bars go to stderr
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


def _oracle(search: "_Search", tuner: str, trials: int, experiment: Experiment, folder: pathlib.Path) -> keras_tuner.Tuner:
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
    begun = (folder / "oracle.json").exists()  # the constructor then reads it and builds no model
    with files.reading(folder, "a search that can be resumed", "--restart") if begun else contextlib.nullcontext():
        return kind(**length, **settings)


def _claim_folder(folder: pathlib.Path, request: dict, restart: bool) -> None:
    """Stores the request with the trials, and raises ValueError if theirs is another: keras-tuner would resume from them."""
    path = folder / "request.json"
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    if path.exists() and files.read_json(path) != request:
        raise ValueError(
            f"Expected the same search, or a new folder. Received: {folder}, which holds another one. "
            "Try another --workdir, or --restart to delete the existing search."
        )
    files.write_json(path, request)


def _no_trial(received: str) -> str:
    return f"Expected a trial with a finite error. Received: {received}. Try lower values of --learning_rate."


def _space(experiment: Experiment, choices: dict[str, str]) -> tuple[Experiment, dict[str, list]]:
    """The experiment with the fixed settings, and the values to try by the full names of the other settings.

    Raises:
        ValueError: an unknown setting, a value of the wrong type or out of range, several values for a setting of the data.
    """
    fixed = experiment.override({key: text for key, text in choices.items() if "," not in text})
    named = {full_name(key, fixed) for key, text in choices.items() if "," not in text}
    several = {full_name(key, fixed): text for key, text in choices.items() if "," in text}
    fixed = fixed.override({key: text for key, text in several.items() if key.startswith(FIXED)})
    space = {
        key: [parsed(key, word, fixed.schema[key]) for word in text.split(",")]
        for key, text in several.items()
        if not key.startswith(FIXED)
    }
    if fixed.part("training") is None or "optimizer" in space:
        raise ValueError("Expected an experiment with epochs, to tune. Received: a closed form. Try --optimizer=adamw.")
    if fixed.get("data.validation") == 0:
        fixed = fixed.override({"data.validation": VALIDATION})
    around = {key: values for key, values in _around(fixed).items() if key not in named}
    return fixed, around | space


class _Search(keras_tuner.HyperModel):
    """Builds and fits the trials of a search; the data are opened once."""

    def __init__(self, experiment: Experiment, space: dict[str, list], strategy: str):
        super().__init__()
        self.base, self.space, self.strategy = experiment, space, strategy
        self.kind = kinds.of(experiment)
        strategies.scope(strategy)
        self.data = self.kind.open(experiment)
        for key, values in space.items():  # raises now for values that cannot be trained
            for value in values:
                self._compiled(experiment.override({key: value}))

    def experiment(self, hp: keras_tuner.HyperParameters) -> Experiment:
        """The experiment of a trial."""
        return self.base.override({key: hp.Choice(key, values) for key, values in self.space.items()})

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        with strategies.scope(self.strategy):
            return self._compiled(self.experiment(hp))

    def _compiled(self, experiment: Experiment) -> keras.Model:
        model = self.kind.build(experiment, self.data)
        loop.compile(model, self.data, experiment)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **_,
    ) -> keras.callbacks.History:
        experiment = self.experiment(hp)
        part = range(initial_epoch, epochs or experiment["training.epochs"])
        bar = Progress(part, f"trial with {_text(self.space, experiment)}")
        with contextlib.closing(bar):
            return loop.fit_epochs(model, self.data, experiment, part, [*callbacks, bar])


def _around(experiment: Experiment) -> dict[str, list]:
    """Values around the experiment's own, for those of the usual settings that it has."""

    def candidates(name: str, value: float) -> list:
        return {
            "width": [max(1, value // 2), value, 2 * value],
            "depth": [1, 2, 3],
            "k": sorted({max(1, value // 2), value}),
            "learning_rate": [float(f"{value * factor:.3g}") for factor in (0.3, 1.0, 3.0)],
        }[name]

    choices = {}
    for name in ("width", "depth", "k", "learning_rate"):
        with contextlib.suppress(ValueError):  # no such setting
            key = full_name(name, experiment)
            choices[key] = candidates(name, experiment[key])
    return choices


def _text(space: dict[str, list], experiment: Experiment) -> str:
    return ", ".join(f"{experiment.short(key)}={experiment[key]}" for key in space)
