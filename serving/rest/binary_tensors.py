"""Binary bodies over HTTP: NumPy's `.npy` for one array, `.npz` for several, and the bytes of one picture."""

import functools
import io
import math
import zipfile

import numpy as np

from serving.columns import NPY, NPZ, npz, scaled
from serving.models.servable import Endpoint
from serving.rest.bodies import Take, TooLarge
from serving.status import RequestError, invalid

PNG = "image/png"
DIRECTORY = 1 << 16  # bytes of the central directory of an .npz, some 900 arrays
END = 22  # bytes of the record that ends a zip file
ZIP64 = b"PK\x06\x07"


def takes(content_type: bytes) -> bool:
    """Whether this module reads bodies of this type."""
    return content_type.lower().startswith((b"application/x-np", b"image/"))


def read(body: bytes, content_type: str, endpoint: Endpoint, limit: int, take: Take) -> dict[str, np.ndarray]:
    """Reads the inputs of an endpoint from a body: an `.npy` or a picture for a single input, an `.npz` with all by name.

    Numbers are converted to the float type of the signature, 8-bit integers scaled to [0, 1]; integers to its integer type.

    Args:
        take: is called with the unpacked size of an `.npz` before it is unpacked.

    Raises:
        TooLarge: the arrays of an `.npz` have more than `limit` bytes.
        RequestError: another format, or arrays that the signature does not take; or from `take`.
    """
    content_type = content_type.lower()
    if content_type == NPZ:
        arrays = _arrays(body, endpoint, limit, take)
    elif content_type != NPY and not content_type.startswith("image/"):
        raise invalid(f"Expected {NPY}, {NPZ} or a picture. Received: {content_type}.")
    elif len(endpoint.inputs) > 1:
        raise invalid(f"Expected an .npz with {', '.join(endpoint.inputs)}. Received: {content_type}.")
    else:
        ((name, spec),) = endpoint.inputs.items()
        if content_type != NPY and spec.dtype != object:
            raise invalid(
                f"Expected a signature that takes files. Received: {content_type} for input {name}, {spec.name}. "
                "Try ?signature_name= with one that ends in _bytes or _png."
            )
        arrays = {name: _array(body) if content_type == NPY else np.array([body], object)}
    return {name: _converted(name, arrays[name], spec.dtype) for name, spec in endpoint.inputs.items()}


def write(outputs: dict[str, np.ndarray], accepted: str) -> tuple[bytes, str] | None:
    """A body and its content type: a picture if the output is one and it is accepted, else arrays; None for texts."""
    arrays = list(outputs.values())
    if any(array.dtype.kind == "O" for array in arrays):
        wanted = PNG in accepted or "image/*" in accepted
        picture = wanted and len(arrays) == 1 and arrays[0].shape == (1,) and arrays[0][0].startswith(b"\x89PNG")
        return (arrays[0][0], PNG) if picture else None
    if len(arrays) == 1:
        return _opening(arrays[0].dtype, arrays[0].shape) + arrays[0].tobytes(), NPY
    return npz(outputs), NPZ


def _converted(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "SU" and dtype.kind == "O":
        return np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array.astype(object)
    if array.dtype.kind in "buif" and dtype.kind == "f":
        return _floats(name, scaled(array), dtype)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if not array.size or (array.min() >= bounds.min and array.max() <= bounds.max):
            return array.astype(dtype)
        wrong = (array < bounds.min) | (array > bounds.max)
        row = np.argwhere(wrong)[0][0] if array.ndim else 0
        raise invalid(
            f"Expected integers in [{bounds.min}, {bounds.max}] for input {name}. Received: {array[wrong][0]} in row {row}."
        )
    raise invalid(f"Expected {dtype} for input {name}. Received: {array.dtype}.")


def _floats(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        floats = array.astype(dtype)
    wrong = np.isinf(floats) & np.isfinite(array)
    if wrong.any():
        row = np.argwhere(wrong)[0][0] if array.ndim else 0
        raise invalid(f"Expected numbers that {dtype} has for input {name}. Received: {array[wrong][0]:g} in row {row}.")
    return floats


def _arrays(body: bytes, endpoint: Endpoint, limit: int, take: Take) -> dict[str, np.ndarray]:
    try:
        _require_short_list(body)
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = _members(archive, endpoint)
            size = sum(member.file_size for member in members.values())
            if size > limit:
                raise TooLarge(limit, "Try several requests, or no compression.")
            take(size)
            return {name: _array(_content(archive, member)) for name, member in members.items()}
    except RequestError:
        raise
    except Exception as problem:  # zipfile and zlib raise many kinds
        raise invalid(f"Expected arrays as .npz. Received: {problem}.") from None


def _require_short_list(body: bytes) -> None:
    """Refuses a long central directory, which would take long to read; `zipfile` goes by the last record only."""
    end = body[-END:]
    if end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0" or body[-END - 20 : -END].startswith(ZIP64):
        raise ValueError("not a zip file, or one with a comment, or in zip64 format")
    if int.from_bytes(end[12:16], "little") > DIRECTORY:
        raise ValueError("too many arrays")


def _members(archive: zipfile.ZipFile, endpoint: Endpoint) -> dict[str, zipfile.ZipInfo]:
    """The members of the archive by input name; there must be exactly one for each input."""
    found = archive.infolist()
    members = {member.filename.removesuffix(".npy"): member for member in found}
    if members.keys() != endpoint.inputs.keys():
        raise invalid(f"Expected inputs {', '.join(endpoint.inputs)}. Received: {', '.join(members) or 'none'}.")
    if len(members) < len(found):
        raise ValueError("an array that is there twice")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in found):
        raise ValueError("a compression that NumPy does not write")
    return members


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return file.read(member.file_size)  # without a size, it would unpack everything and then truncate it


def _array(body: bytes) -> np.ndarray:
    try:
        dtype, shape, by_columns, start = _header(body)
        if math.prod(shape) * dtype.itemsize != len(body) - start:
            raise ValueError(f"{len(body) - start} bytes for the shape {shape} of {dtype}")
        if not math.prod(shape):
            return np.empty(shape, dtype)
        array = np.frombuffer(body, dtype, offset=start)
        return np.ascontiguousarray(array.reshape(shape[::-1]).T) if by_columns else array.reshape(shape)
    except Exception as problem:  # of any kind: the header is parsed as Python
        raise invalid(f"Expected an array as .npy. Received: {problem}.") from None


def _header(body: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    length = int.from_bytes(body[8:10], "little") if body[6:7] == b"\x01" else int.from_bytes(body[8:12], "little")
    start = (10 if body[6:7] == b"\x01" else 12) + length
    if length > 10_000 or start > len(body):
        raise ValueError("a truncated header")
    return *_parsed(body[:start]), start


@functools.lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[np.dtype, tuple[int, ...], bool]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{dtype} of shape {shape}")
    return dtype, shape, fortran


@functools.lru_cache(maxsize=256)
def _opening(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return file.getvalue()
