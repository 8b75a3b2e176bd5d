"""The status codes that gRPC and TensorFlow share, and what each is over HTTP."""

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


# As `http_server.cc` of TensorFlow Serving maps them; what is not here is 500.
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
    """A request that is not answered; `code` and the text go to the client, over HTTP `status` where that says more.

    Errors that TensorFlow raises have the same `code` and `message`, see `request_error`.
    """

    def __init__(self, code: Code, message: str, status: int | None = None):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status or HTTP.get(code, 500)


def invalid(message: str) -> RequestError:
    """What is wrong with the request itself."""
    return RequestError(Code.INVALID_ARGUMENT, message)


def request_error(error: BaseException) -> RequestError:
    """The error that a client gets for any exception."""
    if isinstance(error, RequestError):
        return error
    if isinstance(getattr(error, "error_code", None), int):  # of TensorFlow's own
        return RequestError(Code(error.error_code), _PLACES.sub("", error.message).strip())
    return RequestError(Code.INTERNAL, f"The model failed on this request: {type(error).__name__}")


# Where in its graph TensorFlow met an error, once for every function on the way.
_PLACES = re.compile(r"\{\{function_node [^}]*\}\}\s*|\n\s*\[\[[^\n]*\]\]")


def as_json(message: str) -> bytes:
    """The body of an answer that is an error."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})  # a lone surrogate has no UTF-8
