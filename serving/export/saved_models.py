"""Export of trained models to SavedModels, for TensorFlow Serving and the embedded server."""

import io
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping

import keras
import numpy as np
import PIL.Image

import zoo
from serving.columns import npz
from serving.export import examples, images, names, originals, tables, texts
from serving.export.images import Verb
from zoo import files, inputs
from zoo.model import Model
from zoo.registry import import_parts
from zoo.schema import described
from zoo.signatures import Tensor

WARMUP = "tf_serving_warmup_requests"  # in assets.extra; TensorFlow Serving's name
SCHEMA = "schema.json"  # in assets.extra: what the data of the model hold
SAMPLE = "sample.npz"  # in assets.extra: some data and their labels, so that examples need no data set


def export(
    model: Model,
    directory: str | os.PathLike,
    name: str | None = None,
    version: int | None = None,
    sample: Mapping[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """Writes `directory/name/version` atomically.

    The signatures are those that the model declares, those derived from them for pictures and for examples
    (`serving.export.images`, `serving.export.examples`), and `serving_default`, the same as `reconstruct` (for a predictor,
    `classify` or `regress`). One warm-up request for each is stored with them; a server runs these before it answers others. So
    is the configuration of the model, by which `serving.export.load` gives it back.

    Args:
        name: of the model on the server; `model.name` unless given.
        version: a number above 0; one more than the highest there unless given.
        sample: a dict of arrays, with at least `x`, to store with the model; of a table, rows, or their cells as `x`.

    Returns:
        The path of the version.

    Raises:
        FileExistsError: that version is there already; a served version never changes.
        ValueError: a version below 1; a backend other than TensorFlow (`export_run` handles that).
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Expected the TensorFlow backend. Received: {keras.backend.backend()!r}. "
            "Try export_run, or KERAS_BACKEND=tensorflow with the saved model."
        )
    target = _target(pathlib.Path(directory) / (name or model.name), version)
    with files.beside(target) as beside:  # its folder has no number, so no server takes it for a version
        served = tables.verbs(model) if tables.takes_columns(model) else texts.verbs(images.verbs(model))
        served |= examples.verbs(model, served)
        _save(model, served, beside)
        (beside / "assets.extra").mkdir()
        warmed = {"serving_default": served[model.serving_default], **served}
        _write_warmup(beside / "assets.extra" / WARMUP, target.parent.name, warmed)
        schema = json.dumps(described(model.schema), ensure_ascii=False)
        (beside / "assets.extra" / SCHEMA).write_text(schema + "\n", encoding="utf-8")
        originals.write(model, beside)
        if rows := _sample(model, sample or {}):
            (beside / "assets.extra" / SAMPLE).write_bytes(npz(rows))
        files.flush(beside)
        return _put(beside, target, version)


def _sample(model: Model, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sample as a server's examples take it: 8-bit integers scaled, cells of a table, or a row of means, as raw columns."""
    if tables.takes_columns(model):
        cells = np.ndim(sample.get("x")) == 2
        return tables.sample(model.schema, np.asarray(sample["x"]) if cells else sample or None)
    return {name: inputs.scaled(np.asarray(rows)) if name == "x" else rows for name, rows in sample.items()}


def _put(beside: pathlib.Path, target: pathlib.Path, version: int | None) -> pathlib.Path:
    """Renames a version to its number, or to the next one if another export has taken that meanwhile."""
    while True:
        try:
            os.rename(beside, target)
            return target
        except OSError:
            if not os.path.lexists(target):
                raise
            target = _target(target.parent, version)


def export_run(folder: str | os.PathLike, output: str | os.PathLike, version: int | None = None) -> pathlib.Path:
    """Exports the model of a run under the experiment's name, with the run's sample.

    With another Keras backend, a process with the TensorFlow backend exports it.

    Raises:
        ValueError: the folder holds no fitted model, or a damaged one.
    """
    folder = pathlib.Path(folder)
    if not (folder / "model.keras").exists():
        raise ValueError(f"Expected a run's folder with a model.keras. Received: {folder}. Try python -m training train first.")
    with files.reading(folder / "config.json", "a run of this version", "training again"):
        config = json.loads((folder / "config.json").read_bytes())
        name = config["name"]
        if not isinstance(name, str):
            raise ValueError("no name of an experiment")
    import_parts(config.get("imports", ()))
    base = pathlib.Path(output) / name
    _target(base, version)
    if keras.backend.backend() != "tensorflow":
        return base / _exported_elsewhere(folder, output, version)
    advice = "removing it and training again, which continues from the checkpoint"
    model = zoo.presets.load_saved(folder / "model.keras", advice, compile=False)
    with files.reading(folder / SAMPLE, "some of the run's data", "training again"), np.load(folder / SAMPLE) as arrays:
        sample = dict(arrays)
    return export(model, output, name, version, sample)


def _exported_elsewhere(folder: pathlib.Path, output: str | os.PathLike, version: int | None) -> str:
    """Exports in a process with the TensorFlow backend; returns the version."""
    numbered = [] if version is None else ["--version", str(version)]
    command = [sys.executable, "-m", "serving", "export", folder, "--output", output, *numbered]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        last = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise RuntimeError(f"Expected a TensorFlow process to export {folder}. Received: {last}")
    return done.stdout.strip().rpartition(os.sep)[2]


def _target(base: pathlib.Path, version: int | None) -> pathlib.Path:
    """The path of a new version, one more than the highest unless given."""
    names = [path.name for path in base.iterdir()] if base.is_dir() else []
    following = 1 + max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)
    version = following if version is None else version
    if version < 1:
        raise ValueError(f"Expected a version above 0. Received: {version}. Try leaving it out.")
    target = base / str(version)
    if os.path.lexists(target):
        raise FileExistsError(f"Expected a new version. Received: {target}, which exists. Try --version={following}.")
    return target


def _save(model: Model, served: dict[str, Verb], path: pathlib.Path) -> None:
    # A module that tracks the raw variables stores each weight once, and can be restored in a Session, as TF Serving does.
    import tensorflow as tf

    module = tf.Module()
    originals.track(model, module)
    module.resources = [resource for verb in served.values() for resource in verb.resources]
    renamed = {name: names.arguments({**verb.signature.inputs, **verb.signature.outputs}) for name, verb in served.items()}
    signatures = {name: _function(verb, renamed[name]) for name, verb in served.items()}
    default = model.serving_default
    tf.saved_model.save(module, str(path), signatures={"serving_default": signatures[default], **signatures})
    others = {name: method for name, method in examples.METHODS.items() if name in served}
    if others or any(name != argument for arguments in renamed.values() for name, argument in arguments.items()):
        names.restore(path, {"serving_default": renamed[default], **renamed}, others)


def _function(verb: Verb, arguments: Mapping[str, str]) -> Callable:
    import tensorflow as tf

    inputs, outputs = verb.signature
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, arguments[name]) for name, tensor in inputs.items()]

    @tf.function(input_signature=specs, autograph=False)
    def function(*values):
        # TensorFlow Serving does not check requests against the shapes that a signature declares.
        values = [tf.ensure_shape(value, spec.shape) for value, spec in zip(values, specs, strict=True)]
        results = verb.call(*values)
        results = results if isinstance(results, dict) else dict.fromkeys(outputs, results)
        return {arguments[name]: tf.ensure_shape(results[name], tensor.shape) for name, tensor in outputs.items()}

    return function


def _write_warmup(path: pathlib.Path, name: str, served: dict[str, Verb]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    with tf.io.TFRecordWriter(str(path)) as records:
        for verb, (signature, _, _, example) in served.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = name, verb
            for key, tensor in signature.inputs.items():
                row = example[key] if key in example else _one(tensor)
                request.inputs[key].CopyFrom(tf.make_tensor_proto(row, tensor.dtype))
            records.write(log.SerializeToString())


def _one(tensor: Tensor) -> np.ndarray:
    """One row for the warm-up: zeros, the vocabulary's first token, or a black picture file."""
    if tensor.vocabulary:
        return np.array([tensor.vocabulary.tokens[0]])
    if tensor.dtype != "string":
        return np.zeros((1, *tensor.shape[1:]), tensor.dtype)
    file = io.BytesIO()
    PIL.Image.new("L", (8, 8)).save(file, "PNG")
    return np.array([file.getvalue()])
