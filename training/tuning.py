"""A search for the best settings of an experiment, which is then trained as a normal run."""

import contextlib
import io
import json
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import grpc
import keras
import keras_tuner

from training import commands, files, kinds, workers
from training import trials as trials_
from training.data.fingerprint import fingerprint
from training.experiments.config import as_dict
from training.experiments.experiment import Experiment, full_name
from training.experiments.names import near
from training.experiments.values import parsed
from training.fitting import loop, strategies
from training.fitting.callbacks import Progress
from training.fitting.meeting import SECONDS
from training.run import Run

TUNERS = (*trials_.ORACLES,)
REQUEST = "request.json"  # in the folder of the trials
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
    wait: float = SECONDS,
) -> Run:
    """Searches with keras-tuner for the settings with the lowest error on the validation split, and trains with them.

    The error is the `objective` of the experiment's kind of data. An experiment without a validation split gets one, a tenth of
    the training split, which the final run keeps. The workers of `TF_CONFIG` share the trials, each of which is one worker's;
    the chief trains with the best settings.

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
        wait: seconds that the workers of `TF_CONFIG` wait for one another before they begin.

    Raises:
        ValueError: an unknown setting or tuner; a value of the wrong type or out of range; several values for a setting of the
            data; a folder of another search; no trial ended with a finite error.
    """
    if tuner not in TUNERS:
        raise ValueError(f"Expected a tuner of {', '.join(TUNERS)}. Received: {tuner!r}. {near(tuner, TUNERS)}")
    strategy = strategies.chosen(strategy)
    folder = Run(workdir or os.path.join("runs", f"{experiment.name}-tuned")).folder
    experiment, space = _space(experiment, choices or {})
    request = _Request(experiment, space, tuner, trials)
    kept = pathlib.Path(f"{os.path.abspath(folder)}-trials")
    if strategy != "multiworker":
        oracle = _searched(_Search(request, strategy), kept, restart)
    else:
        strategy = strategies.local()
        oracle = _searched_together(request, strategy, kept, restart, wait)
        if oracle is None:
            print("This worker has done its part. The run is the chief's.")
            return Run(folder)
    best = next(iter(oracle.get_best_trials(1)), None)
    if best is None or best.score is None or not math.isfinite(best.score):
        raise ValueError(_no_trial("none"))
    chosen = request.trial(best.hyperparameters)
    error = f"validation {kinds.of(experiment).objective.replace('_', ' ')} {best.score:.4g}"
    count = len(oracle.trials)
    print(f"best of {count} trial{'s' if count > 1 else ''}: {error} with {_text(space, chosen)}")
    return commands.train(chosen, folder, strategy, restart, report)


class _Request(NamedTuple):
    """What is searched for: around which experiment, among which values of its settings, and by which tuner."""

    experiment: Experiment
    space: dict[str, list]
    tuner: str
    trials: int

    @property
    def facts(self) -> dict:
        """The same as JSON, without the experiment."""
        return {"space": self.space, "tuner": self.tuner, "trials": self.trials}

    def oracle(self) -> keras_tuner.Oracle:
        objective = f"val_{kinds.of(self.experiment).objective}"
        return trials_.oracle(self.tuner, objective, self.experiment.seed, self.experiment["training.epochs"], self.trials)

    def trial(self, hp: keras_tuner.HyperParameters) -> Experiment:
        """The experiment of a trial."""
        return self.experiment.override({key: hp.Choice(key, values) for key, values in self.space.items()})

    def check(self, folder: pathlib.Path) -> None:
        """Raises ValueError if a folder has the trials of another search, from which keras-tuner would go on."""
        path = folder / REQUEST
        if path.exists() and files.read_json(path) != {"experiment": as_dict(self.experiment), **self.facts}:
            raise ValueError(
                f"Expected the same search, or a new folder. Received: {folder}, which holds another one. "
                "Try another --workdir, or --restart to delete the existing search."
            )

    def claim(self, folder: pathlib.Path, restart: bool) -> None:
        """Writes the request into the folder of its trials, which with `restart` is emptied before."""
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        self.check(folder)
        files.write_json(folder / REQUEST, {"experiment": as_dict(self.experiment), **self.facts})


def _searched(search: "_Search", folder: pathlib.Path, restart: bool) -> keras_tuner.Oracle:
    """The oracle after a search by this process alone."""
    search.request.claim(folder, restart)
    with trials_.joined(None):
        tuner = _tuner(search, folder)
        _run(tuner)
    return tuner.oracle


def _searched_together(
    request: _Request, strategy: str, folder: pathlib.Path, restart: bool, wait: float
) -> keras_tuner.Oracle | None:
    """The oracle after a search by all workers, on the chief; None on the others."""

    def check() -> None:
        if not restart:
            request.check(folder)
        with files.beside(folder / REQUEST if folder.exists() else folder):  # can it be written?
            pass

    facts = {name: json.dumps(value) for name, value in request.facts.items()}
    with workers.searching(request.experiment, facts, check, wait) as (cluster, presence, own), trials_.joined(cluster):
        search = _Search(request, strategy, shown=cluster.chief)
        presence.agree(fingerprint(search.data))
        if not cluster.chief:
            trials_.await_chief(cluster)
            _take_part(search, folder, own)
            return None
        request.claim(folder, restart)
        tuner = _tuner(search, folder)
        with trials_.served(tuner.oracle, cluster):
            _run(tuner)
            presence.wait()
        return tuner.oracle


def _take_part(search: "_Search", folder: pathlib.Path, own: pathlib.Path) -> None:
    """What a worker does that is not the chief; `own` is a folder for the trials of tuners that share none."""
    if search.request.tuner == "hyperband":
        if not (folder / REQUEST).exists():
            raise ValueError(
                "Expected a folder that all workers see, as trials of hyperband go on from the weights of others. "
                f"Received: {folder}, without what the chief has written. Try a shared --workdir, or --tuner=bayesian."
            )
        _run(_tuner(search, folder))
        return
    _run(_tuner(search, own / "trials"))


def _tuner(search: "_Search", folder: pathlib.Path) -> trials_.Tuner:
    begun = (folder / "oracle.json").exists()  # the constructor then reads it and builds no model
    with files.reading(folder, "a search that can be resumed", "--restart") if begun else contextlib.nullcontext(), _silent():
        return trials_.Tuner(search.request.oracle(), search, folder)


def _run(tuner: trials_.Tuner) -> None:
    try:
        with _silent():
            tuner.search(verbose=0)
    except RuntimeError as error:
        raise ValueError(_no_trial(next(iter(str(error).splitlines()), "none"))) from error
    except grpc.RpcError as error:
        said = next(iter((error.details() or "").removeprefix("Exception calling application: ").splitlines()), "nothing")
        raise ValueError(
            f"Expected the chief to go on with the search. Received: {said}. Try the same command on all workers."
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the progress bars go to stderr
        warnings.simplefilter("ignore")
        yield


def _no_trial(received: str) -> str:
    return f"Expected a trial with a finite error. Received: {received.rstrip('.')}. Try lower values of --learning_rate."


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

    def __init__(self, request: _Request, strategy: str, shown: bool = True):
        super().__init__()
        self.request, self.strategy, self.shown = request, strategy, shown
        self.kind = kinds.of(request.experiment)
        strategies.scope(strategy)
        self.data = self.kind.open(request.experiment)
        for key, values in request.space.items():  # raises now for values that cannot be trained
            for value in values:
                self._compiled(request.experiment.override({key: value}))

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        with strategies.scope(self.strategy):
            return self._compiled(self.request.trial(hp))

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
        experiment = self.request.trial(hp)
        part = range(initial_epoch, epochs or experiment["training.epochs"])
        bar = Progress(part, f"trial with {_text(self.request.space, experiment)}")
        with contextlib.closing(bar):
            return loop.fit_epochs(model, self.data, experiment, part, [*callbacks, *([bar] if self.shown else [])])


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
