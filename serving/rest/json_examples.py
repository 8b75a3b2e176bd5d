"""The JSON of TensorFlow Serving's `:classify` and `:regress`: `examples` to serialized `tf.Example`s, and `results` back.

The rules are those of `json_tensor.cc`: numbers with a point or an exponent are floats, others and booleans are integers.
"""

import json
from typing import Any, NamedTuple

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow_serving.apis.input_pb2 import Input

from serving.models.inference import Classes
from serving.models.serialized import serialized
from serving.rest.json_values import decoded, parsed
from serving.status import invalid

_INTEGERS = 1 << 63


class ParsedExamples(NamedTuple):
    """The name of a signature, and serialized examples `(B,)`."""

    signature: str
    examples: np.ndarray


def read(body: bytes) -> ParsedExamples:
    """Parses the JSON body of a request.

    Raises:
        RequestError: not JSON, or values that no example has.
    """
    request = parsed(body)
    examples = request.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid(f"Expected 'examples', a list of objects with the features of each. Received: {_kind(examples)}.")
    sent = Input()
    if "context" in request:
        _fill(sent.example_list_with_context.context, request["context"])
        rows = sent.example_list_with_context.examples
    else:
        rows = sent.example_list.examples
    for example in examples:
        _fill(rows.add(), example)
    return ParsedExamples(request.get("signature_name", ""), serialized(sent))


def _fill(example: Example, values: Any) -> None:
    if not isinstance(values, dict):
        raise invalid(f"Example must be JSON object but got JSON {_kind(values)}")
    for name, value in values.items():
        feature = example.features.feature[_utf8(name).decode("utf-8", "replace")]
        for each in value if isinstance(value, list) else [value]:
            _add(feature, each, name)


def _add(feature: Feature, value: Any, name: str) -> None:
    if isinstance(value, (str, dict)):
        kind, value = "bytes_list", _utf8(value) if isinstance(value, str) else decoded(value)
    elif isinstance(value, float):
        kind = "float_list"
    elif isinstance(value, int):  # or a boolean
        kind = "int64_list"
        if not -_INTEGERS <= value < _INTEGERS:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_kind(value)}")
    if feature.WhichOneof("kind") not in (None, kind):
        raise invalid(f"Expected values of one type in feature {name}. Received: {feature.WhichOneof('kind')} and {kind}.")
    with np.errstate(over="ignore"):
        cast = {"float_list": np.float32, "int64_list": int, "bytes_list": bytes}[kind]
        getattr(feature, kind).value.append(cast(value))


def write_classes(classes: Classes) -> bytes:
    """The JSON of a classification: for each example a list of labels with their scores."""
    labels, scores = classes
    rows, count = (labels if scores is None else scores).shape
    texts = [[""] * count] * rows if labels is None else [[text.decode("utf-8", "replace") for text in row] for row in labels]
    numbers = np.zeros((rows, count), "float32") if scores is None else scores
    pairs = zip(texts, _shortest(numbers), strict=True)
    return _results([[list(pair) for pair in zip(*row, strict=True)] for row in pairs])


def write_numbers(numbers: np.ndarray) -> bytes:
    """The JSON of a regression: a number for each example."""
    return _results(_shortest(numbers))


def _results(results: list) -> bytes:
    return json.dumps({"results": results}, ensure_ascii=False).encode()


def _shortest(numbers: np.ndarray) -> list:
    """Python's numbers with the shortest digits of the array's dtype: float32 0.1 stays 0.1."""
    return numbers.astype(str).astype(float).tolist()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _kind(value: Any) -> str:
    return {dict: "Object", list: "Array", str: "String", bool: "Boolean", type(None): "Null"}.get(type(value), "Number")
