"""A trained model, asked about a file of data."""

import os
import pathlib

import numpy as np

from training import files, run
from training.data import folders, lines, user_files
from training.experiments.names import near
from zoo.signatures import Signature

BATCH = 1000
PREFIXES = ("folder", "npy", "npz", "pairs")  # that may precede a path, as in --dataset


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
    files.write(path, lambda new: _save(new, columns))
    return str(path)


def _save(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """One column as `.npy`, several as `.npz`, whatever the name of the file."""
    with open(path, "wb") as file:
        if len(columns) == 1:
            np.save(file, next(iter(columns.values())))
        else:
            np.savez(file, **columns)


def _rows(data: str, signature: Signature) -> np.ndarray:
    """The rows `(n, …)` of a file, as the one input of a signature takes them."""
    name, tensor = next(iter(signature.inputs.items()))
    prefix, _, rest = data.partition(":")
    path = rest if prefix in PREFIXES else data
    if not os.path.exists(path):
        raise ValueError(f"Expected a file or folder that exists. Received: {path}. Try the full path.")
    if tensor.vocabulary:
        return np.array([columns[0] for _, columns in lines.read(pathlib.Path(path))])
    if os.path.isdir(path) and len(tensor.shape) == 4:
        rows = folders.pixels(pathlib.Path(path), tensor.shape[1:])
    else:
        rows = user_files.array(pathlib.Path(path))
        if rows.dtype == "uint8" and rows.ndim == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
            rows = rows[..., None]  # grey images without an axis of channels, as training reads them
    if not len(rows):
        raise ValueError(f"Expected at least one row. Received: none in {path}. Try another file.")
    if tuple(rows.shape[1:]) != tuple(tensor.shape[1:]):
        raise ValueError(
            f"Expected {name} of shape {('rows', *tensor.shape[1:])}. Received: {rows.shape} in {path}. "
            "Try data like those that the model was trained on."
        )
    return rows
