"""Methods that a model has for as long as it is fitted."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def added(mixin: type, model: keras.Model) -> Iterator[None]:
    """A context in which a model has the methods of a class in front of its own."""
    own = type(model)
    model.__class__ = type(own.__name__, (mixin, own), {})
    try:
        yield
    finally:
        model.__class__ = own
