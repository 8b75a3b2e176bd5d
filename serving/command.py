"""How commands end: one line and an exit code for failures outside the program, a traceback for its own bugs."""

import contextlib
import errno
import json
import os
import re
import signal
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator

WRONG = 2  # exit code for wrong input and for failures outside the program
ENDING = 128  # plus the number of the signal that ended the program, as in shells
OWN = ("zoo", "training", "serving")
DAMAGE = (EOFError, UnicodeError, json.JSONDecodeError, zipfile.BadZipFile, zlib.error)  # what readers raise on truncated files
WRITABLE, SPACE, OTHER = "a path that you may write to", "freeing space, or another disk", "another path"
TASK = r"/job:(\w+)/replica:\d+/task:(\d+)"  # how TensorFlow names a worker
HINTS = {
    errno.EACCES: WRITABLE,
    errno.EPERM: WRITABLE,
    errno.EROFS: WRITABLE,
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: SPACE,
    errno.ENOENT: "a path that exists",
    errno.ENAMETOOLONG: "a shorter name",
    errno.EADDRINUSE: "another port",
    errno.EADDRNOTAVAIL: "an address of this machine",
    errno.EMFILE: "a higher ulimit -n",
}


def run(name: str, command: Callable[[], None], interrupted: str = "") -> int:
    """Runs a command; returns its exit code.

    That is 0, or 2 with one line on stderr if `outside` explains the error, or 128 + the number of the signal that ended it; a
    closed pipe counts as SIGPIPE and prints nothing. All other exceptions propagate: they are bugs of the program.

    Args:
        name: of the command; the line on stderr begins with it.
        interrupted: what to print if a signal ends it.
    """
    with _signals():
        _streams()
        try:
            command()
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            _say(f"\n{interrupted}" if interrupted else "")
            return ENDING + (error.args[0] if error.args else signal.SIGINT)
        except BrokenPipeError:
            return ENDING + 13  # SIGPIPE
        except Exception as error:
            words = outside(error)
            if words is None:
                raise
            _say(f"{name}: {words}")
            return WRONG
        finally:
            _drop_unwritten()
    return 0


def outside(error: Exception) -> str | None:
    """One line for an error whose cause is outside the program; None for a bug.

    Outside are our own errors ("Expected … Received: …"), refusals of the operating system, also when TensorFlow reports them,
    truncated files, too little memory, missing packages, and servers that do not respond.
    """
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if text.startswith("Expected ") and isinstance(error, ValueError | OSError | RuntimeError):
        return text
    if isinstance(error, OSError):
        received = ": ".join(str(part) for part in (error.strerror, error.filename) if part) or text
        return _refusal("what the operating system allows", received, HINTS.get(error.errno, OTHER))
    if isinstance(error, _of_servers()):
        return _refusal("a response from the server", text or type(error).__name__, "the server's log")
    if isinstance(error, MemoryError):
        return _refusal("enough memory", text or "too little", "a smaller --batch_size, --width or --memory_gib")
    if isinstance(error, DAMAGE):
        return _refusal("complete files", f"{type(error).__name__}, {text or 'an early end'}", "writing that file again")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in OWN:
        return _refusal("every package to be installed", text, f"pip install {(error.name or '').split('.')[0]}")
    if isinstance(error, ValueError) and text.startswith("Unable to import backend"):  # Keras's
        return _refusal("KERAS_BACKEND=tensorflow or jax", text.rpartition(":")[2].strip(), "leaving it unset")
    return _of_tensorflow(error)


def _of_servers() -> tuple[type[Exception], ...]:
    """The errors of servers; a module that has not been imported cannot have raised its own."""
    names = {"serving.client": "ServerError", "httpx": "HTTPError"}
    return tuple(getattr(sys.modules[module], name) for module, name in names.items() if module in sys.modules)


def _of_tensorflow(error: Exception) -> str | None:
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    if errors is None or not isinstance(error, errors.OpError):
        return None
    text = re.sub(r"^\{\{.*?\}\} ?", "", next(iter(error.message.splitlines()), ""))  # without the name of an operation
    number = next((number for number in errno.errorcode if f"; {os.strerror(number)}" in text), None)
    if number is not None:
        return _refusal("what the operating system allows", text, HINTS.get(number, OTHER))
    if "executing an HTTP request" in text:  # of gs:// and the like
        return _refusal("a response from the storage", text, "credentials for it, or a folder on this machine")
    if isinstance(error, errors.DataLossError):
        return _refusal("complete files", text, "writing that file again, or removing it if it is a prepared data set")
    lost = isinstance(error, errors.UnavailableError | errors.AbortedError) and "task:" in error.message
    if lost or "Collective ops is aborted" in error.message:  # by a worker that is gone, or no longer answers
        gone = re.search(rf"(?:heartbeats\):|remote target)\s+{TASK}", error.message)
        received = f"{gone[1]} {gone[2]} is gone" if gone else "one is gone"
        return _refusal("all workers to go on", received, "the same command on all of them, which resumes the run")
    if isinstance(error, errors.ResourceExhaustedError):
        return _refusal("enough memory", text, "a smaller --batch_size, --width or --memory_gib")
    return None


def _refusal(expected: str, received: str, advice: str) -> str:
    return f"Expected {expected}. Received: {received}. Try {advice}."


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A context in which SIGTERM and SIGHUP interrupt as Ctrl-C does, so that unfinished work is cleaned up."""
    here = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if here and hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores SIGHUP

    def interrupt(number, _):
        raise KeyboardInterrupt(number)

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _streams() -> None:
    """Replaces closed streams by /dev/null; characters that a stream cannot encode, such as × in ASCII, become \\xd7."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Jupyter's streams have none, and need none
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # stderr is closed
        print(line, file=sys.stderr, flush=True)


def _drop_unwritten() -> None:
    """Redirects streams that cannot be written (closed pipe, full disk) to /dev/null: Python flushes them once more at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
