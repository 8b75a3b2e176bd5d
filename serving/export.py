"""From a fitted model to a SavedModel that TensorFlow Serving and the embedded server answer from.

The only part of `serving` that imports the zoo.
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping

import keras
import numpy as np
import PIL.Image

import zoo
from serving import images, texts
from serving.images import Verb
from serving.picture_files import read as read_picture
from serving.picture_files import reader as picture_reader
from serving.picture_files import refusal
from zoo.signatures import Tensor

# Beside the export, what goes into it of reading pictures: training reads them by the same functions.
__all__ = ["export", "export_run", "picture_reader", "read_picture", "refusal"]

Model = zoo.Autoencoder | zoo.Predictor | zoo.Transformer

WARMUP = "tf_serving_warmup_requests"  # in assets.extra, by TensorFlow Serving's name
SAMPLE = "sample.npz"  # in assets.extra: some data and their labels, so that a server can show data without a data set


def export(
    model: Model,
    directory: str | os.PathLike,
    name: str | None = None,
    version: int | None = None,
    sample: Mapping[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """Writes `directory/name/version`, whole or not at all.

    The signatures are those that the model declares, those with pictures that follow from them (`serving.images`), and
    `serving_default`, which is `reconstruct` (`classify` or `regress` of a predictor). Beside them goes a request of each,
    which a server runs before it answers others.

    Args:
        name: the model's name on the server; the model's own unless given.
        version: a number above 0; one more than the highest there unless given.
        sample: a dict of arrays, `x` at least, to keep beside the model.

    Returns:
        The path of the version.

    Raises:
        FileExistsError: that version is there already; a served version never changes.
        ValueError: a version below 1; another backend than TensorFlow (`export_run` handles it).
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Expected the TensorFlow backend. Received: {keras.backend.backend()!r}. "
            "Try export_run, or KERAS_BACKEND=tensorflow and the saved model."
        )
    target = _target(pathlib.Path(directory) / (name or model.name), version)
    beside = target.with_name(f".writing-{target.name}-{os.getpid()}")  # no number, so no server takes it for a version
    for left in target.parent.glob(f".writing-{target.name}-*"):  # by an export that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        served = texts.verbs(images.verbs(model))
        _save(model, served, str(beside))
        (beside / "assets.extra").mkdir()
        _write_warmup(beside / "assets.extra" / WARMUP, target.parent.name, served)
        if sample is not None:
            np.savez(beside / "assets.extra" / SAMPLE, **sample)
        os.rename(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def export_run(folder: str | os.PathLike, output: str | os.PathLike, version: int | None = None) -> pathlib.Path:
    """Exports the model of a run's folder under the experiment's name, with the run's sample beside it.

    A run of another backend is exported by a TensorFlow process.

    Raises:
        ValueError: the folder holds no fitted model.
    """
    folder = pathlib.Path(folder)
    if not (folder / "model.keras").exists():
        raise ValueError(f"Expected a run's folder with a model.keras. Received: {folder}. Try python -m training train first.")
    name = json.loads((folder / "config.json").read_text())["name"]
    if keras.backend.backend() == "tensorflow":
        model = keras.saving.load_model(folder / "model.keras", compile=False)
        with np.load(folder / SAMPLE) as sample:
            return export(model, output, name, version, sample)
    target = _target(pathlib.Path(output) / name, version)
    command = [sys.executable, "-m", "serving", "export", folder, "--output", output, "--version", target.name]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Expected a TensorFlow process to export {folder}. Received: {done.stderr[-2000:]}")
    return target


def _target(base: pathlib.Path, version: int | None) -> pathlib.Path:
    """Where a version goes: one after the highest unless given."""
    following = 1 + max((int(path.name) for path in base.glob("*") if path.name.isdigit()), default=0)
    version = following if version is None else version
    if version < 1:
        raise ValueError(f"Expected a version above 0. Received: {version}. Try leaving it out.")
    target = base / str(version)
    if target.exists():
        raise FileExistsError(f"Expected a new version. Received: {target}, which is there. Try --version={following}.")
    return target


def _save(model: Model, served: dict[str, Verb], path: str) -> None:
    # A module that tracks the raw variables stores every weight once, and restores them in a Session as TF Serving does.
    import tensorflow as tf

    module = tf.Module()
    module.tensors = [variable.value for variable in model.variables]
    module.resources = [resource for verb in served.values() for resource in verb.resources]
    signatures = {name: _function(verb) for name, verb in served.items()}
    tf.saved_model.save(module, path, signatures={"serving_default": signatures[model.serving_default], **signatures})


def _function(verb: Verb):
    import tensorflow as tf

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in verb.signature.inputs.items()]

    @tf.function(input_signature=specs, autograph=False)
    def function(*inputs):
        results, outputs = verb.call(*inputs), verb.signature.outputs
        results = results if isinstance(results, dict) else dict.fromkeys(outputs, results)
        return {name: tf.ensure_shape(results[name], tensor.shape) for name, tensor in outputs.items()}

    return function


def _write_warmup(path: pathlib.Path, name: str, served: dict[str, Verb]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    with tf.io.TFRecordWriter(str(path)) as records:
        for verb, (signature, *_) in served.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = name, verb
            for key, tensor in signature.inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(_one(tensor), tensor.dtype))
            records.write(log.SerializeToString())


def _one(tensor: Tensor) -> np.ndarray:
    """One row of zeros, of the vocabulary's first token, or of a black picture."""
    if tensor.vocabulary:
        return np.array([tensor.vocabulary.tokens[0]])
    if tensor.dtype != "string":
        return np.zeros((1, *tensor.shape[1:]), tensor.dtype)
    file = io.BytesIO()
    PIL.Image.new("L", (8, 8)).save(file, "PNG")
    return np.array([file.getvalue()])
