"""Training: from data to a trained, evaluated and exported model."""

import contextlib

from training.submodules import importing

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
_imported = importing(__name__)


def __getattr__(name: str) -> object:
    """Imports a public name, or a module, on first use. A command then runs already, and reports imports that fail."""
    home = _MODULES.get(name, name)
    if home.partition(".")[0] not in _LIGHT:
        with contextlib.suppress(
            ValueError
        ):  # Keras's for an unknown KERAS_BACKEND; it is raised again where a command reports it
            from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    module = _imported(home)
    return getattr(module, name) if name in _MODULES and name not in _SUBMODULES else module


def __dir__() -> list[str]:
    return [*globals(), *__all__]
