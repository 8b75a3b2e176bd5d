"""Data: where they come from, their schema, their splits, and the batches that a model is trained on."""

import contextlib

with contextlib.suppress(ValueError):  # of Keras for another KERAS_BACKEND, which a command explains later
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
