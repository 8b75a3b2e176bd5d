"""A run's files of JSON; what is written is whole or not there, as `zoo.files` has it."""

import json
import pathlib

from zoo.files import beside, reading, write

__all__ = ["beside", "read_json", "reading", "write", "write_json"]


def write_json(path: pathlib.Path, value: dict | list) -> None:
    write(path, lambda new: new.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8"))


def read_json(path: pathlib.Path) -> dict | list:
    """What `write_json` wrote.

    Raises:
        ValueError: the file is damaged, or another's; with its path.
        OSError: it is not there, or not to be read.
    """
    text = path.read_bytes()
    with reading(path, "a whole file of JSON", "the command that writes it anew, or --restart"):
        value = json.loads(text)
        if not all(isinstance(part, dict) for part in (value if isinstance(value, list) else [value])):
            raise ValueError("neither an object nor a list of them")
    return value
