"""Tables in files and in memory: whatever holds them, they are read in record batches, never at once.

The cells of CSV files and of JSON lines are texts; those of Parquet, Feather and tables in memory have the types that they have
there.
"""

import contextlib
import dataclasses
import difflib
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from training.data import csv_files, json_lines

ENDINGS = (".csv", ".csv.gz", ".parquet", ".pq", ".feather", ".arrow", ".json", ".jsonl", ".ndjson", ".jsonl.gz")
MOST_COLUMNS = 2_000
ROWS = 2**16  # most rows in a batch
GZIP, PARQUET, ARROW, ARROW_STREAM, ZIP = b"\x1f\x8b", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"PK\x03\x04"
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table that can be read again and again.

    `names` are those of the columns, each of them once; `head` those that a file has, as they are written there: a column
    without a name is called `column_` and its number, which starts at 1. `form` is that of a CSV file; `objects` reads those of
    a file of JSON lines.
    """

    name: str
    names: tuple[str, ...]
    head: tuple[str, ...]
    read: Callable[[], Iterable[pa.RecordBatch]]
    form: csv_files.Form = csv_files.USUAL
    objects: Callable[[], Iterator[dict]] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in their order, in record batches of at most ROWS rows, whose metadata say what the decimal sign is.

        Raises:
            ValueError: a file that is damaged or, if it is a CSV file, irregular.
        """
        metadata = {"decimal": self.form.decimal}
        for batch in self.read():
            batch = batch.rename_columns(list(self.names)).replace_schema_metadata(metadata)
            for start in range(0, batch.num_rows, ROWS):
                yield batch.slice(start, ROWS)


def open_table(source: object, name: str = "") -> Table:
    """Opens a table.

    Args:
        source: path of a CSV file (separated by commas, semicolons, tabs or bars; also compressed by gzip), a Parquet, Feather
            or Arrow file, or of JSON lines; or a DataFrame of pandas or Polars, a table of pyarrow, or a dict of arrays.
        name: of a table in memory, for messages.

    Raises:
        ValueError: no such file, or one that does not hold a table; two columns of one name; more than MOST_COLUMNS columns.
    """
    if not isinstance(source, str | os.PathLike):
        return _in_memory(source, name or "the table")
    path = pathlib.Path(source)
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        near = difflib.get_close_matches(path.name, os.listdir(path.parent) if path.parent.is_dir() else [], 1)
        raise ValueError(
            f"Expected the path of a table. Received: {path} ({error.strerror}). Try {near[0] if near else 'the full path'}."
        ) from None
    if start.startswith(PARQUET):
        return _parquet(path)
    if start.startswith((ARROW, ARROW_STREAM)):
        return _arrow(path)
    ending = path.suffix.lower()
    if start.startswith(ZIP) or ending in (".parquet", ".pq", ".feather", ".arrow"):
        form = "a zip file, as those of Excel are" if start.startswith(ZIP) else f"no {ending[1:]} file"
        raise ValueError(f"Expected a table. Received: {path}, {form}. Try saving it as CSV.")
    opener = csv_files.opener(path, compressed=start.startswith(GZIP))
    inner = path.with_suffix("").suffix.lower() if ending == ".gz" else ending
    return _json(opener, str(path)) if inner in JSON_ENDINGS else _csv(opener, str(path))


def _csv(opener: csv_files.Opener, name: str) -> Table:
    with _clear_errors(name):
        form = csv_files.recognised(opener, name, MOST_COLUMNS)
    names = _names(form.head or [""] * form.width, f"line 1 of {name}")

    def read():
        with _clear_errors(name):
            yield from csv_files.batches(opener, form, names, name)

    return Table(name, names, form.head, read, form)


def _json(opener: csv_files.Opener, name: str) -> Table:
    with _clear_errors(name):
        found = json_lines.names(opener, name)

    def read():
        with _clear_errors(name):
            yield from json_lines.batches(opener, found, name)

    def objects():
        with _clear_errors(name):
            yield from json_lines.objects(opener, name)

    return Table(name, _names(found, name), found, read, objects=objects)


def _parquet(path: pathlib.Path) -> Table:
    with _clear_errors(path):
        head = tuple(pa.parquet.read_schema(path).names)

    def read():
        with _clear_errors(path), pa.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(ROWS)

    return Table(str(path), _names(head, path), head, read)


def _arrow(path: pathlib.Path) -> Table:
    def opened(file):
        start = file.read(len(ARROW))
        file.seek(0)
        return pa.ipc.open_file(file) if start == ARROW else pa.ipc.open_stream(file)

    with _clear_errors(path), pa.OSFile(str(path)) as file:
        head = tuple(opened(file).schema.names)

    def read():
        with _clear_errors(path), pa.OSFile(str(path)) as file:
            reader = opened(file)
            if isinstance(reader, pa.RecordBatchFileReader):
                yield from map(reader.get_batch, range(reader.num_record_batches))
            else:
                yield from reader

    return Table(str(path), _names(head, path), head, read)


@contextlib.contextmanager
def _clear_errors(path: str | os.PathLike) -> Iterator[None]:
    """Within it, what is said of a damaged file becomes one sentence; what our own code says stays."""
    try:
        yield
    except Exception as error:  # of any kind: a file may contain anything
        if isinstance(error, ValueError) and str(error).startswith("Expected"):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"Expected a complete table. Received: {path} ({reason}). Try saving or copying it again.") from None


def _in_memory(source: object, name: str) -> Table:
    """A table of pandas, Polars or pyarrow, or a dict of arrays; anything that knows Arrow's C interface."""
    if hasattr(source, "iloc") and hasattr(source, "columns"):  # pandas, whose own conversion refuses columns of mixed types
        head = tuple(map(str, source.columns))
        columns = [_column(source.iloc[:, place]) for place in range(len(head))]
    elif isinstance(source, Mapping):
        head, columns = tuple(map(str, source)), [_column(np.asarray(column)) for column in source.values()]
    elif isinstance(source, pa.Table) or hasattr(source, "__arrow_c_stream__"):
        table = source if isinstance(source, pa.Table) else pa.table(source)
        head, columns = tuple(table.column_names), table.columns
    else:
        raise ValueError(
            f"Expected a path, a DataFrame of pandas or Polars, a table of pyarrow or a dict of arrays. Received: "
            f"{type(source).__name__}. Try pandas.DataFrame(…)."
        )
    names = _names(head, name)
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise ValueError(f"Expected a table with rows, columns of equal lengths. Received: {name}. Try another table.")
    table = pa.table(columns, names=list(names))
    return Table(name, names, head, lambda: table.to_batches(ROWS))


def _column(values: object) -> pa.Array | pa.ChunkedArray:
    """A column of pandas or NumPy; texts where its values are of several types."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.array(["" if value is None or value != value else str(value) for value in values])


def _names(head: Iterable[str], place: str | os.PathLike) -> tuple[str, ...]:
    """The names of columns, without blanks around them; one for each that has none.

    Raises:
        ValueError: no columns, more than MOST_COLUMNS, or two of one name.
    """
    names = tuple(name.strip() or f"column_{number}" for number, name in enumerate(head, 1))
    csv_files.require_columns(len(names), MOST_COLUMNS, str(place))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        numbers = [str(number) for number, name in enumerate(names, 1) if twice and name == twice[0]]
        received = f"{twice[0]!r} as columns {' and '.join(numbers)}" if twice else "no columns"
        raise ValueError(f"Expected columns with a name of their own each. Received: {received} in {place}. Try renaming one.")
    return names
