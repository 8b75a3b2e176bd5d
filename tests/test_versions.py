"""Which versions are served: policies, labels, polling, versions that do not load, and the flags of the server."""

import pathlib
import shutil
import subprocess
import sys
import time

import half_plus_two
import httpx
import numpy as np
import pytest

from serving.client import Client
from serving.configuration import batching, checked, models_of_file, monitoring, one_model, tls
from serving.models import Models, Settings
from serving.process import Server
from serving.status import Code, RequestError


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


def _served(models) -> list[int]:
    return [status.version for status in models.status("m") if status.state == status.AVAILABLE]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 3]),
        ("model_version_policy { all {} }", [1, 2, 3]),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", [1, 3]),
    ],
)
def test_policies(base, policy, versions):
    models = Models(lambda: _config(base, policy))
    models.poll()
    assert _served(models) == versions and models.get("m").version == versions[-1]
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
    held = models.get("m")
    shutil.copytree(saved / "2", base / "4")
    models.poll()
    assert _served(models) == [4] and models.get("m").version == 4
    states = {status.version: status.State.Name(status.state) for status in models.status("m")}
    assert states == {3: "END", 4: "AVAILABLE"}
    assert held.endpoint("").batcher.run([np.ones((1, 1), "float32")])[0] == 2.5
    shutil.rmtree(base / "4")
    models.poll()
    assert _served(models) == [3]  # back again
    models.close()


def test_a_version_that_does_not_load_leaves_the_old_one_and_is_tried_again(base):
    models = Models(lambda: one_model("m", base), Settings(max_num_load_retries=2, load_retry_interval_micros=0))
    models.poll()
    (base / "4").mkdir()
    (base / "4" / "saved_model.pb").write_bytes(b"no model")
    policy = one_model("m", base)
    policy.model_config_list.config[0].model_version_policy.latest.num_versions = 2
    models = Models(lambda: policy, Settings(max_num_load_retries=2, load_retry_interval_micros=0))
    models.poll()
    assert _served(models) == [3] and models.get("m").version == 3
    broken = models.status("m", 4)[0]
    assert broken.state == broken.END and broken.status.error_code and "saved_model" in broken.status.error_message
    shutil.rmtree(base / "4")
    shutil.copytree(base / "2", base / "4")
    models.poll()
    assert _served(models) == [3, 4]
    models.close()


def test_a_warm_up_that_fails_keeps_a_version_out(base):
    (base / "3" / "assets.extra").mkdir()
    (base / "3" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 10)
    models = Models(lambda: one_model("m", base))
    models.poll()
    assert _served(models) == [] and not models.ready
    cold = Models(lambda: one_model("m", base), Settings(enable_model_warmup=False))
    cold.poll()
    assert _served(cold) == [3] and cold.ready


def test_what_cannot_be_read_stays_served(base, tmp_path):
    models = Models(lambda: one_model("m", base))
    models.poll()
    base.rename(tmp_path / "away")
    models.poll()
    assert _served(models) == [3]
    models.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a model_config_list"),
        ("model_config_list { config { base_path: '/m' } }", "name of its own"),
        ("model_config_list { config { name: 'm' base_path: '/m' } config { name: 'm' base_path: '/n' } }", "name of its own"),
        ("model_config_list { config { name: 'm' base_path: 'm' } }", "absolute path"),
        ("model_config_list { config { name: 'm' base_path: '/m' model_platform: 'pytorch' } }", "model_platform 'tensorflow'"),
        ("model_config_list { nonsense }", "Expected ModelServerConfig as text"),
    ],
)
def test_a_wrong_model_file_is_told(tmp_path, text, message):
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


def test_one_model_by_name_and_path_and_too_long_waits(saved):
    with Server(model_name="half", model_base_path=saved.parent / "half_plus_two_tf2", rest_api_timeout_in_ms=300) as server:
        url = f"{server.url}/v1/models/half:predict"
        assert httpx.post(url, json={"instances": [2.0]}).json() == {"predictions": [3.0]}
        slow = {"signature_name": "slow", "instances": [30_000]}
        start = time.monotonic()
        answer = httpx.post(url, json=slow)
        assert answer.status_code == 504 and time.monotonic() - start < 2
        assert httpx.post(url, json={"instances": [2.0]}).json() == {"predictions": [3.0]}  # meanwhile


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
        subprocess.run(["kill", "-9", pids[0]], check=True)
        until = time.monotonic() + 30
        while len(set(_children(server.process.pid)) - {pids[0]}) < 2:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert httpx.get(f"{server.url}/livez").status_code == 200
    until = time.monotonic() + 10
    while any(subprocess.run(["kill", "-0", pid], capture_output=True).returncode == 0 for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)


def _children(pid: int) -> list[str]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if b"spawn_main" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of DIR"),
        (["--model_base_path=/nosuch"], "Expected a directory of versions"),
        (["--model_config_file=/nosuch"], "Expected a file with a ModelServerConfig"),
        (["--batching_parameters_file=/nosuch", "{}"], "Expected a file with a BatchingParameters"),
        (["--workers=2", "--model_base_path=/nosuch"], "Expected a directory of versions"),
        (["--enable_batching=perhaps", "{}"], "Expected true or false"),
        (["--port=70000", "{}"], "Expected a port"),
    ],
)
def test_wrong_flags_are_told(saved, arguments, message):
    command = [sys.executable, "-m", "serving", "serve", "--port=0", "--rest_api_port=0"]
    command += [argument.format(saved.parent) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
