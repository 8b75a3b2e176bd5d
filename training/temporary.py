"""The folder for temporary files of a process that others may end, or that may be killed."""

import contextlib
import glob
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

PREFIX = "latent-zoo-worker-"
YOUNG = 60.0  # seconds in which a process may not have locked its folder yet


@contextlib.contextmanager
def own_folder() -> Iterator[pathlib.Path]:
    """A new folder, in which packages put their temporary files too, and which is removed at the end. Those of processes that
    were killed are removed before: each holds a lock on its folder, which ends with it, however it ends."""
    _remove_left()
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder, _locked(folder):
        tempfile.tempdir = folder
        try:
            yield pathlib.Path(folder)
        finally:
            tempfile.tempdir = before


def _remove_left() -> None:
    for left in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{PREFIX}*")):
        with contextlib.suppress(OSError), _locked(left) as mine:
            if mine and time.time() - os.stat(left).st_mtime > YOUNG:
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[bool]:
    """A context in which this process holds the lock on a folder, unless another one does, or the system has no such locks;
    whether it does."""
    number, mine = os.open(folder, os.O_RDONLY), False
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = True
    try:
        yield mine
    finally:
        os.close(number)
