"""JSON of TensorFlow Serving's REST API to arrays and back: rows (`instances`) and columns (`inputs`).

Almost every request is numbers in lists of the shape that the signature asks for: simdjson takes those straight to an array.
Whatever it does not take goes through `json`, value by value, with the rules and the words of TensorFlow Serving's
`json_tensor.cc`.
"""

import base64
import binascii
import functools
import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import orjson
import simdjson

from serving.servable import Endpoint, Place
from serving.status import Code, RequestError, invalid

SHOWN = 256  # characters of a value in an error
_NO_LAYOUT = b"0123456789.eE+- \t\n\r"  # what remains of nested numbers without these is brackets and commas


class Asked(NamedTuple):
    """A request that has been read: its endpoint, the inputs by name, and whether rows were sent."""

    endpoint: Endpoint
    values: dict[str, np.ndarray]
    rows: bool


def read(body: bytes, endpoint_of: Callable[[str], Endpoint]) -> Asked:
    """The request in a JSON body.

    Args:
        endpoint_of: gives the endpoint of a signature's name.

    Raises:
        RequestError: not JSON, or not what the signature takes.
    """
    return _fast(body, endpoint_of) or _exact(_parsed(body), endpoint_of)


def write(outputs: dict[str, np.ndarray], rows: bool) -> bytes:
    """The answer in the format of the question.

    Raises:
        RequestError: outputs that rows cannot have.
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


# The fast way


def _fast(body: bytes, endpoint_of) -> Asked | None:
    """The request, if it is what most are: numbers of the right shapes."""
    try:
        request = simdjson.Parser().parse(body)
        name = request["signature_name"] if "signature_name" in request else ""  # noqa: SIM401 - `get` takes four times as long
        rows = "instances" in request
        if rows == ("inputs" in request) or not isinstance(name, str):
            return None
        sent = request["instances" if rows else "inputs"]
        endpoint = endpoint_of(name)
        if isinstance(sent, simdjson.Object):
            values = None if rows else _named(sent, endpoint)
        elif rows and isinstance(sent[0], simdjson.Object):
            values = _named_rows(sent, endpoint)
        elif len(endpoint.inputs) == 1:
            ((key, place),) = endpoint.inputs.items()
            values = {key: _numbers(sent, place.dtype, place.shape or (), body)}
        else:
            values = None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError):  # the last for integers of over 64 bits
        return None
    if values is None or any(value is None for value in values.values()):
        return None
    return Asked(endpoint, values, rows)


def _named(columns, endpoint: Endpoint) -> dict | None:
    if set(columns) != endpoint.inputs.keys():
        return None
    return {key: _numbers(columns[key], place.dtype, place.shape or ()) for key, place in endpoint.inputs.items()}


def _named_rows(rows, endpoint: Endpoint) -> dict | None:
    columns: dict[str, list] = {key: [] for key in endpoint.inputs}
    for row in rows:
        if set(row) != endpoint.inputs.keys():
            return None
        for key, place in endpoint.inputs.items():
            value = _numbers(row[key], place.dtype, place.shape[1:])
            if value is None:
                return None
            columns[key].append(value)
    return {key: np.stack(column) for key, column in columns.items()}


def _numbers(value, dtype: np.dtype, shape: tuple[int | None, ...], body: bytes | None = None) -> np.ndarray | None:
    """Numbers nested as `shape` says, as an array; None if they are anything else.

    `body` is the text around them where there are no other lists in it.
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
    if not (_nested(value, inner) if body is None else _laid_out(body, count, inner)):
        return None
    return _cast(flat, dtype, (count, *inner))


_WIDE = {"f": np.dtype("f8"), "i": np.dtype("i8")}


def _cast(array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...] = ()) -> np.ndarray | None:
    if dtype.kind == "i" and (array.min() < (bounds := np.iinfo(dtype)).min or array.max() > bounds.max):
        return None
    return array.astype(dtype).reshape(shape)


def _nested(value, inner: tuple[int, ...]) -> bool:
    """Whether every element is nested as `inner` says."""
    if not inner:
        return not any(isinstance(element, simdjson.Array) for element in value)
    return all(isinstance(row, simdjson.Array) and len(row) == inner[0] and _nested(row, inner[1:]) for row in value)


def _laid_out(body: bytes, count: int, inner: tuple[int, ...]) -> bool:
    """The same, from the brackets and commas of the whole body, which is faster than a look at each element."""
    layout = b"[" + b",".join([_layout(inner)] * count) + b"]"
    return body[body.find(b"[") : body.rfind(b"]") + 1].translate(None, _NO_LAYOUT) == layout


@functools.lru_cache(maxsize=64)
def _layout(inner: tuple[int, ...]) -> bytes:
    layout = b""
    for size in reversed(inner):
        layout = b"[" + b",".join([layout] * size) + b"]"
    return layout


# The exact way


def _parsed(body: bytes) -> dict:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            request = json.loads(body)  # takes NaN, Infinity and -Infinity, as TensorFlow Serving does
        except (ValueError, RecursionError) as problem:
            raise invalid(f"JSON Parse error: {problem}" if body else "JSON Parse error: The document is empty") from None
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_shown(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid(f"JSON Value: {_shown(request)} not formatted correctly. 'signature_name' key must be a string value.")
    return request


def _exact(request: dict, endpoint_of) -> Asked:
    endpoint = endpoint_of(request.get("signature_name", ""))
    if "instances" in request and "inputs" in request:
        problem = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise invalid(f"JSON Value: {_shown(request)} {problem}")
    if "instances" in request:
        return Asked(endpoint, _from_rows(request, endpoint), True)
    if "inputs" in request:
        return Asked(endpoint, _from_columns(request["inputs"], endpoint), False)
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_rows(request: dict, endpoint: Endpoint) -> dict[str, np.ndarray]:
    rows = request["instances"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_shown(request)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {_shown(request)} No values in 'instances' array")
    if not _is_object(rows[0]) and len(endpoint.inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    columns: dict[str, list] = {name: [] for name in endpoint.inputs}
    for number, row in enumerate(rows):
        if named and not _is_object(row):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if not named and _is_object(row):
            raise invalid(f"Expecting value/list but got object at item {number} of input list")
        if named and row.keys() != endpoint.inputs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {_shown(row)} keys must be equal to: "
                f"{','.join(sorted(endpoint.inputs))}"
            )
        for name, column in columns.items():
            column.append(_element(row[name] if named else row, name, endpoint, number, column))
    return {name: np.stack(column) for name, column in columns.items()}


def _element(value, name: str, endpoint: Endpoint, number: int, before: list[np.ndarray]) -> np.ndarray:
    try:
        array = _array(value, endpoint.inputs[name])
        if before and before[0].size != array.size:
            raise invalid(f"Expecting tensor size: {before[0].size} but got: {array.size}")
        if before and before[0].shape != array.shape:
            raise invalid(f"Expecting shape {_listed(before[0].shape)} but got: {_listed(array.shape)}")
    except RequestError as problem:
        raise RequestError(
            problem.code, f"Failed to process element: {number} key: {name} of 'instances' list. Error: {problem.message}"
        ) from None
    return array


def _from_columns(columns, endpoint: Endpoint) -> dict[str, np.ndarray]:
    if not _is_object(columns):
        if len(endpoint.inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
            )
        columns = {next(iter(endpoint.inputs)): columns}
    for name in endpoint.inputs:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    if extra := sorted(columns.keys() - endpoint.inputs.keys()):
        raise invalid(f"Expected inputs {', '.join(endpoint.inputs)}. Received: {', '.join(extra)} besides.")
    return {name: _array(columns[name], place) for name, place in endpoint.inputs.items()}


def _array(value, place: Place) -> np.ndarray:
    """A JSON value, of any nesting, as an array of the type of `place`."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) > 254:
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < 255")
    leaves: list = []
    _fill(value, 0, shape, _converter(place), leaves)
    array = np.empty(len(leaves), place.dtype)
    array[:] = leaves
    return array.reshape(shape)


def _fill(value, level: int, shape: list[int], convert: Callable, leaves: list) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(convert(value))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    for element in value:
        _fill(element, level + 1, shape, convert, leaves)


def _converter(place: Place) -> Callable:
    kind = "none" if place.name in ("half", "bfloat16") else place.dtype.kind

    def refused(value):
        return invalid(f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {place.name}")

    def number(value):
        if type(value) not in (int, float):
            raise refused(value)
        try:
            return float(value)
        except OverflowError:
            raise refused(value) from None

    def integer(value):
        bounds = np.iinfo(place.dtype)
        if type(value) is not int or not bounds.min <= value <= bounds.max:
            raise refused(value)
        return value

    def boolean(value):
        if type(value) is not bool:
            raise refused(value)
        return value

    def text(value):
        if isinstance(value, dict):
            return _decoded(value)
        if not isinstance(value, str):
            raise refused(value)
        return value.encode("utf-8", "surrogatepass")

    def none(value):
        raise RequestError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {_shown(value)} to type: {place.name}")

    return {"f": number, "i": integer, "u": integer, "b": boolean, "O": text}.get(kind, none)


def _decoded(value: dict) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"].replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _is_base64(value) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _shown(value) -> str:
    return json.dumps(value)[:SHOWN]


def _kind(value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    return {dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def _listed(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


# Answers


def _require_rows(outputs: dict[str, np.ndarray]) -> None:
    size = None
    for name, output in outputs.items():
        if not output.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(output) != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(output)} expecting: {size}")
        size = len(output)


def _writable(name: str, output: np.ndarray):
    """What orjson and json write as TensorFlow Serving does: bytes as base64 where the name ends in _bytes."""
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
    return json.dumps(answer, default=_plain).encode()  # orjson writes NaN and Infinity as null


def _plain(array: np.ndarray) -> list:
    """A list of Python's numbers that are written as short as the array's own: 0.1 of 32 bits stays 0.1."""
    return array.astype(str).astype(float).tolist() if array.dtype.kind == "f" else array.tolist()
