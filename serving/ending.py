"""The end of a process in which TensorFlow still works for nobody."""

import atexit
import contextlib
import os
import sys
import threading


class End:
    """Ends the process although threads load a version or run a model, which nothing ends.

    To be made before what registers functions that are called at exit: all of these are called first.

    Args:
        grace: seconds for models that run.
    """

    def __init__(self, grace: float):
        self._grace, self._begun = grace, False
        atexit.register(self._leave)

    def begin(self) -> None:
        """Is to be called when all is answered and the program about to end."""
        self._begun = True
        timer = threading.Timer(self._grace, os._exit, (0,))  # the interpreter would wait for a pool's threads
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        if not self._begun:  # the program failed, and has another exit code
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(0)  # the interpreter's own end would crash in a thread that comes back from loading
