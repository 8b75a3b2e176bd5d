"""What is being done, in a line, where it takes long."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

PATIENCE = 2.0  # seconds after which a stage says that it is at work


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """A part of the work: if it takes over two seconds, its name goes to stderr, and how long it took."""
    began, said = time.perf_counter(), threading.Event()

    def say() -> None:
        said.set()
        print(f"{name} …", end="", file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if said.is_set():
            print(f" {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
