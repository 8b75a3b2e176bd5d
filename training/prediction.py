"""A trained model, asked about a file of data."""

import os
import pathlib

import numpy as np

from training import files, run
from training.data import folders, user_files
from training.experiments.names import near
from zoo.signatures import Signature

BATCH = 1000


def predict(model: str | os.PathLike, data: str | os.PathLike, verb: str, output: str | os.PathLike) -> str:
    """Writes what a verb of a model answers to the rows of a file, in their order, as `.npy`; several outputs as `.npz`.

    Args:
        model: a preset's name, or the folder of a preset or of a run.
        data: path of a folder of images, of an `.npy` or `.npz` file, which may hold codes or seeds, or of a file of texts, one
            in a line.
        verb: one that takes a single input.
        output: path of the answers.

    Returns:
        The path.

    Raises:
        ValueError: no such model, verb or data; data of another shape than the model's.
    """
    trained = run.trained(model)
    signatures = trained.signatures()
    single = {name: signature for name, signature in signatures.items() if len(signature.inputs) == 1}
    if verb not in single:
        raise ValueError(f"Expected a verb of one input: {', '.join(single)}. Received: {verb}. {near(verb, single)}")
    rows, signature = _rows(str(data), single[verb]), single[verb]
    answers = [getattr(trained, verb)(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    answers = [answer if isinstance(answer, dict) else {next(iter(signature.outputs)): answer} for answer in answers]
    columns = {name: np.concatenate([np.asarray(answer[name]) for answer in answers]) for name in answers[0]}
    path = pathlib.Path(output)
    if len(columns) == 1:
        files.write(path, lambda new: _saved(new, next(iter(columns.values()))))
    else:
        files.write(path, lambda new: np.savez(new, **columns))
    return str(path)


def _saved(path: pathlib.Path, column: np.ndarray) -> None:
    with open(path, "wb") as file:  # of the name that it is given
        np.save(file, column)


def _rows(path: str, signature: Signature) -> np.ndarray:
    """The rows `(n, …)` of a file, as the one input of a signature takes them."""
    name, tensor = next(iter(signature.inputs.items()))
    if tensor.vocabulary:
        with open(path, encoding="utf-8") as lines:
            return np.array([line.rstrip("\n") for line in lines])
    if os.path.isdir(path) and len(tensor.shape) == 4:
        rows = folders.pixels(pathlib.Path(path), tensor.shape[1:])
    else:
        rows = user_files.array(pathlib.Path(path))
    if tuple(rows.shape[1:]) != tuple(tensor.shape[1:]):
        raise ValueError(
            f"Expected {name} of shape {('rows', *tensor.shape[1:])}. Received: {rows.shape} in {path}. "
            "Try data like those that the model was trained on."
        )
    return rows
