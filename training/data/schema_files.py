"""Files that say of which type the columns of a table are, short and made to be edited.

There is a line for each column, `NAME: TYPE`, or `NAME: {type: ordinal, classes: [low, high]}` where more is to be said: the
order of classes, the form of dates. What follows from the data, means and the like, is not in the file.
"""

import difflib
import json
import os
import pathlib
import re
from collections.abc import Mapping

import yaml

from training import files
from training.data.wishes import TYPES
from zoo.schema import Feature, Schema

HEAD = """\
# The types of the columns. Change them and give the file back: --schema=FILE. Columns without a line are inferred.
# Numbers: continuous, positive (and skewed), count. Classes: binary, categorical, ordinal. Dates: datetime.
# Left out: identifier, text, constant.
"""
REASONS = {
    "identifier": "tells rows apart",
    "text": "is free text, or has too many values",
    "constant": "is the same in every row",
}
KEYS = ("type", "classes", "format")
PLAIN = re.compile(r"[^\W_][\w .()/%+-]*(?<! )")  # texts that YAML takes as they are


def write_schema(schema: Mapping[str, Feature], path: str | os.PathLike) -> None:
    """Writes the types of the columns, the order of ordinal classes and the form of dates."""
    lines = "".join(f"{_text(name)}: {_described(feature)}\n" for name, feature in schema.items())
    files.write(pathlib.Path(path), lambda new: new.write_text(HEAD + lines, encoding="utf-8"))


def _described(feature: Feature) -> str:
    if feature.type in REASONS:
        return f"{feature.type}  # left out: it {REASONS[feature.type]}"
    if feature.type == "ordinal":
        return f"{{type: ordinal, classes: [{', '.join(map(_text, feature.classes))}]}}"
    if feature.type == "datetime":
        return f"{{type: datetime, format: {_text(feature.format)}}}"
    return feature.type


def _text(value: str | float) -> str:
    text = value if isinstance(value, str) else f"{value:.17g}"
    return text if PLAIN.fullmatch(text) or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)


def read_schema(path: str | os.PathLike) -> Schema:
    """The types of columns, with the classes, which are texts, and the formats that the file has.

    Raises:
        ValueError: no such file, or one that is not in this form; an unknown type; a column that is there twice.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Expected a schema in YAML. Received: {path} ({reason}). Try a line NAME: TYPE per column.") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"Expected a schema. Received: {path} without columns. Try a line NAME: TYPE per column.")
    schema = {}
    for key, value in root.value:
        place = f"line {key.start_mark.line + 1} of {path}"
        name = str(_plain(key, place))
        if name in schema:
            raise ValueError(f"Expected each column once. Received: {name!r} again in {place}. Try removing this line.")
        schema[name] = _feature(_plain(value, place), place)
    return schema


def _plain(node: yaml.Node, place: str) -> str | list | dict:
    """The texts of a node, in lists and mappings."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, place) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(_plain(key, place)): _plain(value, place) for key, value in node.value}
    return node.value


def _feature(said: str | list | dict, place: str) -> Feature:
    said = {"type": said} if isinstance(said, str) else said
    if not isinstance(said, dict) or not isinstance(said.get("type"), str) or not isinstance(said.get("format", ""), str):
        raise ValueError(f"Expected a type. Received: {said!r} in {place}. Try NAME: continuous, or NAME: {{type: ordinal}}.")
    _require_one_of(said["type"], TYPES, "a type", place)
    for key in said:
        _require_one_of(key, KEYS, "type, classes or format", place)
    classes = said.get("classes")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(each, str) for each in classes)):
        raise ValueError(f"Expected a list of classes. Received: {classes!r} in {place}. Try classes: [low, high].")
    return Feature(said["type"], classes=tuple(classes) if classes else None, format=said.get("format"))


def _require_one_of(word: str, known: tuple[str, ...], expected: str, place: str) -> None:
    if word not in known:
        near = difflib.get_close_matches(word, known, 2) or known
        raise ValueError(f"Expected {expected}. Received: {word!r} in {place}. Try {' or '.join(near)}.")
