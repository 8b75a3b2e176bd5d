"""A folder of written files, of which those that somebody has changed since are kept.

What was written is listed in the folder, with checksums; everything is written beside, then renamed into place.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WRITTEN = ".deployed.json"  # the checksum of each file that was written, by its path


class Change(NamedTuple):
    """What writing changed: the paths of files and versions that are new or different, and of those that others had changed."""

    written: list[str]
    overwritten: list[str]


def write(folder: pathlib.Path, texts: Mapping[str, str], copies: Mapping[str, pathlib.Path], force: bool) -> Change:
    """Writes texts and copies of folders, both by their paths in `folder`, or nothing if somebody has changed one of them.

    A copied folder is renamed into place as a whole, and one that is there already, with the same files, stays.

    Args:
        force: whether to overwrite what was changed.

    Raises:
        ValueError: files that were changed, or that others have written, unless `force`.
    """
    listed = _listed(folder)
    texts = {path: text for path, text in texts.items() if _checksum(folder / path) != _of(text.encode())}
    copies = {path: source for path, source in copies.items() if _checksums(folder / path) != _checksums(source)}
    changed = [path for path in texts if os.path.lexists(folder / path) and _checksum(folder / path) != listed.get(path, "")]
    changed += [path for path in copies if os.path.lexists(folder / path)]  # a server may have loaded it already
    if changed and not force:
        raise ValueError(_refusal(folder, changed, versions=set(copies)))
    folder.mkdir(parents=True, exist_ok=True)
    own = pathlib.Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        for path, text in texts.items():
            _rename(_written(own, text), folder / path)
        for path, source in copies.items():
            _rename(_flushed(shutil.copytree(source, own / "copy")), folder / path)
        listed |= {path: _of(text.encode()) for path, text in texts.items()}
        _rename(_written(own, json.dumps(dict(sorted(listed.items())), indent=1) + "\n"), folder / WRITTEN)
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return Change([*texts, *copies], changed)


def _refusal(folder: pathlib.Path, changed: Iterable[str], versions: set[str]) -> str:
    advice = "another --output, or --force, which overwrites them"
    if versions & {*changed}:
        advice = f"a version of a higher number (python -m serving export --version=N), {advice}"
    return (
        f"Expected files in {folder} to be as this command wrote them. "
        f"Received: {', '.join(changed)}, changed or written by others. Try {advice}."
    )


def _listed(folder: pathlib.Path) -> dict[str, str]:
    try:
        listed = json.loads((folder / WRITTEN).read_bytes())
    except (OSError, ValueError):  # without a list, every file counts as others'
        return {}
    return listed if isinstance(listed, dict) else {}


def _written(own: pathlib.Path, text: str) -> pathlib.Path:
    path = own / "text"
    path.write_text(text, encoding="utf-8", newline="\n")
    return _flushed(path)


def _flushed(path: pathlib.Path) -> pathlib.Path:
    """The file or folder, flushed to disk, so that a power loss leaves nothing empty."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
    return path


def _rename(new: pathlib.Path, path: pathlib.Path) -> None:
    """Moves a file or a folder to `path`; of a folder that is there already, no part stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        os.rename(path, new.parent / "replaced")
    os.replace(new, path)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(new.parent / "replaced")


def _checksum(path: pathlib.Path) -> str | None:
    return _of(path.read_bytes()) if path.is_file() else None


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _of(path.read_bytes()) for path in files}


def _of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
