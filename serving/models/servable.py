"""A loaded SavedModel, run in a graph session, as in TensorFlow Serving."""

import functools
import pathlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.models import schemas
from serving.models.batcher import Batcher, Limits, Task
from serving.models.graphs import Operations
from serving.quiet import tensorflow as tf
from serving.status import RequestError, invalid, request_error

WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_RECORDS = 1000  # at most, as in TensorFlow Serving
LOOPS = {"While", "StatelessWhile", "NextIteration", "For", "PyFunc", "EagerPyFunc"}  # their time may depend on values


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
        return ordered, not fit or any(len(value) != len(ordered[0]) for value in ordered[1:])

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
        path: of the version, a SavedModel.
        pool: runs the batches that no caller runs itself.
        limits: of the batches of each signature.
        batching: whether requests are joined into batches.
        warm: whether to run the warm-up records of the model.

    Raises:
        ValueError: too many warm-up records, or invalid ones.
        OSError, tf.errors.OpError: not a SavedModel, or its warm-up failed.
    """

    def __init__(self, path: pathlib.Path, pool: Executor, limits: Limits, batching: bool = True, warm: bool = True):
        self.path, self.version = path, int(path.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config())
        with self._session.graph.as_default():
            graph_def = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        self.signature_defs = SignatureDefMap(signature_def=graph_def.signature_def)
        operations = Operations(graph_def.graph_def)
        self._columns = schemas.columns(path)
        self.endpoints = {
            name: self._endpoint(signature, pool, limits, batching, operations)
            for name, signature in graph_def.signature_def.items()
            if signature.inputs and signature.outputs
        }
        if warm:
            self._warm_up(path / WARMUP)

    def _endpoint(self, signature, pool: Executor, limits: Limits, batching: bool, operations: Operations) -> Endpoint:
        inputs, outputs = (
            {name: _tensor_spec(info, name in self._columns) for name, info in sorted(part.items())}
            for part in (signature.inputs, signature.outputs)
        )
        joins = batching and all(spec.shape and spec.shape[0] is None for spec in (*inputs.values(), *outputs.values()))
        feeds = [signature.inputs[name].name for name in inputs]
        fetches = [signature.outputs[name].name for name in outputs]
        # Integers may be sizes or numbers of iterations, and a string, unless it is a cell, may hold a picture of any size.
        plain = all(spec.dtype.kind in "fb" or spec.in_table for spec in inputs.values())
        even = plain and not LOOPS & operations.of(fetches)
        call = self._callable(feeds, fetches, [spec.dtype for spec in outputs.values()])
        return Endpoint(inputs, outputs, Batcher(call, pool, limits, even), joins)

    def _callable(self, feeds: list[str], fetches: list[str], dtypes: list[np.dtype]) -> Callable:
        # In the calling thread a small graph takes 29 µs; in the session's pool, with `make_callable`, 200 µs.
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = -1

        @functools.cache
        def made():  # on first use: making it takes longer than many runs
            return self._session._make_callable_from_options(options)

        def call(*values: np.ndarray) -> list[np.ndarray]:
            outputs = made()(*values)  # scalars are not arrays, and strings are bytes
            return [
                output if isinstance(output, np.ndarray) else np.array(output, dtype)
                for output, dtype in zip(outputs, dtypes, strict=True)
            ]

        return call

    def _warm_up(self, path: pathlib.Path) -> None:
        if not path.exists():
            return
        for count, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            if count == WARMUP_RECORDS:
                raise ValueError(f"Expected at most {WARMUP_RECORDS} warm-up records. Received: more, in {path}.")
            log = PredictionLog.FromString(record)
            if log.WhichOneof("log_type") == "predict_log":
                request = log.predict_log.request
                endpoint = self.endpoint(request.model_spec.signature_name)
                endpoint.run({name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()})

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


def config() -> tf.compat.v1.ConfigProto:
    """Session settings that make the first run of a signature short."""
    config = tf.compat.v1.ConfigProto()
    config.experimental.disable_thread_spinning = True
    # Nested functions, such as those that decode pictures, are slow to set up unless they are inlined.
    config.graph_options.optimizer_options.do_function_inlining = True
    # Without a GPU the graph optimizer gains little (nothing for convolutions, a tenth for small dense models), but takes a
    # quarter of a second for each signature.
    config.graph_options.rewrite_options.disable_meta_optimizer = not tf.config.list_physical_devices("GPU")
    return config


def _tensor_spec(info, in_table: bool) -> TensorSpec:
    shape = tf.TensorShape(info.tensor_shape)
    dtype = np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
    shape = None if shape.rank is None else tuple(shape.as_list())
    return TensorSpec(dtype, info.dtype, shape, in_table and dtype.kind in "fO" and shape == (None,))
