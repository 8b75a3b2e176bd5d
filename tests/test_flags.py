"""The flags of `serve`: each of TensorFlow Serving's is known, and works or says that it has no effect."""

import pathlib

import grpc
import half_plus_two
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.__main__ import WITHOUT_EFFECT, main
from serving.models.configuration import session
from serving.options import Options
from serving.process import Server
from serving.rpc.server import channel_arguments

# Those of main.cc
FLAGS = {
    "port",
    "grpc_socket_path",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support",
    "enable_batching",
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "model_base_path",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "use_alts_credentials",
    "ssl_config_file",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "saved_model_tags",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
    "version",
    "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "enable_profiler",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
}


def test_every_flag_of_tensorflow_serving_is_known():
    assert {*Options._fields, *WITHOUT_EFFECT, "version"} >= FLAGS
    assert not {*Options._fields} & {*WITHOUT_EFFECT}


def _main(capsys, *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(["serve", *arguments])
    except SystemExit as exit_:  # of the parser
        code = exit_.code
    output = capsys.readouterr()
    return code, output.out, output.err


def test_flags_without_an_effect_say_so_and_unknown_ones_are_refused(capsys):
    code, _, words = _main(capsys, "--flush_filesystem_caches=false", "--skip_initialize_tpu", "--model_base_path=/nosuch")
    assert code == 2 and "Expected a directory of versions" in words
    lines = [line for line in words.splitlines() if "has no effect: " in line]
    assert [line.split()[0] for line in lines] == ["--flush_filesystem_caches", "--skip_initialize_tpu"]
    for unknown in ("--flush_filesystem_cache", "--nosuch=1"):  # the beginning of a flag is no flag
        code, _, words = _main(capsys, unknown, "--model_base_path=/nosuch")
        assert code == 2 and "unrecognized arguments" in words


def test_an_empty_text_is_none(capsys):
    code, _, words = _main(capsys, "--batching_parameters_file=", "--ssl_config_file=", "--model_base_path=/nosuch")
    assert code == 2 and "Expected a directory of versions" in words


def test_the_version_is_printed(capsys):
    code, words, _ = _main(capsys, "--version")
    assert code == 0 and f"tensorflow {tf.__version__}" in words


def test_channel_arguments():
    text = "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb,a=-1,"
    expected = (("grpc.max_connection_age_ms", 2000), ("grpc.lb_policy_name", "grpclb"), ("a", -1))
    assert channel_arguments(text) == expected and channel_arguments("") == ()
    for wrong in ("a", "=1", "a=1,b"):
        with pytest.raises(ValueError, match="Expected NAME=VALUE"):
            channel_arguments(wrong)


def test_settings_of_sessions(tmp_path):
    file = tmp_path / "session"
    file.write_text("intra_op_parallelism_threads: 7 inter_op_parallelism_threads: 8 log_device_placement: true")
    read = session(file, inter_op=3, gpu_fraction=0.25)
    assert (read.intra_op_parallelism_threads, read.inter_op_parallelism_threads, read.log_device_placement) == (7, 3, True)
    assert read.gpu_options.per_process_gpu_memory_fraction == 0.25
    both = session(None, 5)
    assert (both.intra_op_parallelism_threads, both.inter_op_parallelism_threads) == (5, 5)
    with pytest.raises(ValueError, match="Expected --tensorflow_session_parallelism, or"):
        session(None, 1, 1, 1)
    file.write_text("nonsense")
    with pytest.raises(ValueError, match=r"Error parsing text-format tensorflow\.ConfigProto"):
        session(file)


def test_a_server_has_the_threads_and_the_services_that_it_is_told(tmp_path):
    half_plus_two.write_tf1(tmp_path / "m" / "1")
    flags = {"tensorflow_session_parallelism": 5, "enable_profiler": False, "enable_grpc_healthcheck_service": False}
    flags |= {"rest_api_port": -1, "grpc_max_threads": 2, "saved_model_tags": "serve", "num_load_threads": 2}
    flags |= {"port": -1, "grpc_socket_path": tmp_path / "socket"}  # nothing else can be connected to
    with Server(tmp_path, **flags) as server, grpc.insecure_channel(server.grpc) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((1, 1), "float32")))
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert predict(request).outputs["y"].float_val == [2.5]
        tasks = pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/comm")
        assert [task.read_text() for task in tasks].count("tf_Compute\n") == 5
        for missing in (
            lambda: health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()),
            lambda: channel.unary_unary("/tensorflow.ProfilerService/Profile")(b""),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                missing()
            assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
