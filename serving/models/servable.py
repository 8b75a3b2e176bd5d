"""A loaded version of a model: its signatures, each with a batcher."""

import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.models import lite, schemas
from serving.models.batcher import Batcher, Limits, Task
from serving.models.serialized import INPUT, serialized
from serving.models.sessions import Session
from serving.quiet import tensorflow as tf
from serving.status import RequestError, invalid, request_error

WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_RECORDS = 1000  # at most, as in TensorFlow Serving


class Loading(NamedTuple):
    """How a version is loaded; the names are those of TensorFlow Serving's flags, `settings` those of the session."""

    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    saved_model_tags: tuple[str, ...] = ("serve",)
    prefer_tflite_model: bool = False
    enable_signature_method_name_check: bool = False
    settings: ConfigProto | None = None


class TensorSpec(NamedTuple):
    """One input or output of a signature: its NumPy dtype, TensorFlow's number for that, its shape, None if unknown, and
    whether it is a column of a table, in which values may be missing: NaN, or an empty text."""

    dtype: np.dtype
    number: int
    shape: tuple[int | None, ...] | None
    in_table: bool = False

    @property
    def name(self) -> str:
        """TensorFlow Serving's name of the dtype."""
        return {"float32": "float", "float64": "double", "float16": "half", "object": "string"}.get(
            self.dtype.name, self.dtype.name
        )

    def takes(self, value: np.ndarray) -> bool:
        """Whether the shape of a value fits."""
        if self.shape is None or (value.ndim and self.shape[:1] == (None,) and self.shape[1:] == value.shape[1:]):
            return True
        return len(self.shape) == value.ndim and all(
            size in (None, given) for size, given in zip(self.shape, value.shape, strict=True)
        )


class Endpoint(NamedTuple):
    """One signature: its inputs and outputs by name, in the order of its batcher."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    batcher: Batcher
    joins: bool  # whether every input and output has a batch axis
    method: str = ""  # TensorFlow Serving's name for what it does

    def task(self, values: dict[str, np.ndarray], done: Callable, wanted: Callable[[], bool]) -> Task:
        """A task for the batcher, from `values` by input name. With other shapes than declared it runs alone, and may fail."""
        ordered, alone = self._ordered(values)
        return Task(ordered, done, alone, wanted)

    def run(self, values: dict[str, np.ndarray], until: Callable | None = None) -> dict[str, np.ndarray]:
        """The outputs by name for `values` by name. Blocks; may be called from any thread.

        Args:
            until: is called with a function that cancels the run, for when nobody waits for the outputs any more.

        Raises:
            RequestError: the queue is full, the run was cancelled, or the model failed on the values.
        """
        try:
            outputs = self.batcher.run(*self._ordered(values), until)
        except Exception as error:
            raise self.request_error(error, values) from None
        return dict(zip(self.outputs, outputs, strict=True))

    def _ordered(self, values: dict[str, np.ndarray]) -> tuple[list[np.ndarray], bool]:
        """The values in the batcher's order, and whether they must run alone."""
        ordered = [values[name] for name in self.inputs]
        fit = self.joins and all(map(TensorSpec.takes, self.inputs.values(), ordered))
        return ordered, not fit or (len(ordered) > 1 and len(set(map(len, ordered))) > 1)

    def request_error(self, error: BaseException, values: dict[str, np.ndarray]) -> RequestError:
        """The error for the client; if `values` have shapes that the signature does not take, its message says so first."""
        problem = request_error(error)
        for name, spec in self.inputs.items():
            if not spec.takes(values[name]):
                expected = f"Expected shape {spec.shape} for input {name}. Received: {values[name].shape}. "
                return RequestError(problem.code, expected + problem.message)
        return problem


class Servable:
    """A loaded model version, whose endpoints may be used from any thread. It is closed with its last reference.

    Args:
        path: of the version, a SavedModel, or a TensorFlow Lite model if that is preferred.
        pool: runs the batches that no caller runs itself.
        limits: of the batches of each signature; None to join no requests.
        loading: how it is loaded.

    Raises:
        ValueError: too many warm-up records, or invalid ones.
        OSError, RuntimeError, tf.errors.OpError: not a model, or its warm-up failed.
    """

    def __init__(self, path: pathlib.Path, pool: Executor, limits: Limits | None, loading: Loading = Loading()):  # noqa: B008
        self.path, self.version, self.loading = path, int(path.name), loading
        if loading.prefer_tflite_model and (path / lite.FILE).exists():
            self._model = lite.Lite(path)
        else:
            self._model = Session(path, loading.saved_model_tags, loading.settings)
        self.signature_defs = SignatureDefMap(signature_def=self._model.signatures)
        self._columns = schemas.columns(path)
        self.endpoints = {
            name: self._endpoint(name, signature, pool, limits)
            for name, signature in self._model.signatures.items()
            if signature.inputs and signature.outputs
        }
        if loading.enable_model_warmup:
            self._warm_up(path / WARMUP)

    def _endpoint(self, name: str, signature: SignatureDef, pool: Executor, limits: Limits | None) -> Endpoint:
        inputs, outputs = (
            {key: tensor_spec(info, key in self._columns) for key, info in sorted(part.items())}
            for part in (signature.inputs, signature.outputs)
        )
        batched = all(spec.shape and spec.shape[0] is None for spec in (*inputs.values(), *outputs.values()))
        # Integers may be sizes or numbers of iterations, and a string, unless it is a cell, may hold a picture of any size.
        plain = all(spec.dtype.kind in "fb" or spec.in_table for spec in inputs.values())
        even = plain and not self._model.has_loops(name)
        call = self._model.call(name, list(inputs), list(outputs))
        batcher = Batcher(call, pool, limits or Limits(), even)
        return Endpoint(inputs, outputs, batcher, batched and limits is not None, signature.method_name)

    def _warm_up(self, path: pathlib.Path) -> None:
        if not path.exists():
            return
        for count, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            if count == WARMUP_RECORDS:
                raise ValueError(f"Expected at most {WARMUP_RECORDS} warm-up records. Received: more, in {path}.")
            for name, values in _warming(PredictionLog.FromString(record)):
                for _ in range(max(1, self.loading.num_request_iterations_for_warmup)):
                    self.endpoint(name).run(values)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of a signature; an empty name means `serving_default`.

        Raises:
            RequestError: no such signature.
        """
        endpoint = self.endpoints.get(name or "serving_default")
        if endpoint is None:
            raise invalid(
                f'Serving signature name: "{name or "serving_default"}" not found in signature def. '
                f"Expected one of {', '.join(sorted(self.endpoints))}."
            )
        return endpoint


def _warming(log: PredictionLog) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The signatures of a warm-up record, and their inputs."""
    kind = log.WhichOneof("log_type")
    request = getattr(getattr(log, kind or "", None), "request", None)
    if kind == "predict_log":
        yield request.model_spec.signature_name, {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
    elif kind in ("classify_log", "regress_log"):
        yield request.model_spec.signature_name, {INPUT: serialized(request.input)}
    elif kind == "multi_inference_log":
        for task in request.tasks:
            yield task.model_spec.signature_name, {INPUT: serialized(request.input)}


def tensor_spec(info, in_table: bool) -> TensorSpec:
    """An input or output of a signature as its `TensorInfo` in a SavedModel tells."""
    shape = tf.TensorShape(info.tensor_shape)
    dtype = np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
    shape = None if shape.rank is None else tuple(shape.as_list())
    return TensorSpec(dtype, info.dtype, shape, in_table and dtype.kind in "fO" and shape == (None,))
