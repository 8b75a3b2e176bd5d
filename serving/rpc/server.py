"""The gRPC server: the services on their addresses, with health checks, reflection and tracing."""

from concurrent.futures import ThreadPoolExecutor
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


def start(service: Service, addresses: list[str], settings: Settings) -> grpc.Server:
    """Starts a gRPC server at `addresses`, HOST:PORT or unix:PATH.

    Raises:
        ValueError: one of them is taken, or cannot be listened on; no thread.
    """
    if settings.threads < 1:
        raise ValueError(f"Expected at least one thread. Received: --grpc_max_threads={settings.threads}. Try leaving it out.")
    options = [
        ("grpc.max_receive_message_length", LIMIT),
        ("grpc.max_send_message_length", LIMIT),
        ("grpc.so_reuseport", int(settings.shared)),
        *settings.arguments,
    ]
    interceptors = [Authentication(settings.tokens)] if settings.tokens else []
    threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc")
    server = grpc.server(threads, options=options, interceptors=interceptors)
    server.add_generic_rpc_handlers(service.handlers())
    if settings.healthcheck:
        health_pb2_grpc.add_HealthServicer_to_server(Health(service.models), server)
    if settings.profiler:
        server.add_generic_rpc_handlers([Profiler().handler()])
    names = [*SERVICES, *([_HEALTH] if settings.healthcheck else []), reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    for address in addresses:
        _listen(server, address, settings.credentials)
    server.start()
    return server


def _listen(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    try:
        server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            message = f"Expected a path for a socket. Received: --grpc_socket_path={path}. Try one that you may write to."
        else:
            message = f"Expected a free port for gRPC. Received: {address}. Try --port=0."
        raise ValueError(message) from None
