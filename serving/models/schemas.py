"""What the data of a served model hold, as its export tells."""

import functools
import json
import pathlib

SCHEMA = "assets.extra/schema.json"
_OTHERS = ("image", "array", "text", "class", "number")  # types of what is no column of a table


@functools.lru_cache(maxsize=64)  # a version on disk never changes
def schema(path: pathlib.Path) -> dict[str, dict]:
    """What the data of a model in a folder hold, by the name of the input: `type`, `shape`, `range`, `classes`, `vocabulary`,
    and of a table's columns `missing`, `format` and the like, as far as they are known; empty if the export has no schema, or
    it cannot be read."""
    try:
        found = json.loads((path / SCHEMA).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: _known(feature) for name, feature in found.items()} if isinstance(found, dict) else {}


def columns(path: pathlib.Path) -> set[str]:
    """The names of the inputs that are columns of a table, in which values may be missing."""
    return {name for name, feature in schema(path).items() if feature.get("type", "array") not in _OTHERS}


def _known(feature: object) -> dict:
    """What a feature of a schema says that has the right type."""
    feature = feature if isinstance(feature, dict) else {}
    number, whole = (int, float), (int,)
    right = {
        "type": lambda value: isinstance(value, str),
        "shape": lambda value: _is_list(value, whole),
        "range": lambda value: _is_list(value, number) and len(value) == 2,
        "classes": lambda value: _is_list(value, (str,)) or _is_list(value, number),
        "vocabulary": lambda value: isinstance(value, dict) and _is_list([value.get("tokens"), value.get("length")], whole),
        "shares": lambda value: _is_list(value, number),
        "format": lambda value: isinstance(value, str),
        **dict.fromkeys(_STATISTICS, lambda value: _is_list([value], number)),
    }
    return {key: value for key, value in feature.items() if key in right and right[key](value)}


_STATISTICS = ("missing", "mean", "scale", "log_mean", "log_scale", "decimals")


def _is_list(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, list) and all(isinstance(each, kinds) and not isinstance(each, bool) for each in value)
