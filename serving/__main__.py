"""python -m serving export | serve | check"""

import argparse
import sys

# Each command imports what it needs when it runs: a server starts without Keras, a parser error without TensorFlow.


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input give exit code 2 and one message."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{options.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", description="Fitted models to answers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a run's model as DIR/MODEL/VERSION")
    export.add_argument("run", help="folder of a run, with its model.keras")
    export.add_argument("--output", required=True, metavar="DIR")
    export.add_argument("--version", type=int, help="one more than the highest there unless given")
    export.set_defaults(command=_export, prog=export.prog)

    serve = commands.add_parser("serve", help="answer TensorFlow Serving's REST API")
    serve.add_argument("directory", metavar="DIR", help="holds MODEL/VERSION folders")
    serve.add_argument("--rest_api_port", type=_port, default=8501, help="default 8501; 0 takes a free one")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: this machine only)")
    serve.set_defaults(command=_serve, prog=serve.prog)

    check = commands.add_parser("check", help="serve DIR, send one request for every verb, stop")
    check.add_argument("directory", metavar="DIR")
    check.set_defaults(command=_check, prog=check.prog)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"Expected a port from 0 to 65535. Received: {text}.")
    return int(text)


def _export(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.export import export_run

    print(f"Exported {export_run(options.run, options.output, options.version)}")


def _serve(options) -> None:
    from serving.server import serve

    serve(options.directory, options.rest_api_port, options.host)


def _check(options) -> None:
    from serving.check import check

    check(options.directory)


if __name__ == "__main__":
    sys.exit(main())
