"""A folder of written files, in which what somebody has changed since is kept.

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
    """What writing changed, as paths.

    Attributes:
        written: files and folders that are new or different.
        kept: files that others have changed, and that would be written as before.
        overwritten: those that others had changed.
    """

    written: list[str]
    kept: list[str]
    overwritten: list[str]


def write(folder: pathlib.Path, texts: Mapping[str, str], copies: Mapping[str, pathlib.Path], force: bool) -> Change:
    """Writes texts and copies of folders, or nothing if that would undo what somebody has changed.

    A file that somebody has changed stays if its text is the one that was written before. A copied folder is renamed into place
    as a whole, and one that is there already, with the same files, stays.

    Args:
        texts, copies: by their paths in `folder`.
        force: whether to overwrite what was changed.

    Raises:
        ValueError: files that were changed, or that others have written, unless `force`.
    """
    before, after = _listed(folder), {path: _of(text.encode()) for path, text in texts.items()}
    wanted = [path for path in texts if _checksum(folder / path) != after[path]]
    changed = [path for path in wanted if os.path.lexists(folder / path) and _checksum(folder / path) != before.get(path, "")]
    kept = [path for path in changed if before.get(path) == after[path] and not force]
    wanted, changed = ([path for path in paths if path not in kept] for paths in (wanted, changed))
    copies = {path: source for path, source in copies.items() if _checksums(folder / path) != _checksums(source)}
    changed += [path for path in copies if os.path.lexists(folder / path)]  # a server may have loaded it already
    if changed and not force:
        raise ValueError(_refusal(folder, changed, versions=set(copies)))
    _put(folder, {path: texts[path] for path in wanted}, copies, before | after)
    return Change([*wanted, *copies], kept, changed)


def _put(folder: pathlib.Path, texts: Mapping[str, str], copies: Mapping[str, pathlib.Path], listed: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    own = pathlib.Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        for path, source in copies.items():  # first, for texts name them
            _rename(_flushed(shutil.copytree(source, own / "copy")), folder / path)
        for path, text in texts.items():
            _rename(_written(own, text), folder / path)
        _rename(_written(own, json.dumps(dict(sorted(listed.items())), indent=1) + "\n"), folder / WRITTEN)
    finally:
        shutil.rmtree(own, ignore_errors=True)


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
