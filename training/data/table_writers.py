"""Tables written to files, part by part: CSV, JSON lines, Parquet, Feather and Arrow, as the name of a file says."""

import abc
import contextlib
import gzip
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from training.data import written
from training.data.csv_files import USUAL, Form
from training.data.lines import MARKS
from training.data.table_files import JSON_ENDINGS
from training.data.written import Column

ENDINGS = (".csv", ".csv.gz", ".parquet", ".pq", ".feather", ".arrow", ".jsonl", ".jsonl.gz", ".ndjson", ".json")


class Writer(abc.ABC):
    """Writes the rows of a table to a file.

    Args:
        names: of the columns.
        head: their names in the file; None: those of a CSV file are not written.
        form: of a CSV file; that of the file whose rows are written anew, if there is one.
        objects: those of a file of JSON lines, if that is what is written anew.
    """

    def __init__(
        self, file: BinaryIO, names: Sequence[str], head: Sequence[str] | None, form: Form, objects: Iterator[dict] | None
    ):
        self.file, self.names, self.head, self.form, self.objects = file, tuple(names), head, form, objects

    @abc.abstractmethod
    def write(self, cells: Mapping[str, pa.Array], columns: Mapping[str, Column]) -> None:
        """Writes rows: the cells of the table that was read, by name, and what is new. Every one of the names is in one of
        them."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Ends the file."""


@contextlib.contextmanager
def opened(
    path: pathlib.Path,
    names: Sequence[str],
    head: Sequence[str] | None,
    form: Form | None = None,
    objects: Iterator[dict] | None = None,
) -> Iterator[Writer]:
    """A writer for the file at `path`, whose arguments are those of `Writer`."""
    ending = require_ending(path)
    with open(path, "wb") as file, contextlib.ExitStack() as stack:
        if ending.endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        writer = _kind(ending.removesuffix(".gz"))(file, names, head, form or USUAL, objects)
        yield writer
        writer.close()


def _kind(ending: str) -> type["Writer"]:
    if ending == ".csv":
        return Csv
    return JsonLines if ending in JSON_ENDINGS else Parquet if ending in (".parquet", ".pq") else Arrow


def require_ending(path: pathlib.Path) -> str:
    """The ending that says of which form a file is.

    Raises:
        ValueError: none of ENDINGS.
    """
    ending = next((each for each in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(each)), None)
    if ending is None:
        raise ValueError(
            f"Expected the path of a table, ending in {', '.join(ENDINGS)}. Received: {path}. Try {path.with_suffix('.csv')}."
        )
    return ending


class Csv(Writer):
    """CSV, as the file that was read: its separator, decimal sign and line ends, and its encoding, if it has a byte order mark;
    else UTF-8. Cells are in quotes where they must be."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.file.write(self.form.mark)
        if self.head is not None:
            self._write_lines([pa.array([name], pa.string()) for name in self.head])

    def write(self, cells: Mapping[str, pa.Array], columns: Mapping[str, Column]) -> None:
        decimal = self.form.decimal
        self._write_lines([written.texts(cells.get(name), columns.get(name), decimal) for name in self.names])

    def _write_lines(self, columns: list[pa.Array]) -> None:
        alone = len(columns) == 1
        quoted = [_quoted(column, self.form.separator, alone) for column in columns]
        lines = pc.binary_join_element_wise(*quoted, self.form.separator) if quoted else pa.array([], pa.string())
        text = "".join(f"{line}{self.form.end}" for line in lines.to_pylist())
        encoding = MARKS.get(self.form.mark, "utf-8")
        self.file.write(text.encode(encoding))


def _quoted(texts: pa.Array, separator: str, alone: bool) -> pa.Array:
    """Texts, in quotes where they need them; an empty one too where it is `alone` in its line, which would else be passed over
    by readers."""
    needed = pc.match_substring_regex(texts, f'["\r\n{re.escape(separator)}]')
    if alone:
        needed = pc.or_(needed, pc.equal(texts, ""))
    if not pc.any(needed).as_py():
        return texts
    quotes = pa.scalar('"')
    doubled = pc.binary_join_element_wise(quotes, pc.replace_substring(texts, '"', '""'), quotes, "")
    return pc.if_else(needed, doubled, texts)


class JsonLines(Writer):
    """JSON lines. Objects that were read are written with what is new in them; of other tables each row is an object of all
    names."""

    def write(self, cells: Mapping[str, pa.Array], columns: Mapping[str, Column]) -> None:
        names = [name for name in self.names if self.objects is None or name in columns]
        heads = dict(zip(self.names, self.head or self.names, strict=True))
        found = [written.values(cells.get(name), columns.get(name)) for name in names]
        for number, row in enumerate(zip(*found, strict=True)):
            new = dict(zip(names, row, strict=True))
            if self.objects is not None:
                new = {name: new[name] for name, column in columns.items() if column.new is None or column.new[number]}
            there = {} if self.objects is None else next(self.objects)
            self.file.write(_json(there | {heads[name]: value for name, value in new.items()}) + b"\n")


def _json(row: dict) -> bytes:
    try:
        return orjson.dumps(row)
    except TypeError:  # of whole numbers that have more than 64 bits
        return json.dumps(row, ensure_ascii=False).encode()


class _Typed(Writer):
    """Files whose columns have types: those of the file that was read, where they can hold what is new."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._writer = None

    def write(self, cells: Mapping[str, pa.Array], columns: Mapping[str, Column]) -> None:
        arrays = [written.typed(cells.get(name), columns.get(name)) for name in self.names]
        batch = pa.RecordBatch.from_arrays(arrays, names=list(self.head or self.names))
        self._writer = self._writer or self._opened(batch.schema)
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()

    @abc.abstractmethod
    def _opened(self, schema: pa.Schema) -> object: ...


class Parquet(_Typed):
    """Parquet."""

    def _opened(self, schema: pa.Schema) -> pa.parquet.ParquetWriter:
        return pa.parquet.ParquetWriter(self.file, schema)


class Arrow(_Typed):
    """Arrow's own format, which is Feather's too."""

    def _opened(self, schema: pa.Schema) -> pa.RecordBatchFileWriter:
        return pa.ipc.new_file(self.file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
