"""The workers of a training, or of a search, over several machines, from when they meet until each has done its part."""

import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras

from serving import command
from training import files
from training.experiments.experiment import Experiment
from training.fitting import cluster, presence, strategies
from training.fitting.meeting import SECONDS, Answer, Facts, met
from training.fitting.presence import Presence
from training.run import Run, versions
from training.temporary import own_folder


class Part(NamedTuple):
    """What a worker has to do: train in the folder of `run`, unless that run is `trained`. The chief's run is the one that all
    train; the others have a copy of the files from which it goes on, in a folder of their own that is removed at the end. What
    it hears of the others is in `presence`."""

    run: Run
    chief: bool
    trained: bool
    presence: Presence


@contextlib.contextmanager
def gathered(experiment: Experiment, run: Run, restart: bool = False, seconds: float = SECONDS) -> Iterator[Part]:
    """A context for what a worker does, entered when all in `TF_CONFIG` have come and are about to do the same; if one of them
    is gone before it has left the context, all others are ended, with its error if it has one.

    Args:
        experiment: the same on all workers.
        run: of the chief; what the others have in that folder, if they see it at all, does not matter.
        restart: the chief's run begins anew.
        seconds: to wait.

    Raises:
        ValueError: on all workers, if something is wrong with one: another version or experiment, a folder that cannot be
            written, a worker that does not come.
        OSError: this worker's port is in use.
    """
    described = cluster.described()
    answer = _answer(experiment, run, restart) if described.chief else Answer()
    with _present(described, _facts(experiment), answer, seconds) as (folder, answer, present):
        if described.chief:
            yield Part(run, True, answer.trained, present)
            return
        own = Run(folder / "run")
        for name, content in answer.files.items():
            files.write(own.folder / name, functools.partial(pathlib.Path.write_bytes, data=content))
        yield Part(own, False, answer.trained, present)


@contextlib.contextmanager
def searching(
    experiment: Experiment, facts: Facts, check: Callable[[], None], seconds: float = SECONDS
) -> Iterator[tuple[cluster.Cluster, Presence, pathlib.Path]]:
    """A context for what a worker of a search does, with a folder of its own, entered when all in `TF_CONFIG` have come; if one
    of them is gone before it has left the context, all others are ended.

    Args:
        experiment: the one to start from, the same on all workers.
        facts: what else must be the same.
        check: raises ValueError or OSError on the chief if it has no place for the trials.
        seconds: to wait.

    Raises:
        ValueError, OSError: as `gathered`.
    """
    described = cluster.described()
    answer = _checked(check) if described.chief else Answer()
    with _present(described, {**_facts(experiment), **facts}, answer, seconds) as (folder, _, present):
        yield described, present, folder


def is_chief(strategy: str) -> bool:
    """Whether this process has the results of a training with a strategy: it is the only one, or the chief."""
    return strategies.chosen(strategy) != "multiworker" or cluster.described().chief


def require_alone(strategy: str, wanted: str, advice: str) -> None:
    """Raises ValueError if a strategy has several workers, for what only one process can do."""
    if strategies.chosen(strategy) == "multiworker":
        raise ValueError(f"Expected a single process for {wanted}. Received: workers in {cluster.VARIABLE}. Try {advice}.")


@contextlib.contextmanager
def _present(
    described: cluster.Cluster, facts: Facts, answer: Answer, seconds: float
) -> Iterator[tuple[pathlib.Path, Answer, Presence]]:
    """A context in which all workers are there, with a folder of its own, which is removed also where others end this one."""
    with own_folder() as folder, met(described, facts, answer, seconds) as (answer, lines):

        def end(words: str, code: int) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            presence.end(words, code)

        with Presence(lines, end) as present:
            yield folder, answer, present


def _answer(experiment: Experiment, run: Run, restart: bool) -> Answer:
    """What the chief says of its run."""
    try:
        run.expect(experiment, restart)
        with files.beside(run.config):  # can it be written?
            pass
        if restart or not run.config.exists():
            return Answer()
        kept = [path for path in (run.config, run.versions, run.checkpoint, run.best) if path.exists()]
        contents = {path.relative_to(run.folder).as_posix(): path.read_bytes() for path in kept}
        return Answer(trained=run.model.exists(), files={} if run.model.exists() else contents)
    except (ValueError, OSError) as error:
        return Answer(command.outside(error) or str(error))


def _checked(check: Callable[[], None]) -> Answer:
    """What the chief says of its search."""
    try:
        check()
    except (ValueError, OSError) as error:
        return Answer(command.outside(error) or str(error))
    return Answer()


def _facts(experiment: Experiment) -> dict[str, object]:
    settings = {experiment.short(name): value for name, value in experiment.settings.items()}
    # It depends on the processor; but JAX, asked for its devices, would start
    precision = {"precision": strategies.precision(experiment)} if keras.backend.backend() == "tensorflow" else {}
    return {**versions(), "experiment": experiment.name, "imports": " ".join(experiment.imports), **settings, **precision}
