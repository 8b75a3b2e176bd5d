"""Example requests: one valid row for every signature of a served model, for people to try."""

import base64
import functools
import io
import math
import pathlib
import zipfile

import numpy as np
import PIL.Image
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.models import inference
from serving.models.servable import WARMUP, Endpoint, Servable, TensorSpec
from serving.quiet import tensorflow as tf

SAMPLE = "assets.extra/sample.npz"  # data that an export stores with the model
LARGEST = 1 << 14  # greatest number of values in an example
DIGITS = 3  # decimals of a number in an example


def examples(servable: Servable) -> dict[str, dict]:
    """Requests by the name of their signature, without those of more than 16,384 numbers.

    A value is the first of the sample stored with the model, a picture file made from it, or one from the warm-up requests.
    Other values are 0, or 1 for single floats, such as a temperature.
    """
    return {
        verb: _request(verb, endpoint, servable.path) for verb, endpoint in servable.endpoints.items() if _is_short(endpoint)
    }


def _is_short(endpoint: Endpoint) -> bool:
    return sum(math.prod(size or 1 for size in spec.shape or ()) for spec in endpoint.inputs.values()) <= LARGEST


def _request(verb: str, endpoint: Endpoint, path: pathlib.Path) -> dict:
    in_bytes = endpoint.method in (inference.CLASSIFY, inference.REGRESS)
    inputs = {
        name: _as_json(_value(verb, name, spec, path), in_bytes or name.endswith("_bytes"))
        for name, spec in endpoint.inputs.items()
    }
    return {"signature_name": verb, "inputs": inputs}


def _value(verb: str, name: str, spec: TensorSpec, path: pathlib.Path) -> np.ndarray:
    sample, shape = _sample(path), [size or 1 for size in spec.shape or ()]
    known = sample.get(name, _png(sample["x"]) if name.endswith("_bytes") and "x" in sample else None)
    if known is not None and known.dtype.kind in {"O": "OSU"}.get(spec.dtype.kind, "biuf") and spec.takes(known):
        return known if spec.dtype.kind == "O" else known.astype(spec.dtype)
    if spec.dtype.kind == "O":
        warm = _warm(path)
        return warm.get((verb, name), warm.get(("", name), np.full(shape, b"", object)))
    return np.full(shape, len(shape) < 2 and spec.dtype.kind == "f", spec.dtype)


@functools.lru_cache(maxsize=64)  # a version on disk never changes
def _sample(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The first row `(1, …)` of every array of the sample; empty if there is none, or it cannot be read."""
    try:
        with np.load(path / SAMPLE) as arrays:
            rows = {name: arrays[name][:1] for name in arrays.files if arrays[name].ndim and len(arrays[name])}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}
    return {name: row / np.float32(255) if name == "x" and row.dtype == np.uint8 else row for name, row in rows.items()}


@functools.lru_cache(maxsize=64)
def _warm(path: pathlib.Path) -> dict[tuple[str, str], np.ndarray]:
    """The first row of the warm-up requests by signature and input name; under "" those of an input in any signature."""
    rows = {}
    try:
        for record in tf.data.TFRecordDataset(str(path / WARMUP)).as_numpy_iterator():
            request = PredictionLog.FromString(record).predict_log.request
            verb = request.model_spec.signature_name or "serving_default"
            values = {name: np.atleast_1d(tf.make_ndarray(tensor))[:1] for name, tensor in request.inputs.items()}
            rows |= {(of, name): value for name, value in values.items() for of in ("", verb)}
    except (tf.errors.OpError, DecodeError, ValueError, TypeError):
        pass  # no such file, or one that a server with warm-up refuses
    return rows


def _png(x: np.ndarray) -> np.ndarray | None:
    """A picture `(1, height, width, channels)` with values in [0, 1] as a PNG file, `(1,)`; None if x is not a picture."""
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.min() < 0 or x.max() > 1:
        return None
    levels, file = np.round(255 * x[0]).astype("uint8"), io.BytesIO()
    PIL.Image.fromarray(levels[..., 0] if x.shape[-1] == 1 else levels).save(file, "PNG")
    return np.array([file.getvalue()], object)


def _as_json(value: np.ndarray, in_bytes: bool):
    """The value in the form of a JSON request."""
    if value.dtype == "float64":  # a column of a table has the digits of the table
        return value.tolist()
    if value.dtype.kind == "f":
        return np.round(value.astype("float64"), DIGITS).tolist()
    if value.dtype.kind not in "OSU":
        return value.tolist()
    if in_bytes:
        return [{"b64": base64.b64encode(file).decode()} for file in value.ravel()]
    return [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in value.ravel()]
