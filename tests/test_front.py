"""The front door of a server that is open to others: tokens, TLS, limits as flags, access log, traces, health and metrics."""

import contextlib
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import time

import grpc
import half_plus_two
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

from serving import Client, ServerError
from serving.front import answering
from serving.options import Options
from serving.status import RequestError
from serving.tokens import Tokens

MODEL = "half_plus_two_tf2"
PREDICT = f"/v1/models/{MODEL}:predict"
BODY = b'{"instances": [2.0]}'


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


class Front:
    """A server over TLS with tokens and an access log; `said` is what it wrote on stderr, spans included."""

    def __init__(self, folder):
        half_plus_two.write_tf2(folder / "models" / MODEL / "1")
        authority, self.tokens, self._said = trustme.CA(), folder / "tokens", folder / "said"
        pair, self.ca = authority.issue_cert("127.0.0.1"), folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.certificate = f"server_cert: {json.dumps(pair.cert_chain_pems[0].bytes().decode())}\n"
        key = f"server_key: {json.dumps(pair.private_key_pem.bytes().decode())}\n"
        (folder / "ssl.config").write_text(key + self.certificate)
        self.tokens.write_text("first\n\nzweiter\n")
        flags = {
            "port": 0,
            "rest_api_port": 0,
            "rest_api_ssl_config_file": folder / "ssl.config",
            "auth_token_file": self.tokens,
            "rest_api_access_log": "true",
            "rest_api_max_url_bytes": 2000,
            "rest_api_max_header_bytes": 3000,
            "rest_api_max_body_bytes": 4000,
            "rest_api_max_connections": 100,
            "rest_api_head_timeout_in_ms": 1000,
        }
        command = [
            sys.executable,
            "-m",
            "serving",
            "serve",
            folder / "models",
            *(f"--{name}={is_}" for name, is_ in flags.items()),
        ]
        environment = os.environ | {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"Serving .* at (https://127\.0\.0\.1:(\d+))/v1/models/ and grpc://(\S+)\n", line)
        assert found, line + self._said.read_text()
        self.url, self.port, self.grpc = found[1], int(found[2]), found[3]
        self.context = ssl.create_default_context(cafile=self.ca)

    def http(self, headers: dict[str, str] | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.context, headers=headers, timeout=30)

    def end(self) -> tuple[str, str]:
        """Ends it; what it wrote on stdout and stderr."""
        self.process.terminate()
        printed, _ = self.process.communicate(timeout=60)
        return printed, self._said.read_text()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    front = Front(tmp_path_factory.mktemp("front"))
    try:
        yield front
    finally:
        front.process.kill()
        front.process.wait()


def test_rest_asks_for_a_token_but_from_probes(front):
    with front.http() as http:
        for headers in (
            {},
            _bearer("third"),
            {"authorization": "Bearer"},
            {"authorization": "Basic first"},
            {"authorization": "first"},
        ):
            answer = http.post(PREDICT, content=BODY, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"].startswith("Expected a token, Authorization: Bearer")
        for token in ("first", "zweiter"):
            assert http.post(PREDICT, content=BODY, headers=_bearer(token)).json() == {"predictions": [3.0]}
        assert http.get("/livez").text == http.get("/readyz").text == "ok"
        for path in ("/metrics", "/v1/models", "/docs", f"/v1/models/{MODEL}/metadata"):
            assert http.get(path).status_code == 401 and http.get(path, headers=_bearer("first")).status_code == 200


def test_the_client_has_a_token_and_certificates(front):
    with Client(front.url, MODEL, token="first", certificates=front.ca) as client:
        assert "strict" in client.signatures
    with Client(front.url, MODEL, certificates=front.ca) as client, pytest.raises(ServerError, match=r"a token.*HTTP 401"):
        client.signatures  # noqa: B018
    with Client(front.url, MODEL, token="first") as client, pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        client.signatures  # noqa: B018
    with pytest.raises(ValueError, match="Expected a file of certificates"):
        Client(front.url, MODEL, certificates=front.tokens)


def test_grpc_asks_for_a_token_but_from_probes(front):
    request = GetModelStatusRequest()
    request.model_spec.name = MODEL
    with grpc.insecure_channel(front.grpc) as channel:
        status = ModelServiceStub(channel).GetModelStatus
        for metadata in ((), (("authorization", "Bearer third"),)):
            with pytest.raises(grpc.RpcError) as refused:
                status(request, metadata=metadata, timeout=30)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert status(request, metadata=(("authorization", "Bearer first"),), timeout=30).model_version_status
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_plain_http_is_not_answered(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=30) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1" not in line.recv(1000)


def test_who_says_nothing_before_tls_counts_as_a_connection_and_is_closed(front):
    with contextlib.ExitStack() as stack:
        peer = ("127.0.0.1", front.port)
        lines = [stack.enter_context(socket.create_connection(peer, timeout=30)) for _ in range(110)]  # of 100
        with front.http() as http:
            assert http.get("/livez").text == "ok"
        assert lines[0] in select.select(lines, [], [], 0)[0]
        assert {line.recv(1) for line in lines} == {b""}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * 3000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nAuthorization: Bearer first\r\nContent-Length: 4001\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: 4001\r\n\r\n", b"401"),
        (b"GET /livez HTTP/1.1\r\nX: ", b"408"),
    ],
)
def test_limits_are_those_of_the_flags(front, sent, status):
    """Over TLS, where a connection cannot be closed by halves; the refusal can be read all the same."""
    with (
        socket.create_connection(("127.0.0.1", front.port), timeout=30) as line,
        front.context.wrap_socket(line, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(sent)
        assert secure.recv(1000)[9:12] == status


def test_metrics_count_what_was_asked(front):
    with front.http(_bearer("first")) as http:
        http.post(PREDICT, content=BODY)
        page = http.get("/metrics").text
    assert (
        f':tensorflow:serving:request_latency_bucket{{API="predict",entrypoint="REST",le="+Inf",model_name="{MODEL}"}}' in page
    )
    assert re.search(r':latent_zoo:rest:refused_count\{status="401"\} [1-9]', page)
    assert re.search(r"(?m)^:latent_zoo:rest:connection_count [1-9]", page)


def test_flags_that_cannot_be_meant_are_refused(front, tmp_path):
    for name in ("rest_api_max_url_bytes", "rest_api_max_connections", "rest_api_idle_timeout_in_ms"):
        with pytest.raises(ValueError, match=f"Expected --{name} of at least 1. Received: 0"):
            answering(None, Options(**{name: 0}), None)
    config = tmp_path / "ssl.config"
    config.write_text(f"server_key: {json.dumps(trustme.CA().private_key_pem.bytes().decode())}\n" + front.certificate)
    with pytest.raises(
        ValueError, match=r"Expected a key and its certificates \(PEM\) in .*ssl.config. Received: KEY_VALUES_MISM"
    ):
        answering(None, Options(rest_api_ssl_config_file=str(config)), None)


def test_tokens_are_read_again_when_the_file_changes(tmp_path):
    file = tmp_path / "tokens"
    for text, error in ((None, "No such file"), ("\n", "which has none")):
        if text is not None:
            file.write_text(text)
        with pytest.raises(ValueError, match=f"Expected a file of tokens, one a line.*{error}"):
            Tokens(file)
    file.write_text("old\n")
    tokens = Tokens(file)
    tokens.require(b"bearer old")
    for text, good, bad in (("new\n", b"Bearer new", b"Bearer old"), ("\n", b"Bearer new", b"Bearer old")):
        file.write_text(text)
        os.utime(file, ns=(0, time.time_ns()))
        tokens._looked -= 10  # seconds have passed
        tokens.require(good)
        with pytest.raises(RequestError, match="Received: another token"):
            tokens.require(bad)


def test_the_access_log_and_the_traces_tell_of_every_request(front):
    """The last test: it ends the server."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with front.http(_bearer("zweiter")) as http:
        http.post(PREDICT, content=BODY, headers={"traceparent": parent})
        http.get("/nowhere%0A")
    printed, said = front.end()
    assert re.search(rf'\d 127\.0\.0\.1 "POST {re.escape(PREDICT)}" 200 \d+ \d+\.\d\n', said)
    assert '"GET /nowhere%0A" 404' in said and "zweiter" not in said and "Traceback" not in said
    assert f'"name": "POST {PREDICT}"' in printed and '"trace_id": "0x0af7651916cd43dd8448eb211c80319c"' in printed
    assert '"http.response.status_code": 404' in printed
