"""From a fitted model to a SavedModel that TensorFlow Serving and the embedded server answer from.

The only part of `serving` that imports the zoo.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping

import keras
import numpy as np

import zoo

SAMPLE = "sample.npz"  # in assets.extra: some data and their labels, so that a server can show data without a data set


def export(
    model: zoo.Autoencoder | zoo.Predictor,
    directory: str | os.PathLike,
    name: str | None = None,
    version: int | None = None,
    sample: Mapping[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """Writes `directory/name/version`, whole or not at all.

    The signatures are those that the model declares, and `serving_default`, which is `reconstruct` (`classify` or `regress`
    of a predictor).

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
        _save(model, str(beside))
        if sample is not None:
            (beside / "assets.extra").mkdir()
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


def _save(model: zoo.Autoencoder, path: str) -> None:
    # A module that tracks the raw variables stores every weight once, and restores them in a Session as TF Serving does.
    import tensorflow as tf

    module = tf.Module()
    module.tensors = [variable.value for variable in model.variables]
    signatures = {verb: _function(model, verb) for verb in model.signatures()}
    tf.saved_model.save(module, path, signatures={"serving_default": signatures[model.serving_default], **signatures})


def _function(model: zoo.Autoencoder, verb: str):
    import tensorflow as tf

    signature = model.signatures()[verb]
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in signature.inputs.items()]
    (output,) = signature.outputs

    @tf.function(input_signature=specs, autograph=False)
    def function(*inputs):
        return {output: getattr(model, verb)(*inputs)}

    return function
