"""python -m serving export | serve | check | deploy | batch | compress | decompress | inspect"""

import argparse
import importlib.metadata
import sys

from serving import command
from serving.options import OFF, Options
from serving.server import serve
from serving.tfserving import deployment

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
    "grpc_socket_path": "path of a Unix socket for gRPC, besides the port",
    "grpc_channel_arguments": "gRPC's own settings: NAME=VALUE,NAME=VALUE",
    "grpc_max_threads": "threads for gRPC calls that are large, or other than Predict",
    "use_alts_credentials": "Google's ALTS for gRPC",
    "enable_grpc_healthcheck_service": "the standard health service of gRPC",
    "enable_profiler": "TensorFlow's ProfilerService: traces for TensorBoard, written where the client says",
    "enable_per_model_batching_parameters": "batch sizes from batching_params.pbtxt in the folder of each version",
    "num_load_threads": "versions that are loaded at the same time; 0 for one after another",
    "num_request_iterations_for_warmup": "how often each warm-up record is run",
    "saved_model_tags": "tags, with commas, of the graph in a SavedModel",
    "prefer_tflite_model": "takes model.tflite, where a version has one, instead of its SavedModel",
    "enable_signature_method_name_check": "classifies and regresses by signatures made for it only",
    "tensorflow_session_config_file": "TensorFlow's ConfigProto as text",
    "tensorflow_session_parallelism": "threads of TensorFlow, within an operation and for several",
    "tensorflow_intra_op_parallelism": "threads within an operation",
    "tensorflow_inter_op_parallelism": "operations at the same time",
    "per_process_gpu_memory_fraction": "share of the memory of a GPU, at most",
    "workers": "processes that share the ports",
    "end_with_stdin": "ends when its standard input does: with the program that holds the other end, even one that is killed",
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
WITHOUT_EFFECT = {  # flags of TensorFlow Serving, and why
    "rest_api_num_threads": "one event loop for each of --workers reads and writes",
    "num_unload_threads": "a version is released with the last request that holds it",
    "flush_filesystem_caches": "the operating system drops files that are not read again",
    "platform_config_file": "there is one platform, TensorFlow, which the other flags describe",
    "remove_unused_fields_from_bundle_metagraph": "nothing but the signatures is kept",
    "num_tflite_pools": "interpreters are made as batches run at the same time",
    "num_tflite_interpreters_per_pool": "interpreters are made as batches run at the same time",
    "xla_cpu_compilation_enabled": "a graph that asks for XLA gets it",
    "xla_gpu_compilation_enabled": "a graph that asks for XLA gets it",
    "thread_pool_factory_config_file": "thread pools are TensorFlow's own",
    "mixed_precision": "a model runs in the precision that it was saved in",
    "skip_initialize_tpu": "no TPU is initialized",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input, and failures outside the program, give exit code 2 and one message."""
    return command.run("python -m serving", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> None:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not _batch:  # which hands on Beam's options
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.beam = rest
    options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m serving", description="Export, serve and deploy trained models, and compress data with them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write the model of a run to DIR/MODEL/VERSION")
    export.add_argument("run", help="folder of a run, which holds its model.keras")
    export.add_argument("--output", required=True, metavar="DIR")
    export.add_argument("--version", type=int, help="a number; one more than the highest there unless given")
    export.set_defaults(command=_export)

    serve = commands.add_parser("serve", help="serve TensorFlow Serving's REST and gRPC APIs", allow_abbrev=False)
    serve.add_argument("directory", metavar="DIR", nargs="?", help="folder with MODEL/VERSION folders")
    for name, text in FLAGS.items():
        default = Options._field_defaults[name]
        bare = {"nargs": "?", "const": True} if isinstance(default, bool) else {}
        serve.add_argument(
            f"--{name}", type=_type(name, default), default=default, metavar=_metavar(default), help=text, **bare
        )
    for name in WITHOUT_EFFECT:
        serve.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    serve.add_argument("--version", type=_truth, nargs="?", const=True, default=False, help="print versions and end")
    serve.set_defaults(command=_serve)

    check = commands.add_parser("check", help="serve DIR, send one request to every verb, and stop")
    check.add_argument("directory", metavar="DIR")
    check.set_defaults(command=_check)
    _add_deployment(commands)
    _add_batch(commands)
    _add_compression(commands)
    return parser


def _add_deployment(commands) -> None:
    deploy = commands.add_parser("deploy", help="write the files that run models in TensorFlow Serving")
    deploy.add_argument(
        "models", nargs="+", metavar="MODEL", help="folder of a model's versions, or of several models; NAME=DIR renames one"
    )
    deploy.add_argument("--to", required=True, choices=tuple(deployment.TARGETS), help="what runs them")
    deploy.add_argument("--output", required=True, metavar="DIR", help="folder of the files, models among them")
    deploy.add_argument("--name", help="of the deployment: small letters, digits, dashes (default: that of the model)")
    deploy.add_argument("--image", help="name of the image for a cluster: REGISTRY/NAME (default: that of the deployment)")
    deploy.add_argument("--cpus", type=int, default=2, metavar="N", help="cores for each server (default: 2)")
    deploy.add_argument("--force", action="store_true", help="overwrite files that were changed since")
    deploy.set_defaults(command=_deploy)


def _add_batch(commands) -> None:
    batch = commands.add_parser(
        "batch", help="ask a verb of a model about files of any number and size, with Apache Beam", allow_abbrev=False
    )
    batch.add_argument("verb", metavar="VERB", help="a signature of the model, such as encode; or compress, decompress")
    batch.add_argument("model", metavar="MODEL", help="path of an exported model or of a run, or a preset")
    help = "files, folders of pictures, patterns such as 'data/*.parquet', or tfds:NAME"
    batch.add_argument("--input", nargs="+", required=True, metavar="PATH", help=help)
    help = "path of the shards, ending in .parquet, .csv, .npz, .tfrecord …; a folder with --format"
    batch.add_argument("--output", required=True, metavar="PATH", help=help)
    batch.add_argument("--format", metavar="ENDING", help="of the shards, where --output has none")
    batch.add_argument("--split", default="all", metavar="NAME", help="of a data set of TFDS (default: all)")
    batch.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help="columns of the data that the output has too")
    help = "inputs of the verb that are the same in every row"
    batch.add_argument("--with", nargs="+", default=[], dest="constants", type=_pair, metavar="NAME=VALUE", help=help)
    help = "at most (default: as many as take about 64 MiB, and 16,384 at most)"
    batch.add_argument("--rows_per_shard", type=int, metavar="N", help=help)
    batch.add_argument("--overwrite", action="store_true", help="remove the output of an earlier job first")
    _add_coding(batch)
    batch.epilog = "All other options are Beam's: --runner=FlinkRunner, --direct_num_workers=2 and so on."
    batch.set_defaults(command=_batch)


def _add_coding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portable",
        type=_truth,
        default=True,
        metavar="TRUE|FALSE",
        help="read on any machine; false takes models of any layers (default: true)",
    )
    parser.add_argument(
        "--particles",
        type=int,
        default=1,
        metavar="N",
        help="codes tried for each row: more make a shorter file, and take N times as long (default: 1)",
    )
    parser.add_argument("--lossy", action="store_true", help="keep rounded codes alone: far shorter, and not the same data")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"Expected NAME=VALUE. Received: {text}.")
    return name, value


def _add_compression(commands) -> None:
    compress = commands.add_parser("compress", help="write data to a file that the model makes short, without loss")
    compress.add_argument("model", help="a preset, or the folder of a preset, a run or an export")
    compress.add_argument(
        "inputs", nargs="+", metavar="INPUT", help=".npy and .npz files, folders of pictures, tables, pairs of texts (.tsv)"
    )
    compress.add_argument("output", metavar="OUTPUT", help="path of the file, such as digits.laz")
    _add_coding(compress)
    compress.set_defaults(command=_compress)

    decompress = commands.add_parser("decompress", help="write the data of such a file, as they were")
    decompress.add_argument("file", metavar="FILE")
    decompress.add_argument(
        "output", metavar="OUTPUT", help="path of an .npy file, of a new folder for pictures, of a table, or of pairs of texts"
    )
    decompress.add_argument("--model", help="with which it was written; the preset that the file names unless given")
    decompress.add_argument("--rows", metavar="START:STOP", help="only these; of the others no more is decoded than must be")
    decompress.add_argument("--salvage", action="store_true", help="leave out chunks that are damaged")
    decompress.set_defaults(command=_decompress)

    inspect = commands.add_parser("inspect", help="say what such a file holds")
    inspect.add_argument("file", metavar="FILE")
    inspect.set_defaults(command=_inspect)


def _type(name: str, default):
    if name in ("port", "rest_api_port"):
        return _port
    return _truth if isinstance(default, bool) else _text if default is None else type(default)


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


def _text(text: str) -> str | None:
    return text or None  # TensorFlow Serving's flags are empty unless they are given


def _export(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.export import export_run

    print(f"Exported {export_run(options.run, options.output, options.version)}")


def _serve(options) -> None:
    if options.version:
        for package in ("latent-zoo", "tensorflow"):
            print(f"{package} {importlib.metadata.version(package)}")
        return
    for name, reason in WITHOUT_EFFECT.items():
        if getattr(options, name) is not None:
            print(f"--{name} has no effect: {reason}.", file=sys.stderr, flush=True)
    serve(Options(**{name: getattr(options, name) for name in Options._fields}))


def _check(options) -> None:
    from serving.check import check

    check(options.directory)


def _deploy(options) -> None:
    target = deployment.Target(options.to, options.name, options.image, options.cpus)
    print(deployment.deploy(options.models, target, options.output, options.force))


def _batch(options) -> None:
    if options.verb in ("compress", "decompress"):
        from serving.batch.coding import code

        coding = (options.portable, options.lossy, options.particles, options.overwrite, options.beam)
        print(code(options.verb, options.model, options.input, options.output, *coding))
        return
    from serving.batch.command import batch

    named = {name: getattr(options, name) for name in ("format", "split", "keep", "rows_per_shard", "overwrite", "beam")}
    print(batch(options.verb, options.model, options.input, options.output, constants=dict(options.constants), **named))


def _compress(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.compression import compress

    print(compress(options.model, options.inputs, options.output, options.portable, options.lossy, options.particles))


def _decompress(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.compression import decompress, interval

    rows = interval(options.rows) if options.rows else None
    print(decompress(options.file, options.output, options.model, rows, options.salvage))


def _inspect(options) -> None:
    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.compression import inspect

    print(inspect(options.file))


if __name__ == "__main__":
    sys.exit(main())
