"""The schema of a table, inferred in one pass over its rows.

A cell is missing if it is empty or one of the words `batches.MISSING`, with or without blanks around it. Of what is present in
the rows that count, the first line that applies decides:

| type | a column is of it if |
|---|---|
| `text` | it holds lists, bytes or other things that are neither texts, numbers nor dates |
| `constant` | all that is present is one value, or nothing is |
| `datetime` | 95 % are dates of one form, such as 2024-01-31, 31.1.2024, 1/31/2024 or 20240131, with or without a time of day |
| numbers | 95 % are numbers (the rest is taken to be missing), and they are no codes, whole numbers with needless zeros before them |
| … `identifier` | they are whole and count the rows (strictly increasing with one left out for each that is there at most, or each there once in another order), but are not years (1500 to 2100); or they are all different and either whole, nearly sorted and in the first column, or called id, index or rownames, or something that ends so |
| … `binary` | there are two of them |
| … `ordinal` | they are 1, 2 … m with m from 3 to 10 |
| … `count` | they are whole, the lowest from 0 to 5 and the highest up to 1,000, and skewed (skewness above 0.5) or, of at most 20 different ones, not skewed to the other side |
| … `positive` | all are above 0, their skewness is above 1, and that of their logarithms is at most half as large |
| … `continuous` | else |
| `binary` | there are two texts |
| `ordinal` | the texts are on a known scale (`scales.SCALES`) or are ranges of numbers (<5, 5–9, 10+), or the file says that its categories are ordered |
| `identifier` | 90 % of the texts are different, and have fewer than three words each |
| `text` | as `identifier`, but with more words; or the classes that can be told apart hold less than half of the cells |
| `categorical` | else |

Classes of a categorical column are the 100 most frequent ones that 3 rows and 0.1 % of the rows have, at least; all others are
`<other>`.
"""  # noqa: E501 - a table

import difflib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa

from training.data import batches
from training.data.column import Column
from training.data.features import inferred
from training.data.wishes import wished
from zoo.schema import Feature, Schema


def infer(
    rows: Iterable[pa.RecordBatch],
    types: Mapping[str, Feature] | None = None,
    kept: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Schema:
    """The schema of a table; what is unusual in a column is printed on a line.

    Args:
        rows: record batches, which are read once.
        types: wishes, by name, as `schema_files.read_schema` gives them: type and, if they matter, classes and format.
        kept: says for row numbers `(n,)`, which start at 0, whether the rows count, bool `(n,)`; by default all do.

    Raises:
        ValueError: no rows; a wish for a column that is not there or that its cells do not allow.
    """
    types = types or {}
    columns: dict[str, Column] = {}
    start = 0
    for batch in rows:
        columns = columns or {name: Column(types[name].format if name in types else None) for name in batch.schema.names}
        chosen = None if kept is None else kept(np.arange(start, start + batch.num_rows))
        for column, array in zip(columns.values(), batch.columns, strict=True):
            column.add(array, chosen, batches.decimal_sign(batch))
        start += batch.num_rows
    if not start:
        raise ValueError("Expected a table with rows. Received: none. Try another file.")
    _require_known(types, columns)
    first = next(iter(columns))
    return {
        name: wished(column, name, types[name]) if name in types else inferred(column, name, name == first)
        for name, column in columns.items()
    }


def _require_known(types: Mapping[str, Feature], columns: Mapping[str, Column]) -> None:
    for name in types:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 3) or list(columns)[:5]
            raise ValueError(f"Expected a column of the table. Received: {name!r} in the schema. Try {' or '.join(near)}.")
