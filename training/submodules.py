"""Modules of a package as attributes of it, which are imported on first use."""

import importlib
from collections.abc import Callable
from types import ModuleType


def importing(package: str) -> Callable[[str], ModuleType]:
    """The function `__getattr__` of a package with this name, which imports the module that an attribute names."""

    def imported(name: str) -> ModuleType:
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return imported
