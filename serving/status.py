"""The status codes of gRPC and TensorFlow, their HTTP equivalents, and request errors."""

import enum
import re

import orjson


class Code(enum.IntEnum):
    """google.rpc.Code, by name and number."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# As in `http_server.cc` of TensorFlow Serving; all others are 500.
HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


class RequestError(Exception):
    """A request that fails; the client gets `code` (over HTTP `status`, and `headers`, complete lines) and `message`.

    `request_error` makes one of any other exception.
    """

    def __init__(self, code: Code, message: str, status: int | None = None, headers: bytes = b""):
        super().__init__(message)
        self.code, self.message, self.status, self.headers = code, message, status or HTTP.get(code, 500), headers


def invalid(message: str) -> RequestError:
    """An error for a request that is itself invalid."""
    return RequestError(Code.INVALID_ARGUMENT, message)


def request_error(error: BaseException) -> RequestError:
    """The error to send to the client for any exception."""
    if isinstance(error, RequestError):
        return error
    if isinstance(getattr(error, "error_code", None), int):  # TensorFlow's errors have the same codes
        return RequestError(Code(error.error_code), _PLACES.sub("", error.message).strip())
    return RequestError(Code.INTERNAL, f"The model failed on this request: {type(error).__name__}")


# Where in its graph TensorFlow met an error, once for every enclosing function.
_PLACES = re.compile(r"\{\{function_node [^}]*\}\}\s*|\n\s*\[\[[^\n]*\]\]")


def as_json(message: str) -> bytes:
    """The body of an error response."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})  # UTF-8 cannot encode lone surrogates
