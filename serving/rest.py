"""JSON of TensorFlow Serving's REST API to arrays and back: rows (`instances`) and columns (`inputs`)."""

import json

import numpy as np
import orjson

from serving.servable import Endpoint


class BadRequest(ValueError):
    """A request that cannot be answered as it stands; its text goes to the client."""


def parse(body: bytes) -> dict:
    """The JSON object of a request; NaN and Infinity tokens are taken as in TensorFlow Serving."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"JSON parse error: {error}") from None
    if not isinstance(request, dict):
        raise BadRequest(f"Expected a JSON object. Received: {type(request).__name__}.")
    if not isinstance(request.get("signature_name", ""), str):
        raise BadRequest(f"Expected 'signature_name' to be a string. Received: {request['signature_name']!r}.")
    if ("inputs" in request) == ("instances" in request):
        raise BadRequest("Expected exactly one of 'instances' (rows) and 'inputs' (columns).")
    return request


def arrays(request: dict, endpoint: Endpoint) -> dict[str, np.ndarray]:
    """The inputs of a parsed request as arrays of the endpoint's names, dtypes and shapes."""
    columns = _from_rows(request["instances"], endpoint) if "instances" in request else request["inputs"]
    if not isinstance(columns, dict):
        if len(endpoint.inputs) > 1:
            raise BadRequest(f"Expected an object with {', '.join(endpoint.inputs)}: this signature has several inputs.")
        columns = {next(iter(endpoint.inputs)): columns}
    if columns.keys() != endpoint.inputs.keys():
        raise BadRequest(f"Expected inputs {', '.join(endpoint.inputs)}. Received: {', '.join(columns) or 'none'}.")
    return {name: _array(name, columns[name], spec) for name, spec in endpoint.inputs.items()}


def response(outputs: dict[str, np.ndarray], request: dict) -> bytes:
    """The answer in the format of the question."""
    if "inputs" in request:
        return _dump({"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))})
    if len(outputs) == 1:
        return _dump({"predictions": next(iter(outputs.values()))})
    return _dump({"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]})


def error(message: str) -> bytes:
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})  # a lone surrogate has no UTF-8


def _from_rows(rows, endpoint: Endpoint):
    """Columns from rows; a row is an object by input name, or the bare value of a single input."""
    if not isinstance(rows, list) or not rows:
        raise BadRequest("Expected 'instances' to be a list with at least one row.")
    if not any(isinstance(row, dict) for row in rows):
        return rows
    names = list(endpoint.inputs)
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != endpoint.inputs.keys():
            received = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise BadRequest(f"Expected every instance to have {', '.join(names)}. Received: {received} in instance {number}.")
    return {name: [row[name] for row in rows] for name in names}


def _array(name: str, value, spec) -> np.ndarray:
    dtype = spec.dtype.as_numpy_dtype
    try:
        array = np.array(value)
        if array.dtype.kind not in ("iuf" if array.size else "iufO") or not np.can_cast(array.dtype, dtype, "same_kind"):
            raise BadRequest(f"Expected numbers of type {spec.dtype.name} for input {name}. Received: {_kind(array)}.")
        array = _exact(array, np.dtype(dtype), name)
    except BadRequest:
        raise
    except (ValueError, OverflowError) as problem:
        raise BadRequest(f"Expected a rectangular list of numbers for input {name}. Received: {problem}.") from None
    if not spec.shape.is_compatible_with(array.shape):
        raise BadRequest(f"Expected shape {tuple(spec.shape)} for input {name}. Received: {array.shape}.")
    return array


def _exact(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """`array` as `dtype`; integers that it cannot hold are refused, not wrapped around."""
    if dtype.kind == "i" and array.size:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if array.min() < low or array.max() > high:
            raise BadRequest(f"Expected integers in [{low}, {high}] for input {name}. Received: {array.min()} … {array.max()}.")
    return array.astype(dtype)


def _kind(array: np.ndarray) -> str:
    return {"U": "strings", "b": "booleans", "O": "a mixture", "f": "numbers with a fraction"}.get(
        array.dtype.kind, str(array.dtype)
    )


def _dump(answer: dict) -> bytes:
    # orjson writes NaN as null; TensorFlow Serving writes the tokens NaN and Infinity.
    if all(np.isfinite(array).all() for array in _leaves(answer)):
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY, default=np.ndarray.tolist)
    return json.dumps(answer, default=np.ndarray.tolist).encode()


def _leaves(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield np.asarray(value)
