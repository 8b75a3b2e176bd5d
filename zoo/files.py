"""Atomic writes: files and folders are written to a temporary folder, flushed to disk, then renamed into place."""

import contextlib
import errno
import glob
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

WRITING, REPLACED = ".zoo-writing-", ".zoo-replaced-"  # prefixes of temporary folders; every writer has its own
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # also as `pathlib` writes one; a drive has one letter
LEFT = 24 * 3600  # seconds after which a temporary folder is taken to be left over from a killed writer


def write(path: str | os.PathLike, writer: Callable[[pathlib.Path], None]) -> None:
    """Lets `writer` write a temporary file, flushes it to disk and moves it to `path`; a symbolic link stays one.

    Raises:
        ValueError: `path` is something other than a file, or an address.
        OSError: it cannot be written; an existing file stays.
    """
    require_local(path)
    path = resolved(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device"
        raise ValueError(f"Expected the path of a file. Received: {path}, {kind}. Try a file in a folder.")
    with beside(path) as new:
        try:
            writer(new)
            flush(new)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error  # of a full disk nobody says where it is
        os.replace(new, path)


@contextlib.contextmanager
def beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path with the name of `path`, in a temporary folder beside it that is removed at the end.

    The name is the same because some writers look at its suffix, and because a longer one may be too long.
    """
    require_local(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = tempfile.mkdtemp(prefix=WRITING, dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the caller's path, not the temporary one
    try:
        yield pathlib.Path(own, path.name)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        for left in path.parent.glob(f"{WRITING}*"):
            with contextlib.suppress(OSError):  # its writer has just removed it
                if time.time() - left.stat().st_mtime > LEFT:
                    shutil.rmtree(left, ignore_errors=True)


def require_local(path: str | os.PathLike) -> None:
    """Raises ValueError for an address such as gs://bucket/run, as which a path would begin with a folder called `gs:`."""
    if ADDRESS.match(os.fspath(path)):
        raise ValueError(f"Expected a path on this machine. Received: {path}. Try a folder in which that is mounted.")


def replace_folder(new: pathlib.Path, folder: pathlib.Path) -> None:
    """Replaces `folder`, which must be on the same disk and `resolved`, by the folder `new`.

    If that fails, the old folder is put back; if the process is killed between the two renames, `standing` finds it.
    """
    flush(new)
    here = False
    with contextlib.suppress(FileNotFoundError):  # there is none, or another writer has just moved it away
        here = folder.samefile(os.curdir)
    while True:
        aside = pathlib.Path(tempfile.mkdtemp(prefix=REPLACED, dir=folder.parent), folder.name)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rename(folder, aside)
            os.rename(new, folder)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise  # else another writer came between the two renames: its folder is replaced in turn
        finally:
            if os.path.lexists(aside) and not os.path.lexists(folder):
                with contextlib.suppress(OSError):  # another writer's folder is there now; else `standing` finds this one
                    os.rename(aside, folder)
            with contextlib.suppress(OSError):
                aside.parent.rmdir()  # if it is empty
    for left in _replaced(folder):
        shutil.rmtree(left.parent, ignore_errors=True)
    if here:
        os.chdir(folder)  # the current folder is again the one of this name


def standing(folder: pathlib.Path) -> pathlib.Path:
    """`folder`, or where it was left by a writer that was killed between the two renames of `replace_folder`."""
    return folder if folder.exists() else max(_replaced(folder), key=lambda left: left.stat().st_mtime, default=folder)


def _replaced(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.parent.glob(f"{REPLACED}*/{glob.escape(folder.name)}"))


def resolved(path: str | os.PathLike) -> pathlib.Path:
    """The absolute path without symbolic links; nothing need exist there."""
    return pathlib.Path(os.path.realpath(path))


def flush(path: pathlib.Path) -> None:
    """Flushes a file, or all files of a folder, to disk, so that a power loss leaves none empty."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def reading(path: str | os.PathLike, kind: str, advice: str) -> Iterator[None]:
    """A context in which any exception from reading a damaged or foreign file becomes a ValueError that names the file."""
    try:
        yield
    except Exception as error:  # of any kind: a file may contain anything
        reason = next(iter(str(error).splitlines()), "") or "no reason given"
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}, {reason}"
        raise ValueError(f"Expected {kind}. Received: {path} ({reason}). Try {advice}.") from error
