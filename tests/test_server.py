"""The embedded server in a process of its own, asked by the client and by plain HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest

import serving
from serving.check import ask, check
from serving.export import export
from serving.process import Server

MODEL = "dense_digits_k8"


@pytest.fixture(scope="module")
def server(run):
    with Server(run.export) as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as http:
        yield http


@pytest.fixture(scope="module")
def model(run):
    return run.load_model()


def _predict(http, body, path=f"/v1/models/{MODEL}:predict"):
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return http.post(path, content=content)


@pytest.mark.parametrize("batch", [1, 7])
def test_the_client_answers_as_the_model_does(server, model, digits, batch):
    with serving.Client(server.url, MODEL) as client:
        answers = list(ask(client, {"x": digits[:batch], "label": np.arange(batch)}))
        assert {verb for verb, _, _ in answers} == set(model.signatures())
        for verb, sent, answer in answers:
            expected = np.asarray(getattr(model, verb)(*sent))
            assert answer.dtype == expected.dtype
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5, err_msg=verb)


def test_status_and_metadata(http):
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (f"/v1/models/{MODEL}", f"/v1/models/{MODEL}/versions/1"):
        assert http.get(path).json() == {"model_version_status": [state]}
    metadata = http.get(f"/v1/models/{MODEL}/metadata").json()
    assert metadata["model_spec"] == {"name": MODEL, "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    verbs = {"encode", "decode", "reconstruct", "generate", "generate_class", "score", "score_code"}
    assert set(signatures) == {"serving_default", *verbs}
    assert signatures["encode"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in signatures["encode"]["inputs"]["x"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "8", "8", "1"]


def test_rows_and_columns(http, model, digits):
    x, expected = digits[:3].tolist(), np.asarray(model.encode(digits[:3]))
    ask_ = {"signature_name": "encode"}
    for body, key in (
        (ask_ | {"instances": x}, "predictions"),
        (ask_ | {"instances": [{"x": row} for row in x]}, "predictions"),
        (ask_ | {"inputs": x}, "outputs"),
        (ask_ | {"inputs": {"x": x}}, "outputs"),
    ):
        for path in (f"/v1/models/{MODEL}:predict", f"/v1/models/{MODEL}/versions/1:predict"):
            answer = _predict(http, body, path)
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
            assert list(answer.json()) == [key]
            np.testing.assert_allclose(answer.json()[key], expected, rtol=1e-4, atol=1e-5)


def test_the_default_signature_reconstructs(http, model, digits):
    answer = _predict(http, {"instances": digits[:2].tolist()}).json()["predictions"]
    np.testing.assert_allclose(answer, model.reconstruct(digits[:2]), rtol=1e-4, atol=1e-5)


def test_nan_and_infinity_pass_through(http):
    code = [[float("nan")] + [0.0] * 7, [float("inf")] + [0.0] * 7]
    answer = _predict(http, {"signature_name": "decode", "inputs": code})
    assert answer.status_code == 200 and "NaN" in answer.text
    assert np.isnan(answer.json()["outputs"][0]).any()


X = [[[[0.0]] * 8] * 8]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "JSON parse error"),
        ("[1]", "Expected a JSON object"),
        ("[" * 100_000, "JSON parse error"),
        (b"\xff\xfe", "JSON parse error"),
        ({}, "exactly one of"),
        ({"instances": X, "inputs": X}, "exactly one of"),
        ({"instances": []}, "at least one row"),
        ({"instances": 3}, "at least one row"),
        ({"instances": X, "signature_name": "nosuch"}, "'nosuch' not found"),
        ({"instances": X, "signature_name": ["encode"]}, "to be a string"),
        ({"instances": [{"y": 1}]}, "Expected every instance to have x. Received: y"),
        ({"instances": [{"x": X[0]}, 3]}, "in instance 1"),
        ({"inputs": {"x": X, "z": 1}}, "Expected inputs x"),
        ({"instances": [[1, 2], [3]]}, "rectangular"),
        ({"instances": [["a"]]}, "Expected numbers of type float32"),
        ({"instances": [None]}, "Expected numbers of type float32"),
        ({"instances": [True]}, "Expected numbers of type float32"),
        ({"inputs": [[1.0, 2.0]]}, "Expected shape"),
        ({"inputs": 1.0}, "Expected shape"),
        ('{"inputs": {"\\ud800": 1}}', "Expected inputs x"),
        ({"signature_name": "generate", "inputs": [1.5]}, "Expected numbers of type int32"),
        ({"signature_name": "generate", "inputs": [2**40]}, "Expected integers in"),
        ({"signature_name": "generate", "inputs": [10**30]}, "generate|integers|numbers"),
    ],
)
def test_a_bad_request_is_told_why_and_the_server_goes_on(http, body, message):
    answer = _predict(http, body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert any(part in answer.json()["error"] for part in message.split("|"))
    assert _predict(http, {"instances": X}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/nosuch", 404),
        ("POST", "/v1/models/nosuch:predict", 404),
        ("GET", f"/v1/models/{MODEL}/versions/9", 404),
        ("GET", f"/v1/models/{MODEL}/versions/99999999999", 404),
        ("GET", f"/v1/models/{MODEL}/versions/{'9' * 5000}", 400),
        ("GET", f"/v1/models/{MODEL}/versions/abc", 400),
        ("POST", f"/v1/models/{MODEL}:frobnicate", 400),
        ("GET", f"/v1/models/{MODEL}:predict", 400),
        ("POST", f"/v1/models/{MODEL}", 400),
        ("DELETE", f"/v1/models/{MODEL}", 405),
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
    ],
)
def test_paths_that_are_not_there(http, method, path, status):
    answer = http.request(method, path, content="{}" if method == "POST" else None)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def test_the_client_passes_the_servers_words_on(server):
    with serving.Client(server.url, MODEL) as client, pytest.raises(serving.ServerError, match=r"Expected shape.*HTTP 400"):
        client.encode(np.zeros((2, 3)))
    with serving.Client(server.url, "nosuch") as client, pytest.raises(serving.ServerError, match=r"not found.*HTTP 404"):
        client.encode(np.zeros((2, 3)))


def test_seeds_that_are_no_integers_are_refused(server):
    with serving.Client(server.url, MODEL) as client:
        for seeds in ([1.5], [2**40]):
            with pytest.raises(serving.ServerError, match="HTTP 400"):
                client.generate(seeds)


def test_the_client_sends_nan(server, digits):
    with serving.Client(server.url, MODEL) as client:
        assert np.isnan(client.score(np.full_like(digits[:2], np.nan))).all()


def test_lines_before_the_address_are_passed_over(run, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with Server(run.export) as server:
        assert httpx.get(f"{server.url}/v1/models/{MODEL}").status_code == 200
    assert server.process.returncode is not None


def test_a_server_that_nobody_stops_ends_with_the_program(run):
    code = f"import serving; print(serving.Server({str(run.export)!r}).url)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("http://")
    with pytest.raises(httpx.ConnectError):
        httpx.get(done.stdout.strip())


def test_check_asks_every_verb(run, capsys):
    check(run.export)
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in ("encode", "decode", "reconstruct", "generate", "score", "Server stopped."))


def test_check_needs_no_sample_and_takes_the_latest(run, tmp_path, capsys):
    for version in (9, 10):
        export(run.load_model(), tmp_path, "bare", version)
    check(tmp_path)
    printed = capsys.readouterr().out
    assert "bare at http" in printed and "score" in printed


def test_ctrl_c_ends_the_server_quietly(run):
    command = [sys.executable, "-m", "serving", "serve", str(run.export), "--rest_api_port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("Serving dense_digits_k8 at http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (out, err) == ("", "") and process.returncode in (0, 130)


def test_ctrl_c_during_a_check_leaves_nothing_running(run):
    command = [sys.executable, "-m", "serving", "check", str(run.export)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline().startswith("dense_digits_k8 at http://")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_server_that_cannot_start_says_why(run, tmp_path):
    with pytest.raises(RuntimeError, match=r"Expected MODEL/VERSION/saved_model.pb"):
        Server(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RuntimeError, match="Expected a free port"):
        Server(run.export, port=taken.getsockname()[1])


def test_the_client_needs_neither_tensorflow_nor_keras():
    code = "import sys, serving; print({'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_server_needs_neither_the_zoo_nor_training(run):
    code = f"""
import sys
from serving.models import Models
from serving.server import predict
answer = predict(Models({str(run.export)!r}).get({MODEL!r}), b'{{"signature_name": "generate", "inputs": [1]}}')
print(answer[:10], {{"zoo", "training"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "b'{\"outputs\"' set()\n", done.stderr
