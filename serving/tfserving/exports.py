"""The exported models that are deployed, found as the server finds them."""

import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from serving.versions import SAVED_MODEL, numbered, why_no_models, why_none

NAME = re.compile(r"[\w.-]+")


class Export(NamedTuple):
    """A model and the folder of its newest version."""

    name: str
    version: pathlib.Path

    @property
    def number(self) -> str:
        return self.version.name

    def __str__(self) -> str:
        return f"{self.name}, version {self.number}"


def exports(models: Iterable[str]) -> list[Export]:
    """The newest version of each model, by name.

    Args:
        models: `NAME=PATH` or `PATH`, where PATH is the folder of a model's versions and NAME, unless given, its last part;
            or the path of a folder of several such models.

    Raises:
        ValueError: no model there, a name that is no part of a URL, or two models of one name.
    """
    found: dict[str, Export] = {}
    for export in (export for text in models for export in _exports(text)):
        if not NAME.fullmatch(export.name):
            raise ValueError(
                f"Expected letters, digits, dots, dashes and underscores in the name of a model. Received: {export.name!r}. "
                f"Try NAME={export.version.parent}."
            )
        other = found.setdefault(export.name, export)
        if other.version != export.version:
            raise ValueError(
                f"Expected every model to have a name of its own. Received: {export.name} for {other.version.parent} and "
                f"{export.version.parent}. Try NAME=PATH for one of them."
            )
    return sorted(found.values())


def _exports(text: str) -> Iterator[Export]:
    name, equals, path = text.rpartition("=")
    if pathlib.Path(text).exists():  # a path that has the sign in it
        name, equals, path = "", "", text
    base = pathlib.Path(path).resolve()
    if version := _newest(base):
        yield Export(name if equals else base.name, version)
        return
    if equals or not base.is_dir() or _is_version(base):
        raise ValueError(why_none(base, []))
    models = {folder.name: _newest(folder) for folder in base.iterdir() if not folder.name.startswith(".")}
    if not any(models.values()):
        raise ValueError(why_no_models(base))
    yield from (Export(name, version) for name, version in models.items() if version)


def _newest(base: pathlib.Path) -> pathlib.Path | None:
    """The folder of the highest version that is complete; None if there is none."""
    if not base.is_dir():
        return None
    complete = [version for version in numbered(base).values() if (version / SAVED_MODEL).exists()]
    return complete[-1] if complete else None


def _is_version(base: pathlib.Path) -> bool:
    return (base / SAVED_MODEL).exists()
