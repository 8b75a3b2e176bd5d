"""TensorFlow, imported without its greeting.

Before its logging is set up, TensorFlow writes lines on oneDNN and CUDA to the terminal that no setting turns off. They are
held back here, and shown if the import fails.
"""

import os
import sys
import tempfile


def _import():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()  # the search for GPUs has lines of its own
            tensorflow.get_logger().setLevel("ERROR")
            return tensorflow
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


tensorflow = _import()
