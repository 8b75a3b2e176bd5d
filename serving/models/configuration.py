"""The configuration files of TensorFlow Serving: protocol buffers in text format.

`tensorflow-serving-api` contains the messages for model configurations, but not those for batching, monitoring and TLS: they
are declared here, field by field, from TensorFlow Serving's documentation.
"""

import os
import pathlib
from collections.abc import Callable, Collection

from google.protobuf import text_format, wrappers_pb2
from google.protobuf.message import Message
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.models.batcher import Limits
from serving.protobufs import declared
from serving.versions import SAVED_MODEL, numbered, why_none

BATCHING = "batching_params.pbtxt"  # in the folder of a version; TensorFlow Serving's name
_INT, _BOOL, _TEXT = (f".google.protobuf.{kind}Value" for kind in ("Int64", "Bool", "String"))
_MESSAGES = {  # name and type of each field, by its number
    "BatchingParameters": {
        1: ("max_batch_size", _INT),
        2: ("batch_timeout_micros", _INT),
        3: ("max_enqueued_batches", _INT),
        4: ("num_batch_threads", _INT),
        5: ("thread_pool_name", _TEXT),
        6: ("allowed_batch_sizes", "int64*"),
        7: ("pad_variable_length_inputs", "bool"),
        8: ("enable_large_batch_splitting", _BOOL),
        9: ("max_execution_batch_size", _INT),
    },
    "PrometheusConfig": {1: ("enable", "bool"), 2: ("path", "string")},
    "MonitoringConfig": {1: ("prometheus_config", ".tensorflow.serving.PrometheusConfig")},
    "SSLConfig": {
        1: ("server_key", "string"),
        2: ("server_cert", "string"),
        3: ("custom_ca", "string"),
        4: ("client_verify", "bool"),
    },
}


_DECLARED = declared("tensorflow.serving", _MESSAGES, (wrappers_pb2,))


def batching(path: str | os.PathLike | None) -> Limits:
    """The limits in a batching parameters file, or the defaults.

    Raises:
        ValueError: not such a file, or sizes that contradict each other.
    """
    if path is None:
        return Limits()
    read = _read(path, _DECLARED["BatchingParameters"]())
    given = {
        name: getattr(read, name).value for name in Limits._fields if name != "allowed_batch_sizes" and read.HasField(name)
    }
    if read.enable_large_batch_splitting.value and read.HasField("max_execution_batch_size"):
        given["max_batch_size"] = read.max_execution_batch_size.value  # the other limits a request, which has no limit here
    limits = Limits(**given, allowed_batch_sizes=tuple(read.allowed_batch_sizes))
    sizes = limits.allowed_batch_sizes
    if min(limits[:3]) < 1 or (sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != limits.max_batch_size)):
        raise ValueError(
            f"Expected sizes above 0, and allowed_batch_sizes that rise to max_batch_size. Received: {limits} from {path}."
        )
    return limits


def batching_of_version(version: pathlib.Path, threads: int) -> Limits | None:
    """The sizes of batches in the folder of a version; None if it has no file of them, and so is not batched.

    Args:
        threads: that run batches, for all versions alike, whatever the file says.

    Raises:
        ValueError: as `batching`.
    """
    file = version / BATCHING
    return batching(file)._replace(num_batch_threads=threads) if file.exists() else None


def session(
    path: str | os.PathLike | None, parallelism: int = 0, intra_op: int = 0, inter_op: int = 0, gpu_fraction: float = 0.0
) -> ConfigProto:
    """The settings of TensorFlow's sessions: those in a file, if there is one, and the numbers, where they are above 0.

    Args:
        parallelism: threads within an operation, and for operations beside each other.
        intra_op, inter_op: the same, each for itself.
        gpu_fraction: share of the memory of a GPU that is taken.

    Raises:
        ValueError: not such a file, or all three numbers of threads.
    """
    if min(parallelism, intra_op, inter_op) > 0:
        raise ValueError(
            "Expected --tensorflow_session_parallelism, or one or both of --tensorflow_intra_op_parallelism and "
            f"--tensorflow_inter_op_parallelism. Received: {parallelism}, {intra_op} and {inter_op}. Try one less."
        )
    settings = ConfigProto() if path is None else _read(path, ConfigProto())
    intra_op, inter_op = (intra_op, inter_op) if max(intra_op, inter_op) > 0 else (parallelism, parallelism)
    if intra_op > 0:
        settings.intra_op_parallelism_threads = intra_op
    if inter_op > 0:
        settings.inter_op_parallelism_threads = inter_op
    if gpu_fraction > 0:
        settings.gpu_options.per_process_gpu_memory_fraction = gpu_fraction
    return settings


def monitoring(path: str | os.PathLike | None) -> str | None:
    """The URL path of the metrics if a monitoring file enables them, else None."""
    if path is None:
        return None
    prometheus = _read(path, _DECLARED["MonitoringConfig"]()).prometheus_config
    return (prometheus.path or "/monitoring/prometheus/metrics") if prometheus.enable else None


def tls(path: str | os.PathLike | None) -> Message | None:
    """Keys and certificates (PEM) in an SSL file: `server_key`, `server_cert`, `custom_ca`, `client_verify`."""
    return None if path is None else _read(path, _DECLARED["SSLConfig"]())


def models_of_file(path: str | os.PathLike) -> ModelServerConfig:
    """The models in a model configuration file.

    Raises:
        ValueError: not such a file, or `checked` refuses it.
    """
    return checked(_read(path, ModelServerConfig()))


def parsed(config: bytes) -> ModelServerConfig:
    """The models in a serialized configuration.

    Raises:
        ValueError: `checked` refuses it.
    """
    return checked(ModelServerConfig.FromString(config))


def one_model(name: str, base_path: str | os.PathLike) -> ModelServerConfig:
    """A configuration of one model, of which the latest version is served.

    Raises:
        ValueError: the path is that of a version, not of a model.
    """
    if os.path.exists(os.path.join(base_path, SAVED_MODEL)) and not numbered(base_path):
        raise ValueError(why_none(os.path.abspath(base_path), []))
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=os.path.abspath(base_path), model_platform="tensorflow")
    return checked(config)


def models_of_directory(directory: str | os.PathLike, known: Collection[str] = ()) -> ModelServerConfig:
    """A configuration of all models `directory/NAME/VERSION` that are there now.

    Args:
        known: names that are kept as long as their folder holds any version, even an incomplete one.

    Raises:
        ValueError: no such directory.
    """
    if not os.path.isdir(directory):
        raise ValueError(f"Expected a directory of MODEL/VERSION/saved_model.pb. Received: {directory}.")
    root = pathlib.Path(directory).absolute()
    config = ModelServerConfig()
    for name in sorted({path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")} | {*known}):
        base = root / name
        if _holds_versions(base, complete=name not in known):
            config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow")
    return config


def _holds_versions(base: pathlib.Path, complete: bool) -> bool:
    try:
        versions = numbered(base).values()
    except OSError:  # it is missing for a moment, or not readable
        return not complete
    return any(os.path.exists(version / SAVED_MODEL) or not complete for version in versions)  # False if it may not be read


def following(directory: str | os.PathLike) -> Callable[[], ModelServerConfig]:
    """A function that returns the configuration of the models that are in a directory when it is called."""
    known: set[str] = set()

    def configured() -> ModelServerConfig:
        config = models_of_directory(directory, known)
        known.clear()
        known.update(model.name for model in config.model_config_list.config)
        return config

    return configured


def checked(config: ModelServerConfig) -> ModelServerConfig:
    """Returns `config` if it can be served.

    Raises:
        ValueError: no list of models, a duplicate or missing name, a relative path, or a platform other than TensorFlow.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise ValueError(
            "Expected a model_config_list. Received: none. Try model_config_list { config { name: … base_path: … } }."
        )
    names = [model.name for model in config.model_config_list.config]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"Expected every model to have a name of its own. Received: {', '.join(names)}.")
    for model in config.model_config_list.config:
        if not os.path.isabs(model.base_path):
            raise ValueError(f"Expected model {model.name} to have an absolute path. Received: base_path={model.base_path!r}.")
        if model.model_platform not in ("", "tensorflow"):
            raise ValueError(f"Expected model_platform 'tensorflow'. Received: {model.model_platform!r} of model {model.name}.")
    return config


def _read(path, message: Message) -> Message:
    kind = message.DESCRIPTOR.name
    try:
        return text_format.Parse(pathlib.Path(path).read_text(), message)
    except OSError as error:
        raise ValueError(f"Expected a file with a {kind} as text. Received: {path} ({error.strerror}).") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        problem = f"Error parsing text-format {message.DESCRIPTOR.full_name}: {error}"  # TensorFlow Serving's words
        raise ValueError(f"Expected {kind} as text in {path}. Received: {problem}.") from None
