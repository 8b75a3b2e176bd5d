"""Cells as they are written: those that were read as they were, and new ones in the form of their column."""

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data import batches
from zoo.columns import dtype
from zoo.dates import seconds
from zoo.number_columns import MORE
from zoo.schema import Feature

EXACT = 1e15  # numbers from which on a format of fixed digits shows digits that a float does not have


class Column(NamedTuple):
    """What is to be written in a column: numbers or texts `(n,)`. `new` `(n,)` says where they replace what was read, None:
    everywhere. If they are of a `feature`, they have as many decimals as it, and `zoo.number_columns.MORE` if they need
    them."""

    values: np.ndarray
    feature: Feature | None = None
    new: np.ndarray | None = None


def texts(cells: pa.Array | None, column: Column | None, decimal: str = ".") -> pa.Array:
    """Cells as texts, never null: of texts the same, of numbers the fewest digits that give the same number."""
    if column is None:
        return _texts(cells, decimal)
    new = _new_texts(column, decimal)
    if column.new is None:
        return new
    dates = column.feature is not None and column.feature.type == "datetime"
    return pc.if_else(pa.array(column.new), new, _texts(batches.as_trained(cells, column.feature) if dates else cells, decimal))


def typed(cells: pa.Array | None, column: Column | None) -> pa.Array:
    """Cells in the type that they have, or of texts that are numbers, as numbers; in texts where that cannot hold what is new.
    The type depends on those of the cells and of the feature alone."""
    if cells is not None and pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if cells is not None and pa.types.is_string_view(cells.type):
        cells = cells.cast(pa.string())
    if column is None:
        return cells
    if cells is None or column.new is None or (batches.is_text(cells.type) and column.values.dtype.kind == "f"):
        return _plain(column)
    if not _holds(cells.type, column):
        return texts(cells, column)
    return pc.if_else(pa.array(column.new), _cast(column, cells.type), cells)


def values(cells: pa.Array | None, column: Column | None) -> list:
    """Cells as the values of JSON, None where one is missing."""
    found = typed(cells, column)
    if pa.types.is_decimal(found.type) or pa.types.is_duration(found.type):
        found = batches.plain(found)
    kind = found.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        whole = column is not None and column.feature is not None and column.feature.decimals == 0
        return [None if each is None or each != each else _number(each, whole) for each in found.to_pylist()]
    plain = pa.types.is_boolean(kind) or pa.types.is_null(kind) or batches.is_text(kind) or batches.plain(found) is None
    return found.to_pylist() if plain else texts(cells if column else found, column).to_pylist()


def _number(value: float, whole: bool) -> float | int:
    return int(value) if whole and abs(value) < EXACT and value == int(value) else value


def _texts(cells: pa.Array, decimal: str) -> pa.Array:
    if batches.is_text(cells.type):
        return pc.fill_null(cells.cast(pa.string()), "")
    if pa.types.is_dictionary(cells.type):
        return _texts(cells.dictionary_decode(), decimal)
    if pa.types.is_integer(cells.type):
        return pc.fill_null(cells.cast(pa.string()), "")
    plain = batches.plain(cells)
    if plain is None:
        dumped = (json.dumps(each, default=str, ensure_ascii=False) for each in cells.to_pylist())
        return pa.array(["" if each == "null" else each for each in dumped], pa.string())
    if pa.types.is_floating(plain.type):
        return _number_texts(batches.values(plain), decimal)
    return pc.fill_null(plain, "")


def _new_texts(column: Column, decimal: str) -> pa.Array:
    if column.values.dtype.kind not in "fiu":
        return pa.array(column.values.tolist(), pa.string())
    decimals = column.feature.decimals if column.feature else None
    if decimals is None:
        return _number_texts(column.values, decimal)
    rounded = np.round(np.nan_to_num(column.values), decimals + MORE) + 0.0  # no −0
    fixed = pa.array(np.char.mod(f"%.{decimals + MORE}f", rounded).tolist())
    fixed = pc.replace_substring_regex(fixed, f"{'' if decimals else '[.]?'}0{{1,{MORE}}}$", "")
    if decimal != ".":
        fixed = pc.replace_substring(fixed, ".", decimal)
    usual = np.abs(column.values) < EXACT  # NaN is not
    return pc.if_else(pa.array(usual), fixed, _number_texts(column.values, decimal))


def _number_texts(numbers: np.ndarray, decimal: str) -> pa.Array:
    """The fewest digits that give the same numbers; "" for NaN."""
    found = pc.fill_null(pa.array(numbers, from_pandas=True).cast(pa.string()), "")
    return found if decimal == "." else pc.replace_substring(found, ".", decimal)


def _plain(column: Column) -> pa.Array:
    """What is new in a column, in a type of its own."""
    if column.values.dtype.kind not in "fiu":
        return pa.array(column.values.tolist(), pa.string())
    return pa.array(_rounded(column), from_pandas=True)


def _rounded(column: Column) -> np.ndarray:
    decimals = column.feature.decimals if column.feature else None
    if decimals is None:
        return column.values
    rounded = np.round(column.values, decimals + MORE) + 0.0  # no −0
    return rounded if column.new is None else np.where(column.new, rounded, column.values)


def _holds(kind: pa.DataType, column: Column) -> bool:
    """Whether a type can hold what is new."""
    if column.feature is None or dtype(column.feature) == "float64":
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        return numeric or pa.types.is_duration(kind)
    if column.feature.type == "datetime" and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return True
    return batches.is_text(kind) or pa.types.is_boolean(kind)


def _cast(column: Column, kind: pa.DataType) -> pa.Array:
    """What is new in a column, in a type that holds it."""
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        times = seconds(column.values, column.feature.format)
        return pa.array(times, from_pandas=True).cast(pa.int64()).cast(pa.timestamp("s")).cast(kind)
    if pa.types.is_duration(kind):
        nanoseconds = pa.array(column.values * 1e9, from_pandas=True).cast(pa.int64(), safe=False)
        return nanoseconds.cast(pa.duration("ns")).cast(kind, safe=False)
    if column.values.dtype.kind == "f":
        numbers = _rounded(column)
        numbers = np.round(numbers) if pa.types.is_integer(kind) else numbers
        return pa.array(numbers, from_pandas=True).cast(kind, safe=False)
    cells = pa.array([each or None for each in column.values.tolist()], pa.string())
    return pc.equal(pc.utf8_lower(cells), "true") if pa.types.is_boolean(kind) else cells.cast(kind)
