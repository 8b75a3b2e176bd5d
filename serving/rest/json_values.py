"""JSON parsed value by value, with the rules and error messages of TensorFlow Serving's `json_tensor.cc`.

It handles what the fast parsing in `serving.rest.json_tensors` does not: texts, base64, booleans, NaN, unusual shapes, and
errors.
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

from serving.models.servable import Endpoint, TensorSpec
from serving.status import Code, RequestError, invalid

SHOWN = 256  # characters of a value in an error message
DIGITS = 20  # of the longest 64-bit integer, with its sign; longer integers become floats, as in TensorFlow Serving
AXES = 63  # NumPy allows 64, one of which is for rows; TensorFlow Serving allows 254, and TensorFlow's operations some 8


class ParsedRequest(NamedTuple):
    """A parsed request: its endpoint, the inputs by name, and whether they were sent as rows."""

    endpoint: Endpoint
    values: dict[str, np.ndarray]
    rows: bool


def read_exactly(body: bytes, endpoint_of: Callable[[str], Endpoint]) -> ParsedRequest:
    """Parses any JSON body; see `json_tensors.read`.

    Raises:
        RequestError: not JSON, or values that the signature does not take.
    """
    request = parsed(body)
    endpoint = endpoint_of(request.get("signature_name", ""))
    if "instances" in request and "inputs" in request:
        problem = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise invalid(f"JSON Value: {_shown(request)} {problem}")
    if "instances" in request:
        return ParsedRequest(endpoint, _from_rows(request, endpoint), True)
    if "inputs" in request:
        return ParsedRequest(endpoint, _from_columns(request["inputs"], endpoint), False)
    raise invalid("Missing 'inputs' or 'instances' key")


def parsed(body: bytes) -> dict:
    """The object in the JSON body of a request.

    Raises:
        RequestError: not JSON, no object, or a `signature_name` that is no text.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            text = body.decode(json.detect_encoding(body), "surrogatepass").lstrip(" \t\n\r")
            request, _ = _LENIENT.raw_decode(text)  # passes over what comes after the value
        except (ValueError, RecursionError) as problem:
            raise invalid(f"JSON Parse error: {problem}" if body else "JSON Parse error: The document is empty") from None
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_shown(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid(f"JSON Value: {_shown(request)} not formatted correctly. 'signature_name' key must be a string value.")
    return request


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"Number too big to be stored in double: {text[:SHOWN]}")
    return number


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= DIGITS else _finite(text)


_LENIENT = json.JSONDecoder(parse_float=_finite, parse_int=_integer)  # accepts NaN and Infinity, as TensorFlow Serving


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
    for number, row in enumerate(rows):
        if named and not _is_object(row):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if not named and _is_object(row):
            raise invalid(f"Expecting value/list but got object at item {number} of input list")
        if named:
            _require_inputs(row, endpoint, number)
    return {name: _stacked([row[name] for row in rows] if named else rows, name, endpoint) for name in endpoint.inputs}


def _stacked(values: list, name: str, endpoint: Endpoint) -> np.ndarray:
    array = _single_values(values, endpoint.inputs[name])
    if array is not None:
        return array
    elements: list[np.ndarray] = []
    for number, value in enumerate(values):
        elements.append(_element(value, name, endpoint, number, elements))
    return np.stack(elements)


def _single_values(values: list, spec: TensorSpec) -> np.ndarray | None:
    """Values of which none is a list, if the input takes such, as an array; None if there is anything wrong with one."""
    if spec.shape != (None,):
        return None
    try:
        leaves = list(map(_converter(spec), values))
    except RequestError:
        return None
    array = np.empty(len(leaves), spec.dtype)
    array[:] = leaves
    return array


def _require_inputs(row: dict, endpoint: Endpoint, number: int) -> None:
    """Refuses a row that does not have the inputs of an endpoint; columns of a table that the model does not have are passed
    over."""
    missing, others = endpoint.inputs.keys() - row.keys(), row.keys() - endpoint.inputs.keys()
    if missing or (others and not _is_table(endpoint)):
        received = [f"{what}: {','.join(sorted(names))}." for what, names in (("Missing", missing), ("Also", others)) if names]
        raise invalid(
            f"Failed to process element: {number} of 'instances' list. JSON object: {_shown(row)} keys must be equal to: "
            f"{','.join(sorted(endpoint.inputs))}. {' '.join(received)}"
        )


def _is_table(endpoint: Endpoint) -> bool:
    return any(spec.in_table for spec in endpoint.inputs.values())


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
    arrays = {name: _column(columns[name], name, endpoint) for name in endpoint.inputs}
    if _is_table(endpoint) and len({array.shape[:1] for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{array.shape[0] if array.ndim else 'a single value'} of {name}" for name, array in arrays.items())
        raise invalid(f"Expected as many values in every column. Received: {sizes}.")
    return arrays


def _column(value, name: str, endpoint: Endpoint) -> np.ndarray:
    array = _single_values(value, endpoint.inputs[name]) if isinstance(value, list) else None
    if array is not None:
        return array
    try:
        return _array(value, endpoint.inputs[name])
    except RequestError as problem:
        if len(endpoint.inputs) == 1:
            raise
        message = f"Failed to process key: {name} of 'inputs' object. Error: {problem.message}"
        raise RequestError(problem.code, message) from None


def _array(value, spec: TensorSpec) -> np.ndarray:
    """A JSON value, nested to any depth, as an array of the type of `spec`."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) > AXES:
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {AXES + 1}")
    leaves: list = []
    _fill(value, 0, shape, _converter(spec), leaves)
    array = np.empty(len(leaves), spec.dtype)
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


@functools.lru_cache(maxsize=1024)
def _converter(spec: TensorSpec) -> Callable:
    kind = "none" if spec.name in ("half", "bfloat16") else spec.dtype.kind
    beyond = math.ldexp(2 - 2**-24, 127) if spec.dtype == "float32" else math.inf  # what is rounded to infinity

    def refused(value):
        return invalid(f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {spec.name}")

    def number(value):
        if type(value) not in (int, float):
            raise refused(value)
        found = float(value)
        if abs(found) >= beyond and math.isfinite(found):  # else Infinity itself was sent
            raise invalid(f"Cannot convert JSON value: {_shown(value)} to {spec.name} without loss of precision.")
        return found

    def integer(value):
        bounds = np.iinfo(spec.dtype)
        if type(value) is not int or not bounds.min <= value <= bounds.max:
            raise refused(value)
        return value

    def boolean(value):
        if type(value) is not bool:
            raise refused(value)
        return value

    def text(value):
        if isinstance(value, dict):
            return decoded(value)
        if not isinstance(value, str):
            raise refused(value)
        return value.encode("utf-8", "surrogatepass")

    def none(value):
        raise RequestError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {_shown(value)} to type: {spec.name}")

    convert = {"f": number, "i": integer, "u": integer, "b": boolean, "O": text}.get(kind, none)
    missing = math.nan if kind == "f" else b""
    return (lambda value: missing if value is None else convert(value)) if spec.in_table else convert


def decoded(value: dict) -> bytes:
    """The bytes of `{"b64": …}`.

    Raises:
        RequestError: another object, or no base64.
    """
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
    """The start of a value as JSON; it may be large or deep."""
    text = ""
    for part in json.JSONEncoder().iterencode(value):
        text += part
        if len(text) >= SHOWN:
            break
    return text[:SHOWN]


def _kind(value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    return {dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def _listed(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
