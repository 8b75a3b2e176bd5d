"""Tables of mixed type, from the user's own files or the TFDS catalogue, as splits of cells."""

import collections
import dataclasses
import functools
import operator
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_datasets as tfds

from training.data.batches import read
from training.data.catalogue import features, hint, prepared
from training.data.inference import infer
from training.data.rows import MINIMUM_ROWS, TEST_SHARE
from training.data.schema_files import read_schema
from training.data.splits import WINDOW, Data, Split
from training.data.table_files import ROWS, Table, open_table
from zoo.arguments import require_amount
from zoo.columns import kept
from zoo.registry import register
from zoo.rows import cells
from zoo.schema import Schema

SPLITS = ("train", "validation", "test")
STRATUM = 20  # rows, of which an equal share is in each split
SEED = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Tables(Data):
    """A table. The schema describes all of its columns, the splits hold the cells `(n, C)` of those that are kept. A column
    that is to be predicted is the `target`, and not in the schema."""

    table: Table | None = None
    target: Schema = dataclasses.field(default_factory=dict)

    @property
    def shape(self) -> tuple[int]:
        """(C,), the number of columns that are kept."""
        return (len(kept(self.schema)),)

    @property
    def classes(self) -> None:
        """A table has no labels; any of its columns may be what is looked for."""
        return None


@register("data", "tables", reads=[".csv", ".gz", ".parquet", ".pq", ".feather", ".arrow", ".json", ".jsonl", ".ndjson"])
def load(dataset: str, validation: float = 0.2, memory_gib: float = 2.0, schema: str = "") -> Tables:
    """Opens a table.

    Args:
        dataset: path of a file that `training.data.table_files.open_table` reads (also `tables:FILE`), or a TFDS name, of which
            `penguins` needs no download.
        validation: share of the training rows that becomes the validation split, in [0, 1).
        memory_gib: largest size in GiB of the cells that are held in memory. Larger tables are streamed: read again in every
            pass.
        schema: path of a file of the types of columns, as a run has it; by default they are inferred.

    A fifth of the rows are for testing, always the same: of 20 rows in succession four, drawn at random. Types, classes and
    statistics are those of the training rows.

    Raises:
        ValueError: no such table, or a damaged one; fewer than 10 rows; no column to keep; a schema that does not fit.
    """
    require_amount(below=1, validation=validation)
    require_amount(memory_gib=memory_gib)
    return opened(_table(dataset), dataset, validation, memory_gib, read_schema(schema) if schema else None)


def opened(table: Table, name: str, validation: float = 0.2, memory_gib: float = 2.0, types: Schema | None = None) -> Tables:
    """The splits of a table, as `load` makes them."""
    sizes = np.zeros(len(SPLITS), int)

    def counted() -> Iterator[pa.RecordBatch]:
        for numbers, batch in _numbered(table):
            sizes[:] += np.bincount(parts(numbers, validation), minlength=len(SPLITS))
            yield batch

    schema = infer(counted(), types, lambda numbers: parts(numbers, validation) == 0)
    data = Tables(name, schema, None, None, None, table)
    if sizes.sum() < MINIMUM_ROWS or not data.shape[0]:
        few = f"{sizes.sum()} row{'' if sizes.sum() == 1 else 's'}"
        received = few if sizes.sum() < MINIMUM_ROWS else "no column that could be kept"
        raise ValueError(
            f"Expected a table of at least {MINIMUM_ROWS} rows, with a column of numbers, classes or dates. Received: "
            f"{received} in {name}. Try another table."
        )
    if 4 * data.shape[0] * sizes.sum() > memory_gib * 2**30:
        splits = [_stream(data, number, size, validation, memory_gib) for number, size in enumerate(sizes)]
    else:
        splits = _in_memory(data, validation)
    return dataclasses.replace(data, **{key: split for key, split in zip(SPLITS, splits, strict=True) if split.size})


def parts(numbers: np.ndarray, validation: float) -> np.ndarray:
    """The index in SPLITS of each of successive row numbers `(n,)`, which depends on nothing but the number: a row stays where
    it is when a table grows."""
    first = numbers[0] // STRATUM * STRATUM
    rows = np.arange(first, -(-(numbers[-1] + 1) // STRATUM) * STRATUM)
    draws = _uniform(rows).reshape(-1, STRATUM)
    place = (draws.argsort(axis=1).argsort(axis=1) + draws).ravel()[numbers - first]  # uniform in [0, STRATUM)
    tested = TEST_SHARE * STRATUM
    return np.select([place < tested, place < tested + validation * (STRATUM - tested)], [2, 1], 0)


def _uniform(numbers: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that follow from whole ones: the hash of splitmix64 (Steele et al., 2014)."""
    x = (numbers.astype("uint64") + np.uint64(SEED)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return (x ^ (x >> np.uint64(31))) / 2.0**64


def _numbered(table: Table) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """The batches with the numbers of their rows."""
    start = 0
    for batch in table.batches():
        yield np.arange(start, start + batch.num_rows), batch
        start += batch.num_rows


def _blocks(data: Tables, validation: float) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The rows of all splits, in blocks, with the indices of their splits."""
    for numbers, batch in _numbered(data.table):
        found = cells(data.schema, read(batch, data.schema))
        found[np.isinf(found)] = np.nan  # as 1e400 is, in a row that is not for training
        yield parts(numbers, validation), {"x": found, "id": np.char.mod("%d", numbers)}


def _in_memory(data: Tables, validation: float) -> list[Split]:
    found = [[] for _ in SPLITS]
    for part, block in _blocks(data, validation):
        for number, blocks in enumerate(found):
            blocks.append({name: column[part == number] for name, column in block.items()})
    arrays = [{name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} for blocks in found]
    return [Split(len(columns["x"]), arrays=columns) for columns in arrays]


def _stream(data: Tables, number: int, size: int, validation: float, memory_gib: float) -> Split:
    """A split that reads the whole table in every pass, and keeps its own rows."""

    def blocks() -> Iterator[dict[str, np.ndarray]]:
        for part, block in _blocks(data, validation):
            chosen = part == number
            if chosen.any():
                yield {"x": block["x"][chosen], "id": block["id"][chosen].astype("S")}

    spec = {"x": tf.TensorSpec((None, *data.shape), tf.float32), "id": tf.TensorSpec((None,), tf.string)}
    fitting = int(memory_gib * 2**30 / (16 * data.shape[0]))  # shuffling takes the memory of several windows
    stream = tf.data.Dataset.from_generator(blocks, output_signature=spec)
    return Split(int(size), stream=stream, window=int(np.clip(fitting, 256, WINDOW)))


def _table(dataset: str) -> Table:
    prefix, _, path = dataset.partition(":")
    if prefix == "tables" or os.path.isfile(dataset):
        return open_table(path if prefix == "tables" else dataset)
    return _from_catalogue(dataset)


def _from_catalogue(name: str) -> Table:
    """The scalars of the TFDS data set called `name`, of all of its splits one after another.

    Raises:
        ValueError: no such data set; neither a copy nor a network; no scalars.
    """
    builder = prepared(name, _scalars, "a path of a table", hint)
    scalars = _scalars(builder)

    def read_rows() -> Iterator[pa.RecordBatch]:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        for split in builder.info.splits:
            rows = builder.as_dataset(split=split, shuffle_files=False, read_config=config).batch(ROWS)
            for block in rows.map(lambda row: {path: functools.reduce(operator.getitem, path, row) for path in scalars}):
                columns = [_column(feature, block[path].numpy()) for path, feature in scalars.items()]
                yield pa.RecordBatch.from_arrays(columns, names=list(names))

    names = _names(scalars)
    return Table(name, names, names, read_rows)


def takes(name: str) -> bool:
    """Whether a name is that of a TFDS data set which is a table: it holds nothing but scalars, of which two are no texts."""
    leaves = dict(_leaves(features(name) or {}))
    numbers = [each for each in leaves.values() if each.shape == () and np.dtype(each.np_dtype).kind in "biuf"]
    return len(numbers) >= 2 and all(each.shape == () for each in leaves.values())


def _scalars(builder: tfds.core.DatasetBuilder) -> dict[tuple[str, ...], tfds.features.FeatureConnector]:
    """The scalars of a data set by their paths: the keys of the dicts in which they are."""
    found = {path: each for path, each in _leaves(builder.info.features) if each.shape == ()}
    if not found:
        raise ValueError(
            f"Expected a data set of scalars, as tables are. Received: {builder.name!r} with "
            f"{', '.join(builder.info.features)}. Try penguins."
        )
    return found


def _leaves(known: Mapping, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], tfds.features.FeatureConnector]]:
    """The features in nested dicts, sorted by name: a prepared copy does not keep their order."""
    for name, each in sorted(known.items()):
        if isinstance(each, tfds.features.FeaturesDict):
            yield from _leaves(each, (*path, name))
        else:
            yield (*path, name), each


def _names(paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The last key of each path, or all keys where two paths end alike."""
    last = collections.Counter(path[-1] for path in paths)
    return tuple(path[-1] if last[path[-1]] == 1 else "/".join(path) for path in paths)


def _column(feature: tfds.features.FeatureConnector, values: np.ndarray) -> pa.Array:
    if isinstance(feature, tfds.features.ClassLabel):
        return pa.array([feature.int2str(int(value)) if value >= 0 else "" for value in values])
    if values.dtype == "float64":  # of which TFDS stores 32 bits: 13.1 shall not be 13.1000003814697
        values = values.astype("float32").astype(str).astype("float64")
    return pa.array([value.decode("utf-8", "replace") for value in values] if values.dtype == object else values)
