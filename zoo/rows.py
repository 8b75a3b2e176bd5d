"""Rows of tables as people have them, to raw columns and to cells, and back.

Rows are a dict of columns, a pandas or Polars table, or a list of dicts, one for each row. Every column that the model has must
be there; others are passed over. Missing is None, NaN, or "" in a column of texts. A text that is not among the classes of its
column is another class, `<other>`; in a column with an order it is missing. Blanks around a text do not count.
"""

import datetime
import decimal
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from zoo import columns, dates
from zoo.columns import dtype, kept
from zoo.schema import Feature, Schema

SHOWN = 40  # characters of a value in an error
BLANKS = " \t\n\v\f\r"  # that do not count around a text, as TensorFlow strips them

Raw = dict[str, np.ndarray]


def raw(schema: Schema, rows: Any) -> Raw:
    """The raw columns `(n,)` of rows: float64 with NaN for missing numbers, texts with "" for missing ones.

    Raises:
        ValueError: no table; a column that is missing, with those that are there; a value of the wrong type, with its row.
    """
    given = columns_of(rows)
    require_columns(schema, given)
    found = {name: _column(given[name], name, feature) for name, feature in kept(schema).items()}
    if len({len(column) for column in found.values()}) > 1:
        sizes = ", ".join(f"{len(column)} of {name}" for name, column in found.items())
        raise ValueError(f"Expected as many values in every column. Received: {sizes}. Try one value for each row.")
    return found


def require_columns(schema: Schema, names: Collection[str]) -> None:
    """Raises ValueError if a column that the model has is not among the names of a table's columns."""
    absent = [name for name in kept(schema) if name not in names]
    if absent:
        raise ValueError(
            f"Expected the columns {', '.join(kept(schema))}. Received: {', '.join(map(str, names)) or 'none'}, without "
            f"{', '.join(absent)}. Try adding {absent[0]!r}, with nothing but missing values if they are not known."
        )


def cells(schema: Schema, raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Cells `(n, C)`, float32, of raw columns `(n,)`; NaN where a cell is missing."""
    names = [*kept(schema)]
    numbers = np.stack([numbers_of(raw[name], schema[name]) for name in names], axis=1)  # (n, C), float64
    found = np.empty(numbers.shape, "float32")
    for places, group in columns.groups(schema):
        with np.errstate(over="ignore", invalid="ignore"):
            found[:, places] = group.cells(numbers[:, places], np)
    return found


def raw_of(schema: Schema, cells: np.ndarray) -> Raw:
    """The raw columns `(n,)` of cells `(n, C)`, the inverse of `cells`."""
    cells = np.asarray(cells, "float64")
    numbers = np.empty(cells.shape)
    for places, group in columns.groups(schema):
        numbers[:, places] = np.where(np.isnan(cells[:, places]), np.nan, group.raw(cells[:, places], np))
    return {name: values_of(numbers[:, place], feature) for place, (name, feature) in enumerate(kept(schema).items())}


def filled(raw: Mapping[str, np.ndarray], with_: Mapping[str, np.ndarray]) -> Raw:
    """Raw columns with their missing values taken from others."""
    return {name: np.where(missing(column), with_[name], column) for name, column in raw.items()}


def missing(column: np.ndarray) -> np.ndarray:
    """Which values `(n,)` of a raw column are missing."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.array([not text.strip(BLANKS) for text in column.tolist()], bool)


def columns_of(rows: Any) -> Mapping[str, Any]:
    """The columns of rows by name."""
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # pandas, Polars
        return {name: rows[name] for name in rows.columns}
    if isinstance(rows, Mapping):
        return rows
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        names = {name: None for row in rows for name in row}
        return {name: [row.get(name) for row in rows] for name in names}
    raise ValueError(
        f"Expected rows of a table: a dict of columns, a pandas or Polars table, or a list of dicts. Received: "
        f"{type(rows).__name__}. Try [{{'column': value, …}}]."
    )


def _column(values: Any, name: str, feature: Feature) -> np.ndarray:
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif not isinstance(values, np.ndarray):
        values = np.array(values, object)  # NumPy would make texts of numbers among texts
    if values.ndim != 1:
        raise ValueError(f"Expected one value in each row of {name}. Received: shape {values.shape}. Try a single column.")
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    if dtype(feature) == "string":
        texts = values.tolist()
        if set(map(type, texts)) != {str}:
            texts = ["" if _is_absent(value) else _text(value, name, row, feature) for row, value in enumerate(texts)]
        return np.array(texts, object)
    if values.dtype.kind in "biuf":
        return values.astype("float64")
    numbers = [math.nan if _is_absent(value) else _number(value, name, row) for row, value in enumerate(values.tolist())]
    return np.array(numbers, "float64")


def _is_absent(value: Any) -> bool:
    """Whether a value is None, NaN, or what pandas has for missing ones."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and math.isnan(value))


def _number(value: Any, name: str, row: int) -> float:
    if isinstance(value, numbers.Real | decimal.Decimal | np.bool_):
        return float(value)
    raise ValueError(
        f"Expected numbers in the column {name}. Received: {value!r:.{SHOWN}} in row {row}. Try a number, or None if it is "
        "missing."
    )


def _text(value: Any, name: str, row: int, feature: Feature) -> str:
    if isinstance(value, str):
        return value
    if feature.type == "datetime" and isinstance(value, datetime.date):
        return value.strftime(feature.format)
    if isinstance(value, bool):  # written as the classes are: true, True or TRUE
        return next((text for text in feature.classes or () if text.lower() == str(value).lower()), str(value))
    raise ValueError(
        f"Expected texts in the column {name}. Received: {value!r:.{SHOWN}} in row {row}. Try a text, or None if it is missing."
    )


def numbers_of(values: np.ndarray, feature: Feature) -> np.ndarray:
    """Raw values `(n,)` as numbers: of texts, those of their classes, or the seconds since 1970; NaN where one is missing."""
    if dtype(feature) == "float64":
        return np.asarray(values, "float64")
    if feature.type == "datetime":
        distinct = list(dict.fromkeys(values.tolist()))  # often far fewer
        found = dates.seconds([text.strip(BLANKS) for text in distinct], feature.format).tolist()
        known = dict(zip(distinct, found, strict=True))
        return np.array([known[text] for text in values.tolist()], "float64")
    places = {text.strip(BLANKS): place for place, text in enumerate(feature.classes)} | {"": math.nan}
    return np.array([places.get(text.strip(BLANKS), len(feature.classes)) for text in values.tolist()], "float64")


def values_of(numbers: np.ndarray, feature: Feature) -> np.ndarray:
    """The inverse of `numbers_of`."""
    if dtype(feature) == "float64":
        return numbers
    if feature.type == "datetime":
        return dates.texts(numbers, feature.format)
    texts = np.array([*feature.classes, columns.OTHER, ""], object)
    return texts[np.where(np.isnan(numbers), len(feature.classes) + 1, np.nan_to_num(numbers)).astype(int)]
