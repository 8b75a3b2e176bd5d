"""Fitting: the training loop, its devices and precision, and the priors of codes."""

import contextlib

with contextlib.suppress(ValueError):  # Keras's for an unknown KERAS_BACKEND; a command reports it later
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
