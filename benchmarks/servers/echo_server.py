"""A transport without a model: /bytes gives a body back, /json reads its numbers and writes them again as the embedded server
does, /lists does so with orjson alone.

python benchmarks/servers/echo_server.py PORT [own|granian|uvicorn]

The handler is the same function behind each: what differs is who reads HTTP.
"""

import asyncio
import socket
import sys

import orjson
import uvloop
from peers.peers import WIDTH
from probes import PATIENCE

from serving import quiet
from serving.models.servable import Endpoint, TensorSpec
from serving.rest import json_tensors

SPEC = TensorSpec(quiet.tensorflow.float32.as_numpy_dtype(0).dtype, 1, (None, WIDTH))
ENDPOINT = Endpoint({"x": SPEC}, {"x": SPEC}, None, True)


def answer(path: str, body: bytes) -> bytes:
    """The body of the response."""
    if path == "/json":
        return json_tensors.write(json_tensors.read(body, lambda name: ENDPOINT).values, rows=True)
    if path == "/lists":
        return orjson.dumps({"predictions": orjson.loads(body)["instances"]})
    return body


def own(port: int) -> None:
    """Answers through the embedded server's own transport."""
    from serving.rest import transport
    from serving.rest.limits import Limits
    from serving.rest.messages import Response

    listener = socket.create_server(("127.0.0.1", port))
    limits = Limits(idle_time=PATIENCE, head_time=PATIENCE, body_time=PATIENCE)
    transport.run(lambda request, respond: respond(Response(answer(request.path, request.body))), [listener], ready, 0, limits)


def granian(port: int) -> None:
    """Answers through granian, by its protocol RSGI, in this process."""
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    async def app(scope, protocol):
        made = answer(scope.path, await protocol())
        protocol.response_bytes(200, [("content-type", "application/json")], made)

    async def serve():
        asyncio.get_running_loop().call_later(1, ready)
        settings = HTTP1Settings(header_read_timeout=1000 * PATIENCE)
        server = Server(app, port=port, interface="rsgi", http="1", http1_settings=settings, log_enabled=False)
        await server.serve()

    uvloop.run(serve())


def uvicorn(port: int) -> None:
    """Answers through uvicorn, by ASGI, with httptools and uvloop."""
    import uvicorn

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        made = answer(scope["path"], body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(made)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": made})

    config = uvicorn.Config(app, port=port, loop="uvloop", http="httptools", log_level="error", timeout_keep_alive=PATIENCE)
    server = uvicorn.Server(config)

    async def serve():
        asyncio.get_running_loop().call_later(1, ready)
        await server.serve()

    uvloop.run(serve())


def ready() -> None:
    """Tells who started this that it answers."""
    print("ready", flush=True)


if __name__ == "__main__":
    {"own": own, "granian": granian, "uvicorn": uvicorn}[(sys.argv[2:] or ["own"])[0]](int(sys.argv[1]))
