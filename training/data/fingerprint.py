"""What tells data from others, by which workers see that they have opened the same."""

import itertools
import json
import zlib

import numpy as np

from training.data.splits import Data, Split
from zoo.schema import described

KEPT = np.uint32(0xFFFFF000)  # of the bits of a float32: sums, by which columns are scaled, differ between processors


def fingerprint(data: Data) -> dict[str, int | str]:
    """The number of rows of each split and a checksum of their values, in memory of all, of a stream of the first; and a
    checksum of the schema, which tells of all training rows. Floats count with four digits, ids do not count."""
    known = json.dumps(_coarse(described(data.schema)), default=str)
    found: dict[str, int | str] = {"checksum of the schema": f"{zlib.crc32(known.encode()):08x}"}
    for name, split in data.splits.items():
        found |= {f"{name} rows": split.size, f"checksum of {name} rows": f"{_checksum(split):08x}"}
    return found


def _checksum(split: Split) -> int:
    total = 0
    for batch in itertools.islice(split.batches(), 1 if split.arrays is None else None):
        for name in sorted(batch.keys() - {"id"}):
            column = np.ascontiguousarray(batch[name])
            total = zlib.crc32(column.view("uint32") & KEPT if column.dtype == "float32" else column, total)
    return total


def _coarse(value: object) -> object:
    """JSON whose floats are whole numbers, the same for all that hardly differ."""
    if isinstance(value, dict):
        return {key: _coarse(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_coarse(each) for each in value]
    if not isinstance(value, float):
        return value
    with np.errstate(over="ignore"):
        return int(np.float32(value).view("uint32") & KEPT)
