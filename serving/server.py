"""The embedded server: TensorFlow Serving's REST API on Starlette."""

import contextlib
import re
import socket
from collections.abc import Callable

import anyio.to_thread
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import rest
from serving.models import Models, NotFound
from serving.servable import Servable

GRACE = 5  # seconds that open requests have when the server ends
PATH = re.compile(r"(?P<name>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<verb>/metadata|:[a-z]+)?")


class Application:
    """Answers for `models`: status and metadata by GET, `:predict` by POST.

    Every error is a JSON object `{"error": text}`: 400 for what is wrong with a request, 404 for what is not there.
    """

    def __init__(self, models: Models, lifespan: Callable | None = None):
        self.models = models
        route = Route("/v1/models/{path:path}", self.answer, methods=["GET", "POST"])
        errors = {404: _unrouted, 405: _unrouted, 500: _failed}
        self.app = Starlette(routes=[route], exception_handlers=errors, lifespan=lifespan)

    async def answer(self, request: Request) -> Response:
        match = PATH.fullmatch(request.path_params["path"])
        verb = (request.method, match and match["verb"])
        handlers = {("GET", None): _status, ("GET", "/metadata"): _metadata, ("POST", ":predict"): _predict}
        if match is None or verb not in handlers:
            return _json(rest.error(f"Malformed request: {request.method} {request.url.path}"), 400)
        try:
            servable = self.models.get(match["name"], int(match["version"]) if match["version"] else None)
            return _json(await handlers[verb](servable, match["name"], request))
        except NotFound as error:
            return _json(rest.error(str(error)), 404)
        except rest.BadRequest as error:
            return _json(rest.error(str(error)), 400)


async def _unrouted(request: Request, error: HTTPException) -> Response:
    return _json(rest.error(f"Malformed request: {request.method} {request.url.path}"), error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return _json(rest.error(f"The model failed on this request: {type(error).__name__}"), 500)


async def _status(servable: Servable, name: str, request: Request) -> bytes:
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return orjson.dumps({"model_version_status": [{"version": str(servable.version), **state}]})


async def _metadata(servable: Servable, name: str, request: Request) -> bytes:
    spec = {"name": name, "signature_name": "", "version": str(servable.version)}
    signatures = {"@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap", "signature_def": servable.signature_defs}
    return orjson.dumps({"model_spec": spec, "metadata": {"signature_def": signatures}})


async def _predict(servable: Servable, name: str, request: Request) -> bytes:
    return await anyio.to_thread.run_sync(predict, servable, await request.body())


def predict(servable: Servable, body: bytes) -> bytes:
    """The JSON answer to the JSON body of a `:predict` request."""
    asked = rest.parse(body)
    signature = asked.get("signature_name") or "serving_default"
    endpoint = servable.endpoints.get(signature)
    if endpoint is None:
        raise rest.BadRequest(
            f"Serving signature name: {signature!r} not found. Expected one of {', '.join(servable.endpoints)}."
        )
    return rest.response(servable.run(signature, rest.arrays(asked, endpoint)), asked)


def serve(directory: str, rest_api_port: int = 8501, host: str = "127.0.0.1") -> None:
    """Serves the models of `directory` until interrupted; port 0 takes a free one. Prints the address once it answers.

    Raises:
        ValueError: the port is taken, or nothing to serve.
    """
    try:
        listener = socket.create_server((host, rest_api_port))
    except OSError as error:
        raise ValueError(
            f"Expected a free port. Received: {host}:{rest_api_port} ({error.strerror}). Try --rest_api_port=0."
        ) from None
    address = f"http://{host}:{listener.getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def announced(app):
        print(f"Serving {', '.join(models)} at {address}/v1/models/", flush=True)
        yield

    with listener, contextlib.closing(Models(directory)) as models:
        config = uvicorn.Config(Application(models, announced).app, log_level="warning", timeout_graceful_shutdown=GRACE)
        uvicorn.Server(config).run(sockets=[listener])


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
