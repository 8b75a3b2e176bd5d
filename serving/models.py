"""The models of a directory, `DIR/MODEL/VERSION`, each with its latest version loaded."""

import pathlib
from collections.abc import Iterator

from serving.servable import Servable


class NotFound(LookupError):
    """No such model or version; its text goes to the client."""


class Models:
    """Loads the latest version of every model under `directory`.

    Raises:
        ValueError: nothing to serve there.
    """

    def __init__(self, directory: str | pathlib.Path):
        self._servables = {path.parent.name: Servable(path) for path in _latest(pathlib.Path(directory))}

    def __iter__(self) -> Iterator[str]:
        return iter(self._servables)

    def get(self, name: str, version: int | None = None) -> Servable:
        """The loaded servable; with a version, that one.

        Raises:
            NotFound: no such model, or another version of it is loaded.
        """
        servable = self._servables.get(name)
        if servable is None or version not in (None, servable.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFound(f"Servable not found for request: {wanted}")
        return servable

    def close(self) -> None:
        for servable in self._servables.values():
            servable.close()


def _latest(directory: pathlib.Path) -> list[pathlib.Path]:
    versions: dict[str, list[pathlib.Path]] = {}
    for saved in directory.glob("*/*/saved_model.pb"):
        if saved.parent.name.isdigit():
            versions.setdefault(saved.parent.parent.name, []).append(saved.parent)
    if not versions:
        raise ValueError(
            f"Expected MODEL/VERSION/saved_model.pb under the directory. Received: {directory}, with none. "
            "Try python -m serving export RUN --output DIR, or the folder above."
        )
    return [max(paths, key=lambda path: int(path.name)) for _, paths in sorted(versions.items())]
