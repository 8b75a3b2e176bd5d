"""How a command ends: one line and an exit code for what is wrong outside the program, a traceback for its own faults."""

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

import httpx

from serving.client import ServerError

WRONG = 2  # exit code for wrong input, and for what is wrong outside the program
ENDING = 128  # added to the number of the signal that ended the program, as shells do
OWN = ("zoo", "training", "serving")
DAMAGE = (EOFError, UnicodeError, json.JSONDecodeError, zipfile.BadZipFile, zlib.error)  # what readers make of cut files
PLACE, SPACE, OTHER = "a place that may be written to", "freeing space, or another disk", "another path"
HINTS = {
    errno.EACCES: PLACE,
    errno.EPERM: PLACE,
    errno.EROFS: PLACE,
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

    That is 0, 2 with one line on stderr where `outside` knows what is wrong, or 128 + the number of the signal that ended it;
    a closed pipe counts as SIGPIPE and says nothing. Every other exception goes on, since it is a fault of the program.

    Args:
        name: of the command, which begins its line.
        interrupted: what to say where a signal ended it.
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
    """In one line, what is wrong outside the program; None for an error that is a fault of its own.

    Outside are what our own words refuse ("Expected … Received: …"), what the operating system refuses, in TensorFlow's words
    too, files that are cut, memory that is not enough, packages that are not installed, and servers that do not answer.
    """
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if text.startswith("Expected ") and isinstance(error, ValueError | OSError | RuntimeError):
        return text
    if isinstance(error, OSError):
        received = ": ".join(str(part) for part in (error.strerror, error.filename) if part) or text
        return _refusal("what the operating system allows", received, HINTS.get(error.errno, OTHER))
    if isinstance(error, ServerError | httpx.HTTPError):
        return _refusal("an answer of the server", text or type(error).__name__, "the server's log")
    if isinstance(error, MemoryError):
        return _refusal("enough memory", text or "too little", "a smaller --batch_size, --width or --memory_gib")
    if isinstance(error, DAMAGE):
        return _refusal("whole files", f"{type(error).__name__}, {text or 'an early end'}", "writing anew what is read")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in OWN:
        return _refusal("every package to be installed", text, f"pip install {(error.name or '').split('.')[0]}")
    if isinstance(error, ValueError) and text.startswith("Unable to import backend"):  # Keras's
        return _refusal("KERAS_BACKEND=tensorflow or jax", text.rpartition(":")[2].strip(), "without it")
    return _of_tensorflow(error)


def _of_tensorflow(error: Exception) -> str | None:
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    if errors is None or not isinstance(error, errors.OpError):
        return None
    text = re.sub(r"^\{\{.*?\}\} ?", "", next(iter(error.message.splitlines()), ""))  # less the name of an operation
    number = next((number for number in errno.errorcode if f"; {os.strerror(number)}" in text), None)
    if number is not None:
        return _refusal("what the operating system allows", text, HINTS.get(number, OTHER))
    if isinstance(error, errors.DataLossError):
        return _refusal("whole files", text, "writing anew what is read, or removing it where it is a prepared data set")
    if isinstance(error, errors.ResourceExhaustedError):
        return _refusal("enough memory", text, "a smaller --batch_size, --width or --memory_gib")
    return None


def _refusal(expected: str, received: str, advice: str) -> str:
    return f"Expected {expected}. Received: {received}. Try {advice}."


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Within it, the end of a terminal or of a service interrupts as Ctrl-C does, so that what is begun is tidied up."""
    here = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if here and hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores one

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
    """Streams that are closed lead nowhere; letters that a stream cannot write, such as × in ASCII, are written as \\xd7."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Jupyter's have none, and need none
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens
        print(line, file=sys.stderr, flush=True)


def _drop_unwritten() -> None:
    """Lets a stream that cannot be written to, a closed pipe or a full disk, lead nowhere: Python would flush it once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
