"""A trained model, asked about a file of data."""

import collections
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from training import files, run
from training.data import batches, folders, lines, table_files, table_writers, user_files
from training.data.written import Column
from training.experiments.names import near
from zoo import rows as rows_
from zoo.columns import dtype, kept
from zoo.model import Model
from zoo.schema import Feature, Schema
from zoo.signatures import Signature, Tensor

BATCH = 1000
CELLS = 2**16  # of a table, that are asked about at once: each of them makes a row for `score_cells`
PREFIXES = ("folder", "npy", "npz", "pairs", "tables")  # that may precede a path, as in --dataset
ARRAYS = (".npy", ".npz")
SEED = "int32"


class Part(NamedTuple):
    """Successive rows: what a verb answers to them, by name, and of rows of a table their cells and raw columns."""

    answers: dict[str, np.ndarray]
    cells: Mapping[str, pa.Array] | None = None
    raw: rows_.Raw | None = None


def predict(model: str | os.PathLike, data: str | os.PathLike, verb: str, output: str | os.PathLike) -> str:
    """Writes what a verb of a model answers to the rows of a file, in their order.

    Arrays are written as `.npy`; several outputs as `.npz`. What is answered to rows of a table, and rows themselves, are
    written as a table, in the form that the name of the output ends in (`table_writers.ENDINGS`), or as arrays.

    Of a verb that answers with rows, the output has the columns of the input, also those that the model does not have, and
    cells whose value stays are given back as they were written. New numbers have the decimals of the training data, and up to
    two more where they are expectations. A CSV file keeps its separator, decimal sign and line ends; it is in UTF-8, or in the
    encoding of the input, if that has a byte order mark. Seeds are the numbers of the rows, from 0.

    Args:
        model: a preset's name, or the folder of a preset or of a run.
        data: path of a folder of images, of an `.npy` or `.npz` file, which may hold codes or seeds, of a file of texts, one
            in a line, or of a table, which is read part by part.
        verb: one that takes a single input, or rows of a table.
        output: path of the answers.

    Returns:
        The path.

    Raises:
        ValueError: no such model, verb or data; data of another shape than the model's, or without one of its columns.
    """
    trained, path = run.trained(model), pathlib.Path(output)
    known = trained.signatures().items()
    asked = {name: each for name, each in known if len(each.inputs) == 1 or are_rows(trained, each.inputs)}
    if verb not in asked:
        raise ValueError(f"Expected a verb of one input: {', '.join(asked)}. Received: {verb}. {near(verb, asked)}")
    signature = asked[verb]
    if _columns(trained, signature.inputs):
        table = table_files.open_table(_existing(str(data)))
        rows_.require_columns(trained.schema, table.names)
        return _write(path, trained, signature, _of_table(trained, verb, signature, table), table)
    tabular = _columns(trained, signature.outputs) and str(data).lower().endswith(table_writers.ENDINGS)
    rows = _numbers(str(data), signature) if tabular else _rows(str(data), signature)
    return _write(path, trained, signature, _of_rows(trained, verb, signature, rows))


def generate(trained: Model, path: pathlib.Path, count: int) -> str:
    """Writes as many new rows, with seeds 0, 1, 2 …, as a table or as arrays; returns the path."""
    signature = trained.signatures()["generate"]
    return _write(path, trained, signature, _of_rows(trained, "generate", signature, np.arange(count, dtype=SEED)))


def are_rows(trained: Model, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the inputs or the outputs of a verb are rows of a table."""
    return bool(_columns(trained, tensors))


def _columns(trained: Model, tensors: Mapping[str, Tensor]) -> Schema:
    """The columns of a table that the inputs or the outputs of a verb are, all that the model has; a column may be called as
    other tensors are."""
    known = {name: feature for name, feature in kept(trained.schema).items() if not feature.shape}
    columns = [name for name, tensor in tensors.items() if tensor.shape == (None,) and tensor.dtype != SEED]
    return known if known.keys() <= set(columns) else {}


def _of_rows(trained: Model, verb: str, signature: Signature, rows: np.ndarray) -> Iterator[Part]:
    for start in range(0, len(rows), BATCH):
        yield Part(_named(getattr(trained, verb)(rows[start : start + BATCH]), signature))


def _of_table(trained: Model, verb: str, signature: Signature, table: table_files.Table) -> Iterator[Part]:
    """The parts of a table. How many cells count as missing because they are no numbers is printed at the end."""
    number, no_numbers = 0, collections.Counter()
    for batch in table.batches():
        raw, answers = batches.read(batch, trained.schema), []
        no_numbers.update(batches.no_numbers(batch, raw))
        most = max(1, CELLS // len(raw))
        for start in range(0, batch.num_rows, most):
            rows = {name: column[start : start + most] for name, column in raw.items()}
            size = min(most, batch.num_rows - start)
            seeds = [np.arange(number, number + size, dtype=SEED)] * (len(signature.inputs) > len(raw))
            answers.append(_named(getattr(trained, verb)(rows, *seeds), signature))
            number += size
        cells = dict(zip(table.names, batch.columns, strict=True))
        yield Part(_joined(answers), cells, raw)
    if not number:
        raise ValueError(f"Expected at least one row. Received: none in {table.name}. Try another file.")
    for name, count in no_numbers.items():
        print(f"{name}: cells that are no numbers count as missing: {count:,}", file=sys.stderr)


def _named(answer: object, signature: Signature) -> dict[str, np.ndarray]:
    answer = answer if isinstance(answer, dict) else {next(iter(signature.outputs)): answer}
    return {name: np.asarray(each) for name, each in answer.items()}


def _joined(answers: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    answers = list(answers)
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _write(
    path: pathlib.Path, trained: Model, signature: Signature, parts: Iterator[Part], table: table_files.Table | None = None
) -> str:
    """Writes the answers as a table if they have to do with one, and the path does not ask for arrays."""
    if path.suffix.lower() in ARRAYS or not (table or are_rows(trained, signature.outputs)):
        answers = _joined(part.answers for part in parts)
        files.write(path, lambda new: _save(new, answers))
    else:
        table_writers.require_ending(path)
        files.write(path, lambda new: _write_table(new, trained, signature, parts, table))
    return str(path)


def _save(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """One column as `.npy`, several as `.npz`, whatever the name of the file. Texts are arrays of them, not objects."""
    columns = {name: column.astype(str) if column.dtype == object else column for name, column in columns.items()}
    with open(path, "wb") as file:
        if len(columns) == 1:
            np.save(file, next(iter(columns.values())))
        else:
            np.savez(file, **columns)


def _write_table(
    path: pathlib.Path, trained: Model, signature: Signature, parts: Iterator[Part], table: table_files.Table | None
) -> None:
    form = table.form if table else None
    if table and are_rows(trained, signature.outputs):
        head = table.head if any(table.head) else None
        objects = table.objects() if table.objects else None
        with table_writers.opened(path, table.names, head, form, objects) as writer:
            for part in parts:
                writer.write(part.cells, _as_columns(part, trained, signature))
    else:
        names = [name for each, tensor in signature.outputs.items() for name in _names(each, tensor)]
        with table_writers.opened(path, names, names, form) as writer:
            for part in parts:
                writer.write({}, _as_columns(part._replace(raw=None), trained, signature))


def _as_columns(part: Part, trained: Model, signature: Signature) -> dict[str, Column]:
    """What is to be written of the answers: where they are rows, the cells that differ from those that were read."""
    known = _columns(trained, signature.outputs)
    found = {}
    for name, values in part.answers.items():
        tensor, feature = signature.outputs[name], known.get(name)
        feature = feature if feature and dtype(feature) == tensor.dtype else None
        new = values != part.raw[name] if feature and part.raw else None
        for place, each in enumerate(_names(name, tensor)):
            found[each] = Column(values if values.ndim == 1 else values[:, place], feature, new)
    return found


def _names(name: str, tensor: Tensor) -> list[str]:
    """The names of the columns of a table that a tensor becomes: `score`, or `code_0`, `code_1` …"""
    return [name] if len(tensor.shape) == 1 else [f"{name}_{place}" for place in range(tensor.shape[1])]


def _existing(data: str) -> str:
    """The path of data, without a prefix."""
    prefix, _, rest = data.partition(":")
    path = rest if prefix in PREFIXES else data
    if not os.path.exists(path):
        raise ValueError(f"Expected a file or folder that exists. Received: {path}. Try the full path.")
    return path


def _numbers(data: str, signature: Signature) -> np.ndarray:
    """Codes or seeds in the columns of a table, named as they are where they are answers."""
    name, tensor = next(iter(signature.inputs.items()))
    table, schema = table_files.open_table(_existing(data)), {each: Feature("continuous") for each in _names(name, tensor)}
    rows_.require_columns(schema, table.names)
    columns = _joined(batches.read(batch, schema) for batch in table.batches()).values()
    return (np.stack([*columns], axis=-1) if len(tensor.shape) > 1 else next(iter(columns))).astype(tensor.dtype)


def _rows(data: str, signature: Signature) -> np.ndarray:
    """The rows `(n, …)` of a file, as the one input of a signature takes them."""
    name, tensor = next(iter(signature.inputs.items()))
    path = _existing(data)
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
