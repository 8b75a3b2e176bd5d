"""Conversion and checks of all that users pass in: rows of numbers, integers, labels, texts."""

import decimal
import itertools
import math
import numbers
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

SHOWN = 40  # characters of a value in an error


def array(values: ArrayLike) -> np.ndarray | keras.KerasTensor:
    """Values as an array of numbers; tensors of the backend are returned as they are.

    It takes NumPy arrays, lists and generators of rows, columns and tables (pandas, Polars), sparse matrices (SciPy), and
    arrays of Python objects that are numbers.

    Raises:
        ValueError: rows of unequal shapes; text, dates, missing or masked values, complex numbers; sets and the like.
    """
    if is_tensor(values):
        return values
    if hasattr(values, "toarray"):
        values = values.toarray()
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif isinstance(values, Iterator):
        values = [*values]
    if np.ma.is_masked(values):
        raise _not_numbers("masked values", _first(np.ma.getmaskarray(values)))
    try:
        result = np.asarray(values)
    except ValueError:  # rows of unequal shapes
        result = _objects(values)
    if result.dtype == object:
        result = _of_objects(result)
    if result.dtype.kind not in "buif" and result.dtype.name != "bfloat16":
        received = f"{result.flat[0].item()!r:.{SHOWN}}" if result.size else str(result.dtype)
        raise _not_numbers(received, 0 if result.ndim else None)
    # Backends know no floats of more than 64 bits, and only the machine's byte order.
    dtype = np.dtype("float64") if result.dtype.kind == "f" and result.itemsize > 8 else result.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # infinity is refused later, where data must be finite
        return result.astype(dtype, copy=False)


def numpy(values: ArrayLike) -> np.ndarray:
    """As `array`, but tensors become arrays too."""
    values = array(values)
    return ops.convert_to_numpy(values) if is_tensor(values) else values  # which copies arrays


def is_tensor(values: Any) -> bool:
    """Whether values are a tensor of the backend, eager or symbolic."""
    return isinstance(values, keras.KerasTensor) or ops.is_tensor(values)


def is_dataset(values: Any) -> bool:
    """Whether values are not rows but yield batches, in a form that `keras.Model.fit` takes."""
    kinds = (keras.utils.PyDataset, Iterator)
    return isinstance(values, kinds) or hasattr(values, "element_spec") or hasattr(values, "batch_sampler")


def batch_inputs(batch: Any) -> Any:
    """The inputs of a batch of a data set, which may be a tuple of inputs, targets and weights."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def opened(x: Any, shape: tuple[int, ...]) -> tuple:
    """What Keras can train on, rows of `shape` or a data set of batches, and its first batch, or all rows.

    Whether an iterator yields rows or batches is decided by its first item.

    Raises:
        ValueError: as `rows`; a data set without batches.
    """
    if isinstance(x, Iterator):
        first = next(x, None)
        x = itertools.chain([] if first is None else [first], x)
        if first is not None and not _is_row(first, shape):
            return (batch if isinstance(batch, tuple) else (batch,) for batch in x), first
    elif is_dataset(x):
        first = x[0] if isinstance(x, keras.utils.PyDataset) else next(iter(x), None)
        if first is None:
            require_some([])
        return x, first
    x = rows(x, shape)
    return x, x


def _is_row(item, shape: tuple[int, ...]) -> bool:
    item = batch_inputs(item) if isinstance(item, tuple) else item
    return tuple(item.shape if hasattr(item, "shape") else np.shape(item)) == shape


def rows(x: ArrayLike, shape: tuple[int, ...]) -> np.ndarray | keras.KerasTensor:
    """`x` as rows `(B, *shape)`, 8-bit integers scaled to [0, 1] as float32, other numbers as they are; `[]` is zero rows.

    Raises:
        ValueError: as `array`; another shape.
    """
    x = array(x)
    received = tuple(x.shape)
    if received == (0,):
        return np.zeros((0, *shape), "float32")
    if received[1:] != shape or not received:
        hint = "x[None] for a single row" if received == shape else f"x.reshape({(-1, *shape)})"
        raise ValueError(f"Expected shape {('batch', *shape)}. Received: shape {received}. Try {hint}.")
    return scaled(x)


def scaled(x: np.ndarray | keras.KerasTensor) -> np.ndarray | keras.KerasTensor:
    """8-bit integers scaled to [0, 1] as float32; everything else as it is."""
    if isinstance(x, np.ndarray):
        return x / np.float32(255) if x.dtype == np.uint8 else x
    return ops.cast(x, "float32") / 255.0 if keras.backend.standardize_dtype(x.dtype) == "uint8" else x


def float_rows(x: ArrayLike, shape: tuple[int, ...]) -> keras.KerasTensor:
    """As `rows`, but a float32 tensor."""
    x = rows(x, shape)
    return ops.cast(ops.convert_to_tensor(x), "float32")


def require_some(x: Sized) -> None:
    """Raises ValueError if there are no rows."""
    if not len(x):
        raise ValueError("Expected at least one row to learn from. Received: no rows. Try more data.")


def integers(values: ArrayLike, low: int = -(2**31), high: int = 2**31 - 1) -> keras.KerasTensor:
    """`values` `(B,)` as int32; ValueError if they are not integers in [low, high]."""
    values = array(values)
    if not is_tensor(values):
        values = np.asarray(values, "int32") if values.shape == (0,) else values
        _require_integers(values, low, high)
    _require_column(values, "seed")
    return ops.convert_to_tensor(values, dtype="int32")


def labels(values: ArrayLike, classes: int, count: int | None = None) -> np.ndarray:
    """Class labels `(n,)` as int32; floats without a fraction are taken, and so is a column `(n, 1)`.

    Raises:
        ValueError: not numbers, not integers, outside [0, classes), or not `count` of them.
    """
    values = numpy(values)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim == 2:
        raise ValueError(f"Expected one label for each row, (n,). Received: shape {values.shape}. Try labels.argmax(axis=1).")
    _require_column(values, "label")
    if count is not None and len(values) != count:
        raise ValueError(f"Expected a label for each of {count:,} rows. Received: {len(values):,} labels.")
    with np.errstate(invalid="ignore"):
        wrong = ~((values >= 0) & (values < classes) & (values == np.floor(values)))  # NaN too
    if wrong.any():
        row = _first(wrong)
        raise ValueError(
            f"Expected labels in [0, {classes}). Received: {values[row]} in row {row}. "
            "Try numpy.unique(labels, return_inverse=True)[1], which numbers the classes from 0."
        )
    return values.astype("int32")


def targets(values: ArrayLike, count: int) -> np.ndarray:
    """Numbers to predict, `(n,)`, as float32; a column `(n, 1)` is taken too.

    Raises:
        ValueError: not finite numbers, or not `count` of them.
    """
    values = numpy(values)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (count,):
        raise ValueError(f"Expected one target for each row, of shape ({count},). Received: shape {values.shape}. Try y[:, 0].")
    with np.errstate(over="ignore"):
        values = values.astype("float32")
    if not np.isfinite(values).all():
        row = _first(~np.isfinite(values))
        raise ValueError(f"Expected finite targets. Received: {values[row]} in row {row}. Try leaving such rows out.")
    return values


def texts(values: Sequence[str]) -> list[str]:
    """Texts `(B,)` as a list, from a sequence, a generator, an array or a column.

    Raises:
        ValueError: a single text, or an element that is not one.
    """
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise ValueError(f"Expected a sequence of strings. Received: {values!r:.{SHOWN}}. Try [{str(values)[:SHOWN]!r}].")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"Expected a sequence of strings. Received: shape {tuple(values.shape)}. Try a single column.")
    values = [*values]
    row = next((row for row, text in enumerate(values) if not isinstance(text, str)), None)
    if row is not None:
        hint = "decoding it" if isinstance(values[row], bytes) else "leaving it out"
        raise ValueError(f"Expected strings. Received: {values[row]!r:.{SHOWN}} in row {row}. Try {hint}.")
    return values


def known_shape(encoder: keras.Model) -> tuple[int, ...]:
    """The shape of one input of a Keras model; ValueError if it is not known."""
    try:
        shape = tuple(encoder.input_shape[1:])
    except (AttributeError, ValueError):
        shape = None
    if not shape or None in shape:
        raise ValueError(
            f"Expected an encoder with a known input shape. Received: encoder={encoder!r} with shape {shape}. "
            "Try keras.Input((28, 28, 1)) as its first layer, or zoo.dense(widths, shape=(28, 28, 1))."
        )
    return shape


# Helpers


def _objects(values) -> np.ndarray:
    result = np.empty(len(values), object)
    result[:] = [*values]
    return result


def _of_objects(values: np.ndarray) -> np.ndarray:
    """The numbers, or rows of numbers, of an array of Python objects."""
    if values.ndim == 0:
        raise _not_numbers(f"{values[()]!r:.{SHOWN}}", None)
    if values.ndim == 1 and all(hasattr(value, "__len__") and not isinstance(value, (str, bytes, dict)) for value in values):
        return _stacked([numpy(value) for value in values])
    for place, value in enumerate(values.flat):
        if not isinstance(value, (numbers.Real, np.bool_, decimal.Decimal)):
            raise _not_numbers(f"{value!r:.{SHOWN}}", place // math.prod(values.shape[1:]))
    flat = np.array(values.ravel().tolist())  # NumPy infers their type again
    if flat.dtype == object:
        flat = flat.astype("float64")  # integers beyond 64 bits, fractions, decimals
    return flat.reshape(values.shape)


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    row = next((row for row, part in enumerate(parts) if part.shape != parts[0].shape), None)
    if row is not None:
        raise ValueError(
            f"Expected rows of one shape. Received: {parts[0].shape} in row 0, {parts[row].shape} in row {row}. "
            "Try truncating or padding them to one length."
        )
    return np.stack(parts)


def _not_numbers(received: str, row: int | None) -> ValueError:
    where = "" if row is None else f" in row {row}"
    return ValueError(
        f"Expected numbers. Received: {received}{where}. Try leaving out what is not a number, or filling in what is missing."
    )


def _require_integers(values: np.ndarray, low: int, high: int) -> None:
    if values.dtype.kind not in "iu":
        raise ValueError(f"Expected integers. Received: {values.dtype} of shape {values.shape}. Try [{max(low, 1)}].")
    wrong = (values < low) | (values > high)
    if wrong.any():
        row = _first(wrong)
        value = values.reshape(-1)[row]
        raise ValueError(f"Expected integers in [{low}, {high}]. Received: {value} in row {row}. Try {max(low, 1)}.")


def _require_column(values, name: str) -> None:
    if len(values.shape) != 1:
        hint = f"[{name}]" if not values.shape else f"{name}.reshape(-1)"
        raise ValueError(f"Expected one {name} for each row, (batch,). Received: shape {tuple(values.shape)}. Try {hint}.")


def _first(wrong: np.ndarray) -> int:
    """The first row in which anything is true."""
    return int(np.flatnonzero(wrong)[0]) // math.prod(wrong.shape[1:])
