"""JSON files of a run. They are written completely or not at all, as in `zoo.files`."""

import json
import pathlib

from zoo.files import beside, reading, write

__all__ = ["beside", "read_json", "reading", "write", "write_json"]


def write_json(path: pathlib.Path, value: dict | list) -> None:
    """Writes an object, or a list of objects, as JSON."""
    write(path, lambda new: new.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8"))


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
