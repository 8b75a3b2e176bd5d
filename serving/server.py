"""The embedded server: TensorFlow Serving's REST and gRPC APIs from one process, or from several on the same ports."""

import contextlib
import errno
import functools
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import numpy as np

GRACE = 5  # seconds for open requests to finish when the server ends
OFF = -1  # instead of a port: do not open one
SWITCH = 0.0005  # seconds until a thread must yield to another; Python's default of 0.005 is long for a small model


class Options(NamedTuple):
    """What to serve, and how: the flags of TensorFlow Serving's model server, by their names.

    Exactly one of `directory`, `model_config_file` and `model_base_path` says what to serve. Port 0 takes a free one, and -1
    turns that front end off.
    """

    directory: str | None = None
    model_name: str = "default"
    model_base_path: str | None = None
    model_config_file: str | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int = 8501
    rest_api_timeout_in_ms: int = 30_000
    rest_api_enable_cors_support: bool = False
    file_system_poll_wait_seconds: float = 1.0
    enable_batching: bool = True
    batching_parameters_file: str | None = None
    monitoring_config_file: str | None = None
    ssl_config_file: str | None = None
    enable_model_warmup: bool = True
    enable_serialization_as_tensor_content: bool = False
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    workers: int = 1
    # Of REST, beyond TensorFlow Serving
    rest_api_max_url_bytes: int = 1 << 16
    rest_api_max_header_bytes: int = 1 << 16
    rest_api_max_body_bytes: int = 1 << 30
    rest_api_max_connections: int = 4096
    rest_api_head_timeout_in_ms: int = 20_000
    rest_api_body_timeout_in_ms: int = 300_000
    rest_api_idle_timeout_in_ms: int = 75_000
    rest_api_ssl_config_file: str | None = None
    rest_api_access_log: bool = False
    auth_token_file: str | None = None


def serve(options: Options) -> None:
    """Serves until interrupted or terminated. Prints the addresses when they are ready.

    Raises:
        ValueError: a port is in use, a file is not valid, or there is nothing to serve.
    """
    options = options._replace(host=options.host.removeprefix("[").removesuffix("]"))
    rest, grpc = (_listeners(options.host, port) for port in (options.rest_api_port, options.port))
    ports = [listeners[0].getsockname()[1] if listeners else OFF for listeners in (rest, grpc)]
    options = options._replace(rest_api_port=ports[0], port=ports[1])
    for listener in [*grpc, *(rest if options.workers > 1 else [])]:
        listener.close()  # this showed that the port is free; workers and gRPC open it themselves
    if options.workers > 1:
        _serve_by_workers(options)
    else:
        _serve_here(options, rest, functools.partial(_announce, options))


def _listeners(host: str, port: int, shared: bool = False) -> list[socket.socket]:
    """A listening socket for every address of the host on this machine; none for the port `OFF`."""
    listeners: list[socket.socket] = []
    problem = None
    for address in _addresses(host) if port != OFF else []:
        try:
            listeners.append(_listener(address, port, shared))
            port = listeners[0].getsockname()[1]  # the first may be given a free port, which the others share
        except OSError as error:
            problem = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # else as for ::1 if IPv6 is off
                break
    else:
        if listeners or port == OFF:
            return listeners
    for listener in listeners:
        listener.close()
    raise ValueError(f"Expected a free port. Received: {_address(host, port)} ({problem.strerror}). Try another, or 0.")


def _addresses(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"Expected an address of this machine. Received: --host={host} ({error}). Try 127.0.0.1.") from None
    return list(dict.fromkeys((family, address[0]) for family, *_, address in found))


def _listener(address: tuple[int, str], port: int, shared: bool) -> socket.socket:
    listener = socket.socket(address[0])
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
        listener.bind((address[1], port))
    except OSError:
        listener.close()
        raise
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _announce(options: Options, names: list[str]) -> None:
    addresses = []
    if options.rest_api_port != OFF:
        scheme = "https" if options.rest_api_ssl_config_file else "http"
        addresses.append(f"{scheme}://{_address(options.host, options.rest_api_port)}/v1/models/")
    if options.port != OFF:
        addresses.append(f"grpc://{_address(options.host, options.port)}")
    print(f"Serving {', '.join(names)} at {' and '.join(addresses)}", flush=True)


# A single process


def _serve_here(options: Options, listeners: list[socket.socket], ready) -> None:
    """Serves in this process; calls `ready` with the names of the models once it answers."""
    with _without_keras():
        from serving import quiet  # noqa: F401 - before anything else imports TensorFlow
    from serving import front
    from serving.models import configuration
    from serving.rpc import service
    from serving.tokens import Tokens

    sys.setswitchinterval(SWITCH)
    np.seterr(over="ignore")  # numbers of an .npy that are too large for float32 become infinite
    models = _models(options)
    credentials = _credentials(configuration.tls(options.ssl_config_file))
    tokens = Tokens(options.auth_token_file) if options.auth_token_file else None
    answer = front.answering(models, options, tokens)
    gc.collect()
    gc.freeze()  # else each full collection would take a tenth of a second for TensorFlow's many objects
    with contextlib.ExitStack() as stack:
        stack.callback(models.close)
        models.watch(options.file_system_poll_wait_seconds)
        if options.port != OFF:
            reload = functools.partial(_reload, models) if options.workers == 1 else None
            methods = service.Service(models, reload, options.enable_serialization_as_tensor_content)
            server = service.start(methods, _address(options.host, options.port), credentials, options.workers > 1, tokens)
            stack.callback(lambda: server.stop(GRACE).wait())
        _run(answer, listeners, functools.partial(ready, sorted(models.names)))


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


def _models(options: Options):
    """The models, after a first round of loading."""
    from serving.models import configuration
    from serving.models.models import Models, Settings
    from serving.status import RequestError
    from serving.versions import why_no_models

    settings = Settings(
        configuration.batching(options.batching_parameters_file),
        **{name: getattr(options, name) for name in Settings._fields if name != "limits"},
    )
    models = Models(_configuration(options), settings)
    try:
        models.poll()
    except RequestError as error:
        raise ValueError(error.message) from None
    if not models.names:
        raise ValueError(why_no_models(options.directory))
    for name in sorted(models.names):
        if models.failed(name):
            raise ValueError(f"Expected model {name} to load. Received: {models.why(name)}.")
    return models


def _configuration(options: Options):
    """A function that returns the current configuration."""
    from serving.models import configuration

    if sum(source is not None for source in (options.directory, options.model_config_file, options.model_base_path)) != 1:
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


def _reload(models, config) -> None:
    from serving.models.configuration import checked
    from serving.status import invalid

    try:
        models.reload(checked(config))
    except ValueError as error:
        raise invalid(str(error)) from None


def _credentials(tls):
    import grpc

    if tls is None:
        return None
    pair = (tls.server_key.encode(), tls.server_cert.encode())
    return grpc.ssl_server_credentials([pair], tls.custom_ca.encode() or None, tls.client_verify)


def _run(answer, listeners: list[socket.socket], ready) -> None:
    """Answers on `listeners` until a signal ends it; without any, just waits for the signal."""
    if not listeners:
        ready()
        return _wait_for_signal()
    answer(listeners, ready, GRACE)


def _wait_for_signal() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()


# Several worker processes


def _serve_by_workers(options: Options) -> None:
    """Starts the workers, and replaces those that die, until a signal ends it."""
    context = multiprocessing.get_context("spawn")
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        messages = context.SimpleQueue()
        workers = [_start_worker(context, options, messages) for _ in range(options.workers)]
        try:
            names = [_first_message(messages, worker) for worker in workers][-1]
            _announce(options, names)
            while not ended:
                multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=0.5)
                for number, worker in enumerate(workers):
                    if not worker.is_alive() and not ended:
                        workers[number] = _start_worker(context, options, messages)
        except KeyboardInterrupt:
            pass
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join(2 * GRACE)
                worker.kill()


def _start_worker(context, options: Options, messages):
    worker = context.Process(target=_run_worker, args=(options, messages))
    worker.start()
    return worker


def _first_message(messages, worker) -> list[str]:
    while messages.empty():
        if not worker.is_alive():
            raise RuntimeError("Expected every worker to start. Received: one ended, see above.")
        time.sleep(0.02)
    message = messages.get()
    if isinstance(message, str):
        raise ValueError(message)
    return message


def _run_worker(options: Options, messages) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its workers
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    try:
        _serve_here(options, _listeners(options.host, options.rest_api_port, shared=True), messages.put)
    except ValueError as error:
        messages.put(str(error))


def _end_after(parent) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
