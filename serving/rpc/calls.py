"""Methods of an asynchronous gRPC server: bytes to bytes, with the errors of `serving.status`, and their work in threads."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import grpc
from google.protobuf.message import DecodeError, Message

from serving.status import invalid, request_error

CODES = {code.value[0]: code for code in grpc.StatusCode}

# A blocking method: from the message, and a function that takes another, which cancels what is done for it.
Method = Callable[[bytes, Callable], bytes]


class Until:
    """Functions that cancel the work for a call; they are called when nobody waits for it any more."""

    def __init__(self):
        self._cancels: list[Callable[[], None]] = []
        self._over = False

    def __call__(self, cancel: Callable[[], None]) -> None:
        self._cancels.append(cancel)
        if self._over:
            cancel()

    def over(self) -> None:
        """Cancels everything."""
        self._over = True
        for cancel in self._cancels:
            cancel()


def handler(answer: Callable[[bytes], Awaitable[bytes]]) -> grpc.RpcMethodHandler:
    """The handler of a method, whose errors become the status of the call."""

    async def handle(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            return await answer(message)
        except Exception as error:
            problem = request_error(error)
            return await context.abort(CODES[problem.code], problem.message)

    return grpc.unary_unary_rpc_method_handler(handle)


async def beside(threads: Executor, method: Method, message: bytes) -> bytes:
    """Runs a blocking method in one of the threads."""
    until = Until()
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, method, message, until)
    except asyncio.CancelledError:
        until.over()
        raise


def parsed(kind: type[Message], message: bytes) -> Message:
    """A message of a kind.

    Raises:
        RequestError: the bytes are not one.
    """
    try:
        return kind.FromString(message)
    except DecodeError:
        raise invalid(f"Expected a {kind.DESCRIPTOR.full_name}. Received: other bytes.") from None
