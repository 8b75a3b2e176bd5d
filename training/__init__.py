"""Training: from data to a fitted, evaluated, exported model."""

import contextlib
import importlib

_HOMES = {
    "EXPERIMENTS": "experiments.named",
    "Experiment": "experiments.experiment",
    "Run": "run",
    "evaluate": "commands",
    "figures": "commands",
    "fit_density": "fitting.density",
    "generate": "commands",
    "latents": "evaluation.latents",
    "load": "data.arrays",
    "pictures": "reporting.pictures",
    "report": "commands",
    "table": "commands",
    "train": "commands",
    "tune": "tuning",
}
_MODULES = ("latents", "pictures")  # among these names
_LIGHT = ("experiments", "files", "options", "__main__")  # without TensorFlow: they print help

__all__ = [*_HOMES]


def __getattr__(name: str):
    """Imports a name, or a module, when it is first asked for: a command line has begun then, and says what does not import."""
    home = _HOMES.get(name, name)
    if home.partition(".")[0] not in _LIGHT:
        with contextlib.suppress(ValueError):  # of Keras for another KERAS_BACKEND, which comes again where a command tells it
            from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    try:
        module = importlib.import_module(f"training.{home}")
    except ModuleNotFoundError as error:
        if error.name != f"training.{home}":
            raise
        raise AttributeError(f"module 'training' has no attribute {name!r}") from None
    return getattr(module, name) if name in _HOMES and name not in _MODULES else module


def __dir__() -> list[str]:
    return [*globals(), *__all__]
