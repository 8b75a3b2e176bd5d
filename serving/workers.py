"""Several worker processes on the same ports, and the one that starts, replaces and ends them.

A request for another configuration reaches one worker. That asks the parent, which has all workers replace theirs, waits for
them, and answers; workers that start later begin with it.
"""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from serving.listeners import listen
from serving.options import Options
from serving.status import Code, RequestError, request_error

GRACE = 10  # seconds for the workers to end before they are killed
CHECK = 0.5  # seconds between looks at whether all is to end
MEMORY = "/dev/shm"
RELOADING = 600  # seconds for all workers to take another configuration
METRICS = "PROMETHEUS_MULTIPROC_DIR"
log = logging.getLogger(__name__)


class Reload(NamedTuple):
    """A serialized ModelServerConfig, from one worker to the parent, and from there to all."""

    number: int
    config: bytes


class Reloaded(NamedTuple):
    """The answer: the code and the message of what was wrong in one worker or, from the parent, in any."""

    number: int
    code: Code = Code.OK
    message: str = ""


class Worker:
    """One process, and the parent's end of its pipe."""

    def __init__(self, context, serve_here: Callable, options: Options, config: bytes | None, again: bool):
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_run, args=(serve_here, options, other, config, again))
        self.process.start()
        other.close()  # so that the end of the process is the end of the pipe


def serve(options: Options, serve_here: Callable, ready: Callable[[list[str]], None]) -> None:
    """Starts the workers, calls `ready` with the names of the models, and replaces workers that die, until a signal ends it.

    Args:
        serve_here: what a worker does, as `serving.server.serve_here`.

    Raises:
        ValueError: a worker cannot serve what the options say.
        RuntimeError: one ended before it could.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="metrics-", dir=_memory()) as folder, _metrics_in(folder):
        parent = _Parent(options, serve_here)
        try:
            ready(parent.started())
            while not ended.is_set():
                parent.turn()
        except KeyboardInterrupt:
            pass
        finally:
            parent.end()


def _memory() -> str | None:
    """A folder in memory, where there is one: on a disk that is full, a process that counts in a mapped file is killed."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


@contextlib.contextmanager
def _metrics_in(folder: str) -> Iterator[None]:
    """A context in which processes that are started count in files of a folder."""
    os.environ[METRICS] = folder
    try:
        yield
    finally:
        del os.environ[METRICS]


class _Parent:
    def __init__(self, options: Options, serve_here: Callable):
        self._options, self._serve_here, self._config = options, serve_here, None
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start(again=False) for _ in range(options.workers)]
        self._asked: list[tuple[Worker, Reload]] = []  # the first is what all workers work on
        self._waiting: set[Worker] = set()  # for what these answer
        self._problem = Reloaded(0)

    def _start(self, again: bool) -> Worker:
        return Worker(self._context, self._serve_here, self._options, self._config, again)

    def started(self) -> list[str]:
        """The names of the models, once all workers answer."""
        names: list[str] = []
        for worker in self._workers:
            try:
                while isinstance(message := worker.pipe.recv(), Reload):  # gRPC answers before REST does
                    self._asked.append((worker, message))
            except EOFError:
                raise RuntimeError("Expected every worker to start. Received: one ended, see above.") from None
            if isinstance(message, str):
                raise ValueError(message)
            names = message
        if self._asked:
            self._pass_on()
        return names

    def turn(self) -> None:
        """Waits for a message or the end of a worker, for half a second at most, and sees to it."""
        pipes = {worker.pipe: worker for worker in self._workers}
        for pipe in multiprocessing.connection.wait([*pipes], timeout=CHECK):
            worker = pipes[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if isinstance(message, Reload):
                self._asked.append((worker, message))
                if len(self._asked) == 1:
                    self._pass_on()
            elif isinstance(message, Reloaded) and worker in self._waiting:
                self._answered(worker, message)
            elif isinstance(message, str):
                log.warning("Expected a worker to start. Received: %s", message)

    def _replace(self, worker: Worker) -> None:
        worker.process.join(CHECK)
        worker.process.kill()
        worker.pipe.close()
        self._workers[self._workers.index(worker)] = self._start(again=True)
        if worker in self._waiting:  # the new one begins with the new configuration
            self._answered(worker, Reloaded(0))

    def _pass_on(self) -> None:
        """Has all workers work on the first request."""
        _, request = self._asked[0]
        self._config, self._problem, self._waiting = request.config, Reloaded(request.number), {*self._workers}
        for worker in self._workers:
            _send(worker.pipe, request)

    def _answered(self, worker: Worker, answer: Reloaded) -> None:
        self._waiting.discard(worker)
        if answer.code:
            self._problem = self._problem._replace(code=answer.code, message=answer.message)
        if not self._waiting:
            asking, _ = self._asked.pop(0)
            _send(asking.pipe, self._problem)
            if self._asked:
                self._pass_on()

    def end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(GRACE)
            worker.process.kill()


def _send(pipe: Connection, message: NamedTuple) -> None:
    with contextlib.suppress(OSError):  # that process has ended
        pipe.send(message)


# In a worker


def _run(serve_here: Callable, options: Options, pipe: Connection, config: bytes | None, again: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its workers
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    member = Member(pipe, config, again)
    try:
        serve_here(options, listen(options.host, options.rest_api_port, shared=True), member.begin, member)
    except ValueError as error:
        pipe.send(str(error))
    finally:
        if not parent.is_alive():  # it was killed, and left its folder to the workers
            shutil.rmtree(os.environ[METRICS], ignore_errors=True)


def _end_after(parent) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class Member:
    """A worker as one of several.

    Args:
        pipe: to the parent.
        config: a serialized ModelServerConfig that a request has brought; None for that of the options.
        again: whether it takes the place of a worker that died, and so serves what there is, even if some of it does not load.
    """

    def __init__(self, pipe: Connection, config: bytes | None, again: bool):
        self._pipe, self.config, self.again = pipe, config, again
        self._replace: Callable[[bytes], None] | None = None
        self._number, self._answers = 0, {}
        self._answered, self._sending = threading.Condition(), threading.Lock()

    def replacing(self, replace: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """A function that has all workers take another configuration, which each does by `replace`."""
        self._replace = replace
        return self._ask

    def begin(self, names: list[str]) -> None:
        """Tells the parent that this worker answers, and follows what it says from now on."""
        with self._sending:
            self._pipe.send(names)
        threading.Thread(target=self._follow, name="reload", daemon=True).start()

    def _ask(self, config: bytes) -> None:
        with self._answered:
            self._number += 1
            number = self._number
        with self._sending:
            self._pipe.send(Reload(number, config))
        with self._answered:
            if not self._answered.wait_for(lambda: number in self._answers, RELOADING):
                raise RequestError(Code.DEADLINE_EXCEEDED, f"Expected all workers to answer within {RELOADING} s.")
            answer = self._answers.pop(number)
        if answer.code:
            raise RequestError(answer.code, answer.message)

    def _follow(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the parent has ended
            while True:
                message = self._pipe.recv()
                if isinstance(message, Reloaded):
                    with self._answered:
                        self._answers[message.number] = message
                        self._answered.notify_all()
                else:
                    answer = self._replaced(message)
                    with self._sending:
                        self._pipe.send(answer)

    def _replaced(self, request: Reload) -> Reloaded:
        try:
            self._replace(request.config)
        except Exception as error:
            problem = request_error(error)
            return Reloaded(request.number, problem.code, problem.message)
        return Reloaded(request.number)
