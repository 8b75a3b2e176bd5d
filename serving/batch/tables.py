"""Tables and files of texts as sources."""

import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from serving.batch.sources import Chunk, Range, Source, cut
from training.data import lines, table_files
from zoo.files import reading


class Table(Source):
    """A table in a file: CSV, Parquet, Feather, Arrow or JSON lines. Parquet files are read in parts."""

    def __init__(self, name: str):
        super().__init__(name)
        self._table = table_files.open_table(name)
        with open(name, "rb") as file:
            self._parquet = file.read(4) == table_files.PARQUET

    @property
    def names(self) -> Sequence[str]:
        return self._table.names

    def ranges(self, size: int) -> list[Range]:
        return cut(pa.parquet.read_metadata(self.name).num_rows, size) if self._parquet else [(0, None)]

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        first, (start, stop) = 0, rows
        for batch in self._groups(rows) if self._parquet else self._table.batches():
            inside = slice(max(start - first, 0), batch.num_rows if stop is None else max(min(stop - first, batch.num_rows), 0))
            for place in range(inside.start, inside.stop, size):
                part = batch.slice(place, min(size, inside.stop - place))
                yield Chunk(first + place, part.num_rows, part)
            first += batch.num_rows

    def _groups(self, rows: Range) -> Iterator[pa.RecordBatch]:
        """The rows of a Parquet file, of whose row groups those without wanted rows are empty batches of their size."""
        expected = "a complete table as it was when the job began"
        with reading(self.name, expected, "copying it again"), pa.parquet.ParquetFile(self.name) as file:
            first = 0
            for number in range(file.num_row_groups):
                count = file.metadata.row_group(number).num_rows
                if first < rows[1] and rows[0] < first + count:
                    for batch in file.iter_batches(table_files.ROWS, [number]):
                        yield batch.rename_columns(list(self._table.names))
                else:
                    yield pa.RecordBatch.from_arrays([pa.nulls(count)], ["passed over"])
                first += count


class Texts(Source):
    """A file of texts, one in a line."""

    @property
    def names(self) -> Sequence[str]:
        return ("",)

    def ranges(self, size: int) -> list[Range]:
        return [(0, None)]

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        texts = [columns[0] for _, columns in lines.read(pathlib.Path(self.name))]
        for start in range(0, len(texts), size):
            part = np.array(texts[start : start + size], object)
            yield Chunk(start, len(part), {"": part})
