"""The JSON of TensorFlow Serving's REST API, to arrays and back: rows (`instances`) and columns (`inputs`).

Almost all requests are lists of numbers in the shape that the signature declares, which simdjson converts directly to an array.
All others are parsed value by value, in `serving.rest.json_values`.
"""

import base64
import functools
import json
import math
from collections.abc import Callable

import numpy as np
import orjson
import simdjson

from serving.models.servable import Endpoint
from serving.rest.json_values import ParsedRequest, read_exactly
from serving.status import invalid

_NO_LAYOUT = b"0123456789.eE+- \t\n\r"  # without these, nested numbers are brackets and commas


def read(body: bytes, endpoint_of: Callable[[str], Endpoint]) -> ParsedRequest:
    """Parses the JSON body of a request.

    Args:
        endpoint_of: returns the endpoint for the name of a signature.

    Raises:
        RequestError: not JSON, or values that the signature does not take.
    """
    return _fast(body, endpoint_of) or read_exactly(body, endpoint_of)


def read_lists(body: bytes, endpoint_of: Callable[[str], Endpoint]) -> ParsedRequest | None:
    """As `read`, if the request is one list of numbers in the declared shape, which is parsed at hundreds of MB/s; None for
    all others."""
    return _fast(body, endpoint_of, alone=True)


def write(outputs: dict[str, np.ndarray], rows: bool) -> bytes:
    """The JSON body of a response, in rows or in columns, as the request.

    Raises:
        RequestError: outputs that cannot be split into rows.
    """
    if rows:
        _require_rows(outputs)
    values = {name: _writable(name, output) for name, output in outputs.items()}
    if len(values) == 1:
        (value,) = values.values()
    elif rows:
        value = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    else:
        value = values
    return _dumped({"predictions" if rows else "outputs": value}, all(map(_is_finite, outputs.values())))


# Fast parsing


def _fast(body: bytes, endpoint_of: Callable[[str], Endpoint], alone: bool = False) -> ParsedRequest | None:
    """Parses requests of numbers in the declared shapes, as most are; None for all others.

    Args:
        alone: whether to leave inputs that are sent by name, which are read one by one.
    """
    try:
        request = simdjson.Parser().parse(body)
        keys = list(request)  # to ask `request` for one that it lacks takes twenty times as long
        name = request["signature_name"] if "signature_name" in keys else ""
        rows = "instances" in keys
        if rows == ("inputs" in keys) or not isinstance(name, str):
            return None
        sent = request["instances" if rows else "inputs"]
        endpoint = endpoint_of(name)
        if isinstance(sent, simdjson.Object):
            values = None if rows or alone else _named(sent, endpoint)
        elif rows and isinstance(sent[0], simdjson.Object):
            values = None if alone else _named_rows(sent, endpoint)
        elif len(endpoint.inputs) == 1:
            ((key, spec),) = endpoint.inputs.items()
            values = {key: _numbers(sent, spec.dtype, spec.shape or (), body)}
        else:
            values = None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError):  # the last for integers of over 64 bits
        return None
    if values is None or any(value is None for value in values.values()):
        return None
    return ParsedRequest(endpoint, values, rows)


def _named(columns, endpoint: Endpoint) -> dict | None:
    if set(columns) != endpoint.inputs.keys():
        return None
    return {key: _numbers(columns[key], spec.dtype, spec.shape or ()) for key, spec in endpoint.inputs.items()}


def _named_rows(rows, endpoint: Endpoint) -> dict | None:
    columns: dict[str, list] = {key: [] for key in endpoint.inputs}
    for row in rows:
        if set(row) != endpoint.inputs.keys():
            return None
        for key, spec in endpoint.inputs.items():
            value = _numbers(row[key], spec.dtype, spec.shape[1:])
            if value is None:
                return None
            columns[key].append(value)
    return {key: np.stack(column) for key, column in columns.items()}


def _numbers(value, dtype: np.dtype, shape: tuple[int | None, ...], body: bytes | None = None) -> np.ndarray | None:
    """Numbers nested in lists of `shape`, as an array; None for anything else.

    Args:
        body: the whole JSON text, if it contains no other lists.
    """
    kind, inner = dtype.kind, shape[1:]
    if kind not in "if" or None in inner:
        return None
    if not shape:
        if type(value) is not int and (type(value) is not float or kind == "i"):
            return None
        return _cast(np.asarray(value), dtype)
    if not isinstance(value, simdjson.Array) or shape[0] not in (None, len(value)):
        return None
    count = len(value)
    flat = np.frombuffer(value.as_buffer(of_type="d" if kind == "f" else "i"), _WIDE[kind])
    if not count or len(flat) != count * math.prod(inner):
        return None
    if not (_nested(value, inner) if body is None else _laid_out(body, value, inner)):
        return None
    return _cast(flat, dtype, (count, *inner))


_WIDE = {"f": np.dtype("f8"), "i": np.dtype("i8")}


def _cast(array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...] = ()) -> np.ndarray | None:
    """The numbers in another type and shape; None if one is beyond the range of the type."""
    if dtype.kind == "i":
        bounds = np.iinfo(dtype)
        inside = array.min() >= bounds.min and array.max() <= bounds.max
        return array.astype(dtype).reshape(shape) if inside else None
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype).reshape(shape)
    except FloatingPointError:
        return None


def _nested(value, inner: tuple[int, ...]) -> bool:
    """Whether every element is nested in lists of shape `inner`."""
    if not inner:
        return not any(isinstance(element, simdjson.Array) for element in value)
    return all(isinstance(row, simdjson.Array) and len(row) == inner[0] and _nested(row, inner[1:]) for row in value)


def _laid_out(body: bytes, value: simdjson.Array, inner: tuple[int, ...]) -> bool:
    """The same from the brackets and commas of the whole body, which is faster than checking each element."""
    if len(inner) < 2:  # no lists but this one and its rows
        rows = value if inner else ()
        return body.count(b"[") == 1 + len(rows) and all(len(row) == inner[0] for row in rows)
    layout = b"[" + b",".join([_layout(inner)] * len(value)) + b"]"
    return body[body.find(b"[") : body.rfind(b"]") + 1].translate(None, _NO_LAYOUT) == layout


@functools.lru_cache(maxsize=64)
def _layout(inner: tuple[int, ...]) -> bytes:
    layout = b""
    for size in reversed(inner):
        layout = b"[" + b",".join([layout] * size) + b"]"
    return layout


# Writing


def _require_rows(outputs: dict[str, np.ndarray]) -> None:
    size = None
    for name, output in outputs.items():
        if not output.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(output) != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(output)} expecting: {size}")
        size = len(output)


def _writable(name: str, output: np.ndarray):
    """Values that orjson and json write as TensorFlow Serving does; bytes as base64 if the name ends in _bytes."""
    kind = output.dtype.kind
    if kind == "O":
        return _mapped(_as_base64 if name.endswith("_bytes") else _as_text, output.tolist())
    if kind == "f" and output.itemsize == 2:
        return output.astype("float32")
    if kind in "fiub":
        return output
    raise invalid(f"Failed to write JSON value for tensor type: {output.dtype.name}")


def _is_finite(output: np.ndarray) -> bool:
    return output.dtype.kind != "f" or bool(np.isfinite(output).all())


def _mapped(write: Callable, value):
    return [_mapped(write, part) for part in value] if isinstance(value, list) else write(value)


def _as_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _dumped(answer: dict, finite: bool) -> bytes:
    if finite:
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY, default=np.ndarray.tolist)
    return json.dumps(answer, default=_as_list).encode()  # orjson writes NaN and Infinity as null


def _as_list(array: np.ndarray) -> list:
    """A list of Python numbers with the shortest digits of the array's dtype: float32 0.1 stays 0.1."""
    return array.astype(str).astype(float).tolist() if array.dtype.kind == "f" else array.tolist()
