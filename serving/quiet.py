"""Imports TensorFlow, and with it Keras, without its startup messages and without what few programs need.

Before its logging is set up, TensorFlow prints lines about oneDNN and CUDA that no setting turns off. They are held back, and
shown only if the import fails.

Keras's wrappers for scikit-learn and its galleries, which bring scikit-learn and Matplotlib, are loaded if they are used. And
Python does not look for garbage among what has been loaded, neither meanwhile nor later: there is none.
"""

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator

from serving.postponed import postponed

SELDOM = r"keras(\.src|\._tf_keras\.keras)?\.visualization|keras(\._tf_keras\.keras)?\.wrappers"


def _import():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _held_back(), _without_collection(), postponed(SELDOM):
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


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """A context in which Python does not look for garbage; what exists at its end is left out from then on."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


tensorflow = _import()
