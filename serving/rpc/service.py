"""The gRPC front end: TensorFlow Serving's PredictionService and ModelService, and the standard health service."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving import metrics
from serving.models.models import Models
from serving.models.servable import Endpoint, TensorSpec
from serving.quiet import tensorflow as tf
from serving.rpc.authentication import Authentication
from serving.status import Code, RequestError, invalid, request_error
from serving.tokens import Tokens

SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
THREADS = 64  # concurrent calls; most of them wait for the model
LIMIT = (1 << 31) - 1  # greatest size of a message in bytes
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_RAW = {np.dtype("float32"): 5, np.dtype("float64"): 6}  # fields of a TensorProto that are packed as the array is
_CONTENT = 4  # `tensor_content`
_VALUES = {"int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}


class Service:
    """The methods of both services, for `models`.

    Args:
        reload: is called with a new configuration; None if reloading is not possible.
        as_content: whether responses use `tensor_content` instead of `float_val` and the like.
    """

    def __init__(self, models: Models, reload: Callable | None, as_content: bool = False):
        self._models, self._reload, self._as_content = models, reload, as_content

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The handlers of both services, for a `grpc.Server`."""
        predict, metadata, status, management = predict_pb2, get_model_metadata_pb2, get_model_status_pb2, model_management_pb2
        prediction_service = {
            "Predict": self._handler(self.predict, predict.PredictRequest, bytes),
            "GetModelMetadata": self._handler(self.metadata, metadata.GetModelMetadataRequest),
        }
        model_service = {
            "GetModelStatus": self._handler(self.status, status.GetModelStatusRequest),
            "HandleReloadConfigRequest": self._handler(self.reload, management.ReloadConfigRequest),
        }
        return [
            grpc.method_handlers_generic_handler(name, methods)
            for name, methods in zip(SERVICES, (prediction_service, model_service), strict=True)
        ]

    def _handler(self, method: Callable, request: type, serializer: Callable | None = None):
        def answer(message, context: grpc.ServicerContext):
            start, code = time.perf_counter(), Code.OK
            try:
                return method(message, context.add_callback)
            except Exception as error:
                problem = request_error(error)
                code = problem.code
                context.abort(_CODES[code], problem.message)
            finally:
                name = getattr(getattr(message, "model_spec", None), "name", None)
                if name in self._models.names:
                    metrics.record(name, method.__name__, "GRPC", code, time.perf_counter() - start)

        serializer = serializer or (lambda response: response.SerializeToString())
        return grpc.unary_unary_rpc_method_handler(answer, request.FromString, serializer)

    def predict(self, request: predict_pb2.PredictRequest, until: Callable) -> bytes:
        """Runs a signature; returns a serialized PredictResponse.

        Args:
            until: as in `Endpoint.run`; a call that was cancelled does not run.

        Raises:
            RequestError: there is no such model, signature or input, or the model failed.
        """
        spec = request.model_spec
        servable = self._models.get(**_wanted(request))
        signature = spec.signature_name or "serving_default"
        endpoint = servable.endpoints.get(signature)
        if endpoint is None:
            raise RequestError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        values = _inputs(request, endpoint)
        _require_outputs(request, endpoint)
        outputs = endpoint.run(values, until)
        answered = ModelSpec(name=spec.name, signature_name=signature)
        answered.version.value = servable.version
        parts = _field(2, [answered.SerializeToString()])
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
        servable = self._models.get(**_wanted(request))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.version
        response.metadata["signature_def"].Pack(servable.signature_defs)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest, _until: Callable
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of a model's versions, newest first."""
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=self._models.status(**_wanted(request)))

    def reload(
        self, request: model_management_pb2.ReloadConfigRequest, _until: Callable
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the configuration."""
        if self._reload is None:
            raise RequestError(
                Code.UNIMPLEMENTED,
                "Expected one worker: a request reaches only one process. Received: several. Try --model_config_file with "
                "--model_config_file_poll_wait_seconds, which all workers follow.",
            )
        self._reload(request.config)
        return model_management_pb2.ReloadConfigResponse()


def start(
    service: Service,
    address: str,
    credentials: grpc.ServerCredentials | None,
    shared: bool,
    tokens: Tokens | None = None,
) -> grpc.Server:
    """Starts a gRPC server at `address`.

    Args:
        shared: whether other processes listen on the same port.
        tokens: one of which every call must have.

    Raises:
        ValueError: the port is taken.
    """
    options = [
        ("grpc.max_receive_message_length", LIMIT),
        ("grpc.max_send_message_length", LIMIT),
        ("grpc.so_reuseport", int(shared)),
    ]
    interceptors = [Authentication(tokens)] if tokens else []
    server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"), options=options, interceptors=interceptors)
    checks = health.HealthServicer()
    for name in ("", "PredictionService", "ModelService", *SERVICES):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_generic_rpc_handlers(service.handlers())
    try:
        server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        raise ValueError(f"Expected a free port for gRPC. Received: {address}. Try --port=0.") from None
    server.start()
    return server


def _wanted(request) -> dict:
    """Name, version and label of a request, the arguments of `Models.get`."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return {"name": spec.name, "version": version, "label": spec.version_label if choice == "version_label" else None}


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
