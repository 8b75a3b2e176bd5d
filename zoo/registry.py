"""Parts by name: what experiments, the command line and their help call the parts of a model.

A part is a class or a function whose arguments are its settings. One that is registered here, in the zoo or in a module of
the user's own, can be chosen by its name without another line anywhere: `training.experiments.parts` reads its arguments,
their types and defaults, and what its docstring says of them.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import keras

# Types of arguments, beside `int`, `float`, `bool`, `str`, a `Literal` of texts and any of them or None.
Activation = Literal["linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid"]
Steps = int  # of training; an experiment gives them as a share of all its steps, in [0, 1)

_parts: dict[tuple[str, str], Callable] = {}


def register(
    slot: str,
    name: str,
    *,
    slots: Mapping[str, str] | None = None,
    fixed: Sequence[str] = (),
    optional: Sequence[str] = (),
    bfloat16: bool = False,
    reads: Sequence[str] = (),
) -> Callable[[Callable], Callable]:
    """Decorates a part, which can then be chosen by this name. A class is registered with Keras too, so that models which have
    it can be saved and loaded.

    What is written in the decorator is read without running it, and is literal therefore.

    Args:
        slot: where the part goes: `body`, `bottleneck`, `likelihood`, `corruption`, `prior`, `optimizer` …
        name: in lower case, with underscores.
        slots: that come with the part, each with the name of the part that fills it unless another is chosen.
        fixed: those of the slots that no other part may fill.
        optional: those of the slots that may be left empty, by the name `none`.
        bfloat16: whether the part is known to train as well in bfloat16 as in float32.
        reads: of data, the endings of the files that are read where the part's name and a colon precede their path.

    Raises:
        ValueError: another part of that name.
    """

    def add(part: Callable) -> Callable:
        known = _parts.get((slot, name))
        if known and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise ValueError(
                f"Expected a new name for a {slot}. Received: {name!r}, which {known.__module__}.{known.__qualname__} has. "
                "Try another name."
            )
        _parts[slot, name] = part
        if isinstance(part, type) and issubclass(part, keras.layers.Layer | keras.Model | Serializable):
            package = part.__module__.partition(".")[0]
            keras.saving.register_keras_serializable(package)(part)
        return part

    return add


class Serializable:
    """A part with `get_config` and `from_config` that is neither a layer nor a model."""

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Serializable":
        return cls(**config)


def part(slot: str, name: str) -> Callable:
    """The part of this name, whose module has been imported."""
    return _parts[slot, name]


def import_parts(modules: Iterable[str]) -> None:
    """Imports modules of the user's own, which register parts; those of the current folder too.

    Raises:
        ValueError: one that is not found.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"Expected a module that can be imported. Received: {module} ({error}). Try running in the folder of "
                f"{module}.py, or PYTHONPATH=FOLDER."
            ) from None
