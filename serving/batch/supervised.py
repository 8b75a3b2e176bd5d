"""A pipeline over several processes of this machine, with an eye on them: where one dies, Beam's own runner waits for ever."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from serving.batch import runners

Counters = dict[str, int]


class WorkerDied(RuntimeError):
    """A process of a pipeline ended before its work did."""


def run(arguments: Sequence[str], build: Callable) -> Counters:
    """Runs a pipeline as `runners.run` does. Where workers are processes of this machine, that is in one that leads their
    group, of which none is left afterwards.

    Args:
        arguments: Beam's options.
        build: adds the transforms to the pipeline; it can be pickled.

    Raises:
        WorkerDied: one of the processes did.
        ValueError: what went wrong outside the program.
    """
    options = runners.options_of(arguments)
    if not runners.has_processes(options):
        return runners.run(options, build)
    with tempfile.NamedTemporaryFile() as held:  # what its processes say: start-up messages, unless there is a bug
        counters, problem, is_bug = _outcome(held.name, arguments, build)
        if is_bug:
            raise RuntimeError(f"{problem}\n{held.read().decode(errors='replace')}")
    if problem:
        raise ValueError(problem)
    return counters


def _outcome(held: str, arguments: Sequence[str], build: Callable) -> tuple[Counters, str | None, bool]:
    """Counters, or what went wrong and whether it is a bug."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    leader = context.Process(target=_lead, args=(sending, held, [*arguments], build))
    leader.start()
    sending.close()
    try:
        return receiving.recv()
    except EOFError:
        raise WorkerDied("a process of the job ended before its work did") from None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.kill()
        leader.join()


def _lead(sending: Connection, held: str, arguments: Sequence[str], build: Callable) -> None:
    os.setsid()
    with open(held, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    # Of Beam's threads, those that wait for a worker raise when it ends, and no others do.
    threading.excepthook = _end
    threading.Thread(target=_end_after, args=(multiprocessing.parent_process(),), daemon=True).start()
    try:
        sending.send((runners.run(runners.options_of(arguments), build), None, False))
    except ValueError as error:
        sending.send(({}, str(error), not str(error).startswith("Expected ")))
    except Exception as error:
        sending.send(({}, f"{type(error).__name__}: {error}", True))


def _end(*_) -> None:
    """Ends all processes of the group, this one too."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _end_after(parent) -> None:
    """Ends them when the parent has ended, even if it was killed: they might write into the output of another job."""
    parent.join()
    _end()
