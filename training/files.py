"""Files of a run. They are written completely or not at all, as in `zoo.files`."""

import json
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from zoo.files import beside, reading, require_local, write

__all__ = ["beside", "read_json", "reading", "require_local", "write", "write_arrays", "write_json"]


def write_json(path: pathlib.Path, value: dict | list) -> None:
    """Writes an object, or a list of objects, as JSON."""
    write(path, lambda new: new.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8"))


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed `.npz` file of arrays whose names may be any; `np.savez` would take `file` for its own argument."""

    def write_to(new: pathlib.Path) -> None:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

    write(path, write_to)


def read_json(path: pathlib.Path) -> dict | list:
    """Reads a file that `write_json` wrote.

    Raises:
        ValueError: the file is damaged or has other contents; the message has its path.
        OSError: the file does not exist or cannot be read.
    """
    text = path.read_bytes()
    with reading(path, "a complete JSON file", "the command that writes it again, or --restart"):
        value = json.loads(text)
        if not all(isinstance(part, dict) for part in (value if isinstance(value, list) else [value])):
            raise ValueError("neither an object nor a list of them")
    return value
