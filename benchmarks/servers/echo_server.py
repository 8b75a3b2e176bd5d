"""The embedded server's transport without a model: /bytes gives a body back, /json reads its numbers and writes them again.

python benchmarks/servers/echo_server.py PORT
"""

import socket
import sys

from peers.peers import WIDTH

from serving import quiet
from serving.models.servable import Endpoint, TensorSpec
from serving.rest import json_tensors, transport
from serving.rest.messages import Request, Response

SPEC = TensorSpec(quiet.tensorflow.float32.as_numpy_dtype(0).dtype, 1, (None, WIDTH))
ENDPOINT = Endpoint({"x": SPEC}, {"x": SPEC}, None, True)


def handle(request: Request, respond) -> None:
    body = request.body
    if request.path == "/json":
        body = json_tensors.write(json_tensors.read(body, lambda name: ENDPOINT).values, rows=True)
    respond(Response(body))


transport.run(handle, [socket.create_server(("127.0.0.1", int(sys.argv[1])))], lambda: print("ready", flush=True), grace=0)
