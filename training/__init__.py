"""Training: from data to a trained, evaluated and exported model."""

import contextlib
import importlib

_MODULES = {  # public names, and the modules that define them
    "EXPERIMENTS": "experiments.named",
    "Experiment": "experiments.experiment",
    "Run": "run",
    "automatic": "chooser",
    "evaluate": "commands",
    "figures": "commands",
    "fit_entropy": "fitting.entropy",
    "fit_prior": "fitting.priors",
    "generate": "commands",
    "kinds": "kinds",
    "latents": "evaluation.latents",
    "load": "data.arrays",
    "pictures": "reporting.pictures",
    "plane": "reporting.plane",
    "predict": "prediction",
    "report": "commands",
    "table": "commands",
    "train": "commands",
    "tune": "tuning",
}
_SUBMODULES = ("kinds", "latents", "pictures", "plane")  # public names that are modules themselves
_LIGHT = ("experiments", "files", "launch", "options", "__main__")  # they print help and do not import TensorFlow

__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    """Imports a public name, or a module, on first use. A command then runs already, and reports imports that fail."""
    home = _MODULES.get(name, name)
    if home.partition(".")[0] not in _LIGHT:
        with contextlib.suppress(
            ValueError
        ):  # Keras's for an unknown KERAS_BACKEND; it is raised again where a command reports it
            from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    try:
        module = importlib.import_module(f"training.{home}")
    except ModuleNotFoundError as error:
        if error.name != f"training.{home}":
            raise
        raise AttributeError(f"module 'training' has no attribute {name!r}") from None
    return getattr(module, name) if name in _MODULES and name not in _SUBMODULES else module


def __dir__() -> list[str]:
    return [*globals(), *__all__]
