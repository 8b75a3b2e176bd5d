"""The REST front end: TensorFlow Serving's API and some additions."""

import asyncio
import contextlib
import functools
import re
import threading
import time
import urllib.parse
from collections.abc import Callable

import numpy as np
import orjson
from google.protobuf import json_format
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus

from serving import metrics
from serving.models import inference, schemas
from serving.models.models import Models
from serving.models.serialized import INPUT
from serving.models.servable import Servable
from serving.models.steps import Steps
from serving.rest import binary_tensors, bodies, json_examples, json_tensors, openapi, pictures
from serving.rest.bodies import LARGE, QUICK
from serving.rest.budget import BODIES, Share
from serving.rest.messages import JSON, Request, Response
from serving.rest.observers import Observer
from serving.status import Code, RequestError, as_json, invalid, request_error

# As in `http_rest_api_util.cc` of TensorFlow Serving, where the last word must be in lower case; here it need not be.
VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
PREDICT = re.compile(rf"(?i)/v1/models/(?P<name>[^/:]+){VERSION}:(?P<verb>classify|regress|predict)")
STATUS = re.compile(rf"(?i)/v1/models(?:/|(?:/(?P<name>[^/:]+))?{VERSION}(?:/(?P<verb>metadata|schema))?)")

PROBES = ("/livez", "/readyz")
TEXT, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"
CORS = b"""access-control-allow-origin: *\r
access-control-allow-methods: POST, GET\r
access-control-allow-headers: Authorization, Content-Type\r
"""

Respond = Callable[[Response], None]


class Application:
    """The REST API for `models`; `handle` is called by `serving.rest.transport`.

    Args:
        timeout: of one request, in seconds.
        cors: whether to allow requests from pages of other origins.
        metrics_path: another URL path of the metrics for Prometheus, beside /metrics.
        observer: is told of every request and its response.
    """

    def __init__(
        self,
        models: Models,
        timeout: float = 30.0,
        cors: bool = False,
        metrics_path: str | None = None,
        observer: Observer | None = None,
    ):
        self.models, self.timeout = models, timeout
        self._cors, self._observer = CORS if cors else b"", observer
        self.steps = Steps()
        self._open: dict[_Call, None] = {}  # calls that have begun, the oldest first
        self._timed = False  # whether a timer runs for the oldest
        self._pages: dict[str, Callable[[], Response]] = {
            "/livez": lambda: Response(b"ok", TEXT),
            "/readyz": self._ready,
            "/openapi.json": lambda: Response(orjson.dumps(openapi.document(self.models))),
            "/docs": lambda: Response(openapi.PAGE, HTML),
        }
        for path in filter(None, ("/metrics", metrics_path)):
            self._pages[path] = lambda: Response(metrics.page(), metrics.CONTENT_TYPE)

    def handle(self, request: Request, respond: Respond) -> Callable[[], None] | None:
        """Answers one request, in the event loop's thread; what may take long is done in another thread.

        Returns a function to be called if the client disconnects before the response, or None.
        """
        if self._observer is not None:
            respond = functools.partial(_both, self._observer(request), respond)
        if self._cors:
            respond = functools.partial(_with_headers, respond, self._cors)
        if request.method != "POST" and request.path not in PROBES:
            return asyncio.ensure_future(self._look(request, respond)).cancel
        try:
            if request.path[:4].lower() != "/v1/":
                return respond(self._page(request))
            name, verb, wanted = _parsed(request.method, request.path)
        except Exception as error:
            return respond(_failed(request_error(error)))
        call = _Call(self, request, name, verb, wanted, respond)
        if len(request.body) < LARGE:
            call.start()
        else:
            call.start_beside()
        return call.abandon

    async def _look(self, request: Request, respond: Respond) -> None:
        """Answers a request that calls no model, in another thread: the signatures of a wide table take long to write."""
        try:
            async with asyncio.timeout(self.timeout):
                response = await asyncio.get_running_loop().run_in_executor(None, self._looked, request)
        except TimeoutError:
            response = _TOO_LATE
        except asyncio.CancelledError:
            response = _GONE
        except Exception as error:
            response = _failed(request_error(error))
        respond(response)

    def _looked(self, request: Request) -> Response:
        if request.path[:4].lower() != "/v1/":
            return self._page(request)
        if request.method == "OPTIONS":
            return _preflight(request)
        return self._status(*_parsed(request.method, request.path))

    def _page(self, request: Request) -> Response:
        page = self._pages.get(request.path)
        if page is not None and request.method in ("GET", "HEAD"):
            return page()
        message = f"Not found: {request.method} {request.path}. Expected /v1/models/… or {', '.join(self._pages)}."
        return Response(as_json(message), JSON, 404)

    def _ready(self) -> Response:
        if self.models.ready:
            return Response(b"ok", TEXT)
        reasons = [f"{name}: {why}" for name in sorted(self.models.names) if (why := self.models.why(name))]
        return Response("\n".join(reasons or ["models are loading"]).encode(), TEXT, 503)

    def _status(self, name: str, verb: str, wanted: dict) -> Response:
        if not name and (verb or wanted):
            raise invalid("Missing model name in request.")
        if not name:
            return Response(orjson.dumps({"models": [self._state(name) for name in sorted(self.models.names)]}))
        if verb == "metadata":
            return Response(_metadata(self.models.get(name, **wanted), name))
        if verb == "schema":
            return Response(orjson.dumps({"schema": schemas.schema(self.models.get(name, **wanted).path)}))
        return Response(orjson.dumps(_states(self.models.status(name, **wanted))))

    def _state(self, name: str) -> dict:
        """A model in the list of all: the states of its versions, or why it has none."""
        try:
            return {"name": name, **_states(self.models.status(name))}
        except RequestError as error:
            return {"name": name, **_states([]), "error": error.message}

    def begin(self, call: "_Call") -> None:
        """Limits the time of a call that begins, with one timer for all: one for each would cost more than the routing."""
        self._open[call] = None
        if not self._timed:
            self._timed = True
            asyncio.get_running_loop().call_later(self.timeout, self._expire)

    def end(self, call: "_Call") -> None:
        """Forgets a call that has been answered."""
        self._open.pop(call, None)

    def _expire(self) -> None:
        self._timed, now = False, time.perf_counter()
        for call in list(self._open):
            if (left := call.started + self.timeout - now) > 0:
                self._timed = True
                asyncio.get_running_loop().call_later(left, self._expire)
                break
            call.expire()


class _Call:
    """One call of a model: it is read, queued, run in a batch, and its outputs are written.

    Quick work is done in the event loop's thread; the outputs of the model may come from any thread.
    """

    def __init__(self, application: Application, request: Request, name: str, verb: str, wanted: dict, respond: Respond):
        self._application, self._request, self._respond = application, request, respond
        self._name, self._verb, self._wanted = name, verb, wanted
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.started = time.perf_counter()
        self._share: Share | None = None  # of a large body

    def start(self) -> None:
        """Reads the request and queues it; if that may take long, `start_beside` takes over."""
        try:
            self._read(LARGE, _uncounted)
            batcher = self._endpoint.batcher
            batcher.enqueue(self._endpoint.task(self._values, self._done, self._is_wanted))
            self._application.begin(self)
            self._application.steps.soon(batcher)
        except bodies.TooLarge:
            self.start_beside()
        except Exception as error:
            self._fail(error)

    def start_beside(self) -> None:
        """Does everything in other threads."""
        try:
            self._share = Share(BODIES)
            self._share.grow(len(self._request.body))
        except RequestError as error:
            return self._fail(error)
        self._application.begin(self)
        self._loop.run_in_executor(None, self._run)

    def expire(self) -> None:
        """Answers that it took too long. Work that has not begun is dropped."""
        self._finish(_TOO_LATE, Code.DEADLINE_EXCEEDED)

    def abandon(self) -> None:
        """Cancels the call: the client has disconnected. Work that has not begun is dropped."""
        self._finish(_GONE, Code.CANCELLED)

    def _is_wanted(self) -> bool:
        """Whether the client still waits for the response: there was no timeout, and it has not disconnected."""
        return self._respond is not None

    def _run(self) -> None:
        try:
            if self._is_wanted():
                self._read(max(bodies.MOST, self._share.size), self._share.grow)
            if self._is_wanted():
                batcher = self._endpoint.batcher
                batcher.enqueue(self._endpoint.task(self._values, self._done, self._is_wanted))
                batcher.step_beside()
            else:
                self._share.resize(0)
        except Exception as error:
            self._fail(error)

    def _read(self, limit: int, take: bodies.Take) -> None:
        """Reads the values; TooLarge says that they have more than `limit` bytes, or take longer than an event loop waits."""
        quick = take is _uncounted
        servable = self._application.models.get(self._name, **self._wanted)
        headers = self._request.headers
        content_type = headers.get(b"content-type", b"").lower()
        binary = self._verb == "predict" and binary_tensors.takes(content_type)
        limit = limit if binary else min(limit, bodies.MOST)
        body = bodies.unpacked(self._request.body, headers.get(b"content-encoding", b""), limit, take)
        if binary:
            kind = content_type.decode("latin-1").partition(";")[0].strip()
            query = urllib.parse.parse_qs(self._request.query)
            self._endpoint = servable.endpoint(query.get("signature_name", [""])[-1])
            self._values = binary_tensors.read(body, kind, self._endpoint, limit, take)
            self._write = functools.partial(_written, headers.get(b"accept", b"").decode("latin-1"))
        elif self._verb != "predict":
            method, write = _METHODS[self._verb]
            signature, examples = bodies.read_examples(body, take, quick)
            self._endpoint, self._values = inference.endpoint(servable, signature, method), {INPUT: examples}
            self._write = functools.partial(write, len(examples))
        else:
            self._endpoint, self._values, rows = bodies.read_json(body, servable.endpoint, take, quick)
            self._write = _rows if rows else _columns
        if files := pictures.files(self._values.values()):
            if quick:
                raise bodies.TooLarge(LARGE)
            take(pictures.unpacked_size(files))

    def _done(self, result: list[np.ndarray] | BaseException) -> None:
        if isinstance(result, BaseException):
            return self._fail(self._endpoint.request_error(result, self._values))
        outputs = dict(zip(self._endpoint.outputs, result, strict=True))
        if threading.get_ident() == self._thread and not _is_quick(result):
            self._loop.run_in_executor(None, self._give, outputs)
        else:
            self._give(outputs)

    def _give(self, outputs: dict[str, np.ndarray]) -> None:
        try:
            self._end(self._write(outputs), Code.OK)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        problem = request_error(error)
        self._end(_failed(problem), problem.code)

    def _end(self, response: Response, code: Code) -> None:
        if self._share is not None and self._share.size:
            self._share.resize(0)
        if threading.get_ident() == self._thread:
            self._finish(response, code)
        else:
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                self._loop.call_soon_threadsafe(self._finish, response, code)

    def _finish(self, response: Response, code: Code) -> None:
        respond, self._respond = self._respond, None
        if respond is None:  # timed out or abandoned before
            return
        self._application.end(self)
        if self._name in self._application.models.names:
            metrics.record(self._name, self._verb, "REST", code, time.perf_counter() - self.started)
        respond(response)


def _uncounted(size: int) -> None:
    """Takes nothing: bodies in the event loop are small, and are read one at a time."""


def _is_quick(outputs: list[np.ndarray]) -> bool:
    """Whether outputs are written in about a millisecond; numbers that are all finite are, unless there are very many."""
    if (size := sum(map(_size, outputs))) < QUICK:
        return True
    return size < LARGE and len(outputs) == 1 and outputs[0].dtype.kind in "fiu" and bool(np.isfinite(outputs[0]).all())


def _size(output: np.ndarray) -> int:
    """Size in bytes, with the contents of strings."""
    return sum(map(len, output.flat)) if output.dtype.hasobject else output.nbytes


def _states(versions: list[ModelVersionStatus]) -> dict:
    response = GetModelStatusResponse(model_version_status=versions)
    return json_format.MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _rows(outputs: dict[str, np.ndarray]) -> Response:
    return Response(json_tensors.write(outputs, rows=True))


def _columns(outputs: dict[str, np.ndarray]) -> Response:
    return Response(json_tensors.write(outputs, rows=False))


def _classes(rows: int, outputs: dict[str, np.ndarray]) -> Response:
    return Response(json_examples.write_classes(inference.classes(outputs, rows)))


def _numbers(rows: int, outputs: dict[str, np.ndarray]) -> Response:
    return Response(json_examples.write_numbers(inference.numbers(outputs, rows)))


_METHODS = {"classify": (inference.CLASSIFY, _classes), "regress": (inference.REGRESS, _numbers)}


def _written(accepted: str, outputs: dict[str, np.ndarray]) -> Response:
    written = None if JSON in accepted else binary_tensors.write(outputs, accepted)
    return Response(*written) if written else _columns(outputs)


def _failed(problem: RequestError) -> Response:
    return Response(as_json(problem.message), JSON, problem.status)


_TOO_LATE = _failed(RequestError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the model"))
_GONE = _failed(RequestError(Code.CANCELLED, "The client has disconnected"))


def _both(first: Respond, second: Respond, response: Response) -> None:
    first(response)
    second(response)


def _with_headers(respond: Respond, headers: bytes, response: Response) -> None:
    respond(response._replace(headers=response.headers + headers))


@functools.lru_cache(maxsize=1024)
def _parsed(method: str, path: str) -> tuple[str, str, dict]:
    """Model, verb, and version or label, from a path under /v1/."""
    pattern = {"POST": PREDICT, "GET": STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    name, verb = urllib.parse.unquote(match["name"] or ""), (match["verb"] or "").lower()
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) >= 1 << 63:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        return name, verb, {"version": int(match["version"])}
    return name, verb, {"label": urllib.parse.unquote(match["label"])} if match["label"] else {}


def _preflight(request: Request) -> Response:
    if not re.search(rb"https?://", request.headers.get(b"origin", b"")):
        raise RequestError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
    return Response(b"")


def _metadata(servable: Servable, name: str) -> bytes:
    signatures = json_format.MessageToDict(
        servable.signature_defs, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    spec = {"name": name, "signature_name": "", "version": str(servable.version)}
    return orjson.dumps({"model_spec": spec, "metadata": {"signature_def": signatures}})
