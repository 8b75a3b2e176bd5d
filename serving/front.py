"""The REST front end as the server's options want it: limits, tokens, TLS, access log and traces."""

import functools
import ssl
import tempfile
from collections.abc import Callable

from serving import tracing
from serving.models import configuration
from serving.models.models import Models
from serving.options import Options
from serving.rest import observers, transport
from serving.rest.application import PROBES, Application
from serving.rest.limits import Limits
from serving.rest.messages import Admit
from serving.tokens import Tokens


def answering(models: Models, options: Options, tokens: Tokens | None) -> Callable:
    """A function of listeners, `ready` and `grace` that answers until a signal ends it, as `transport.run`.

    Raises:
        ValueError: limits below 1, or a file of the options that is not valid.
    """
    begin = tracing.spans()
    observing = [*([observers.logged()] if options.rest_api_access_log else []), *([observers.traced(begin)] if begin else [])]
    application = Application(
        models,
        options.rest_api_timeout_in_ms / 1000,
        options.rest_api_enable_cors_support,
        configuration.monitoring(options.monitoring_config_file),
        observers.together(observing),
    )
    return functools.partial(
        transport.run,
        application.handle,
        limits=_limits(options),
        admit=_admitting(tokens) if tokens else None,
        tls=_context(options.rest_api_ssl_config_file) if options.rest_api_ssl_config_file else None,
    )


def _limits(options: Options) -> Limits:
    names = {
        "url": "rest_api_max_url_bytes",
        "head": "rest_api_max_header_bytes",
        "body": "rest_api_max_body_bytes",
        "connections": "rest_api_max_connections",
        "head_time": "rest_api_head_timeout_in_ms",
        "body_time": "rest_api_body_timeout_in_ms",
        "idle_time": "rest_api_idle_timeout_in_ms",
    }
    values = {limit: getattr(options, name) for limit, name in names.items()}
    for limit, value in values.items():
        if value < 1:
            raise ValueError(f"Expected --{names[limit]} of at least 1. Received: {value}. Try leaving it out.")
    return Limits(**{limit: value / 1000 if limit.endswith("_time") else value for limit, value in values.items()})


def _admitting(tokens: Tokens) -> Admit:
    def admit(method: str, path: str, headers: dict[bytes, bytes]) -> None:
        if path not in PROBES and method != "OPTIONS":  # browsers ask whether they may send a token, without one
            tokens.require(headers.get(b"authorization", b""))

    return admit


def _context(path: str) -> ssl.SSLContext:
    files = configuration.tls(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        with tempfile.NamedTemporaryFile(suffix=".pem") as pair:  # it takes keys from files only; nobody else may read this one
            pair.write(f"{files.server_key}\n{files.server_cert}".encode())
            pair.flush()
            context.load_cert_chain(pair.name, password=str)  # nobody is there to be asked for one
        if files.custom_ca:
            context.load_verify_locations(cadata=files.custom_ca)
        elif files.client_verify:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except ssl.SSLError as error:
        raise ValueError(
            f"Expected a key and its certificates (PEM) in {path}. Received: {error.reason}. Try those of one pair."
        ) from None
    context.verify_mode = ssl.CERT_REQUIRED if files.client_verify else ssl.CERT_NONE
    return context
