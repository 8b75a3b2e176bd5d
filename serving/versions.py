"""The numbered folders with the versions of a model."""

import os
import pathlib

SAVED_MODEL = "saved_model.pb"
SHOWN = 5  # names in an error message


def numbered(base: str | os.PathLike) -> dict[int, pathlib.Path]:
    """The folders in `base` whose names are numbers, by number, in ascending order.

    Raises:
        OSError: `base` cannot be read.
    """
    with os.scandir(base) as entries:
        names = sorted(entry.name for entry in entries if _is_number(entry.name) and entry.is_dir())
    return dict(sorted((int(name), pathlib.Path(base, name)) for name in names))  # of 01 and 1, the latter


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) < 1 << 63


def why_none(base: str | os.PathLike, wanted: list[int]) -> str:
    """An error that says what `base`, the base path of a model, holds instead of the `wanted` versions, or of any if empty."""
    base = pathlib.Path(base)
    number = wanted[0] if wanted else 1
    expected = f"Expected a SavedModel in {base / str(number)}" + ("" if wanted else ", or under another number")
    return f"{expected}. Received: {_received(base)}"


def why_no_models(directory: str | os.PathLike) -> str:
    """An error that says what `directory` holds instead of MODEL/VERSION/saved_model.pb."""
    directory = pathlib.Path(directory).absolute()
    expected = "Expected MODEL/VERSION/saved_model.pb under the directory."
    if _holds_versions(directory):
        return f"{expected} Received: the versions of one model in {directory}. Try the folder above, {directory.parent}."
    return f"{expected} Received: {_received(directory)}"


def _received(base: pathlib.Path) -> str:
    try:
        return _found(base)
    except OSError as error:
        return f"{base}, which cannot be read ({error.strerror}). Try other permissions."


def _found(base: pathlib.Path) -> str:
    try:
        with os.scandir(base) as entries:
            found = {entry.name: entry.is_dir() for entry in entries}
    except FileNotFoundError:
        there = next(folder for folder in base.parents if folder.exists())
        return f"no folder {base}; the nearest is {there}, with {_listed(os.listdir(there))}. Try another path."
    except NotADirectoryError:
        return f"{base}, a file. Try the folder that holds the numbered ones."
    if SAVED_MODEL in found:
        where = f"the folder above, {base.parent}" if _is_number(base.name) else f"moving it to {base / '1'}"
        return f"a SavedModel in {base} itself. Try {where}."
    folders = sorted(name for name, is_folder in found.items() if is_folder and not name.startswith("."))
    for name in folders:
        if not _is_number(name) and (base / name / SAVED_MODEL).exists():
            return f"{_listed(folders)} in {base}. Try numbers as names, 1 instead of {name}."
        if _holds_versions(base / name):
            return f"{_listed(folders)} in {base}, with versions in {name}. Try {base / name}."
    return f"{_listed(list(found))} in {base}. Try another path, or python -m serving export RUN --output {base.parent}."


def _holds_versions(base: pathlib.Path) -> bool:
    try:
        return any((path / SAVED_MODEL).exists() for path in numbered(base).values())
    except OSError:
        return False


def _listed(names: list[str]) -> str:
    shown = sorted(names, key=lambda name: (name.startswith("."), len(name) if _is_number(name) else 0, name))
    return ", ".join(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "") if shown else "nothing"
