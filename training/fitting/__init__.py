"""Fitting: the loop over the epochs, where and in which precision it runs, and the density over the codes."""

import contextlib

with contextlib.suppress(ValueError):  # of Keras for another KERAS_BACKEND, which a command explains later
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
