"""What a signature is asked about: its inputs, made of the columns of a source."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from serving.batch.sources import Chunk
from serving.columns import scaled
from serving.models.servable import TensorSpec
from training.data import batches
from training.data.user_files import DATA
from zoo.columns import dtype
from zoo.schema import Feature, Schema

NUMBER = Feature("continuous")
SEEDS = ("seed", "seed_")  # inputs that are the numbers of the rows, where the data do not have them
SHOWN = 40  # characters of a value in a reason

Found = tuple[np.ndarray, dict[int, str]]  # an input `(n, …)`, and what is wrong with rows of it


class Feed(NamedTuple):
    """How the inputs of a signature are made.

    Args:
        inputs: of the signature, by name.
        schema: of those that are columns of a table.
        constants: those that are the same in every row.
        keep: columns of the data that the output has too.
    """

    inputs: dict[str, TensorSpec]
    schema: Schema
    constants: dict[str, float]
    keep: tuple[str, ...] = ()

    def matched(self, names: Sequence[str], source: str) -> dict[str, tuple[str, ...]]:
        """The columns of a source that each input is made of, none for those that are constants or seeds.

        Raises:
            ValueError: an input that nothing can be made of, or no such column to keep.
        """
        found = {}
        for name, spec in self.inputs.items():
            known = () if name in self.constants else _columns(name, spec, names, self._alone(name))
            if known is None:
                there = ", ".join(filter(None, names)) or "no names of columns"
                raise ValueError(
                    f"Expected the columns {', '.join(self.inputs)}. Received: {there} in {source}, without {name}. "
                    f"Try adding it, or --with {name}=VALUE for one value in every row."
                )
            found[name] = known
        absent = [name for name in self.keep if name not in names]
        if absent:
            there = ", ".join(filter(None, names)) or "no names of columns"
            raise ValueError(f"Expected columns of {source} to keep: {there}. Received: --keep {absent[0]}. Try one of these.")
        return found

    def _alone(self, name: str) -> bool:
        """Whether this is the one input that the data are for: the first that is neither the same in every row nor a seed, or a
        seed where there is nothing else; none of a table."""
        free = [each for each in self.inputs if each not in self.constants]
        return not self.schema and name == next((each for each in free if each not in SEEDS), free[0])

    def wanted(self, matched: Mapping[str, Collection[str]]) -> set[str]:
        return {*self.keep, *(column for columns in matched.values() for column in columns)}

    def read(self, chunk: Chunk, matched: Mapping[str, Sequence[str]]) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """The inputs `(n, …)` of all rows of a chunk, and what is wrong with some, by their place.

        Raises:
            ValueError: columns of another shape or type, which no row can have.
        """
        values, bad = {}, dict(chunk.bad)
        for name, spec in self.inputs.items():
            if name in self.constants:
                column, wrong = np.full(chunk.size, self.constants[name], spec.dtype), {}
            elif not matched[name]:
                column, wrong = np.arange(chunk.first, chunk.first + chunk.size).astype(spec.dtype), {}
            elif name in self.schema:
                column, wrong = _cells(chunk, matched[name][0], self.schema[name])
            else:
                column, wrong = _tensor(chunk, name, matched[name], spec)
            values[name], bad = column, {**wrong, **bad}
        return values, bad

    def kept(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """The columns that the output has too: numbers, texts or bytes."""
        return {name: _plain(chunk.columns, name) for name in self.keep}


def _columns(name: str, spec: TensorSpec, names: Sequence[str], alone: bool) -> tuple[str, ...] | None:
    """The columns of which an input is made: itself, or its parts, such as `code_0`, `code_1` …; of the one input that data are
    for also the array that has no name or a usual one, or the only column."""
    if name in names:
        return (name,)
    width = math.prod(spec.shape[1:]) if spec.shape and None not in spec.shape[1:] else 0
    parts = tuple(f"{name}_{place}" for place in range(width)) if len(spec.shape or ()) == 2 else ()
    if parts and set(parts) <= set(names):
        return parts
    if alone:
        usual = next((each for each in ("", *DATA) if each in names), names[0] if len(names) == 1 else None)
        if usual is not None:
            return (usual,)
    return () if name in SEEDS and spec.dtype.kind == "i" else None


def _cells(chunk: Chunk, name: str, feature: Feature) -> Found:
    """A raw column of a table; a cell of a column of numbers that is there and no number is wrong."""
    batch = chunk.columns if isinstance(chunk.columns, pa.RecordBatch) else _batch(chunk.columns, name)
    column = batches.read(batch.select([name]), {name: feature})[name]
    if dtype(feature) != "float64" or name not in batches.no_numbers(batch, {name: column}):
        return column, {}
    cells = batches.plain(batch.column(name))
    there = batches.present(cells).is_valid().to_numpy(zero_copy_only=False)
    places = np.flatnonzero(np.isnan(column) & there)
    return column, {
        int(place): f"Expected a number in {name}. Received: {cells[int(place)].as_py()!r:.{SHOWN}}." for place in places
    }


def _batch(columns: Mapping[str, np.ndarray], name: str) -> pa.RecordBatch:
    values = columns[name]
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values.tolist()]
    return pa.record_batch({name: pa.array(texts, from_pandas=True)})


def _tensor(chunk: Chunk, name: str, columns: Sequence[str], spec: TensorSpec) -> Found:
    """An input of numbers or of texts, of any shape."""
    if len(columns) > 1:
        parts = [_tensor(chunk, column, (column,), spec._replace(shape=(None,))) for column in columns]
        wrong = {place: reason for _, bad in reversed(parts) for place, reason in bad.items()}
        return np.stack([values for values, _ in parts], axis=1), wrong
    if spec.dtype.kind == "O":
        return _texts(_plain(chunk.columns, columns[0]), name)
    values, wrong = _numbers(chunk, columns[0], spec)
    if chunk.flat and None not in spec.shape[1:] and math.prod(values.shape[1:]) == math.prod(spec.shape[1:]):
        values = values.reshape(len(values), *spec.shape[1:])
    return _fitting(values, wrong, name, spec)


def _numbers(chunk: Chunk, name: str, spec: TensorSpec) -> Found:
    if not isinstance(chunk.columns, pa.RecordBatch):
        return chunk.columns[name], {}
    column = chunk.columns.column(name)
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column, name, spec)
    return _cells(chunk, name, NUMBER)


def _lists(column: pa.Array, name: str, spec: TensorSpec) -> Found:
    size = math.prod(spec.shape[1:])
    values, wrong = np.zeros((len(column), size)), {}
    for place, row in enumerate(column.to_pylist()):
        if row is None or len(row) != size or None in row:
            received = "none" if row is None else len(row)
            wrong[place] = f"Expected {size} numbers in {name}. Received: {received}."
        else:
            values[place] = row
    return values.reshape(len(column), *spec.shape[1:]), wrong


def _texts(values: np.ndarray, name: str) -> Found:
    """Texts or files, as bytes or texts; an input that is missing is wrong."""
    found = np.array([each if isinstance(each, str | bytes) else "" for each in values.tolist()], object)
    missing = [place for place, each in enumerate(values.tolist()) if not isinstance(each, str | bytes)]
    return found, dict.fromkeys(missing, f"Expected a text as {name}. Received: none.")


def _fitting(values: np.ndarray, wrong: dict[int, str], name: str, spec: TensorSpec) -> Found:
    """Numbers in the shape and type of an input; 8-bit integers become floats in [0, 1]."""
    shape = spec.shape[1:] if spec.shape else values.shape[1:]
    if values.dtype.kind not in "buif":
        raise ValueError(f"Expected numbers as {name}. Received: {values.dtype}. Try a verb that takes these.")
    if values.shape[1:] == shape[:-1] and shape[-1:] == (1,):
        values = values[..., None]  # grey images without an axis of channels, as training reads them
    if len(values.shape) - 1 != len(shape) or any(
        wanted not in (None, size) for wanted, size in zip(shape, values.shape[1:], strict=True)
    ):
        raise ValueError(
            f"Expected {name} of shape {('rows', *shape)}. Received: {('rows', *values.shape[1:])}. "
            "Try data like those that the model was trained on."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        found = (scaled(values) if spec.dtype.kind == "f" else values).astype(spec.dtype)
        each = values.reshape(len(values), -1)
        kept = np.isfinite(found.reshape(each.shape)) if spec.dtype.kind == "f" else found.reshape(each.shape) == each
    expected = "finite numbers" if spec.dtype.kind == "f" else f"numbers of type {spec.dtype}"
    for place in np.flatnonzero(~kept.all(axis=1)):
        received = each[place][~kept[place]][0]
        wrong.setdefault(int(place), f"Expected {expected} as {name}. Received: {received}.")
    return found, wrong


def _plain(columns: Mapping[str, np.ndarray] | pa.RecordBatch, name: str) -> np.ndarray:
    """A column as it is: numbers, texts or bytes."""
    if not isinstance(columns, pa.RecordBatch):
        return columns[name]
    column = columns.column(name)
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False)
    if not pa.types.is_binary(column.type) and not pa.types.is_large_binary(column.type):
        texts = batches.plain(column)
        if texts is None:
            raise ValueError(f"Expected numbers or texts in {name}. Received: {column.type}. Try --keep without it.")
        column = texts.cast(pa.string())
    return np.array([*column.to_pylist(), None], object)[:-1]
