"""Training: from data to a fitted, evaluated, exported model."""

import contextlib
import importlib

with contextlib.suppress(ValueError):  # of Keras for another KERAS_BACKEND, which comes again where a command tells it
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow

_HOMES = {
    "EXPERIMENTS": "experiments",
    "Experiment": "experiments",
    "Run": "run",
    "evaluate": "commands",
    "figures": "commands",
    "fit_density": "fitting",
    "generate": "commands",
    "load": "data",
    "report": "commands",
    "table": "commands",
    "train": "commands",
    "tune": "tuning",
}

__all__ = [*_HOMES, "inside", "pictures"]


def __getattr__(name: str):
    """Imports a name, or a module, when it is first asked for: a command line has begun then, and says what does not import."""
    try:
        module = importlib.import_module(f"training.{_HOMES.get(name, name)}")
    except ModuleNotFoundError as error:
        if error.name != f"training.{name}":
            raise
        raise AttributeError(f"module 'training' has no attribute {name!r}") from None
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return [*globals(), *__all__]
