"""The rules of TensorFlow Serving's REST API on its own example model; each names the file of its source that has the rule."""

import base64
import concurrent.futures
import gzip
import io
import json
import math
import pathlib
import runpy
import sys
import warnings
import zipfile
import zlib

import half_plus_two
import httpx
import numpy as np
import pytest

from serving import Client, Server, ServerError

CONFIG = """
model_config_list {{
  config {{
    name: "half_plus_two" base_path: "{0}/half_plus_two" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "tf2" base_path: "{0}/half_plus_two_tf2" }}
  config {{ name: "with space" base_path: "{0}/half_plus_two_tf2" }}
  config {{ name: "a/b %41 é" base_path: "{0}/half_plus_two_tf2" }}
  config {{ name: "missing" base_path: "{0}/nosuch" }}
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = half_plus_two.write(tmp_path_factory.mktemp("models"))
    config = directory / "models.config"
    config.write_text(CONFIG.format(directory))
    monitoring = directory / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')
    with Server(model_config_file=config, monitoring_config_file=monitoring, rest_api_enable_cors_support=True) as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as http:
        yield http


def _predict(http, body, model="tf2", **kwargs):
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return http.post(f"/v1/models/{model}:predict", content=content, **kwargs)


# Paths: http_rest_api_util.cc


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models/half_plus_two:predict", [4.0]),  # the highest version
        ("/v1/models/half_plus_two/versions/1:predict", [3.0]),
        ("/v1/models/half_plus_two/versions/2:predict", [4.0]),
        ("/v1/models/half_plus_two/labels/stable:predict", [3.0]),
        ("/v1/models/half_plus_two/labels/canary:predict", [4.0]),
        ("/V1/Models/half_plus_two/Versions/1:Predict", [3.0]),
        ("/v1/models/half%5Fplus_two/labels/st%61ble:predict", [3.0]),
        ("/v1/models/half_plus_two:predict?anything=goes", [4.0]),
    ],
)
def test_versions_and_labels_in_the_path(http, path, expected):
    answer = http.post(path, content='{"instances": [2.0]}')
    assert (answer.status_code, answer.json()) == (200, {"predictions": expected})


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/v1/models/nosuch:predict", 404, "Servable not found for request: Latest(nosuch)"),
        ("POST", "/v1/models/tf2/versions/9:predict", 404, "Servable not found for request: Specific(tf2, 9)"),
        ("POST", "/v1/models/tf2/labels/nosuch:predict", 400, "Unrecognized servable version label: nosuch"),
        ("GET", "/v1/models/nosuch", 404, "Could not find any versions of model nosuch"),
        ("GET", "/v1/models/tf2/versions/9", 404, "Could not find version 9 of model tf2"),
        ("GET", "/v1/models/nosuch/metadata", 404, "Servable not found for request: Latest(nosuch)"),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
        ("GET", f"/v1/models/tf2/versions/{2**63}", 400, f"Failed to convert version: {2**63} to numeric."),
        ("POST", "/v1/models/tf2:frobnicate", 400, "Malformed request: POST /v1/models/tf2:frobnicate"),
        ("POST", "/v1/models/tf2", 400, "Malformed request: POST /v1/models/tf2"),
        ("GET", "/v1/models/tf2:predict", 400, "Malformed request: GET /v1/models/tf2:predict"),
        ("GET", "/v1/models/tf2/versions/x", 400, "Malformed request: GET /v1/models/tf2/versions/x"),
        ("DELETE", "/v1/models/tf2", 400, "Malformed request: DELETE /v1/models/tf2"),
        ("GET", "/v1/", 400, "Malformed request: GET /v1/"),
        ("POST", "/v1/models/nosuch:classify", 404, "Servable not found for request: Latest(nosuch)"),
        ("POST", "/v1/models/half_plus_two:regress", 400, "Expected 'examples', a list of objects"),
        ("GET", "/", 404, "Not found"),
        ("GET", "/v2/models/tf2", 404, "Not found"),
    ],
)
def test_missing_things_are_not_found(http, method, path, status, error):
    answer = http.request(method, path, content='{"instances": [1.0]}' if method == "POST" else None)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and answer.json()["error"].startswith(error)


def test_status(http):
    """get_model_status_impl.cc, newest first as in servable_state_monitor.h; of a label it gives all versions, here its own."""
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    versions = [{"version": "2", **state}, {"version": "1", **state}]
    for path, expected in (("", versions), ("/versions/2", versions[:1]), ("/labels/stable", versions[1:])):
        assert http.get(f"/v1/models/half_plus_two{path}").json() == {"model_version_status": expected}


def test_metadata_are_proto_json_with_every_field(http):
    metadata = http.get("/v1/models/half_plus_two/labels/stable/metadata").json()
    assert metadata["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "regress_x_to_y", "classify_x_to_y"}
    assert signatures["serving_default"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "name": "x:0",
        "tensor_shape": {"dim": [{"name": "", "size": "-1"}, {"name": "", "size": "1"}], "unknown_rank": False},
    }
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    assert "__saved_model_init_op" in http.get("/v1/models/tf2/metadata").json()["metadata"]["signature_def"]["signature_def"]


# Rows, columns and values: json_tensor.cc


@pytest.mark.parametrize(
    ("signature", "key", "sent", "expected"),
    [
        ("", "instances", "[1.0, 2, 5e0]", [2.5, 3.0, 4.5]),
        ("", "inputs", "[1, 2, 5]", [2.5, 3.0, 4.5]),
        ("", "inputs", '{"x": [4]}', [4.0]),
        ("", "instances", '[{"x": 4}]', [4.0]),
        ("", "inputs", '{"x": [4], "other": [[1], 2]}', [4.0]),
        ("several", "inputs", '{"x": [1], "other": null, "n": [2]}', {"m": [3], "y": [2.5]}),
        ("several", "instances", '[{"x": 1, "n": 2}, {"n": 3, "x": 2}]', [{"m": 3, "y": 2.5}, {"m": 4, "y": 3.0}]),
        ("several", "inputs", '{"x": [1, 2], "n": [2, 3]}', {"m": [3, 4], "y": [2.5, 3.0]}),
        ("negate", "instances", "[true, false]", [False, True]),
        ("total", "inputs", "[1, 2.5]", 3.5),
        ("join", "inputs", '["a", "bé"]', "abé"),
        ("echo", "instances", '["aé"]', [{"text": "aé", "text_bytes": {"b64": "YcOp"}}]),
        ("echo", "inputs", '[{"b64": "YWI="}]', {"text": ["ab"], "text_bytes": [{"b64": "YWI="}]}),
        ("echo", "inputs", '[{"b64": "YWI"}]', {"text": ["ab"], "text_bytes": [{"b64": "YWI="}]}),
    ],
)
def test_rows_columns_and_types(http, signature, key, sent, expected):
    name = f'"signature_name": "{signature}", ' if signature else ""
    answer = _predict(http, f'{{{name}"{key}": {sent}}}')
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"predictions" if key == "instances" else "outputs": expected}


def test_what_comes_after_the_json_is_passed_over(http):
    for more in (" \n", "\0", "}", " rest", "[" * 1_000):
        assert _predict(http, '{"instances": [2.0, NaN]}' + more).text == '{"predictions": [3.0, NaN]}'


def test_integers_stay_integers_and_floats_have_a_point(http):
    several = '{"signature_name": "several", "inputs": {"x": [2, 4e20, -4e-20], "n": [2, 3, 4]}}'
    text = _predict(http, several).text.replace(" ", "")
    assert '"m":[3,4,5]' in text
    numbers = text.split('"y":[')[1].split("]")[0].split(",")
    assert numbers[0] == "3.0" and all(set(number) & set(".e") for number in numbers)
    assert _predict(http, '{"instances": [0.2]}').text.replace(" ", "") == '{"predictions":[2.1]}'  # not 2.0999999046


def test_nan_and_infinity_go_in_and_out(http):
    answer = _predict(http, '{"instances": [NaN, Infinity, -Infinity, 0.2]}')
    assert answer.status_code == 200
    assert answer.text.replace(" ", "") == '{"predictions":[NaN,Infinity,-Infinity,2.1]}'


def _kind(value) -> str:
    """What names a case: bytes have the time of their making in them, and every process is to find the same names."""
    return "bytes" if isinstance(value, bytes) else str(value)


GZIP = {"content-encoding": "gzip"}
BODY = b'{"instances": [2.0]}'


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("identity, gzip", gzip.compress(BODY)),
        ("gzip", b"".join(gzip.compress(BODY[at : at + 3]) for at in range(0, len(BODY), 3))),
        ("gzip", gzip.compress(BODY[:9]) + gzip.compress(b"") + gzip.compress(BODY[9:]) + bytes(10_000)),
        ("gzip", gzip.compress(BODY + b" " * 1_000_000)),
        ("identity", BODY),
    ],
    ids=_kind,
)
def test_bodies_in_gzip(http, coding, body):
    """RFC 1952: a file is one member or several."""
    assert _predict(http, body, headers={"content-encoding": coding}).json() == {"predictions": [3.0]}


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(BODY)[:-9], 400),
        ("gzip", gzip.compress(BODY) + gzip.compress(BODY)[:-9], 400),
        ("gzip", gzip.compress(BODY) + b"rest", 400),
        ("gzip", gzip.compress(BODY)[:-8] + bytes(8), 400),
        ("gzip", b"no gzip", 400),
        ("gzip", zlib.compress(BODY), 400),
        ("gzip", b"", 400),
        ("deflate", zlib.compress(BODY), 415),
        ("br", BODY, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), 415),
    ],
    ids=_kind,
)
def test_what_is_not_gzip_is_refused(http, coding, body, status):
    answer = _predict(http, body, headers={"content-encoding": coding})
    assert answer.status_code == status and "gzip" in answer.json()["error"]


def test_a_few_bytes_that_stand_for_many_are_refused(server, http):
    """Four at once; the memory of the server and the wait of others stay as they are."""

    def status(name: str) -> int:
        lines = pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

    blanks = gzip.compress(b'{"instances": [2.0' + b" " * (72 << 20))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (18 << 20,)})
        for _ in range(72):
            file.write(bytes(1 << 20))
    npz = {"content-type": "application/x-npz"}
    sent = [(blanks, GZIP), (packed.getvalue(), npz), (gzip.compress(packed.getvalue()), npz | GZIP), (blanks, npz | GZIP)]
    before = status("VmRSS")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: _predict(http, one[0], headers=one[1], timeout=60), sent))
    assert [answer.status_code for answer in answers] == [413] * 4
    assert all("Expected a body of at most 67108864 bytes" in answer.json()["error"] for answer in answers)
    assert status("VmHWM") - before < 400 << 20
    assert _predict(http, BODY).json() == {"predictions": [3.0]}


def test_json_has_its_limit_without_gzip_too(http):
    answer = _predict(http, BODY + b" " * (1 << 26))
    assert answer.status_code == 413 and "Try several requests, or application/x-npy" in answer.json()["error"]


def test_numbers_that_the_type_does_not_have_are_refused(http):
    """reader.h of RapidJSON 1.1; `IsLosslessDecimal` in json_tensor.cc."""
    for number in ("1e999", "-1e400", "1.8e308", "9" * 400, "9" * 5000):
        for body in ('{"instances": [%s]}', '{"inputs": {"x": [0, %s]}}', '{"instances": [NaN, %s]}', '{"inputs": %s}'):
            answer = _predict(http, body % number)
            assert answer.status_code == 400 and "JSON Parse error: Number too big" in answer.json()["error"]
    for number in ("1e39", "-1e39", "9" * 300, "3.4028236e38"):
        for body in ('{"instances": [%s]}', '{"inputs": {"x": [0, %s]}}', '{"instances": [NaN, %s]}'):
            answer = _predict(http, body % number)
            assert answer.status_code == 400 and "to float without loss of precision" in answer.json()["error"]
    for body in ('{"instances": [3.4028235e38, 1e-400]}', '{"instances": [3.4028235e38, 1e-400, Infinity]}'):
        assert _predict(http, body).json()["predictions"][:2] == [1.7014117e38, 2.0]


def test_lists_of_any_depth_are_answered(http):
    for depth in (9, 62, 63, 64, 65, 254, 255, 700, 1100):
        for body in (
            '{"instances": [%s]}',
            '{"inputs": %s}',
            '{"instances": {"x": %s}}',
            '{"signature_name": %s, "inputs": [1]}',
        ):
            answer = _predict(http, body % ("[" * depth + "1" + "]" * depth))
            fits = depth <= 63 and body in ('{"instances": [%s]}', '{"inputs": %s}')
            assert answer.status_code == (200 if fits else 400), (depth, body)
        assert _predict(http, '{"instances": %s}' % ('{"x": ' * depth + "1" + "}" * depth)).status_code == 400


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("{", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        ("[" * 100_000, "JSON Parse error"),
        ("[1]", "JSON Value: [1] Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": 3}, "Expecting 'instances' to be an list/array"),
        ({"instances": [1], "signature_name": 3}, "'signature_name' key must be a string value."),
        ({"instances": [1], "signature_name": "nosuch"}, 'Serving signature name: "nosuch" not found in signature def'),
        ({"instances": ["a"]}, 'JSON Value: "a" Type: String is not of expected type: float'),
        ({"instances": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        ({"instances": [True]}, "JSON Value: true Type: True is not of expected type: float"),
        ({"instances": [{"b64": "AA=="}]}, "Type: Object is not of expected type: float"),
        ({"instances": [[1, 2], [3]]}, "Expecting tensor size: 2 but got: 1"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, "Expecting shape [1,2] but got: [2,1]"),
        ({"instances": [1, [2]]}, "Expecting shape [] but got: [1]"),
        ({"instances": [1, {"x": 2}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [{"y": 1}]}, "keys must be equal to: x"),
        ({"inputs": [[1, 2], [3]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": [[1], 2]}, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ({"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": {"y": 1}}, "Missing named input: x in 'inputs' object."),
        ({"signature_name": "several", "instances": [1]}, "instances is a plain list, but expecting list of objects"),
        ({"signature_name": "several", "inputs": [1]}, "inputs is a plain value/list, but expecting an object"),
        ({"signature_name": "several", "inputs": {"x": [1]}}, "Missing named input: n in 'inputs' object."),
        ({"signature_name": "strict", "inputs": [1.0]}, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ({"signature_name": "strict", "inputs": [2**31]}, "JSON Value: 2147483648 Type: Number"),
        ({"signature_name": "strict", "inputs": [10**30]}, "Type: Number is not of expected type: int32"),
        ({"signature_name": "echo", "inputs": [1]}, "Type: Number is not of expected type: string"),
        ({"signature_name": "echo", "inputs": [{"b64": "*"}]}, "Unable to base64 decode"),
        ({"signature_name": "echo", "inputs": [{"b64": 3}]}, "not formatted correctly for base64 data"),
        ({"signature_name": "total", "instances": [1]}, "Tensor name: total has no shape information"),
        ({"signature_name": "strict", "inputs": [-1]}, "negative"),
        ('{"inputs": {"\\ud800": 1}}', "Missing named input: x"),
    ],
)
def test_a_bad_request_is_answered_with_the_reason_and_the_server_continues(http, body, error):
    answer = _predict(http, body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert error in answer.json()["error"]
    assert _predict(http, {"instances": [2.0]}).json() == {"predictions": [3.0]}


def test_nesting_that_only_counts_right_is_refused(http):
    """Seven numbers in three lists are not 2, 2 and 3: the fast way must not take them for a rectangle."""
    for sent in ([[1], 2, [3]], [[1, 2], [3], [4, 5, 6]], [[[1], [2]], [[3, 4]]]):
        assert _predict(http, {"inputs": sent}).status_code == 400
        assert _predict(http, {"inputs": sent}, "half_plus_two").status_code == 400


# Examples: json_tensor.cc, classifier.cc, regressor.cc


def test_examples_are_classified_and_regressed(http):
    def ask(verb, body, path="half_plus_two"):
        return http.post(f"/v1/models/{path}:{verb}", content=json.dumps({"signature_name": f"{verb}_x_to_y", **body}))

    two = {"examples": [{"x": 2.0}, {"x": [5e0], "other": ["a", {"b64": "AA=="}, "é"], "n": [1, True]}]}
    assert ask("classify", two).json() == {"results": [[["", 4.0]], [["", 5.5]]]}
    assert ask("regress", two).json() == {"results": [4.0, 5.5]}
    assert ask("regress", two, "half_plus_two/versions/1").json() == {"results": [3.0, 4.5]}
    assert ask("regress", {"context": {"x": 4.0}, "examples": [{}, {"x": 0.2}]}).text == '{"results": [5.0, 3.1]}'
    assert ask("regress", {"examples": [{"x": math.nan}]}).text == '{"results": [NaN]}'
    long = ask("regress", {"examples": [{"x": 2.0}], "blanks": " " * (1 << 18)})  # another thread reads it
    assert long.json() == {"results": [4.0]}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "Expected 'examples', a list of objects with the features of each. Received: Null."),
        ({"examples": []}, "Expected 'examples', a list of objects"),
        ({"examples": {"x": 1.0}}, "Expected 'examples', a list of objects with the features of each. Received: Object."),
        ({"examples": [1.0]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": [1.0]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1.0]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "not formatted correctly for base64 data"),
        ({"examples": [{"x": [1.0, 2]}]}, "Expected values of one type in feature x. Received: float_list and int64_list."),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
        ({"examples": [{"x": 2}]}, "Key: x, Index: 0.  Data types don't match."),
        ({"examples": [{"y": 2.0}]}, "Feature: x (data type: float) is required but could not be found."),
        ({"examples": [{"x": 2.0}], "signature_name": "nosuch"}, "No signature was found with the name: nosuch"),
        (
            {"examples": [{"x": 2.0}], "signature_name": "classify_x_to_y"},
            "No regression outputs found in SignatureDef: scores",
        ),
        ("{", "JSON Parse error"),
        ("[" * 100_000, "JSON Parse error"),
    ],
    ids=_kind,
)
def test_bad_examples_are_answered_with_the_reason(http, body, error):
    body = body if isinstance(body, str) else json.dumps({"signature_name": "regress_x_to_y", **body})
    answer = http.post("/v1/models/half_plus_two:regress", content=body)
    assert answer.status_code == 400 and error in answer.json()["error"]


# What comes from http_server.cc


def test_preflight_and_cors(http):
    allowed = http.options("/v1/models/tf2:predict", headers={"origin": "https://example.org"})
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == "*"
    assert allowed.headers["access-control-allow-methods"] == "POST, GET"
    refused = http.options("/v1/models/tf2:predict")
    assert refused.status_code == 400 and "Origin header is missing" in refused.json()["error"]
    assert _predict(http, {"instances": [1]}).headers["access-control-allow-origin"] == "*"


def test_metrics_have_tensorflow_servings_names(http):
    _predict(http, {"instances": [1]}, "with%20space")
    _predict(http, {"instances": ["a"]}, "with%20space")
    _predict(http, {"instances": [1]}, "nosuch")
    page = http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in page.text.splitlines() if not line.startswith("#"))
    count = ':tensorflow:serving:request_count{model_name="with space",status="%s"}'
    assert lines[count % "OK"] == "1.0" and lines[count % "INVALID_ARGUMENT"] == "1.0"
    assert lines[':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",model_name="with space"}'] == "1.0"
    assert "nosuch" not in page.text  # names that anybody can make up would fill the memory


# Beyond TensorFlow Serving


def test_arrays_as_npy_and_npz(http):
    def sent(arrays, signature="", **headers):
        file = io.BytesIO()
        single = not isinstance(arrays, dict)
        np.save(file, arrays) if single else np.savez(file, **arrays)
        kind = "application/x-npy" if single else "application/x-npz"
        query = f"?signature_name={signature}"
        return http.post(f"/v1/models/tf2:predict{query}", content=file.getvalue(), headers={"content-type": kind, **headers})

    for dtype in ("float32", "float64", "int64"):
        answer = sent(np.array([1, 2], dtype))
        assert answer.headers["content-type"] == "application/x-npy"
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), np.array([2.5, 3], "float32"))
    assert sent(np.ones(1), accept="application/json").json() == {"outputs": [2.5]}
    answer = sent({"x": np.ones(2), "n": np.arange(2)}, "several")
    assert answer.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(answer.content)) as arrays:
        assert {name: array.tolist() for name, array in arrays.items()} == {"m": [1, 2], "y": [2.5, 2.5]}
    assert sent(np.array(["aé", "b"]), "echo").json()["outputs"]["text"] == ["aé", "b"]
    for refused, signature, message in (
        (np.array([1j]), "", "Expected float32 for input x. Received: complex128"),
        (np.array([1, 1e300]), "", "Expected numbers that float32 has for input x. Received: 1e+300 in row 1."),
        (np.ones(1), "nosuch", "not found in signature def"),
        (np.ones(1), "several", "Expected an .npz with n, x"),
        (np.array([2**31]), "strict", "Expected integers in"),
        (np.array([{}], object), "", "Expected an array as .npy"),
        ({"x": np.ones(1)}, "several", "Expected inputs n, x. Received: x"),
    ):
        answer = sent(refused, signature)
        assert answer.status_code == 400 and message in answer.json()["error"]
    for kind, body in (("x-npy", b""), ("x-npy", b"\x93NUMPY\x01\x00v\x00{"), ("x-npz", b"PK"), ("x-npz", b"")):
        answer = http.post("/v1/models/tf2:predict", content=body, headers={"content-type": f"application/{kind}"})
        assert answer.status_code == 400 and "Expected" in answer.json()["error"]


def _zipped(arrays: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", **changed) -> bytes:
    """A zip file; `changed` are fields of its list that say something else than the members."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", kind) as archive:
        warnings.simplefilter("ignore")  # a name twice
        archive.comment = comment
        for name, content in arrays.items():
            archive.writestr(name.strip("*"), content)
        for member in archive.infolist():
            for name, value in changed.items():
                setattr(member, name, value)
    return file.getvalue()


def _saved(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _claiming(shape: tuple) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(8)


X, N = _saved(np.ones(2, "float32")), _saved(np.arange(2, dtype="int32"))


@pytest.mark.parametrize(
    "body",
    [
        _zipped({"x.npy": X, "n.npy": N}, file_size=10),
        _zipped({"x.npy": X, "n.npy": N}, CRC=1),
        _zipped({"x.npy": X, "n.npy": N}, flag_bits=1),
        _zipped({"x.npy": X, "n.npy": N}, zipfile.ZIP_BZIP2),
        _zipped({"x.npy": X, "n.npy": N}, zipfile.ZIP_LZMA),
        _zipped({"x.npy": X, "n.npy": N}, comment=b"comment"),
        _zipped({"x.npy": X, "n.npy": N, "n": N}),
        _zipped({"x.npy": X, "n.npy": N, "n.npy*": N}),
        _zipped({"x.npy": X, "n.npy": _zipped({"n.npy": N})}),
        _zipped({"x.npy": X, "n.npy": N, **{f"a{number}.npy": b"" for number in range(2000)}}),
        _zipped({"x.npy": X, "n.npy": N})[:-1],
        _zipped({"x.npy": _claiming((1 << 40,)), "n.npy": N}),
        _zipped({"x.npy": _claiming((2, -1)), "n.npy": N}),
        _zipped({"x.npy": _claiming((1 << 62, 1 << 62)), "n.npy": N}),
        _zipped({"x.npy": _claiming((0, 1 << 62, 1 << 62)), "n.npy": N}),
        _zipped({"x.npy": X[:-1], "n.npy": N}),
        _zipped({"x.npy": X + b"rest", "n.npy": N}),
        _zipped({"x.npy": X.replace(b"'<f4'", b"'<V0'"), "n.npy": N}),
        _zipped({"x.npy": X[:10] + b"(" * (len(X) - 10), "n.npy": N}),
    ],
    ids=_kind,
)
def test_an_npz_that_is_not_what_it_says_is_refused(http, body):
    headers = {"content-type": "application/x-npz"}
    answer = http.post("/v1/models/tf2:predict?signature_name=several", content=body, headers=headers)
    assert answer.status_code == 400 and answer.json()["error"].startswith("Expected")


def test_arrays_of_any_order_and_of_no_rows(http):
    for array in (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.zeros(0), np.zeros((0, 3))):
        for body, kind in ((_saved(array), "x-npy"), (_zipped({"x.npy": _saved(array)}), "x-npz")):
            headers = {"content-type": f"Application/{kind}; charset=binary"}
            answer = http.post("/v1/models/tf2:predict", content=body, headers=headers)
            np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), (array / 2 + 2).astype("float32"))


@pytest.mark.parametrize("binary", [False, True])
def test_the_client_takes_several_outputs_of_numbers(server, binary):
    with Client(server.url, "tf2", binary=binary) as client:
        outputs = client.reconstruct([1.0, 2.5])
    assert {name: output.tolist() for name, output in outputs.items()} == {"x": [1, 2.5], "half": [0.5, 1.25], "whole": [1, 2]}
    assert [outputs[name].dtype for name in ("x", "half", "whole")] == ["float32", "float32", "int32"]


@pytest.mark.parametrize("name", ["with space", "a/b %41 é"])
def test_the_client_asks_for_any_name(server, name):
    with Client(server.url, name) as client:
        assert client.reconstruct([1.0])["half"] == [0.5]
    with Client(server.url, name, version=0) as client, pytest.raises(ServerError, match=r"Specific\(.*, 0\)"):
        client.reconstruct([1.0])


def test_the_list_of_models(http):
    models = http.get("/v1/models").json()["models"]
    assert [model["name"] for model in models] == ["a/b %41 é", "half_plus_two", "missing", "tf2", "with space"]
    _, loaded, missing, *_ = models
    assert loaded["model_version_status"] == http.get("/v1/models/half_plus_two").json()["model_version_status"]
    assert missing["model_version_status"] == [] and "no folder" in missing["error"]
    assert http.get("/v1/models/").json() == {"models": models}


def test_a_model_without_a_version_says_what_is_in_its_base_path(http):
    for answer in (_predict(http, {"instances": [1]}, "missing"), http.get("/v1/models/missing")):
        assert answer.status_code == 404 and "Received: no folder" in answer.json()["error"]
    ready = http.get("/readyz")
    assert ready.status_code == 503 and ready.text.startswith("missing: Expected a SavedModel in") and "\n" not in ready.text


def test_health_and_documents(http):
    assert http.get("/livez").text == "ok"
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    request = document["paths"]["/v1/models/tf2:predict"]["post"]["requestBody"]["content"]["application/json"]
    for verb, example in request["examples"].items():
        answer = _predict(http, example["value"])
        assert answer.status_code == 200, (verb, answer.text)
    for verb in ("classify", "regress"):
        post = document["paths"][f"/v1/models/half_plus_two:{verb}"]["post"]
        schema = post["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"]["signature_name"]["enum"] == [f"{verb}_x_to_y"]
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html") and "openapi.json" in page.text


def test_the_models_are_regenerated_by_their_script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [half_plus_two.__file__, str(tmp_path)])
    runpy.run_path(half_plus_two.__file__, run_name="__main__")
    found = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("saved_model.pb"))
    assert found == ["half_plus_two/1", "half_plus_two/2", "half_plus_two_tf2/1"]


def test_base64_of_any_alphabet_and_length():
    """absl::Base64Unescape takes both alphabets and does without padding."""
    from serving.rest.json_values import decoded

    for content in (b"", b"a", b"\xfb\xff", bytes(range(256))):
        for text in (base64.b64encode(content), base64.urlsafe_b64encode(content), base64.b64encode(content).rstrip(b"=")):
            assert decoded({"b64": text.decode()}) == content
