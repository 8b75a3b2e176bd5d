"""Which versions are served: policies, labels, polling, versions that do not load, and the flags of the server."""

import contextlib
import gc
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import half_plus_two
import httpx
import numpy as np
import pytest
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.__main__ import main
from serving.client import Client
from serving.models.batcher import Limits
from serving.models.configuration import (
    batching,
    checked,
    following,
    models_of_directory,
    models_of_file,
    monitoring,
    one_model,
    tls,
)
from serving.models.models import Models, Settings
from serving.models.servable import Loading
from serving.process import Server
from serving.quiet import tensorflow as tf
from serving.rest.openapi import document
from serving.status import Code, RequestError
from serving.versions import numbered, why_no_models, why_none


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return half_plus_two.write(tmp_path_factory.mktemp("saved")) / "half_plus_two"


@pytest.fixture
def base(saved, tmp_path):
    """Versions 1, 2 and 3 of one model."""
    for version, source in ((1, 1), (2, 2), (3, 1)):
        shutil.copytree(saved / str(source), tmp_path / "m" / str(version))
    return tmp_path / "m"


def _config(base, more=""):
    file = base.parent / "models.config"
    file.write_text(f'model_config_list {{ config {{ name: "m" base_path: "{base}" {more} }} }}')
    return models_of_file(file)


def _put(base, version: int) -> None:
    """Another version as good as the first, all at once."""
    half_plus_two.write_tf1(base.parent / "new", plus=2.0)
    (base.parent / "new").rename(base / str(version))


def _answer(models) -> float:
    return models.get("m").endpoint("").run({"x": np.ones((1, 1), "float32")})["y"].item()


def _states(models) -> dict[int, str]:
    return {status.version: status.State.Name(status.state) for status in models.status("m")}


def _served(models) -> list[int]:
    return [status.version for status in models.status("m") if status.state == status.AVAILABLE]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 2]),
        ("model_version_policy { all {} }", [3, 2, 1]),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", [3, 1]),
    ],
)
def test_policies(base, policy, versions):
    models = Models(lambda: _config(base, policy))
    models.poll()
    assert _served(models) == versions and models.get("m").version == versions[0]
    models.close()


def test_labels(base):
    labels = 'version_labels { key: "stable" value: %d }'
    config = [_config(base, "model_version_policy { all {} } " + labels % 1)]
    models = Models(lambda: config[0])
    models.poll()
    assert models.get("m", label="stable").version == 1
    assert [status.version for status in models.status("m", label="stable")] == [1]
    config[0] = _config(base, "model_version_policy { all {} } " + labels % 2)
    models.poll()
    assert models.get("m", label="stable").version == 2
    config[0] = _config(base, "model_version_policy { all {} } " + labels % 7)
    with pytest.raises(RequestError, match="not currently available for inference") as raised:
        models.poll()
    assert raised.value.code == Code.FAILED_PRECONDITION and models.get("m", label="stable").version == 2
    models.close()
    lenient = Models(lambda: config[0], Settings(allow_version_labels_for_unavailable_models=True))
    lenient.poll()
    with pytest.raises(RequestError, match=r"Specific\(m, 7\)"):
        lenient.get("m", label="stable")
    lenient.close()


def test_a_new_version_takes_over_and_who_holds_the_old_one_is_still_answered(base, saved):
    models = Models(lambda: one_model("m", base))
    models.poll()
    held, frozen = models.get("m"), gc.get_freeze_count()
    shutil.copytree(saved / "2", base / "4")
    models.poll()
    assert gc.get_freeze_count() == frozen  # to look through what the server started with would hold all requests up
    assert _served(models) == [4] and models.get("m").version == 4
    assert _states(models) == {4: "AVAILABLE", 3: "END"}
    assert held.endpoint("").batcher.run([np.ones((1, 1), "float32")])[0] == 2.5
    shutil.rmtree(base / "4")
    models.poll()
    assert _served(models) == [3]  # back again
    models.close()


def _corrupt(path):
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"no model")


def _without_variables(path):
    shutil.copytree(path.parent / "1", path, ignore=shutil.ignore_patterns("variables*"))


def _cut(path):
    """As on a disk that became full."""
    shutil.copytree(path.parent / "1", path)
    for file in path.rglob("*.data*"):
        os.truncate(file, file.stat().st_size // 2)


def _failing_warm_up(path):
    shutil.copytree(path.parent / "1", path)
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 10)


BREAK = {
    "corrupt": _corrupt,
    "empty": pathlib.Path.mkdir,
    "half copied": _without_variables,
    "cut": _cut,
    "warm-up": _failing_warm_up,
}


@pytest.mark.parametrize("kind", BREAK)
def test_a_version_that_does_not_load_leaves_the_old_one_in_service(base, kind):
    for version in (2, 3):
        shutil.rmtree(base / str(version))
    models = Models(lambda: one_model("m", base), Settings(max_num_load_retries=2, load_retry_interval_micros=0))
    models.poll()
    BREAK[kind](base / "2")
    for _ in range(4):  # once, twice more, and never again
        models.poll()
        assert _states(models) == {2: "END", 1: "AVAILABLE"} and models.ready
        assert models.get("m").version == 1 and _answer(models) == 2.5
    broken = models.status("m", 2)[0]
    assert broken.status.error_code != Code.OK and broken.status.error_message
    shutil.rmtree(base / "1")  # who deletes the old one does not take the model out of service either
    models.poll()
    assert _served(models) == [1]
    _put(base, 3)
    models.poll()
    assert _served(models) == [3] and _answer(models) == 2.5
    models.close()


def test_a_version_that_did_not_load_is_tried_again_as_often_as_allowed(base):
    models = Models(lambda: one_model("m", base), Settings(max_num_load_retries=2, load_retry_interval_micros=0))
    models.poll()
    _corrupt(base / "4")
    models.poll()
    shutil.rmtree(base / "4")
    _put(base, 4)
    models.poll()
    assert _served(models) == [4]
    _corrupt(base / "5")
    for _ in range(3):
        models.poll()
    shutil.copytree(base / "1", base / "5", dirs_exist_ok=True)
    models.poll()
    assert _served(models) == [4]  # not tried a fourth time
    (base / "5").rename(base / "away")
    models.poll()
    (base / "away").rename(base / "5")
    models.poll()
    assert _served(models) == [5]  # it is a new one
    models.close()


@pytest.mark.parametrize(
    ("policy", "broken", "served"),
    [
        ("latest { num_versions: 2 }", [4], [3, 2]),
        ("latest { num_versions: 2 }", [4, 5], [3, 2]),
        ("all {}", [4], [3, 2, 1]),
        ("specific { versions: 4 }", [4], [3]),
        ("specific { versions: 4 }", [], [3]),
    ],
)
def test_every_policy_keeps_what_is_loaded_until_its_successor_is(base, policy, broken, served):
    before = policy if "specific" not in policy else "latest { num_versions: 1 }"
    config = [_config(base, f"model_version_policy {{ {before} }}")]
    models = Models(lambda: config[0])
    models.poll()
    config[0] = _config(base, f"model_version_policy {{ {policy} }}")
    for version in broken:
        _corrupt(base / str(version))
    models.poll()
    assert _served(models) == served
    for version in broken or [4]:
        shutil.rmtree(base / str(version), ignore_errors=True)
    models.poll()
    _put(base, 4)
    models.poll()
    assert _served(models)[0] == 4 and len(_served(models)) == len(served) + ("all" in policy)
    models.close()


def test_another_base_path_that_does_not_load_leaves_what_is_served(base, tmp_path):
    models = Models(lambda: one_model("m", base))
    models.poll()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    _corrupt(tmp_path / "broken" / "3")
    for other in ("nosuch", "empty", "broken"):
        models.reload(one_model("m", tmp_path / other))
        assert _served(models) == [3] and _answer(models) == 2.5
    assert "saved_model" in models.status("m", 3)[0].status.error_message
    shutil.copytree(base / "2", tmp_path / "good" / "3")
    models.reload(one_model("m", tmp_path / "good"))
    assert _served(models) == [3] and _answer(models) == 3.5
    models.close()


def test_versions_load_side_by_side_where_there_are_threads_for_it(base, tmp_path):
    """Both read pipes to which nobody writes before both are loading."""
    pipes = [tmp_path / "a" / "1" / "saved_model.pb", tmp_path / "b" / "1" / "saved_model.pb"]
    for pipe in pipes:
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
    config = ModelServerConfig()
    for name, path in (("m", base), ("a", tmp_path / "a"), ("b", tmp_path / "b")):
        config.model_config_list.config.add(name=name, base_path=str(path))
    models = Models(lambda: config, Settings(num_load_threads=3, max_num_load_retries=0))
    thread = threading.Thread(target=models.poll)
    thread.start()
    until = time.monotonic() + 60
    while (both := _loading(models, "a") and _loading(models, "b")) is False and time.monotonic() < until:
        time.sleep(0.02)
    while thread.is_alive():
        for pipe in pipes:
            _end_reading(pipe)
        time.sleep(0.02)
    assert both and _served(models) == [3]
    assert models.failed("a") and models.failed("b")
    models.close()


def _loading(models, name: str) -> bool:
    try:
        return models.status(name)[0].state == ModelVersionStatus.LOADING
    except RequestError:  # before the first look at the folders
        return False


def _end_reading(pipe) -> None:
    """Opens a pipe to write to, and closes it, if anybody reads it."""
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def test_sizes_of_batches_of_each_version(base):
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 7 } num_batch_threads { value: 9 }")
    (base / "3" / "batching_params.pbtxt").write_text("nonsense")
    policy = _config(base, "model_version_policy { all {} }")
    limits = Limits(num_batch_threads=2)
    models = Models(lambda: policy, Settings(limits, enable_per_model_batching_parameters=True, max_num_load_retries=0))
    models.poll()
    assert _served(models) == [2, 1]
    own, none = (models.get("m", version).endpoint("") for version in (1, 2))
    assert own.joins and own.batcher.limits == (7, 10, 2, ())
    assert not none.joins  # as in TensorFlow Serving, a version without the file is not batched
    assert "Error parsing text-format tensorflow.serving.BatchingParameters" in models.status("m", 3)[0].status.error_message
    models.close()


def test_a_label_answers_while_the_successor_does_not_load(base):
    config = _config(base, 'version_labels { key: "stable" value: 3 }')
    models = Models(lambda: config)
    models.poll()
    _corrupt(base / "4")
    models.poll()
    assert models.get("m", label="stable").version == models.get("m").version == 3
    models.close()


def test_who_empties_the_base_path_takes_the_model_out_of_service(base):
    models = Models(lambda: one_model("m", base))
    models.poll()
    for version in numbered(base).values():
        shutil.rmtree(version)
    models.poll()
    assert _served(models) == [] and not models.ready
    with pytest.raises(RequestError, match=r"Latest\(m\).*Received: nothing in .*/m"):
        models.get("m")
    models.close()


def test_a_directory_of_models_is_followed(base, tmp_path):
    models = Models(following(tmp_path))
    models.poll()
    for version in numbered(base).values():
        shutil.rmtree(version)
    (base / "4").mkdir()  # a part of a version, the first of which is being copied
    models.poll()
    assert list(models.names) == ["m"] and _served(models) == [3]
    base.rename(tmp_path.parent / "away")
    models.poll()
    assert _served(models) == [3]
    base.mkdir()
    models.poll()
    assert not models.names and _served(models) == []
    assert not models_of_directory(tmp_path).model_config_list.config
    models.close()


def test_states_come_newest_first_and_old_ones_are_forgotten(base):
    models = Models(lambda: one_model("m", base))
    for version in range(98, 104):
        _put(base, version)
        models.poll()
    assert list(_states(models).items()) == [(103, "AVAILABLE"), (102, "END"), (101, "END")]
    models.close()


def test_a_model_without_a_version_is_reported_and_the_others_are_described(base, tmp_path):
    config = _config(base)
    config.model_config_list.config.add(name="none", base_path=str(tmp_path / "nosuch"))
    models = Models(lambda: config)
    models.poll()
    paths = document(models)["paths"]
    assert {"/v1/models", "/v1/models/m:predict", "/v1/models/none"} <= paths.keys() and "/v1/models/none:predict" not in paths
    assert not models.ready and "nosuch" in models.why("none") and not models.why("m")
    with pytest.raises(RequestError, match=r"Could not find any versions of model none\. Expected .*nosuch") as raised:
        models.status("none")
    assert raised.value.code == Code.NOT_FOUND
    models.close()


def test_the_contents_of_a_wrong_base_path_are_reported(base, tmp_path):
    wrong = tmp_path / "wrong"
    assert f"no folder {wrong}; the nearest is {tmp_path}, with m" in why_none(wrong, [])
    wrong.mkdir()
    assert f"nothing in {wrong}" in why_none(wrong, [])
    (wrong / "file").touch()
    assert "file, a file. Try the folder" in why_none(wrong / "file", [])
    assert f"file in {wrong}." in why_none(wrong, [])
    shutil.copytree(base / "1", wrong / "v1")
    assert f"v1 in {wrong}. Try numbers as names, 1 instead of v1." in why_none(wrong, [])
    assert f"m, wrong in {tmp_path}, with versions in m. Try {base}." in why_none(tmp_path, [])
    assert f"a SavedModel in {base / '1'} itself. Try the folder above, {base}." in why_none(base / "1", [])
    assert f"Expected a SavedModel in {base / '9'}. Received: 1, 2, 3 in {base}." in why_none(base, [9])
    assert f"Try the folder above, {tmp_path}." in why_no_models(base)
    assert f"a SavedModel in {base / '1'} itself" in why_no_models(base / "1")
    with pytest.raises(ValueError, match="Try the folder above"):
        one_model("m", base / "1")


def test_versions_are_numbers_and_not_their_names(base):
    for name in ("10", "101", "1000", "007", "²", "٣", "-1", "1.5", "v8", str(2**63)):
        (base / name).mkdir()
    (base / "11").touch()
    assert list(numbered(base)) == [1, 2, 3, 7, 10, 101, 1000]


def test_a_warm_up_that_fails_keeps_a_version_out(base):
    (base / "3" / "assets.extra").mkdir()
    (base / "3" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 10)
    models = Models(lambda: one_model("m", base))
    models.poll()
    assert _served(models) == [] and not models.ready
    cold = Models(lambda: one_model("m", base), Settings(loading=Loading(enable_model_warmup=False)))
    cold.poll()
    assert _served(cold) == [3] and cold.ready


@pytest.mark.parametrize("feature", ["x", "other"])
def test_records_of_examples_warm_up_too(base, feature):
    """They are run: without the feature that the graph needs, the version does not load."""
    sent = Input()
    sent.example_list.examples.add().features.feature[feature].float_list.value.append(1.0)
    logs = [PredictionLog(), PredictionLog(), PredictionLog()]
    for log, verb in zip(logs, ("classify", "regress"), strict=False):
        request = getattr(log, f"{verb}_log").request
        request.model_spec.signature_name = f"{verb}_x_to_y"
        request.input.CopyFrom(sent)
    request = logs[2].multi_inference_log.request
    request.tasks.add().model_spec.signature_name = "regress_x_to_y"
    request.input.CopyFrom(sent)
    (base / "3" / "assets.extra").mkdir()
    for log in logs:
        with tf.io.TFRecordWriter(str(base / "3" / "assets.extra" / "tf_serving_warmup_requests")) as records:
            records.write(log.SerializeToString())
        models = Models(lambda: one_model("m", base), Settings(loading=Loading(num_request_iterations_for_warmup=2)))
        models.poll()
        assert _served(models) == ([3] if feature == "x" else [])
        models.close()


def test_what_cannot_be_read_stays_served(base, tmp_path):
    models = Models(lambda: one_model("m", base))
    models.poll()
    base.rename(tmp_path / "away")
    models.poll()
    assert _served(models) == [3]
    models.close()


@contextlib.contextmanager
def _nobody() -> Iterator[None]:
    """A context in which permissions hold, which they do not for root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("lost", "mode", "served"), [("m", 0, [3, 2]), ("m", 0o444, [3, 2]), ("m/2", 0, [4, 3]), ("m/4", 0, [3, 2])]
)
def test_what_may_not_be_read_any_more_is_no_obstacle_to_others(saved, lost, mode, served):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for their owner alone
        root = pathlib.Path(folder)
        root.chmod(0o755)
        for version in ("m/2", "m/3", "other/1"):
            shutil.copytree(saved / "1", root / version)
        follow = following(root)
        models = Models(lambda: _of_two_versions(follow()), Settings(max_num_load_retries=0))
        with _nobody():
            models.poll()
        for version in ("m/4", "other/2"):
            shutil.copytree(saved / "1", root / version)
        (root / lost).chmod(mode)
        with _nobody():
            models.poll()
        (root / lost).chmod(0o755)
        assert _served(models) == served and _answer(models) == 2.5 and models.get("other").version == 2
        models.close()


def _of_two_versions(config: ModelServerConfig) -> ModelServerConfig:
    for model in config.model_config_list.config:
        model.model_version_policy.latest.num_versions = 2
    return config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a model_config_list"),
        ("model_config_list { config { base_path: '/m' } }", "name of its own"),
        ("model_config_list { config { name: 'm' base_path: '/m' } config { name: 'm' base_path: '/n' } }", "name of its own"),
        ("model_config_list { config { name: 'm' base_path: 'm' } }", "absolute path"),
        ("model_config_list { config { name: 'm' base_path: '/m' model_platform: 'pytorch' } }", "model_platform 'tensorflow'"),
        ("model_config_list { nonsense }", "Expected ModelServerConfig as text"),
        ("nonsense", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
    ],
)
def test_a_wrong_model_file_is_reported(tmp_path, text, message):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        models_of_file(file)
    with pytest.raises(ValueError, match=r"Expected a file with a ModelServerConfig"):
        models_of_file(tmp_path / "nosuch")


def test_the_other_files(tmp_path):
    file = tmp_path / "file"
    file.write_text(
        "max_batch_size { value: 32 } batch_timeout_micros { value: 500 } max_enqueued_batches { value: 3 } "
        "num_batch_threads { value: 2 } allowed_batch_sizes: 8 allowed_batch_sizes: 32 pad_variable_length_inputs: true"
    )
    assert batching(file) == (32, 3, 2, (8, 32)) and batching(None).max_batch_size > 1
    file.write_text(
        "max_batch_size { value: 32 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
        "allowed_batch_sizes: 8"
    )
    assert batching(file).max_batch_size == 8  # a request may have more rows, a batch does not
    file.write_text("max_batch_size { value: 32 } allowed_batch_sizes: 8")
    with pytest.raises(ValueError, match="rise to max_batch_size"):
        batching(file)
    file.write_text("prometheus_config { enable: true }")
    assert monitoring(file) == "/monitoring/prometheus/metrics" and monitoring(None) is None
    file.write_text('server_key: "KEY" server_cert: "CERT" client_verify: true')
    assert tls(file).server_key == "KEY" and tls(file).client_verify
    assert checked(one_model("m", "relative")).model_config_list.config[0].base_path.startswith("/")


def test_the_server_follows_the_directory(saved, tmp_path):
    shutil.copytree(saved / "1", tmp_path / "m" / "1")
    with Server(tmp_path, file_system_poll_wait_seconds=0.2) as server, Client(server.url, "m") as client:
        ask = {"inputs": [[2.0]]}
        assert httpx.post(f"{server.url}/v1/models/m:predict", json=ask).json() == {"outputs": [[3.0]]}
        shutil.copytree(saved / "2", tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "m" / "2")
        until = time.monotonic() + 20
        while httpx.post(f"{server.url}/v1/models/m:predict", json=ask).json() == {"outputs": [[3.0]]}:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert httpx.post(f"{server.url}/v1/models/m:predict", json=ask).json() == {"outputs": [[4.0]]}
        assert set(client.signatures) == {"serving_default", "regress_x_to_y", "classify_x_to_y"}
        assert httpx.get(f"{server.url}/readyz").text == "ok"


def test_one_model_by_name_and_path_and_too_long_waits(saved):
    with Server(model_name="half", model_base_path=saved.parent / "half_plus_two_tf2", rest_api_timeout_in_ms=300) as server:
        url = f"{server.url}/v1/models/half:predict"
        assert httpx.post(url, json={"instances": [2.0]}).json() == {"predictions": [3.0]}
        slow = {"signature_name": "slow", "instances": [1_000_000]}
        start = time.monotonic()
        answer = httpx.post(url, json=slow)
        assert answer.status_code == 504 and time.monotonic() - start < 2
        assert httpx.post(url, json={"instances": [2.0]}).json() == {"predictions": [3.0]}  # meanwhile
    assert server.process.returncode == 0  # although the model is still running


def test_workers_share_the_ports_and_one_that_dies_is_replaced(saved, tmp_path):
    file = tmp_path / "monitoring"
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    with Server(saved.parent, workers=2, monitoring_config_file=file) as server:
        for _ in range(20):  # each on a connection of its own, which either worker may take
            answer = httpx.post(f"{server.url}/v1/models/half_plus_two:predict", json={"inputs": [[2.0]]})
            assert answer.json() == {"outputs": [[4.0]]}
        count = ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} 20.0'
        assert count in httpx.get(f"{server.url}/metrics").text
        pids = _children(server.process.pid)
        assert len(pids) == 2
        for pid in pids:  # which a full disk would kill if it counted in files there
            assert "/dev/shm/metrics-" in pathlib.Path(f"/proc/{pid}/maps").read_text()
        _reload(server.grpc, "other", saved)
        _everywhere(server, "other")
        with pytest.raises(grpc.RpcError) as raised:
            _reload(server.grpc, "wrong", "relative/path")
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with _asking(f"{server.url}/v1/models/other:predict", clients=4) as outcomes:
            subprocess.run(["kill", "-9", pids[0]], check=True)
            until = time.monotonic() + 30
            while len(set(_children(server.process.pid)) - {pids[0]}) < 2:
                assert time.monotonic() < until
                time.sleep(0.2)
        assert all(outcome.count(False) <= 1 and outcome[-1] for outcome in outcomes)  # what was on its way, one of each client
        assert httpx.get(f"{server.url}/livez").status_code == 200
        _reload(server.grpc, "another", saved)  # waits for the new worker, which has begun with the configuration before
        _everywhere(server, "another")
        _reload(server.grpc, "last", saved.parent / "half_plus_two_tf2")
        _assert_drained(server)
    until = time.monotonic() + 10
    while any(subprocess.run(["kill", "-0", pid], capture_output=True).returncode == 0 for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)


@contextlib.contextmanager
def _asking(url: str, clients: int) -> Iterator[list[list[bool]]]:
    """Clients that ask on and on, each over a connection that it keeps; whether each request was answered as it should be."""
    ended, outcomes = threading.Event(), [[] for _ in range(clients)]

    def ask(number: int) -> None:
        with httpx.Client(timeout=30) as http:
            while not ended.is_set():
                try:
                    answer = http.post(url, json={"inputs": [[float(number)]]})
                    outcomes[number].append(answer.json() == {"outputs": [[number / 2 + 3]]})
                except httpx.TransportError:
                    outcomes[number].append(False)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _assert_drained(server) -> None:
    """What was asked before SIGTERM is answered."""

    def ask(iterations: int) -> httpx.Response:
        body = {"signature_name": "slow", "instances": [iterations]}
        return httpx.post(f"{server.url}/v1/models/last:predict", json=body, timeout=30)

    for _ in range(2):  # the first makes what it needs
        start = time.monotonic()
        assert ask(1000).status_code == 200
    seconds = time.monotonic() - start
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, int(1000 / seconds))  # takes about a second
        time.sleep(0.3)
        server.process.terminate()
        assert asked.result().status_code == 200
    assert server.process.wait(20) == 0


def _reload(address: str, name: str, base) -> None:
    request = ReloadConfigRequest()
    request.config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow")
    with grpc.insecure_channel(address) as channel:
        ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=300)


def _everywhere(server, name: str) -> None:
    """Every worker has this model alone."""
    for _ in range(20):
        assert [model["name"] for model in httpx.get(f"{server.url}/v1/models").json()["models"]] == [name]
        answer = httpx.post(f"{server.url}/v1/models/{name}:predict", json={"inputs": [[2.0]]})
        assert answer.json() == {"outputs": [[4.0]]}


def _children(pid: int) -> list[str]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if b"spawn_main" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of DIR"),
        (["--model_base_path=/nosuch"], "Expected a directory of versions"),
        (["--model_base_path={}/half_plus_two/1"], "a SavedModel in"),
        (["{}/half_plus_two"], "Try the folder above"),
        (["--model_config_file=/nosuch"], "Expected a file with a ModelServerConfig"),
        (["--batching_parameters_file=/nosuch", "{}"], "Expected a file with a BatchingParameters"),
        (["--workers=2", "--model_base_path=/nosuch"], "Expected a directory of versions"),
        (["--enable_batching=perhaps", "{}"], "Expected true or false"),
        (["--port=70000", "{}"], "Expected a port"),
        (["--port=-1", "--rest_api_port=-1", "{}"], "Expected a port or a socket"),
    ],
)
def test_wrong_flags_are_reported(saved, arguments, message, capsys):
    arguments = ["serve", "--port=0", "--rest_api_port=0", *(argument.format(saved.parent) for argument in arguments)]
    try:
        code = main(arguments)
    except SystemExit as exit_:  # of the parser
        code = exit_.code
    assert code == 2 and message in capsys.readouterr().err
