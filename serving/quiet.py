"""Imports TensorFlow without its startup messages.

Before its logging is set up, TensorFlow prints lines about oneDNN and CUDA that no setting turns off. They are held back, and
shown only if the import fails.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def _import():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _held_back():
        import tensorflow

        tensorflow.config.list_physical_devices()  # the search for GPUs prints lines too
        tensorflow.get_logger().setLevel("ERROR")
        return tensorflow


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """A context in which stderr goes to a temporary file, which is shown if the import fails."""
    with contextlib.ExitStack() as stack:
        try:
            sys.stderr.flush()
            terminal = os.dup(2)
            stack.callback(os.close, terminal)
            held = stack.enter_context(tempfile.TemporaryFile())
        except (OSError, AttributeError):  # stderr is closed, or there is no room for a file
            yield
            return
        os.dup2(held.fileno(), 2)
        stack.callback(os.dup2, terminal, 2)
        try:
            yield
        except ImportError:
            held.seek(0)
            os.write(terminal, held.read())
            raise


tensorflow = _import()
