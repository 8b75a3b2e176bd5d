"""Methods that a model has for as long as it is fitted."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


class Opened:
    """`fit` and `evaluate` on data that are not checked again: they have been when they were opened, or are in the pipeline."""

    def fit(self, x: Any = None, **kwargs) -> keras.callbacks.History:
        return keras.Model.fit(self, x, shuffle=False, **kwargs)  # a data set has its own order; Keras would warn

    def evaluate(self, x: Any = None, **kwargs) -> Any:
        return keras.Model.evaluate(self, x, **kwargs)


@contextlib.contextmanager
def added(mixin: type, model: keras.Model) -> Iterator[None]:
    """A context in which a model has the methods of a class in front of its own."""
    own = type(model)
    model.__class__ = type(own.__name__, (mixin, own), {})
    try:
        yield
    finally:
        model.__class__ = own
