"""Columns of tables as numbers, one for each cell."""

import datetime

import numpy as np

from zoo.schema import Schema

LEFT_OUT = ("identifier", "text", "constant")


def cells(schema: Schema, raw: dict[str, np.ndarray]) -> np.ndarray:
    """float32 `(n, C)`, NaN for missing."""
    found = [_cells(feature, raw[name]) for name, feature in schema.items() if feature.type not in LEFT_OUT]
    return np.stack(found, axis=1).astype("float32")


def _cells(feature, column):
    if feature.type in ("continuous", "positive", "count"):
        with np.errstate(divide="ignore", invalid="ignore"):
            change = {"continuous": np.asarray, "positive": np.log, "count": np.log1p}[feature.type]
            return (change(column) - feature.mean) / feature.scale
    if feature.type == "datetime":
        return (np.array([_seconds(text, feature.format) for text in column]) - feature.mean) / feature.scale
    places = {name: place for place, name in enumerate(feature.classes)}
    missing = {"": np.nan}
    return (
        np.array([missing[v] if v in missing or v != v else places.get(v, len(places)) for v in column.tolist()], "float64")
        if feature.dtype != "float64"
        else np.array([np.nan if v != v else places.get(v, len(places)) for v in column.tolist()])
    )


def _seconds(text, form):
    try:
        return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC).timestamp()
    except ValueError:
        return np.nan
