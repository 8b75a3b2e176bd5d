"""Writes that are whole or not there: beside, then renamed."""

import json
import os
import pathlib
from collections.abc import Callable


def write(path: pathlib.Path, writer: Callable[[pathlib.Path], None]) -> None:
    """Lets `writer` fill a file beside `path`, flushes it to disk and puts it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".*-{path.name}"):  # by a writer that was killed
        left.unlink(missing_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")  # keeps the suffix, which some writers look at
    try:
        writer(beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value) -> None:
    write(path, lambda beside: beside.write_text(json.dumps(value, indent=2) + "\n"))


def read_json(path: pathlib.Path):
    return json.loads(path.read_text())
