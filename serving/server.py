"""The embedded server: TensorFlow Serving's REST and gRPC APIs from one process, or from several on the same ports."""

import contextlib
import functools
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from serving import workers
from serving.ending import End
from serving.listeners import authority, listen
from serving.options import OFF, Options

GRACE = 5  # seconds for open requests to finish when the server ends
SWITCH = 0.0005  # seconds until a thread must yield to another; Python's default of 0.005 is long for a small model


def serve(options: Options) -> None:
    """Serves until interrupted or terminated. Prints the addresses when they are ready.

    Raises:
        ValueError: a port is in use, a file is not valid, there is nothing to serve, or nowhere to answer.
    """
    if (options.port, options.rest_api_port, options.grpc_socket_path) == (OFF, OFF, None):
        raise ValueError("Expected a port or a socket. Received: --port=-1 --rest_api_port=-1. Try leaving one of them out.")
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    options = options._replace(host=options.host.removeprefix("[").removesuffix("]"))
    rest, grpc = (listen(options.host, port) for port in (options.rest_api_port, options.port))
    ports = [listeners[0].getsockname()[1] if listeners else OFF for listeners in (rest, grpc)]
    options = options._replace(rest_api_port=ports[0], port=ports[1])
    for listener in [*grpc, *(rest if options.workers > 1 else [])]:
        listener.close()  # this showed that the port is free; workers and gRPC open it themselves
    if options.workers > 1:
        workers.serve(options, serve_here, functools.partial(_announce, options))
    else:
        serve_here(options, rest, functools.partial(_announce, options))


def _end_with_stdin() -> None:
    while os.read(0, 1 << 12):  # the number, for Python's own stream would hold a lock when the program ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(options: Options, names: list[str]) -> None:
    addresses = []
    if options.rest_api_port != OFF:
        scheme = "https" if options.rest_api_ssl_config_file else "http"
        addresses.append(f"{scheme}://{authority(options.host, options.rest_api_port)}/v1/models/")
    if options.port != OFF:
        addresses.append(f"grpc://{authority(options.host, options.port)}")
    if options.grpc_socket_path:
        addresses.append(f"unix:{options.grpc_socket_path}")
    print(f"Serving {', '.join(names)} at {' and '.join(addresses)}", flush=True)


# A single process


def serve_here(
    options: Options, listeners: list[socket.socket], ready: Callable[[list[str]], None], member: workers.Member | None = None
) -> None:
    """Serves in this process; calls `ready` with the names of the models once it answers.

    Args:
        listeners: for REST.
        member: tells what this process has to do with other workers, if it is one of several.

    Raises:
        ValueError: a file is not valid, or there is nothing to serve.
    """
    end = End(GRACE)
    with _without_keras():
        from serving import quiet  # noqa: F401 - before anything else imports TensorFlow
    from serving import front
    from serving.models import configuration
    from serving.rpc import server, service
    from serving.tokens import Tokens

    sys.setswitchinterval(SWITCH)
    np.seterr(over="ignore")  # numbers of an .npy that are too large for float32 become infinite
    gc.collect()
    gc.freeze()  # else each full collection, as when a version goes, would take a tenth of a second for TensorFlow's objects
    models = _models(options, member)
    credentials = _credentials(options, configuration.tls(options.ssl_config_file))
    tokens = Tokens(options.auth_token_file) if options.auth_token_file else None
    answer = front.answering(models, options, tokens)
    with contextlib.ExitStack() as stack:
        stack.callback(models.close)
        models.watch(options.file_system_poll_wait_seconds)
        addresses, ending = _grpc_addresses(options), None
        if addresses:
            reload = functools.partial(_replace, models)
            reload = member.replacing(reload) if member else reload
            make = functools.partial(service.Service, models, reload, as_content=options.enable_serialization_as_tensor_content)
            started = server.Server(make, addresses, _grpc_settings(options, credentials, tokens))
            ending = functools.partial(started.stop, GRACE)
            stack.callback(lambda: started.stop(GRACE).result())
        _run(answer, listeners, functools.partial(ready, sorted(models.names)), ending)
    end.begin()


@contextlib.contextmanager
def _without_keras():
    """A context in which TensorFlow is imported without Keras, which takes long and is not needed for graphs."""
    name = "TF_USE_LEGACY_KERAS"  # makes TensorFlow look for tf_keras, which is seldom installed
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _models(options: Options, member: workers.Member | None):
    """The models, after a first round of loading."""
    from serving.models import configuration
    from serving.models.models import Models, Settings
    from serving.models.servable import Loading
    from serving.status import RequestError

    settings = Settings(
        configuration.batching(options.batching_parameters_file),
        Loading(
            saved_model_tags=tuple(options.saved_model_tags.split(",")),
            settings=configuration.session(
                options.tensorflow_session_config_file,
                options.tensorflow_session_parallelism,
                options.tensorflow_intra_op_parallelism,
                options.tensorflow_inter_op_parallelism,
                options.per_process_gpu_memory_fraction,
            ),
            **_named(options, Loading),
        ),
        **_named(options, Settings),
    )
    models = Models(_configuration(options, member.config if member else None), settings)
    try:
        models.poll()
    except RequestError as error:
        if not (member and member.again):
            raise ValueError(error.message) from None
    if not (member and member.again):
        _require_models(models, options)
    return models


def _require_models(models, options: Options) -> None:
    from serving.versions import why_no_models

    if not models.names:
        raise ValueError(why_no_models(options.directory))
    for name in sorted(models.names):
        if models.failed(name):
            raise ValueError(f"Expected model {name} to load. Received: {models.why(name)}.")


def _named(options: Options, kind: type[NamedTuple]) -> dict:
    """The options that a named tuple has fields of the same names for, other than `saved_model_tags`, which is split."""
    return {name: getattr(options, name) for name in kind._fields if name in Options._fields and name != "saved_model_tags"}


def _configuration(options: Options, given: bytes | None):
    """A function that returns the current configuration: that which is given, or that of the options."""
    from serving.models import configuration

    if given is not None:
        config = configuration.parsed(given)
        return lambda: config
    sources = (options.directory, options.model_config_file or options.model_base_path)
    if sum(source is not None for source in sources) != 1:
        raise ValueError("Expected one of DIR, --model_config_file and --model_base_path. Received: none, or several.")
    if options.directory is not None:
        return configuration.following(options.directory)
    if options.model_config_file is not None:
        read = functools.partial(configuration.models_of_file, options.model_config_file)
        return _at_intervals(options.model_config_file_poll_wait_seconds, read)
    if not os.path.isdir(options.model_base_path):
        raise ValueError(f"Expected a directory of versions. Received: --model_base_path={options.model_base_path}.")
    config = configuration.one_model(options.model_name, options.model_base_path)
    return lambda: config


def _at_intervals(seconds: float, read):
    """`read`, called at most once per interval, and only once if that is 0; in between its last result."""
    last = [read(), time.monotonic()]

    def recent():
        if seconds > 0 and time.monotonic() - last[1] >= seconds:
            last[:] = read(), time.monotonic()
        return last[0]

    return recent


def _replace(models, config: bytes) -> None:
    from serving.models.configuration import parsed

    models.reload(parsed(config))


def _credentials(options: Options, tls):
    import grpc

    if options.use_alts_credentials and tls is not None:
        raise ValueError("Expected one of --use_alts_credentials and --ssl_config_file. Received: both.")
    if options.use_alts_credentials:
        return grpc.alts_server_credentials()
    if tls is None:
        return None
    pair = (tls.server_key.encode(), tls.server_cert.encode())
    return grpc.ssl_server_credentials([pair], tls.custom_ca.encode() or None, tls.client_verify)


def _grpc_addresses(options: Options) -> list[str]:
    addresses = [authority(options.host, options.port)] if options.port != OFF else []
    return [*addresses, *([f"unix:{options.grpc_socket_path}"] if options.grpc_socket_path else [])]


def _grpc_settings(options: Options, credentials, tokens):
    from serving.rpc.server import Settings, channel_arguments

    return Settings(
        credentials,
        shared=options.workers > 1,
        threads=options.grpc_max_threads,
        arguments=channel_arguments(options.grpc_channel_arguments or ""),
        healthcheck=options.enable_grpc_healthcheck_service,
        profiler=options.enable_profiler,
        tokens=tokens,
    )


def _run(answer, listeners: list[socket.socket], ready, ending) -> None:
    """Answers on `listeners` until a signal ends it, and then calls `ending`; without any, just waits for the signal."""
    if not listeners:
        ready()
        return _wait_for_signal()
    answer(listeners, ready, GRACE, ending=ending)


def _wait_for_signal() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
