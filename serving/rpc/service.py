"""The gRPC front end: TensorFlow Serving's PredictionService and ModelService."""

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import grpc
import numpy as np
from google.protobuf.message import Message
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import metrics
from serving.models.configuration import checked
from serving.models.models import Models
from serving.models.servable import Endpoint, Servable, TensorSpec
from serving.models.steps import Steps
from serving.quiet import tensorflow as tf
from serving.rpc.calls import beside, handler, parsed
from serving.rpc.health import SERVICES
from serving.rpc.inference import Inference
from serving.rpc.specs import answered, model_of, wanted
from serving.status import Code, RequestError, invalid, request_error

LIMIT = (1 << 31) - 1  # greatest size of a message in bytes
LARGE = 1 << 18  # bytes of tensors that are copied as they are, above which threads take over from the event loop
QUICK = 1 << 14  # the same of tensors whose values are read or written one by one
_RAW = {np.dtype("float32"): 5, np.dtype("float64"): 6}  # fields of a TensorProto that are packed as the array is
_CONTENT = 4  # `tensor_content`
_VALUES = {"int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}


class Service:
    """The methods of both services, for `models`.

    Args:
        reload: is called with a new configuration, serialized.
        threads: do what would hold up the event loop.
        as_content: whether responses use `tensor_content` instead of `float_val` and the like.
    """

    def __init__(self, models: Models, reload: Callable[[bytes], None], threads: Executor, as_content: bool = False):
        self.models, self._reload, self.threads, self._as_content = models, reload, threads, as_content
        self._inference, self._steps = Inference(models), Steps()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The handlers of both services, for a `grpc.aio.Server`."""
        inference = self._inference
        prediction_service = {
            "Predict": handler(self._predict),
            "Classify": self._handler(inference.classify, classification_pb2.ClassificationRequest),
            "Regress": self._handler(inference.regress, regression_pb2.RegressionRequest),
            "MultiInference": self._handler(inference.infer, inference_pb2.MultiInferenceRequest),
            "GetModelMetadata": self._handler(self.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        model_service = {
            "GetModelStatus": self._handler(self.status, get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": self._handler(self.reload, model_management_pb2.ReloadConfigRequest),
        }
        return [
            grpc.method_handlers_generic_handler(name, methods)
            for name, methods in zip(SERVICES, (prediction_service, model_service), strict=True)
        ]

    def _handler(self, method: Callable, kind: type[Message]) -> grpc.RpcMethodHandler:
        def work(message: bytes, until: Callable) -> bytes:
            request = parsed(kind, message)
            with self._counted(request, method.__name__):
                return method(request, until).SerializeToString()

        return handler(functools.partial(beside, self.threads, work))

    @contextlib.contextmanager
    def _counted(self, request: Message, method: str) -> Iterator[None]:
        """Counts one call, with its latency."""
        start, code = time.perf_counter(), Code.OK
        try:
            yield
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        except Exception as error:
            code = request_error(error).code
            raise
        finally:
            if (name := model_of(request)) in self.models.names:
                metrics.record(name, method, "GRPC", code, time.perf_counter() - start)

    async def _predict(self, message: bytes) -> bytes:
        """A serialized PredictRequest to a serialized PredictResponse; what is small, in the event loop.

        Raises:
            RequestError: there is no such model, signature or input, or the model failed.
        """
        if len(message) >= LARGE:
            return await beside(self.threads, self._predict_blocking, message)
        request = parsed(predict_pb2.PredictRequest, message)
        if len(message) >= QUICK and not all(tensor.tensor_content for tensor in request.inputs.values()):
            return await beside(self.threads, self._predict_blocking, message)
        with self._counted(request, "predict"):
            servable, endpoint = self._asked(request)
            outputs = await self._steps.run(endpoint, _inputs(request, endpoint))
            if sum(array.nbytes for array in outputs.values()) < (LARGE if _are_raw(outputs) else QUICK):
                return self._response(request, servable, outputs)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.threads, self._response, request, servable, outputs)

    def _predict_blocking(self, message: bytes, until: Callable) -> bytes:
        request = parsed(predict_pb2.PredictRequest, message)
        with self._counted(request, "predict"):
            servable, endpoint = self._asked(request)
            return self._response(request, servable, endpoint.run(_inputs(request, endpoint), until))

    def _asked(self, request: predict_pb2.PredictRequest) -> tuple[Servable, Endpoint]:
        """The version and the signature that a request asks for."""
        servable = self.models.get(**wanted(request))
        signature = request.model_spec.signature_name or "serving_default"
        endpoint = servable.endpoints.get(signature)
        if endpoint is None:
            raise RequestError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        _require_outputs(request, endpoint)
        return servable, endpoint

    def _response(self, request: predict_pb2.PredictRequest, servable: Servable, outputs: dict[str, np.ndarray]) -> bytes:
        parts = _field(2, [answered(request.model_spec, servable).SerializeToString()])
        for name in list(request.output_filter) or outputs:
            parts += _field(1, _field(1, [name.encode()]) + _field(2, _tensor(outputs[name], self._as_content)))
        return b"".join(parts)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, _until: Callable
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a model."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.models.get(**wanted(request))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.version
        response.metadata["signature_def"].Pack(servable.signature_defs)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest, _until: Callable
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of a model's versions, newest first."""
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=self.models.status(**wanted(request)))

    def reload(
        self, request: model_management_pb2.ReloadConfigRequest, _until: Callable
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the configuration, in all workers.

        Raises:
            RequestError: it cannot be served.
        """
        try:
            config = checked(request.config)
        except ValueError as problem:
            raise invalid(str(problem)) from None
        self._reload(config.SerializeToString())
        return model_management_pb2.ReloadConfigResponse()


def _inputs(request: predict_pb2.PredictRequest, endpoint: Endpoint) -> dict[str, np.ndarray]:
    """Inputs by name; if they are not those of the signature, the errors have the words of `predict_util.cc`."""
    sent, known = set(request.inputs), set(endpoint.inputs)
    if len(sent) != len(known):
        sets = [",".join(sorted(names)) for names in (sent, known, sent - known, known - sent)]
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{sets[0]}}}) != len({{{sets[1]}}}). "
            f"Sent extra: {{{sets[2]}}}. Missing but required: {{{sets[3]}}}."
        )
    for name in sorted(sent - known):
        expected = ", ".join(sorted(known))
        raise invalid(f"input tensor alias not found in signature: {name}. Inputs expected to be in the set {{{expected}}}.")
    return {name: _array(name, request.inputs[name], spec) for name, spec in endpoint.inputs.items()}


def _require_outputs(request: predict_pb2.PredictRequest, endpoint: Endpoint) -> None:
    requested = list(request.output_filter)
    for number, name in enumerate(requested):
        if name not in endpoint.outputs:
            expected = ",".join(sorted(endpoint.outputs))
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{expected}}}."
            )
        if name in requested[:number]:
            raise invalid(f"duplicate output tensor alias: {name}")


def _array(name: str, tensor: TensorProto, spec: TensorSpec) -> np.ndarray:
    dtype = spec.dtype
    if tensor.dtype != spec.number:
        received = tf.as_dtype(tensor.dtype).name if tensor.dtype else "no type"
        raise invalid(f"Expected {dtype.name} for input {name}. Received: {received}.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > LIMIT:
        raise invalid(f"Expected a complete shape of at most {LIMIT} bytes for input {name}. Received: {shape}.")
    try:
        if tensor.tensor_content and not dtype.hasobject:
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        return tf.make_ndarray(tensor)
    except (ValueError, TypeError) as problem:
        raise invalid(f"Expected as many values as the shape of input {name} has. Received: {problem}.") from None


def _are_raw(outputs: dict[str, np.ndarray]) -> bool:
    """Whether outputs are written as they lie in memory."""
    return all(array.dtype in _RAW for array in outputs.values())


def _tensor(array: np.ndarray, as_content: bool) -> list:
    """The parts of a serialized TensorProto. The packed field of floats is the array's own bytes, without a copy."""
    tensor = TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    number = _CONTENT if array.dtype.kind == "c" or (as_content and array.dtype.kind != "O") else _RAW.get(array.dtype)
    if number is not None:
        return [tensor.SerializeToString(), *_field(number, [memoryview(np.ascontiguousarray(array)).cast("B")])]
    half = array.dtype.itemsize == 2 and array.dtype.kind not in "iu"
    field = "string_val" if array.dtype.kind == "O" else "half_val" if half else _VALUES.get(array.dtype.name, "int_val")
    getattr(tensor, field).extend((array.view("uint16") if half else array).ravel().tolist())
    return [tensor.SerializeToString()]


def _field(number: int, parts: list) -> list:
    """A length-delimited field of a serialized message, in parts; nothing is copied until they are joined."""
    size, length = [], sum(map(len, parts))
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return [bytes([number << 3 | 2, *size, length]), *parts]
