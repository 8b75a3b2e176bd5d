"""The embedded server in its own process, with the client and with plain HTTP."""

import base64
import contextlib
import html.parser
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time

import grpc
import httpx
import numpy as np
import pytest
from models import MODELS
from PIL import Image

import serving
from serving.check import ask, check
from serving.export import export
from serving.process import Server

MODEL = "dense_digits_k8"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(run):
    """All that is asked of it goes over IPv6 where there is any. It says lines of TensorFlow's before its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
        server = Server(run.export, host="::1" if _has_ipv6() else "127.0.0.1")
    with server:
        yield server
    assert server.process.returncode is not None


def test_addresses_are_as_urls_have_them(server):
    host = "[::1]" if _has_ipv6() else "127.0.0.1"
    assert re.fullmatch(rf"http://{re.escape(host)}:\d+", server.url) and re.fullmatch(rf"{re.escape(host)}:\d+", server.grpc)
    with grpc.insecure_channel(server.grpc) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as http:
        yield http


@pytest.fixture(scope="module")
def model(run):
    return run.load_model()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("batch", [1, 7])
def test_the_client_answers_as_the_model_does(server, model, digits, batch, binary):
    with serving.Client(server.url, MODEL, binary=binary) as client:
        answers = list(ask(client, {"x": digits[:batch], "label": np.arange(batch)}))
        assert {verb for verb, _, _ in answers} == set(model.signatures())
        for verb, sent, outputs in answers:
            (answer,) = outputs.values()
            expected = np.asarray(getattr(model, verb)(*sent))
            assert answer.dtype == expected.dtype
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5, err_msg=verb)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float16", "float32", "float64", ">f4"])
def test_a_type_means_the_same_by_every_way_in(server, http, model, digits, dtype):
    x = (digits[:2] * 255).astype("uint8") if dtype == "uint8" else digits[:2].round().astype(dtype)
    expected = np.asarray(model.encode(x))
    ways = {}
    for binary in (False, True):
        with serving.Client(server.url, MODEL, binary=binary) as client:
            ways[f"client, binary={binary}"] = client.encode(x)
            ways[f"rows, binary={binary}"] = client.encode(row for row in x)
    for save, kind in ((np.save, "npy"), (lambda file, x: np.savez(file, x=x), "npz")):
        file = io.BytesIO()
        save(file, x)
        headers = {"content-type": f"application/x-{kind}", "accept": "application/json"}
        answer = http.post(f"/v1/models/{MODEL}:predict?signature_name=encode", content=file.getvalue(), headers=headers)
        ways[kind] = np.array(answer.json()["outputs"])
    for way, received in ways.items():
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4, err_msg=way)


@pytest.mark.parametrize("binary", [False, True])
def test_no_rows_get_an_empty_answer(server, model, binary):
    with serving.Client(server.url, MODEL, binary=binary) as client:
        for verb, signature in model.signatures().items():
            (declared,) = signature.outputs.values()
            for none in (lambda tensor: [], lambda tensor: np.zeros((0, *tensor.shape[1:]), tensor.dtype)):
                answer = getattr(client, verb)(*map(none, signature.inputs.values()))
                assert (answer.shape, answer.dtype) == ((0, *declared.shape[1:]), declared.dtype)
        with pytest.raises(ValueError, match=r"Expected numbers for x\. Received: 'a' in row 1"):
            client.encode(np.array([1.5, "a"], object))


def test_the_client_sees_the_models_verbs_and_those_with_pictures(server, model):
    with serving.Client(server.url, MODEL) as client:
        pictures = {name for name in client.signatures if name.endswith(("_bytes", "_png"))}
        assert set(client.signatures) == {"serving_default", *model.signatures(), *pictures}
        assert {"encode_bytes", "score_bytes", "reconstruct_png", "generate_png", "decode_png"} <= pictures
        sizes = [dim["size"] for dim in client.signatures["encode"]["inputs"]["x"]["tensor_shape"]["dim"]]
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
        answer = http.post(f"/v1/models/{MODEL}:predict", json=body)
        assert answer.status_code == 200
        assert list(answer.json()) == [key]
        np.testing.assert_allclose(answer.json()[key], expected, rtol=1e-4, atol=1e-5)


def test_the_default_signature_reconstructs(http, model, digits):
    answer = http.post(f"/v1/models/{MODEL}:predict", json={"instances": digits[:2].tolist()}).json()["predictions"]
    np.testing.assert_allclose(answer, model.reconstruct(digits[:2]), rtol=1e-4, atol=1e-5)


def test_a_wrong_shape_is_reported_with_the_message_of_the_graph(http):
    for sent in ([[1.0, 2.0]], 1.0, [[[1.0]] * 8]):
        answer = http.post(f"/v1/models/{MODEL}:predict", json={"signature_name": "encode", "inputs": sent})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("Expected shape (None, 8, 8, 1) for input x. Received: (")


def test_pictures_go_in_and_out_as_files(http, model, digits):
    grey = np.round(255 * digits[0, :, :, 0]).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    path = f"/v1/models/{MODEL}:predict"
    headers = {"content-type": "image/png", "accept": "image/png"}

    code = http.post(path, params={"signature_name": "encode_bytes"}, content=file.getvalue(), headers=headers)
    assert code.headers["content-type"] == "application/x-npy"
    expected = np.asarray(model.encode(grey[None, :, :, None] / np.float32(255)))
    np.testing.assert_allclose(np.load(io.BytesIO(code.content)), expected, rtol=1e-4, atol=1e-5)

    image = http.post(path, params={"signature_name": "reconstruct_png"}, content=file.getvalue(), headers=headers)
    assert image.headers["content-type"] == "image/png"
    reconstruction = np.asarray(model.reconstruct(grey[None, :, :, None] / np.float32(255)))[0, :, :, 0]
    expected = np.round(255 * reconstruction.clip(0, 1))
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(image.content))), expected, atol=1)

    answer = http.post(path, json={"signature_name": "generate_png", "instances": [1, 2]}).json()["predictions"]
    files = [base64.b64decode(row["b64"]) for row in answer]
    assert [Image.open(io.BytesIO(file)).size for file in files] == [(8, 8)] * 2 and files[0] != files[1]
    refused = http.post(path, params={"signature_name": "encode_bytes"}, content=b"no picture", headers=headers)
    assert refused.status_code == 400
    assert (
        "Expected an image (PNG, JPEG, GIF, BMP or WebP). Received: a file of another format in row 0"
        in refused.json()["error"]
    )
    refused = http.post(path, params={"signature_name": "encode"}, content=file.getvalue(), headers=headers)
    assert refused.status_code == 400 and "Expected a signature that takes files" in refused.json()["error"]
    headers = {"content-type": "IMAGE/PNG", "accept": "image/*"}
    image = http.post(path, params={"signature_name": "reconstruct_png"}, content=file.getvalue(), headers=headers)
    assert image.headers["content-type"] == "image/png"


def test_every_signature_has_an_example_that_is_answered(http, model, run):
    paths = http.get("/openapi.json").json()["paths"]
    body = paths[f"/v1/models/{MODEL}:predict"]["post"]["requestBody"]["content"]["application/json"]
    assert list(body["examples"]) == [schema["title"] for schema in body["schema"]["oneOf"]]
    answers = {}
    for verb, example in body["examples"].items():
        answer = http.post(f"/v1/models/{MODEL}:predict", json=example["value"])
        assert answer.status_code == 200, (verb, answer.text)
        answers[verb] = answer.json()["outputs"]
    with np.load(run.sample) as sample:  # the examples are data, not zeros
        x = sample["x"][:1]
    np.testing.assert_allclose(body["examples"]["encode"]["value"]["inputs"]["x"], x, atol=1e-3)
    np.testing.assert_allclose(answers["encode"], model.encode(x), atol=0.05)
    np.testing.assert_allclose(answers["encode_bytes"], model.encode(x), atol=0.05)


class _Controls(html.parser.HTMLParser):
    """What a page says of itself to phones and to readers of screens."""

    def __init__(self, text: str):
        super().__init__()
        self.viewport, self.outside = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if attributes.get("name") == "viewport":
            self.viewport = attributes["content"]
        self.outside += [value for key, value in attributes.items() if key in ("src", "href") and "//" in value]


def test_the_page_to_try_models_on_fits_phones_and_needs_nothing_from_elsewhere(http):
    text = http.get("/docs").text
    page = _Controls(text)
    assert page.viewport.startswith("width=device-width") and page.outside == []
    for needed in ("prefers-color-scheme: dark", "aria-live", "htmlFor: box.id", "alt:", "white-space: pre-wrap", "isGrey"):
        assert needed in text
    order = [text.rindex(part) for part in ('"Request"), box', 'element("p", {}, send)', '"Examples: a button')]
    assert order == sorted(order)  # the text box before the buttons that fill it


def test_the_client_passes_the_servers_words_on(server):
    with serving.Client(server.url, MODEL) as client, pytest.raises(serving.ServerError, match=r"(?s)Expected shape.*HTTP 400"):
        client.encode(np.zeros((2, 3)))
    with serving.Client(server.url, "nosuch") as client, pytest.raises(serving.ServerError, match=r"not found.*HTTP 404"):
        client.encode(np.zeros((2, 3)))


def test_seeds_that_are_not_integers_are_refused(server):
    with serving.Client(server.url, MODEL) as client:
        for seeds in ([1.5], [2**40]):
            with pytest.raises(serving.ServerError, match="HTTP 400"):
                client.generate(seeds)


def test_the_client_sends_nan(server, digits):
    with serving.Client(server.url, MODEL) as client:
        assert np.isnan(client.score(np.full_like(digits[:2], np.nan))).all()


def test_a_server_that_nobody_stops_ends_with_the_program_even_if_that_is_killed(run):
    code = f"import serving, sys; server = serving.Server({str(run.export)!r}); print(server.url, flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as program:
        url = program.stdout.readline().strip()
        assert httpx.get(f"{url}/livez").text == "ok"
        program.kill()
    until = time.monotonic() + 20
    with contextlib.suppress(httpx.TransportError):
        while httpx.get(f"{url}/livez"):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_check_asks_every_verb_of_the_latest_whatever_proxies_there_are_with_and_without_a_sample(
    run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for version in (9, 10):
        export(MODELS["vectors"](), tmp_path, "bare", version)
    (tmp_path / MODEL).symlink_to(run.export / MODEL)
    check(tmp_path)
    bare, sampled = capsys.readouterr().out.split(f"{MODEL} at http")
    assert bare.startswith("bare at http") and "score" in bare
    assert all(verb in sampled for verb in ("encode", "decode", "reconstruct", "generate", "score", "Server stopped."))


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


def test_the_end_waits_for_no_thread_but_for_functions_that_are_called_at_exit():
    code = """
import atexit, concurrent.futures, threading, time
from serving.ending import End
end = End(grace=0.2)
atexit.register(print, "flushed")
class Kept:
    def __del__(self):
        print("torn down", flush=True)
kept = Kept()
if {runs}:
    concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 100)
end.begin()
"""
    for runs, printed in ((False, "flushed\n"), (True, "")):
        command = [sys.executable, "-c", code.replace("{runs}", str(runs))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)


def test_a_server_that_cannot_start_says_why(run, tmp_path):
    with pytest.raises(RuntimeError, match=r"Expected MODEL/VERSION/saved_model.pb"):
        Server(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RuntimeError, match="Expected a free port"):
        Server(run.export, rest_api_port=taken.getsockname()[1])


def test_the_client_needs_neither_tensorflow_nor_keras():
    code = "import sys; from serving import Client, Server; print({'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_server_needs_neither_the_zoo_nor_training_nor_keras(run):
    code = f"""
import sys
import numpy as np
from serving.server import _without_keras
with _without_keras():
    from serving import quiet
from serving.models.configuration import models_of_directory
from serving.models.models import Models
models = Models(lambda: models_of_directory({str(run.export)!r}))
models.poll()
answer = models.get({MODEL!r}).endpoint("generate").batcher.run([np.array([1], "int32")])
print(answer[0].shape, {{"zoo", "training", "keras"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(1, 8, 8, 1) set()\n", done.stderr
