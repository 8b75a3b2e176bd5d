"""The models that were exported: what a SavedModel has to hold for one to be had again, to the bit."""

import contextlib
import json
import os
import pathlib

import tensorflow as tf

from serving.versions import SAVED_MODEL, numbered
from zoo import files, presets
from zoo.model import Model

CONFIG = "assets.extra/model.json"  # of the model, as a preset has it
WEIGHTS = "weights"  # under which the SavedModel tracks them, in their order
_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"  # how TensorFlow's checkpoints end the name of a variable


def track(model: Model, module: tf.Module) -> None:
    """Lets a module that is to be saved hold the variables of a model, the weights among them by number."""
    weights = {id(variable) for variable in model.weights}
    setattr(module, WEIGHTS, [variable.value for variable in model.weights])
    module.others = [variable.value for variable in model.variables if id(variable) not in weights]


def write(model: Model, folder: pathlib.Path) -> None:
    """Writes the configuration of a model to its SavedModel, unless a part of the user's own has none: such a model can be
    served, and not be had again."""
    with contextlib.suppress(NotImplementedError):
        text = json.dumps(presets.described(model), ensure_ascii=False)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def load(path: str | os.PathLike) -> Model:
    """The model of an export, with the weights and the configuration that it had.

    Args:
        path: of a SavedModel, or of the folder of its versions, of which the highest is taken.

    Raises:
        ValueError: no SavedModel; one that `export` did not write, or not with the model's configuration; a damaged one; parts
            of the user's own whose modules are not imported.
    """
    folder = _saved_model(pathlib.Path(path))
    if not (folder / CONFIG).exists():
        raise ValueError(
            f"Expected an export that holds the configuration of its model. Received: {folder}, without {CONFIG}, a SavedModel "
            "of another program or of an earlier version. Try the folder of the run, or python -m serving export RUN anew."
        )
    with files.reading(folder, "an export of this version", "the folder of the run, or exporting it anew"):
        checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        count = sum(name.startswith(f"{WEIGHTS}/") for name in checkpoint.get_variable_to_shape_map())
        names = [f"{WEIGHTS}/{number}/{_VALUE}" for number in range(count)]
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return presets.restored(config, {name: checkpoint.get_tensor(name) for name in names})


def _saved_model(path: pathlib.Path) -> pathlib.Path:
    if (path / SAVED_MODEL).exists():
        return path
    saved = [version for version in (numbered(path) if path.is_dir() else {}).values() if (version / SAVED_MODEL).exists()]
    if not saved:
        raise ValueError(f"Expected a SavedModel, or the folder of its versions. Received: {path}. Try export/NAME of a run.")
    return saved[-1]
