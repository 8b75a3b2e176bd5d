"""Arrays over HTTP as they are: NumPy's `.npy` for one array and `.npz` for several, and the bytes of one picture."""

import functools
import io
import struct

import numpy as np

from serving.client import NPY, NPZ
from serving.servable import Endpoint
from serving.status import invalid

PNG = "image/png"


def takes(content_type: bytes) -> bool:
    """Whether bodies of this type are read here."""
    return content_type.lower().startswith((b"application/x-np", b"image/"))


def read(body: bytes, content_type: str, endpoint: Endpoint) -> dict[str, np.ndarray]:
    """The inputs of an endpoint from a body: an `.npy` or a picture where it has one input, else an `.npz` by their names.

    Floats are converted to the float type of the signature, integers to its integer type.

    Raises:
        RequestError: not of that format, or not what the signature takes.
    """
    content_type = content_type.lower()
    if content_type == NPZ:
        arrays = _arrays(body)
    elif content_type != NPY and not content_type.startswith("image/"):
        raise invalid(f"Expected {NPY}, {NPZ} or a picture. Received: {content_type}.")
    elif len(endpoint.inputs) > 1:
        raise invalid(f"Expected an .npz with {', '.join(endpoint.inputs)}. Received: {content_type}.")
    else:
        ((name, place),) = endpoint.inputs.items()
        if content_type != NPY and place.dtype != object:
            raise invalid(
                f"Expected a signature that takes files. Received: {content_type} for input {name}, {place.name}. "
                "Try ?signature_name= with one that ends in _bytes or _png."
            )
        arrays = {name: _array(body) if content_type == NPY else np.array([body], object)}
    if arrays.keys() != endpoint.inputs.keys():
        raise invalid(f"Expected inputs {', '.join(endpoint.inputs)}. Received: {', '.join(arrays) or 'none'}.")
    return {name: _converted(name, arrays[name], place.dtype) for name, place in endpoint.inputs.items()}


def write(outputs: dict[str, np.ndarray], accepted: str) -> tuple[bytes, str] | None:
    """The body and its content type: a picture where that is accepted and there is one, else arrays; None for texts."""
    arrays = list(outputs.values())
    if any(array.dtype.kind == "O" for array in arrays):
        wanted = PNG in accepted or "image/*" in accepted
        picture = wanted and len(arrays) == 1 and arrays[0].shape == (1,) and arrays[0][0].startswith(b"\x89PNG")
        return (arrays[0][0], PNG) if picture else None
    if len(arrays) == 1:
        return _opening(arrays[0].dtype, arrays[0].shape) + arrays[0].tobytes(), NPY
    file = io.BytesIO()
    np.savez(file, **outputs)
    return file.getvalue(), NPZ


def _converted(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "SU" and dtype.kind == "O":
        return np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array.astype(object)
    if array.dtype.kind == dtype.kind == "f":
        return array.astype(dtype)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if not array.size or (array.min() >= bounds.min and array.max() <= bounds.max):
            return array.astype(dtype)
        raise invalid(
            f"Expected integers in [{bounds.min}, {bounds.max}] for input {name}. Received: {array.min()} … {array.max()}."
        )
    raise invalid(f"Expected {dtype} for input {name}. Received: {array.dtype}.")


def _arrays(body: bytes) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as problem:  # zipfile and zlib have many
        raise invalid(f"Expected arrays as .npz. Received: {problem}.") from None


def _array(body: bytes) -> np.ndarray:
    try:
        dtype, shape, start = _header(body)
        return np.frombuffer(body, dtype, offset=start).reshape(shape)
    except (ValueError, struct.error, EOFError, TypeError, SyntaxError) as problem:
        raise invalid(f"Expected an array as .npy. Received: {problem}.") from None


def _header(body: bytes) -> tuple[np.dtype, tuple[int, ...], int]:
    length = int.from_bytes(body[8:10], "little") if body[6:7] == b"\x01" else int.from_bytes(body[8:12], "little")
    start = (10 if body[6:7] == b"\x01" else 12) + length
    if length > 10_000 or start > len(body):
        raise ValueError("a header that is cut short")
    dtype, shape = _parsed(body[:start])
    return dtype, shape, start


@functools.lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ValueError("Python objects" if dtype.hasobject else "columns first, where rows first are taken")
    return dtype, shape


@functools.lru_cache(maxsize=256)
def _opening(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return file.getvalue()
