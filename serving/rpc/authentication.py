"""Bearer tokens over gRPC, in the metadata `authorization`."""

from collections.abc import Callable

import grpc

from serving.status import RequestError
from serving.tokens import Tokens

HEALTH = "/grpc.health.v1.Health/"  # probes have no tokens


class Authentication(grpc.aio.ServerInterceptor):
    """Refuses calls without one of the tokens, before their messages are read."""

    def __init__(self, tokens: Tokens):
        self._tokens = tokens

    async def intercept_service(self, continuation: Callable, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method.startswith(HEALTH):
            return await continuation(details)
        try:
            self._tokens.require(dict(details.invocation_metadata).get("authorization", "").encode())
        except RequestError as error:
            return _refusal(error.message, await continuation(details))
        return await continuation(details)


def _refusal(message: str, handler: grpc.RpcMethodHandler | None) -> grpc.RpcMethodHandler:
    """A handler that refuses a call of the same kind."""

    async def refuse(_request, context: grpc.aio.ServicerContext) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    make = grpc.unary_unary_rpc_method_handler
    if handler is not None and handler.request_streaming:
        make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    elif handler is not None and handler.response_streaming:
        make = grpc.unary_stream_rpc_method_handler
    return make(refuse)
