"""gRPC with other clients: TensorFlow Serving's stubs, and one that knows only the wire format."""

import subprocess
import threading
import time

import grpc
import half_plus_two
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.process import Server


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return half_plus_two.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def socket(tmp_path_factory):
    return tmp_path_factory.mktemp("socket") / "grpc.sock"


@pytest.fixture(scope="module")
def server(directory, socket):
    flags = {"grpc_socket_path": socket, "grpc_channel_arguments": "grpc.max_connection_age_ms=600000,grpc.lb_policy_name=a"}
    with Server(directory, rest_api_port=-1, max_num_load_retries=0, **flags) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def _request(model="half_plus_two_tf2", signature="", version=None, **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(
            value if isinstance(value, tf.make_tensor_proto(0).__class__) else tf.make_tensor_proto(value)
        )
    return request


def _floats(*values) -> np.ndarray:
    return np.array(values, "float32")


def test_predict(prediction):
    response = prediction.Predict(_request(x=_floats(1, 2, 5)))
    assert response.outputs["y"].float_val == [2.5, 3.0, 4.5]  # as TensorFlow Serving gives them, unless it is told otherwise
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), _floats(2.5, 3, 4.5))
    assert response.model_spec.name == "half_plus_two_tf2" and response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"


def test_values_may_come_in_any_field(prediction):
    tensor = tf.make_tensor_proto(_floats(1))
    tensor.ClearField("tensor_content")
    del tensor.float_val[:]
    tensor.float_val.extend([1, 2])
    tensor.tensor_shape.dim[0].size = 2
    assert prediction.Predict(_request(x=tensor)).outputs["y"].float_val == [2.5, 3.0]
    tensor.tensor_shape.dim[0].size = 3  # the last value stands for the rest
    assert prediction.Predict(_request(x=tensor)).outputs["y"].float_val == [2.5, 3.0, 3.0]


def test_every_type_comes_back(prediction):
    several = prediction.Predict(_request(signature="several", x=_floats(1, 2), n=np.array([1, -2], "int32"))).outputs
    assert several["m"].int_val == [2, -1] and several["y"].float_val == [2.5, 3.0]
    assert prediction.Predict(_request(signature="negate", flag=[True, False])).outputs["flag"].bool_val == [False, True]
    text = prediction.Predict(_request(signature="echo", text=[b"a\xff", b""])).outputs
    assert text["text"].string_val == [b"a\xff", b""] and set(text) == {"text", "text_bytes"}
    assert tf.make_ndarray(prediction.Predict(_request(signature="total", x=_floats(1, 2))).outputs["total"]) == 3


def test_an_output_filter(prediction):
    request = _request(signature="several", x=_floats(1), n=np.array([1], "int32"))
    request.output_filter.append("m")
    assert set(prediction.Predict(request).outputs) == {"m"}


@pytest.mark.parametrize(
    ("request_", "code", "details"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (_request(model="", x=1.0, signature="x"), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (_request(model="nosuch"), "NOT_FOUND", "Servable not found for request: Latest(nosuch)"),
        (_request(version=9), "NOT_FOUND", "Servable not found for request: Specific(half_plus_two_tf2, 9)"),
        (_request(signature="nosuch"), "FAILED_PRECONDITION", 'Serving signature key "nosuch" not found.'),
        (_request(), "INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "),
        (
            _request(y=1.0),
            "INVALID_ARGUMENT",
            "input tensor alias not found in signature: y. Inputs expected to be in the set {x}.",
        ),
        (_request(x=np.array([1])), "INVALID_ARGUMENT", "Expected float32 for input x. Received: int64."),
        (_request(signature="strict", n=np.array([-1], "int32")), "INVALID_ARGUMENT", "assertion failed: [negative"),
        (_request(x=np.zeros((1, 1), "float32"), signature="total"), "INVALID_ARGUMENT", None),
    ],
)
def test_errors_have_their_codes(prediction, request_, code, details):
    if details is None:  # an unusual shape runs as it is
        assert tf.make_ndarray(prediction.Predict(request_).outputs["total"]) == 0
        return
    with pytest.raises(grpc.RpcError) as raised:
        prediction.Predict(request_)
    assert raised.value.code().name == code and details in raised.value.details()


def test_shapes_that_lie_are_refused(prediction):
    for sizes in ([3], [-1], [2**40], [2**31, 2**31, 2**31]):
        request = _request(x=_floats(1, 2))
        del request.inputs["x"].tensor_shape.dim[:]
        for size in sizes:
            request.inputs["x"].tensor_shape.dim.add(size=size)
        with pytest.raises(grpc.RpcError) as raised:
            prediction.Predict(request)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert prediction.Predict(_request(x=_floats(1))).outputs["y"].float_val == [2.5]


def test_an_unknown_output_is_refused(prediction):
    for names, details in (
        (["z"], "output tensor alias not found in signature: z"),
        (["y", "y"], "duplicate output tensor alias: y"),
    ):
        request = _request(x=_floats(1))
        request.output_filter.extend(names)
        with pytest.raises(grpc.RpcError, match=details):
            prediction.Predict(request)


# Serialized examples: classifier.cc, regressor.cc, multi_inference.cc


def _examples(request, *values, context=None, **spec):
    """The request with an example for each value of x, and what they have in common."""
    request.model_spec.name = "half_plus_two"
    for name, value in spec.items():
        setattr(request.model_spec, name, value)
    given = request.input.example_list if context is None else request.input.example_list_with_context
    if context is not None:
        given.context.features.feature["x"].float_list.value.append(context)
    for value in values:
        example = given.examples.add()
        if value is not None:
            example.features.feature["x"].float_list.value.append(value)
    return request


def test_classify(prediction):
    request = _examples(classification_pb2.ClassificationRequest(), 2.0, 4.0, signature_name="classify_x_to_y")
    response = prediction.Classify(request)
    scores = [[(each.label, each.score) for each in row.classes] for row in response.result.classifications]
    assert scores == [[("", 4.0)], [("", 5.0)]]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("half_plus_two", "classify_x_to_y", 2)


def test_regress_with_what_examples_have_in_common(prediction):
    request = _examples(regression_pb2.RegressionRequest(), 2.0, None, context=8.0, signature_name="regress_x_to_y")
    response = prediction.Regress(request)
    assert [row.value for row in response.result.regressions] == [4.0, 7.0]
    assert response.model_spec.version.value == 2


def test_several_signatures_on_the_same_examples(prediction):
    request = inference_pb2.MultiInferenceRequest()
    for method in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "half_plus_two", f"{method}_x_to_y"
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    regression, classification = prediction.MultiInference(request).results
    assert regression.regression_result.regressions[0].value == 4.0
    assert classification.classification_result.classifications[0].classes[0].score == 4.0
    assert [result.model_spec.signature_name for result in (regression, classification)] == [
        "regress_x_to_y",
        "classify_x_to_y",
    ]
    assert len(prediction.MultiInference(inference_pb2.MultiInferenceRequest()).results) == 0
    for field, value, code, details in (
        ("signature_name", "regress_x_to_y", "INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"),
        ("name", "other", "INVALID_ARGUMENT", "must access the same model name"),
        ("name", "", "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        ("method_name", "tensorflow/serving/predict", "UNIMPLEMENTED", "Unsupported signature method_name"),
    ):
        wrong = inference_pb2.MultiInferenceRequest.FromString(request.SerializeToString())
        setattr(wrong.tasks[1] if field == "method_name" else wrong.tasks[1].model_spec, field, value)
        with pytest.raises(grpc.RpcError) as raised:
            prediction.MultiInference(wrong)
        assert raised.value.code().name == code and details in raised.value.details()


@pytest.mark.parametrize(
    ("signature", "values", "code", "details"),
    [
        ("nosuch", [1.0], "INVALID_ARGUMENT", "No signature was found with the name: nosuch"),
        ("", [1.0], "INVALID_ARGUMENT", "No classification inputs found in SignatureDef: x"),
        ("regress_x_to_y", [1.0], "INVALID_ARGUMENT", 'to contain at least one of "classes" or "scores"'),
        ("classify_x_to_y", [], "INVALID_ARGUMENT", "Input is empty."),
        ("classify_x_to_y", [None], "INVALID_ARGUMENT", "Feature: x"),
    ],
)
def test_what_cannot_be_classified_is_refused(prediction, signature, values, code, details):
    with pytest.raises(grpc.RpcError) as raised:
        prediction.Classify(_examples(classification_pb2.ClassificationRequest(), *values, signature_name=signature))
    assert raised.value.code().name == code and details in raised.value.details()


# What else TensorFlow Serving's gRPC port has


def test_a_socket_answers_as_the_port_does(socket, server):
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(_request(x=_floats(2))).outputs["y"].float_val == [3.0]


def test_sessions_are_not_to_be_run(channel):
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_reflection_names_the_services_and_their_methods(channel):
    asked = reflection_pb2.ServerReflectionRequest
    requests = [asked(list_services=""), asked(file_containing_symbol="tensorflow.serving.PredictionService")]
    listed, file = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(requests))
    names = {service.name for service in listed.list_services_response.service}
    assert names >= {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health"}
    (described,) = map(FileDescriptorProto.FromString, file.file_descriptor_response.file_descriptor_proto[:1])
    methods = {method.name for service in described.service for method in service.method}
    assert methods >= {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"}


def test_traces_for_tensorboard(server, prediction, tmp_path):
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.02):
            prediction.Predict(_request(x=_floats(2)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        tf.profiler.experimental.client.trace(server.grpc, str(tmp_path), 300, num_tracing_attempts=5)
    finally:
        ended.set()
        thread.join()
    (trace,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    events = {data.name for plane in XSpace.FromString(trace.read_bytes()).planes for data in plane.event_metadata.values()}
    assert any("Run" in name for name in events), events


def test_a_trace_names_a_folder_and_a_time(channel):
    profile = channel.unary_unary("/tensorflow.ProfilerService/Profile")
    for duration, session in ((0, b"s"), (100, b""), (100, b".."), (100, b"a/b")):
        with pytest.raises(grpc.RpcError) as raised:
            profile(_field(1, duration) + _field(6, session))
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half_plus_two"
    response = prediction.GetModelMetadata(request)
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].dtype == tf.float32.as_datatype_enum
    for fields in ([], ["weights"]):
        request.metadata_field[:] = fields
        with pytest.raises(grpc.RpcError) as raised:
            prediction.GetModelMetadata(request)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_status_and_health(models, channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half_plus_two"
    (version,) = models.GetModelStatus(request).model_version_status
    assert (version.version, version.state) == (2, version.AVAILABLE)
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService", "half_plus_two"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="other"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_calls_at_the_same_time_get_their_own_answers(prediction):
    """Each waits for its own, whoever ran it and in which batch."""
    wrong, bad = [], []

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            x = rng.normal(size=rng.integers(1, 9)).astype("float32")
            y = tf.make_ndarray(prediction.Predict(_request(x=x)).outputs["y"])
            if not np.allclose(y, x / 2 + 2):
                wrong.append((x, y))
            n = rng.integers(-1, 5, 1).astype("int32")  # now and then one that fails, and must fail alone
            try:
                prediction.Predict(_request(signature="strict", n=n))
                failed = False
            except grpc.RpcError:
                failed = True
            bad.append(failed != (n[0] < 0))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not any(bad) and len(bad) == 400


def test_reload(channel, models, prediction, directory, tmp_path):
    def reload(*configs):
        request = model_management_pb2.ReloadConfigRequest()
        for name, base_path in configs:
            request.config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
        return models.HandleReloadConfigRequest(request)

    both = [("half_plus_two", directory / "half_plus_two"), ("half_plus_two_tf2", directory / "half_plus_two_tf2")]
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="other"), timeout=60)
    states = health_pb2.HealthCheckResponse
    assert next(watching).status == states.SERVICE_UNKNOWN
    try:
        assert reload(("other", directory / "half_plus_two_tf2")).status.error_code == 0
        assert states.SERVING in (answer.status for answer in watching)  # perhaps after NOT_SERVING
        watching.cancel()
        assert prediction.Predict(_request(model="other", x=_floats(2))).outputs["y"].float_val == [3.0]
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            prediction.Predict(_request(x=_floats(2)))
        for configs, code in (
            ([("m", "relative/path")], "INVALID_ARGUMENT"),
            ([("m", tmp_path), ("m", tmp_path)], "INVALID_ARGUMENT"),
            ([("nosuch", tmp_path / "nosuch")], "UNKNOWN"),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                reload(*configs)
            assert raised.value.code().name == code
    finally:
        reload(*both)
    assert prediction.Predict(_request(x=_floats(2))).outputs["y"].float_val == [3.0]


def _field(number: int, value: int | bytes) -> bytes:
    """A field as protocol buffers have it on the wire: a varint, or bytes of a length; both of less than 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def _fields(message: bytes) -> dict[int, list]:
    """The values of a message by their fields' numbers."""
    fields, at = {}, 0
    while at < len(message):
        number, kind, value, at = message[at] >> 3, message[at] & 7, message[at + 1], at + 2
        assert kind in (0, 2) and value < 128
        if kind == 2:
            value, at = message[at : at + value], at + value
        fields.setdefault(number, []).append(value)
    return fields


def test_a_client_that_knows_the_numbers_of_the_fields_alone(channel):
    """As tensorflow_serving/apis and tensorflow/core/framework have them, without the classes made from them."""

    def ask(method: str, message: bytes) -> dict[int, list]:
        return _fields(channel.unary_unary(f"/tensorflow.serving.{method}")(message))

    spec = _field(1, b"half_plus_two_tf2") + _field(2, _field(1, 1))
    floats, shape = np.array([1, 2, 5], "<f4").tobytes(), _field(2, _field(1, 3))
    tensor = _field(1, 1) + _field(2, shape) + _field(5, floats)
    answer = ask("PredictionService/Predict", _field(1, spec) + _field(2, _field(1, b"x") + _field(2, tensor)))
    assert _fields(answer[2][0]) == {1: [b"half_plus_two_tf2"], 2: [_field(1, 1)], 3: [b"serving_default"]}
    (output,) = map(_fields, answer[1])
    assert output[1] == [b"y"]
    y = _fields(output[2][0])
    assert (y[1], y[2]) == ([1], [shape]) and np.frombuffer(y[5][0], "<f4").tolist() == [2.5, 3.0, 4.5]
    (version,) = ask("ModelService/GetModelStatus", _field(1, spec))[1]
    assert _fields(version) == {1: [1], 2: [30], 3: [b""]}  # AVAILABLE, and no error


def test_deadlines_are_kept(prediction):
    start = time.perf_counter()
    with pytest.raises(grpc.RpcError) as raised:
        prediction.Predict(_request(signature="slow", iterations=np.array([20_000], "int32")), timeout=0.3)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.perf_counter() - start < 5


def test_tls(directory, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    config = tmp_path / "ssl.config"
    quoted = [path.read_text().replace("\n", "\\n") for path in (key, certificate)]
    config.write_text(f'server_key: "{quoted[0]}" server_cert: "{quoted[1]}"')
    with Server(directory, rest_api_port=-1, ssl_config_file=config) as server:
        with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(certificate.read_bytes())) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            assert predict(_request(x=_floats(2))).outputs["y"].float_val == [3.0]
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError):
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(_request(x=_floats(2)), timeout=5)
