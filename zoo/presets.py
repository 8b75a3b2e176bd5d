"""Presets: trained models in folders, those of the package or your own. JSON and NumPy arrays, no pickle."""

import builtins
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

from zoo import earlier, files
from zoo.model import Model

FOLDER = pathlib.Path(__file__).parent / "presets"
CONFIG, WEIGHTS, CARD, SAMPLE = "preset.json", "weights.npz", "card.md", "sample.npz"
FORMAT = 1
DTYPES = ("float32", "float16")


def list() -> builtins.list[str]:
    """Names of the presets in the package, for `load`."""
    return sorted(path.parent.name for path in FOLDER.glob(f"[!.]*/{CONFIG}"))


def load(name: str | os.PathLike) -> Model:
    """A trained model.

    Args:
        name: of a preset, or the path of a folder that `save_preset` wrote.

    Raises:
        ValueError: there is no such preset or folder; the folder holds something else, or is damaged.
    """
    folder = _folder(name)
    kind, advice = f"the folder of a preset, with {CONFIG} and {WEIGHTS}", f"{_names()}, or zoo.save_preset(model, folder) anew"
    with files.reading(folder, kind, advice):
        with np.load(folder / WEIGHTS, allow_pickle=False) as weights:
            arrays = {key: weights[key] for key in sorted(weights.files)}
        return restored(json.loads((folder / CONFIG).read_text(encoding="utf-8")), arrays)


def described(model: Model) -> dict:
    """The configuration of a model, as JSON has it, from which `restored` builds the same model."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return {"format": FORMAT, "model": config}


def restored(config: object, weights: Mapping[str, np.ndarray]) -> Model:
    """The model of a configuration, with weights by any names, in the order of `model.weights`.

    Raises:
        ValueError: a configuration of another format, or of something else; weights of another model, or not finite.
    """
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"format {config.get('format') if isinstance(config, dict) else config!r}, not {FORMAT}")
    model = keras.saving.deserialize_keras_object(config["model"], safe_mode=True)
    if not isinstance(model, Model):
        raise ValueError(f"a {type(model).__name__}, not a model of the zoo")
    _assign(model, weights)
    return model


def save_preset(model: Model, folder: str | os.PathLike, dtype: str = "float32") -> pathlib.Path:
    """Writes a model to a folder that `load` reads, atomically. A preset that is there already is replaced, with its card and
    examples. A symbolic link to a folder stays one.

    Args:
        dtype: of the stored weights, `float32`, or `float16` for half the size; they are loaded as float32.

    Returns:
        The folder.

    Raises:
        ValueError: another dtype; weights that float16 cannot hold; `folder` holds something else, or is a file.
        OSError: it cannot be written; an existing preset stays.
    """
    if dtype not in DTYPES:
        raise ValueError(f"Expected a dtype of {', '.join(DTYPES)}. Received: {dtype!r}. Try float32.")
    place = require_place(folder)
    arrays, config = _arrays(model, dtype), described(model)
    with files.beside(place) as new:
        new.mkdir()
        np.savez_compressed(new / WEIGHTS, **arrays)
        (new / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        files.replace_folder(new, place)
    return pathlib.Path(folder)


def require_place(folder: str | os.PathLike) -> pathlib.Path:
    """The path at which to write a preset, without symbolic links.

    Raises:
        ValueError: the folder holds something else.
    """
    place = files.resolved(folder)
    if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not (place / CONFIG).exists())):
        held = "which holds other files" if place.is_dir() else "which is a file"
        raise ValueError(f"Expected a new folder, or a preset's. Received: {folder}, {held}. Try another.")
    return place


def _arrays(model, dtype: str) -> dict[str, np.ndarray]:
    arrays, exact = {}, _exact(model)
    for key, variable in _variables(model).items():
        value = keras.ops.convert_to_numpy(variable)
        if id(variable) in exact:
            arrays[key] = value
            continue
        with np.errstate(over="ignore"):  # the error below says so
            arrays[key] = value.astype(dtype) if value.dtype == np.float32 else value
        if not np.isfinite(arrays[key]).all() and np.isfinite(value).all():
            raise ValueError(
                f"Expected weights that {dtype} can hold. Received: {key} up to {np.abs(value).max():g}. Try float32."
            )
    return arrays


def _exact(model: Model) -> set[int]:
    """The weights that stay in float32: units of the data, which may be small or large, scores, and steps of rounding."""
    parts = [getattr(model, name, None) for name in ("scaling", "ranks", "entropy")]
    return {id(weight) for part in parts if part is not None for weight in part.weights}


def load_saved(path: str | os.PathLike, advice: str, compile: bool = True) -> Model:
    """The model in a `.keras` file.

    Raises:
        ValueError: the file is damaged, or holds another kind of model; the message ends with `advice`.
    """
    with files.reading(path, "a fitted model", advice):
        zipfile.ZipFile(path).close()  # Keras reports a truncated file as missing
        with earlier.as_saved_now(pathlib.Path(path)) as readable:
            model = keras.saving.load_model(readable, compile=compile)
        if not isinstance(model, Model):
            raise ValueError(f"a {type(model).__name__}, not a model of the zoo")
    return model


def sample(name: str | os.PathLike) -> dict[str, np.ndarray]:
    """Some test examples of a preset: `x` `(n, *shape)`, float32, and `label` `(n,)` if there are labels; for texts, `source`
    and `target` `(n,)`; of a table, its columns `(n,)`.

    Raises:
        ValueError: no such preset, or one without examples.
    """
    path = _folder(name) / SAMPLE
    if not path.exists():
        raise ValueError(f"Expected a preset with examples. Received: {path.parent}. Try {_names()}.")
    with files.reading(path, "a preset's examples", "the preset anew"), np.load(path, allow_pickle=False) as arrays:
        rows = dict(arrays)
    if "x" in rows and rows["x"].dtype == np.uint8:
        rows["x"] = rows["x"] / np.float32(255)
    return rows


def card(name: str | os.PathLike) -> str:
    """The model card of a preset: data, licence, metrics, the command that trained it, limitations.

    Raises:
        ValueError: no such preset, or one without a card.
    """
    path = _folder(name) / CARD
    if not path.exists():
        raise ValueError(f"Expected a preset with a card. Received: {path.parent}. Try {_names()}.")
    return path.read_text(encoding="utf-8")


def _folder(name) -> pathlib.Path:
    folder = FOLDER / name if isinstance(name, str) and name in list() else files.standing(files.resolved(name))
    if not folder.is_dir():
        raise ValueError(f"Expected a preset or a folder of one. Received: {str(name)!r}. Try {_names()}.")
    return folder


def _names() -> str:
    return f"zoo.list(): {', '.join(list()) or 'none'}"


def _variables(model) -> dict[str, keras.Variable]:
    """The weights by number and path; the configuration determines their order."""
    return {f"{i:03d}/{variable.path}": variable for i, variable in enumerate(model.weights)}


def _assign(model: Model, arrays: Mapping[str, np.ndarray]) -> None:
    if len(arrays) != len(model.weights):
        raise ValueError(f"{len(arrays)} arrays for {len(model.weights)} weights")
    for (key, value), variable in zip(arrays.items(), model.weights, strict=True):
        if value.shape != tuple(variable.shape) or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise ValueError(f"{key} of shape {value.shape} for one of {tuple(variable.shape)}, or not finite")
        variable.assign(value)
