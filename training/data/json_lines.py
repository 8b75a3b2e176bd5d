"""JSON lines: one object in each line, read as texts."""

import io
import json
from collections.abc import Iterator

import orjson
import pyarrow as pa

from training.data.csv_files import Decoded, Opener

HEAD_LINES = 10_000  # of which the names are taken
ROWS = 2**15  # in a batch


def names(opener: Opener, name: str) -> tuple[str, ...]:
    """The names of the first objects, in the order in which they appear.

    Raises:
        ValueError: no objects, or a line that is none.
    """
    found = {}
    for line, row in _objects(opener, name):
        found |= dict.fromkeys(row)
        if line >= HEAD_LINES:
            break
    if not found:
        raise ValueError(f"Expected an object in each line. Received: nothing in {name}. Try a file with rows.")
    return tuple(found)


def batches(opener: Opener, found: tuple[str, ...], name: str) -> Iterator[pa.RecordBatch]:
    """The rows as record batches of texts; a name that is not in a line is a missing cell.

    Raises:
        ValueError: a line that is no object, or has a name that the first lines do not have.
    """
    known, rows = set(found), []
    for line, row in _objects(opener, name):
        if not row.keys() <= known:
            raise ValueError(
                f"Expected the names of the first {HEAD_LINES:,} lines. Received: {next(iter(row.keys() - known))!r} in line "
                f"{line} of {name}. Try an object with every name as the first line."
            )
        rows.append(row)
        if len(rows) == ROWS:
            yield _batch(rows, found)
            rows = []
    if rows:
        yield _batch(rows, found)


def _batch(rows: list[dict], found: tuple[str, ...]) -> pa.RecordBatch:
    columns = [pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in found]
    return pa.RecordBatch.from_arrays(columns, names=list(found))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)


def objects(opener: Opener, name: str) -> Iterator[dict]:
    """The objects of the lines, as they are."""
    for _, row in _objects(opener, name):
        yield row


def _objects(opener: Opener, name: str) -> Iterator[tuple[int, dict]]:
    """The objects with the numbers of their lines; empty lines are skipped."""
    with io.BufferedReader(Decoded(opener()), 2**20) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = _loaded(line)
            except ValueError as error:
                raise _error(f"line {number} of {name}, {str(error)[:80]}") from None
            if not isinstance(row, dict):
                raise _error(f"{type(row).__name__} in line {number} of {name}")
            yield number, row


def _loaded(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line)  # takes NaN too, which pandas and Python write


def _error(received: str) -> ValueError:
    return ValueError(
        f"Expected JSON lines, an object in each line. Received: {received}. Try "
        "pandas.read_json(PATH).to_json('data.jsonl', orient='records', lines=True), if it is a list of objects."
    )
