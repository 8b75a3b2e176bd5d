"""Arrays between client and server: their formats, and the conversion of what users pass, without TensorFlow or Keras."""

import io
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

NPY, NPZ = "application/x-npy", "application/x-npz"  # content types of one array, and of several by name
DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_INT32": "int32", "DT_INT64": "int64", "DT_STRING": "str"}


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as NumPy's `.npz`; `numpy.savez` does not take every name.

    Raises:
        ValueError: an array of Python objects.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return made.getvalue()


def scaled(array: np.ndarray) -> np.ndarray:
    """8-bit integers scaled to [0, 1] as float32, as in the zoo; everything else as it is."""
    return array / np.float32(255) if array.dtype == np.uint8 else array


def column(name: str, value: ArrayLike, tensor: dict) -> np.ndarray:
    """A value as the array of an input, converted to its type if that is a float; `[]` is zero rows."""
    array, kind = _array(value), DTYPES[tensor["dtype"]]
    kinds = "U" if kind == "str" else "buif"
    if array.size and array.dtype.kind not in kinds:
        flat = array.reshape(-1).tolist()
        index = next((index for index, value in enumerate(flat) if np.asarray(value).dtype.kind not in kinds), 0)
        raise ValueError(
            f"Expected {'strings' if kind == 'str' else 'numbers'} for {name}. Received: {flat[index]!r:.40} in row "
            f"{index * len(array) // len(flat) if array.ndim else 0}. Try leaving it out."
        )
    if array.shape == (0,):
        array = np.zeros((0, *no_rows(tensor)[1:]), kind)
    # Floats are shorter in JSON as float32; integers are checked by the server.
    return scaled(array).astype(kind) if kind.startswith("float") else array


def _array(value) -> np.ndarray:
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    elif isinstance(value, Iterator):
        value = [*value]
    if np.ma.is_masked(value):
        raise ValueError("Expected no masked values. Received: some. Try filling them in.")
    array = np.asarray(value, order="C")
    if array.dtype != object:
        return array
    found = np.array(array.tolist())  # NumPy infers the type again; numbers among texts would become texts
    mixed = found.dtype.kind == "U" and not all(isinstance(element, str) for element in array.flat)
    return array if mixed else found


def no_rows(tensor: dict) -> tuple[int, ...]:
    """The shape of zero rows of a tensor in the metadata."""
    return tuple(max(int(dim["size"]), 0) for dim in tensor["tensor_shape"]["dim"])
