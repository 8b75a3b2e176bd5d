"""A time limit for a call that nothing in its process could end: it keeps Python's lock while it waits, and heeds no signal."""

import contextlib
import faulthandler
import subprocess
import sys
from collections.abc import Iterator

TELL = "import sys; sys.stdin.buffer.read(1) and print(sys.argv[1], file=sys.stderr)"


@contextlib.contextmanager
def deadline(seconds: float, words: str) -> Iterator[None]:
    """A context that ends this process with exit code 1, and says these words on stderr, if it takes longer.

    What can still act then is a timer in C that writes a traceback; it writes into a process that says the words instead.
    """
    command = [sys.executable, "-I", "-S", "-c", TELL, words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as teller:  # Ctrl-C is not meant for it
        faulthandler.dump_traceback_later(seconds, exit=True, file=teller.stdin)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
