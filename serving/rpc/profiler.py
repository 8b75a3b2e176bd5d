"""TensorFlow's ProfilerService: what this process does for some time, for TensorBoard.

`tf.profiler.experimental.client.trace(address, folder, milliseconds)` asks for it. TensorFlow's own server for it would listen
on all addresses of the machine, on a port of its own.
"""

import functools
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Executor

import grpc
from tensorflow.tsl.profiler.protobuf.profiler_options_pb2 import ProfileOptions
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

from serving.protobufs import declared
from serving.quiet import tensorflow as tf
from serving.rpc.calls import beside, handler, parsed
from serving.status import Code, RequestError, invalid

SERVICE = "tensorflow.ProfilerService"
LONGEST = 3_600_000  # milliseconds of one trace
LEVELS = ("host_tracer_level", "python_tracer_level", "device_tracer_level")
ENDING = ".xplane.pb"
_MESSAGES = declared(
    "serving.profiler",
    {
        "ProfileRequest": {
            1: ("duration_ms", "uint64"),
            4: ("opts", "bytes"),  # ProfileOptions
            5: ("repository_root", "string"),
            6: ("session_id", "string"),
            7: ("host_name", "string"),
        },
        "ProfileResponse": {7: ("empty_trace", "bool")},
        "TerminateRequest": {1: ("session_id", "string")},
        "TerminateResponse": {},
    },
)


class Profiler:
    """The service; one trace at a time, which is written to the folder that the request names.

    Args:
        threads: trace and write.
    """

    def __init__(self, threads: Executor):
        self._threads, self._tracing = threads, threading.Lock()
        self._sessions: dict[str, threading.Event] = {}  # ends traces early

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of the service, for a `grpc.aio.Server`."""
        methods = {
            "Profile": self._method(self._profile, "ProfileRequest"),
            "Terminate": self._method(self._terminate, "TerminateRequest"),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _method(self, method, request: str) -> grpc.RpcMethodHandler:
        def work(message: bytes, until: Callable) -> bytes:
            return method(parsed(_MESSAGES[request], message), until).SerializeToString()

        return handler(functools.partial(beside, self._threads, work))

    def _profile(self, request, until: Callable):
        if not 0 < request.duration_ms <= LONGEST:
            raise invalid(f"Expected a duration of 1 to {LONGEST} ms. Received: {request.duration_ms}.")
        if request.session_id in ("", ".", "..") or os.sep in request.session_id:
            raise invalid(f"Expected a session_id that is the name of a folder. Received: {request.session_id!r}.")
        if not self._tracing.acquire(blocking=False):
            raise RequestError(Code.ALREADY_EXISTS, "Expected one trace at a time. Received: another. Try later.")
        ended = self._sessions[request.session_id] = threading.Event()
        until(ended.set)
        try:
            return _MESSAGES["ProfileResponse"](empty_trace=_trace(request, ended))
        finally:
            del self._sessions[request.session_id]
            self._tracing.release()

    def _terminate(self, request, _):
        if request.session_id in self._sessions:
            self._sessions[request.session_id].set()
        return _MESSAGES["TerminateResponse"]()


def _trace(request, ended: threading.Event) -> bool:
    """Traces until the time is over, writes what was seen, and returns whether that was nothing."""
    given = ProfileOptions.FromString(request.opts)
    levels = {name: getattr(given, name) for name in LEVELS} if request.opts else {}
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        tf.profiler.experimental.start(folder, tf.profiler.experimental.ProfilerOptions(**levels))
        try:
            ended.wait(request.duration_ms / 1000)
        finally:
            tf.profiler.experimental.stop()
        files = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names if name.endswith(ENDING)]
        contents = [tf.io.gfile.GFile(file, "rb").read() for file in files]
    target = os.path.join(request.repository_root, request.session_id)
    tf.io.gfile.makedirs(target)
    host = request.host_name.replace(":", "_").replace(os.sep, "_") or "server"
    for content in contents:
        with tf.io.gfile.GFile(os.path.join(target, f"{host}{ENDING}"), "wb") as file:
            file.write(content)
    return not any(line.events for content in contents for plane in XSpace.FromString(content).planes for line in plane.lines)
