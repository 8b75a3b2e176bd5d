"""Rows of tables as people have them, to the columns of a signature, without TensorFlow or Keras.

They are read as in `zoo.rows`: a dict of columns, a pandas or Polars table, or a list of dicts; None, NaN and "" are missing,
and columns that the signature does not have are passed over.
"""

import datetime
import decimal
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 40  # characters of a value in an error


def columns(rows: Any, dtypes: Mapping[str, str], feature: Callable[[str], dict]) -> dict[str, np.ndarray]:
    """The columns `(n,)` of rows, in the order in which they are given: float64 with NaN, or texts with "".

    Args:
        dtypes: `float64` or `str`, by column.
        feature: what the model's schema says of a column; it is asked about dates and truth values.

    Raises:
        ValueError: a column that is missing; a value of the wrong type, with its row; columns of several lengths.
    """
    given = _columns(rows)
    absent = [name for name in dtypes if name not in given]
    if absent:
        raise ValueError(
            f"Expected the columns {', '.join(dtypes)}. Received: {', '.join(map(str, given)) or 'none'}, without "
            f"{', '.join(absent)}. Try adding {absent[0]!r}, with nothing but missing values if they are not known."
        )
    found = {name: _column(given[name], name, dtypes[name], feature) for name in given if name in dtypes}
    if len({len(column) for column in found.values()}) > 1:
        sizes = ", ".join(f"{len(column)} of {name}" for name, column in found.items())
        raise ValueError(f"Expected as many values in every column. Received: {sizes}. Try one value for each row.")
    return found


def _columns(rows: Any) -> Mapping[str, Any]:
    if isinstance(rows, Mapping):
        return rows
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # pandas, Polars
        return {name: rows[name] for name in rows.columns}
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        names = {name: None for row in rows for name in row}
        return {name: [row.get(name) for row in rows] for name in names}
    raise ValueError(
        f"Expected rows of a table: a dict of columns, a pandas or Polars table, or a list of dicts. Received: "
        f"{type(rows).__name__}. Try [{{'column': value, …}}]."
    )


def _column(values: Any, name: str, dtype: str, feature: Callable[[str], dict]) -> np.ndarray:
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif not isinstance(values, np.ndarray):
        values = np.array(values, object)  # NumPy would make texts of numbers among texts
    if values.ndim != 1:
        raise ValueError(f"Expected one value in each row of {name}. Received: shape {values.shape}. Try a single column.")
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    if dtype == "float64" and values.dtype.kind in "biuf":
        return values.astype("float64")
    read, missing = (_number, np.nan) if dtype == "float64" else (_text, "")
    found = [missing if _is_missing(value) else read(value, name, feature) for value in values.tolist()]
    if None in found:
        row = found.index(None)
        raise ValueError(
            f"Expected {'numbers' if dtype == 'float64' else 'texts'} in the column {name}. Received: "
            f"{values.tolist()[row]!r:.{SHOWN}} in row {row}. Try None if it is missing."
        )
    return np.array(found, dtype)


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _number(value: Any, _name: str, _feature: Callable) -> float | None:
    return float(value) if isinstance(value, numbers.Real | decimal.Decimal | np.bool_) else None


def _text(value: Any, name: str, feature: Callable[[str], dict]) -> str | None:
    if isinstance(value, bool):  # written as the classes are: true, True or TRUE
        return next((text for text in feature(name).get("classes", ()) if str(text).lower() == str(value).lower()), str(value))
    if isinstance(value, datetime.date) and "format" in feature(name):
        return value.strftime(feature(name)["format"])
    return value if isinstance(value, str) else None
