"""Files and folders that are whole or not there: written beside, flushed to disk, then put in their place."""

import contextlib
import errno
import glob
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

WRITING, REPLACED = ".zoo-writing-", ".zoo-replaced-"  # begin the names of folders beside, one of every writer's own
LEFT = 24 * 3600  # seconds after which what a writer has beside is taken to be a killed one's


def write(path: str | os.PathLike, writer: Callable[[pathlib.Path], None]) -> None:
    """Lets `writer` fill a file beside `path`, flushes it to disk and puts it in its place; a symbolic link stays one.

    Raises:
        ValueError: `path` is neither a file nor free.
        OSError: it cannot be written there; what was there stays.
    """
    path = resolved(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device"
        raise ValueError(f"Expected the path of a file. Received: {path}, {kind}. Try a file in a folder.")
    with beside(path) as new:
        writer(new)
        flush(new)
        os.replace(new, path)


@contextlib.contextmanager
def beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path of the same name on the same disk, in a folder of this writer's own that goes at the end.

    The name stays because some writers look at its suffix, and because a longer one may be too long.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = tempfile.mkdtemp(prefix=WRITING, dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the caller's path, not that of the folder beside
    try:
        yield pathlib.Path(own, path.name)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        for left in path.parent.glob(f"{WRITING}*"):
            with contextlib.suppress(OSError):  # another writer's that has just ended
                if time.time() - left.stat().st_mtime > LEFT:
                    shutil.rmtree(left, ignore_errors=True)


def replace_folder(new: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts the folder `new` in the place of `folder`, which must lie on the same disk and be `resolved`.

    What was there is put back if that fails, and after a kill between the two steps `standing` finds it.
    """
    flush(new)
    here = False
    with contextlib.suppress(FileNotFoundError):  # there is none, or another writer has just put it aside
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
                raise  # else another writer came between the two steps, and its folder is replaced in turn
        finally:
            if os.path.lexists(aside) and not os.path.lexists(folder):
                with contextlib.suppress(OSError):  # another writer's folder has come there; else `standing` finds this one
                    os.rename(aside, folder)
            with contextlib.suppress(OSError):
                aside.parent.rmdir()  # where it is empty
    for left in _replaced(folder):
        shutil.rmtree(left.parent, ignore_errors=True)
    if here:
        os.chdir(folder)  # the current folder stays the one of this name


def standing(folder: pathlib.Path) -> pathlib.Path:
    """`folder`, or where a writer that was killed between two steps of `replace_folder` left it."""
    return folder if folder.exists() else max(_replaced(folder), key=lambda left: left.stat().st_mtime, default=folder)


def _replaced(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.parent.glob(f"{REPLACED}*/{glob.escape(folder.name)}"))


def resolved(path: str | os.PathLike) -> pathlib.Path:
    """The absolute path without symbolic links, of something that may not be there."""
    return pathlib.Path(os.path.realpath(path))


def flush(path: pathlib.Path) -> None:
    """Brings a file, or all files of a folder, to disk, so that a power loss leaves no empty one under its name."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def reading(path: str | os.PathLike, kind: str, advice: str) -> Iterator[None]:
    """Within it, whatever a damaged or a foreign file makes its reader raise becomes a ValueError that names the file."""
    try:
        yield
    except Exception as error:  # of any kind: there is no end to what may be in a file
        reason = next(iter(str(error).splitlines()), "") or "no reason given"
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}, {reason}"
        raise ValueError(f"Expected {kind}. Received: {path} ({reason}). Try {advice}.") from error
