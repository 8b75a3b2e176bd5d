"""What tells data from others, by which workers see that they have opened the same."""

import json
import zlib

import numpy as np

from training.data.splits import Data, Split
from zoo.schema import described

DIGITS = 6  # of what is known of columns: sums differ in their last digits from processor to processor


def fingerprint(data: Data) -> dict[str, int | str]:
    """For each split the number of its rows, and a checksum of their values; of a stream, that of its first rows. The schema,
    which is of all training rows, has a checksum too."""
    known = json.dumps(_rounded(described(data.schema)), default=str)
    found: dict[str, int | str] = {"checksum of the schema": f"{zlib.crc32(known.encode()):08x}"}
    for name, split in data.splits.items():
        found |= {f"{name} rows": split.size, f"checksum of {name} rows": f"{_checksum(split):08x}"}
    return found


def _checksum(split: Split) -> int:
    columns = next(split.batches()) if split.arrays is None else split.arrays
    total = 0
    for name in sorted(columns.keys() - {"id"}):  # ids are no values
        total = zlib.crc32(np.ascontiguousarray(columns[name]), total)
    return total


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
