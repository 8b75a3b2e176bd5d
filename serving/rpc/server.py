"""The gRPC server: the services on their addresses, with health checks, reflection and tracing."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.rpc.authentication import Authentication
from serving.rpc.health import SERVICES, Health
from serving.rpc.profiler import Profiler
from serving.rpc.service import LIMIT, Service
from serving.tokens import Tokens

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Settings(NamedTuple):
    """How gRPC is served.

    Attributes:
        credentials: of TLS or ALTS; None for none.
        shared: whether other processes listen on the same ports.
        threads: calls at the same time; most of them wait for the model.
        arguments: of the channels, as gRPC documents them.
        healthcheck: whether the standard health service is there.
        profiler: whether TensorFlow's ProfilerService is there.
        tokens: one of which every call must have; None for none.
    """

    credentials: grpc.ServerCredentials | None = None
    shared: bool = False
    threads: int = 64
    arguments: tuple[tuple[str, int | str], ...] = ()
    healthcheck: bool = True
    profiler: bool = True
    tokens: Tokens | None = None


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """The arguments in `NAME=VALUE,NAME=VALUE`; integers are passed on as such.

    Raises:
        ValueError: a part without a name or `=`.
    """
    arguments = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise ValueError(f"Expected NAME=VALUE,NAME=VALUE. Received: --grpc_channel_arguments={text}. Try {part}=1.")
        arguments.append((name, int(value) if value.removeprefix("-").isdecimal() else value))
    return tuple(arguments)


class Server:
    """A gRPC server in an event loop of its own, which runs in another thread.

    Args:
        make: the methods of both services, for threads that do what would hold up the event loop.
        addresses: HOST:PORT or unix:PATH.

    Raises:
        ValueError: an address is taken, or cannot be listened on; no thread.
    """

    def __init__(self, make: Callable[[Executor], Service], addresses: list[str], settings: Settings):
        if settings.threads < 1:
            raise ValueError(
                f"Expected at least one thread. Received: --grpc_max_threads={settings.threads}. Try leaving it out."
            )
        service = make(ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc"))
        started, self._ended = Future(), Future()
        run = functools.partial(self._run, service, addresses, settings, started)
        threading.Thread(target=run, name="grpc events", daemon=True).start()
        self._loop, self._grace = started.result()

    def stop(self, grace: float) -> Future:
        """Refuses new calls, and ends after those that have begun, or after `grace` seconds; done when it has ended."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(lambda: self._grace.done() or self._grace.set_result(grace))
        return self._ended

    def _run(self, *arguments) -> None:
        try:
            asyncio.run(_serve(*arguments))
        finally:
            self._ended.set_result(None)


async def _serve(service: Service, addresses: list[str], settings: Settings, started: Future) -> None:
    """Serves until the future that it gives to `started`, with its event loop, has the seconds of grace."""
    grace = asyncio.get_running_loop().create_future()
    try:
        server = _made(service, settings)
        for address in addresses:
            _listen(server, address, settings.credentials)
        await server.start()
    except Exception as error:
        started.set_exception(error)
        return
    started.set_result((asyncio.get_running_loop(), grace))
    await server.stop(await grace)


def _made(service: Service, settings: Settings) -> grpc.aio.Server:
    options = [
        ("grpc.max_receive_message_length", LIMIT),
        ("grpc.max_send_message_length", LIMIT),
        ("grpc.so_reuseport", int(settings.shared)),
        *settings.arguments,
    ]
    interceptors = [Authentication(settings.tokens)] if settings.tokens else []
    server = grpc.aio.server(service.threads, options=options, interceptors=interceptors)
    server.add_generic_rpc_handlers(service.handlers())
    if settings.healthcheck:
        health_pb2_grpc.add_HealthServicer_to_server(Health(service.models), server)
    if settings.profiler:
        server.add_generic_rpc_handlers([Profiler(service.threads).handler()])
    names = [*SERVICES, *([_HEALTH] if settings.healthcheck else []), reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    return server


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    try:
        server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            message = f"Expected a path for a socket. Received: --grpc_socket_path={path}. Try one that you may write to."
        else:
            message = f"Expected a free port for gRPC. Received: {address}. Try --port=0."
        raise ValueError(message) from None
