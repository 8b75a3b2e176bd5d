"""Data sets: their sources, schemas and splits, and the batches that models are trained on."""

import contextlib

with contextlib.suppress(ValueError):  # Keras's for an unknown KERAS_BACKEND; a command reports it later
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
