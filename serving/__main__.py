"""python -m serving export | serve | check"""

import argparse
import sys

from serving import command
from serving.server import OFF, Options, serve

# Each command imports what it needs when it runs: a server starts without Keras, a parser error without TensorFlow.

FLAGS = {
    "model_name": "of the model in --model_base_path",
    "model_base_path": "folder of one model's versions, instead of DIR",
    "model_config_file": "ModelServerConfig as text: several models, version policies and labels; instead of DIR",
    "model_config_file_poll_wait_seconds": "between two looks at that file; 0 for one look only",
    "host": "address to listen on; 0.0.0.0 for all, :: for those of IPv6 too (default: this machine only)",
    "port": "of gRPC; 0 takes a free one, -1 none",
    "rest_api_port": "of the REST API; 0 takes a free one, -1 none",
    "rest_api_timeout_in_ms": "of one request over REST",
    "rest_api_enable_cors_support": "lets pages of other sites ask",
    "file_system_poll_wait_seconds": "between two looks for new versions; 0 for one look only",
    "enable_batching": "joins requests that wait into one run",
    "batching_parameters_file": "BatchingParameters as text: sizes of batches and of the queue",
    "monitoring_config_file": "MonitoringConfig as text: metrics for Prometheus",
    "ssl_config_file": "SSLConfig as text: keys and certificates for gRPC",
    "enable_model_warmup": "runs the warm-up records beside a model when it loads",
    "enable_serialization_as_tensor_content": "answers over gRPC in tensor_content, not in float_val and its like",
    "allow_version_labels_for_unavailable_models": "takes a new label of a version that is not loaded yet",
    "max_num_load_retries": "how often a version that failed to load is tried again",
    "load_retry_interval_micros": "between two tries",
    "workers": "processes that share the ports",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input, and what is wrong outside the program, give exit code 2 and one message."""
    return command.run("python -m serving", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> None:
    options = _parser().parse_args(arguments)
    options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", description="Fitted models to answers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a run's model as DIR/MODEL/VERSION")
    export.add_argument("run", help="folder of a run, with its model.keras")
    export.add_argument("--output", required=True, metavar="DIR")
    export.add_argument("--version", type=int, help="one more than the highest there unless given")
    export.set_defaults(command=_export)

    serve = commands.add_parser("serve", help="answer TensorFlow Serving's REST and gRPC APIs")
    serve.add_argument("directory", metavar="DIR", nargs="?", help="holds MODEL/VERSION folders")
    for name, text in FLAGS.items():
        default = Options._field_defaults[name]
        bare = {"nargs": "?", "const": True} if isinstance(default, bool) else {}
        serve.add_argument(
            f"--{name}", type=_type(name, default), default=default, metavar=_metavar(default), help=text, **bare
        )
    serve.set_defaults(command=_serve)

    check = commands.add_parser("check", help="serve DIR, send one request for every verb, stop")
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
