"""How the client finds its server: addresses, names, versions, and the proxies of the environment."""

import http.server
import json
import socket
import sys
import threading

import pytest

from serving import Client, ServerError
from serving.listeners import listen
from serving.options import OFF

METADATA = {"metadata": {"signature_def": {"signature_def": {}}}}


@pytest.fixture(scope="module")
def heard():
    """Lines of the requests that came to a server of this process, its port before them."""
    lines = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            lines.append(self.path)
            body = json.dumps(METADATA).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lines.append(server.server_port)
        yield lines
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _asked(heard, url: str, model: str = "m", **options) -> str:
    with Client(url, model, **options) as client:
        assert client.signatures == {}
    return heard[-1]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{}", "http://127.0.0.1:{}/", "127.0.0.1:{}", "HTTP://localhost:{}", "http://user:word@localhost:{}"],
)
def test_an_address_may_be_written_in_several_ways(heard, url):
    assert _asked(heard, url.format(heard[0])) == "/v1/models/m/metadata"


def test_an_address_may_have_a_path_before_the_api(heard):
    for path in ("/served/here", "/served/here/"):
        assert _asked(heard, f"http://localhost:{heard[0]}{path}") == "/served/here/v1/models/m/metadata"


@pytest.mark.parametrize(
    "url", ["", "grpc://localhost:8500", "http://", "http://localhost:port", "http://a/?b=c", "http://a/#b"]
)
def test_what_is_not_an_address_is_refused(url):
    with pytest.raises(ValueError, match=r"Expected the address of a server. Received: .* Try http://localhost:8501"):
        Client(url, "m")


@pytest.mark.parametrize(
    ("model", "path"), [("a/b", "a%2Fb"), ("a b", "a%20b"), ("é:?#", "%C3%A9%3A%3F%23"), ("100%", "100%25"), ("%41", "%2541")]
)
def test_the_name_of_a_model_may_have_any_letters(heard, model, path):
    assert _asked(heard, f"http://localhost:{heard[0]}", model) == f"/v1/models/{path}/metadata"


def test_every_version_can_be_asked_for(heard):
    for version, path in ((None, ""), (0, "/versions/0"), (12, "/versions/12")):
        assert _asked(heard, f"http://localhost:{heard[0]}", version=version) == f"/v1/models/m{path}/metadata"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nosuch://127.0.0.1:9", "http://127.0.0.1:9", "127.0.0.1:9", ":"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTP_PROXY", "all_proxy"])
def test_this_machine_is_asked_without_a_proxy(heard, monkeypatch, name, proxy):
    monkeypatch.setenv(name, proxy)
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        assert _asked(heard, f"http://{host}:{heard[0]}") == "/v1/models/m/metadata"


def test_others_are_asked_through_the_proxy_of_the_environment(heard, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{heard[0]}")
    monkeypatch.setenv("ALL_PROXY", "nosuch://127.0.0.1:9")  # which is not for them
    assert _asked(heard, "http://model.invalid:8501", "a/b") == "http://model.invalid:8501/v1/models/a%2Fb/metadata"
    before = len(heard)
    monkeypatch.setenv("NO_PROXY", "other.invalid,model.invalid")
    with Client("http://model.invalid:8501", "m") as client, pytest.raises(Exception, match=r"(?i)name|address|resol"):
        client.signatures  # noqa: B018
    assert len(heard) == before


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "nosuch://me:secret@127.0.0.1:9", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch, proxy):
    monkeypatch.setitem(sys.modules, "socksio", None)  # what HTTPX needs for SOCKS is not there
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ValueError, match=r"Expected a proxy that HTTPX can use.*NO_PROXY=model.invalid") as told:
        Client("http://model.invalid:8501", "m")
    assert "secret" not in str(told.value)
    monkeypatch.setenv("NO_PROXY", ".invalid")
    Client("http://model.invalid:8501", "m").close()


def test_a_wrong_answer_is_reported(heard):
    with Client(f"http://localhost:{heard[0]}", "m") as client, pytest.raises(ServerError, match="Expected a signature"):
        client.encode([[1.0]])


@pytest.mark.parametrize("other", ["127.0.0.2", "::1", "203.0.113.1"])
def test_a_host_is_listened_on_at_all_the_addresses_that_are_here(monkeypatch, other):
    family = socket.AF_INET6 if ":" in other else socket.AF_INET
    found = [(kind, socket.SOCK_STREAM, 6, "", (host, 0)) for kind, host in ((socket.AF_INET, "127.0.0.1"), (family, other))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    listeners = listen("some", 0)
    try:
        addresses = [listener.getsockname()[:2] for listener in listeners]
        assert addresses[0][0] == "127.0.0.1" and len({port for _, port in addresses}) == 1
        assert [host for host, _ in addresses[1:]] == [other] or other in ("::1", "203.0.113.1")
        for listener in listeners:
            listener.listen()
        with pytest.raises(ValueError, match="Expected a free port"):
            listen("some", addresses[0][1])
    finally:
        for listener in listeners:
            listener.close()
    assert listen("some", OFF) == []


def test_a_host_that_is_not_this_machine_is_named():
    for host in ("model.invalid", "a" * 70, "..", "203.0.113.1"):
        with pytest.raises(ValueError, match=r"Expected (an address of this machine|a free port). Received: .*\. Try"):
            listen(host, 0)
