"""python -m serving export | serve | check"""

import argparse
import sys

from serving import command
from serving.server import OFF, Options, serve

# Each command imports what it needs when it runs: the server starts without Keras, and wrong arguments are reported without
# TensorFlow.

FLAGS = {
    "model_name": "name of the model in --model_base_path",
    "model_base_path": "folder of the versions of one model, instead of DIR",
    "model_config_file": "ModelServerConfig as text: several models, version policies and labels; instead of DIR",
    "model_config_file_poll_wait_seconds": "seconds between reads of that file; 0 to read it once",
    "host": "address to listen on; 0.0.0.0 for all, :: for those of IPv6 too (default: this machine only)",
    "port": "gRPC port; 0 takes a free one, -1 none",
    "rest_api_port": "port of the REST API; 0 takes a free one, -1 none",
    "rest_api_timeout_in_ms": "time limit of one REST request",
    "rest_api_enable_cors_support": "allows requests from web pages of other origins (CORS)",
    "file_system_poll_wait_seconds": "seconds between searches for new versions; 0 to search once",
    "enable_batching": "joins waiting requests into one batch",
    "batching_parameters_file": "BatchingParameters as text: batch and queue sizes",
    "monitoring_config_file": "MonitoringConfig as text: metrics for Prometheus",
    "ssl_config_file": "SSLConfig as text: keys and certificates for gRPC",
    "enable_model_warmup": "runs the warm-up records of a model when it is loaded",
    "enable_serialization_as_tensor_content": "gRPC responses use tensor_content instead of float_val and the like",
    "allow_version_labels_for_unavailable_models": "accepts a new label for a version that is not loaded yet",
    "max_num_load_retries": "how often loading a version is retried after a failure",
    "load_retry_interval_micros": "microseconds between retries",
    "workers": "processes that share the ports",
    "rest_api_max_url_bytes": "longest URL that REST reads",
    "rest_api_max_header_bytes": "greatest size of a request's headers over REST, with 32 for each",
    "rest_api_max_body_bytes": "greatest size of a request's body over REST",
    "rest_api_max_connections": "connections over REST that are open at once, of each worker",
    "rest_api_head_timeout_in_ms": "time for the URL and headers of a request over REST to arrive",
    "rest_api_body_timeout_in_ms": "time for the body of a request over REST to arrive",
    "rest_api_idle_timeout_in_ms": "time without a request after which a connection over REST is closed",
    "rest_api_ssl_config_file": "SSLConfig as text: keys and certificates for REST, which is HTTPS then",
    "rest_api_access_log": "writes a line for every request over REST to stderr",
    "auth_token_file": "file of tokens, one a line: requests must have one, Authorization: Bearer TOKEN",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input, and failures outside the program, give exit code 2 and one message."""
    return command.run("python -m serving", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> None:
    options = _parser().parse_args(arguments)
    options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", description="Export and serve trained models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write the model of a run to DIR/MODEL/VERSION")
    export.add_argument("run", help="folder of a run, which holds its model.keras")
    export.add_argument("--output", required=True, metavar="DIR")
    export.add_argument("--version", type=int, help="a number; one more than the highest there unless given")
    export.set_defaults(command=_export)

    serve = commands.add_parser("serve", help="serve TensorFlow Serving's REST and gRPC APIs")
    serve.add_argument("directory", metavar="DIR", nargs="?", help="folder with MODEL/VERSION folders")
    for name, text in FLAGS.items():
        default = Options._field_defaults[name]
        bare = {"nargs": "?", "const": True} if isinstance(default, bool) else {}
        serve.add_argument(
            f"--{name}", type=_type(name, default), default=default, metavar=_metavar(default), help=text, **bare
        )
    serve.set_defaults(command=_serve)

    check = commands.add_parser("check", help="serve DIR, send one request to every verb, and stop")
    check.add_argument("directory", metavar="DIR")
    check.set_defaults(command=_check)
    return parser


def _type(name: str, default):
    if name in ("port", "rest_api_port"):
        return _port
    return _truth if isinstance(default, bool) else str if default is None else type(default)


def _metavar(default) -> str:
    return "TRUE|FALSE" if isinstance(default, bool) else "N" if isinstance(default, (int, float)) else "TEXT"


def _port(text: str) -> int:
    if text != str(OFF) and (not text.isdecimal() or int(text) > 65535):
        raise argparse.ArgumentTypeError(f"Expected a port from 0 to 65535, or {OFF} for none. Received: {text}.")
    return int(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"Expected true or false. Received: {text}.")
    return text.lower() in ("true", "1")


def _export(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.export import export_run

    print(f"Exported {export_run(options.run, options.output, options.version)}")


def _serve(options) -> None:
    serve(Options(**{name: getattr(options, name) for name in Options._fields}))


def _check(options) -> None:
    from serving.check import check

    check(options.directory)


if __name__ == "__main__":
    sys.exit(main())
