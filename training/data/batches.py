"""Columns of record batches as texts and numbers, whatever types they have in a file."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoo.columns import dtype, kept
from zoo.dates import expression, seconds_of
from zoo.schema import Feature, Schema

MISSING = (
    *("", "NA", "N/A", "n/a", "n.a.", "NaN", "nan", "-nan", "-NaN", "NULL", "Null", "null", "None", "?", "-", "--", "."),
    *("#N/A", "#N/A N/A", "#NA", "#VALUE!", "#DIV/0!", "<NA>", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
GROUPED = r"^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?$"
DATE, TIME = "%Y-%m-%d", "%Y-%m-%d %H:%M:%S"  # as which columns that have a type of dates are read
TRUTHS = {"true", "false"}


def read(batch: pa.RecordBatch, schema: Schema) -> dict[str, np.ndarray]:
    """The columns of a batch that a schema keeps, `(n,)` each.

    Columns of numbers are float64, NaN where a cell is missing or no number; other columns are texts without blanks around
    them, "" where a cell is missing. A column that the batch does not have is missing in every row; what the schema does not
    have or leaves out is not read.
    """
    decimal = decimal_sign(batch)
    return {name: _read(batch, name, feature, decimal) for name, feature in kept(schema).items()}


def _read(batch: pa.RecordBatch, name: str, feature: Feature, decimal: str) -> np.ndarray:
    place = batch.schema.get_field_index(name)
    column = plain(_as_trained(batch.column(place), feature)) if place >= 0 else None
    if dtype(feature) == "float64":
        if column is None:
            return np.full(batch.num_rows, np.nan)
        return values(column if pa.types.is_floating(column.type) else numbers(present(column), decimal))
    if column is None:
        return np.full(batch.num_rows, "", object)
    if pa.types.is_floating(column.type):  # a whole number is written without a point
        cells = values(column)
        return np.array(["" if np.isnan(cell) else repr(cell).removesuffix(".0") for cell in cells.tolist()], object)
    texts = pc.fill_null(present(column), "").to_numpy(zero_copy_only=False)
    truths = {str(each).lower(): each for each in feature.classes or ()}
    if truths.keys() == TRUTHS:  # written as true, True or TRUE
        return np.array([truths.get(text.lower(), text) for text in texts.tolist()], object)
    return texts


def no_numbers(batch: pa.RecordBatch, columns: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many cells of columns of numbers, which `read` gave, are there but are no numbers; without those where none is."""
    found = {}
    for name, numbers in columns.items():
        cells = plain(batch.column(name))
        if numbers.dtype.kind == "f" and cells is not None and is_text(cells.type):
            found[name] = int((np.isnan(numbers) & present(cells).is_valid().to_numpy(zero_copy_only=False)).sum())
    return {name: count for name, count in found.items() if count}


def _as_trained(column: pa.Array, feature: Feature) -> pa.Array:
    """A column of dates as the file had them that the feature is of, as 31.12.2024, and one of booleans, if it had 0 and 1."""
    kind = column.type
    if feature.type == "datetime" and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return pc.strftime(_in_seconds(column), format=feature.format)
    return column.cast(pa.float64()) if pa.types.is_boolean(kind) and dtype(feature) == "float64" else column


def _in_seconds(column: pa.Array) -> pa.Array:
    return column.cast(pa.timestamp("s", getattr(column.type, "tz", None)), safe=False).cast(pa.timestamp("s"))


def decimal_sign(batch: pa.RecordBatch) -> str:
    """The decimal sign of the numbers in a batch of texts."""
    return (batch.schema.metadata or {}).get(b"decimal", b".").decode()


def plain(column: pa.Array) -> pa.Array | None:
    """A column as texts or as float64; None if it is of a type that is neither, such as lists and bytes."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):  # 0.1 as 0.1, not as 0.10000000149011612
        return column.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_duration(kind):
        return pc.multiply(column.cast(pa.duration("ns"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e-9)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return pc.strftime(_in_seconds(column), format=DATE if pa.types.is_date(kind) else TIME)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_time(kind) or is_text(kind):
        return column.cast(pa.string())
    return None


def is_text(kind: pa.DataType) -> bool:
    """Whether a type of Arrow is one of texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def present(texts: pa.StringArray) -> pa.StringArray:
    """Texts without blanks around them, null where they are one of the words MISSING."""
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(trimmed, pa.array(MISSING)), pa.scalar(None, pa.string()), trimmed)


def numbers(texts: pa.StringArray, decimal: str = ".") -> pa.DoubleArray:
    """The numbers that texts without blanks are, null for other texts; their thousands may be grouped, as in 1,234.5."""
    if decimal != ".":
        swapped = pc.replace_substring(pc.replace_substring(texts, ".", "_"), decimal, ".")
        texts = pc.replace_substring(swapped, "_", ",")
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        texts = pc.if_else(pc.match_substring_regex(texts, GROUPED), pc.replace_substring(texts, ",", ""), texts)
        matched = pc.match_substring_regex(texts, NUMBER)
        return pc.if_else(matched, texts, pa.scalar(None, pa.string())).cast(pa.float64())


def values(column: pa.DoubleArray) -> np.ndarray:
    """float64 `(n,)`; NaN for null and for infinity, which 1e400 is read as."""
    found = column.to_numpy(zero_copy_only=False)
    return found if np.isfinite(found).all() else np.where(np.isfinite(found), found, np.nan)


def seconds(texts: pa.StringArray, form: str) -> np.ndarray:
    """Seconds since 1970-01-01 UTC, float64 `(n,)`, of texts without blanks; NaN for those that do not have the form."""
    pattern, parts = expression(form)
    found = pc.extract_regex(texts, f"^{pattern}$").flatten()  # null where it does not match
    numbers = (each.cast(pa.float64()).to_numpy(zero_copy_only=False) for each in found)
    return seconds_of(dict(zip(parts, numbers, strict=True)), np)
