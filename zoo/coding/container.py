"""The file: a head, an index of chunks, and the chunks, each of which can be read without the others.

| bytes | hold |
|---|---|
| 8 | `MAGIC` |
| 2, 4, 4 | version of the format, length of the head, length of the index |
| … | the head: JSON, deflated |
| 16 for each chunk | its length in bytes, its rows, the CRC-32 of its bytes, the CRC-32 of the integers that it decodes to |
| 4 | CRC-32 of all before |
| … | the chunks, in the order of the index |

Numbers are little-endian. Nothing follows the last chunk.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAGIC = b"\x89LAZ\r\n\x1a\n"  # as PNG's, it shows what a transfer as text would have changed
VERSION = 1
_LENGTHS, _ENTRY, _CRC = struct.Struct("<HII"), struct.Struct("<IIII"), struct.Struct("<I")
MOST_HEAD = 2**20  # bytes of a head, deflated or not


class Chunk(NamedTuple):
    """Bytes, how many rows they hold, and the CRC-32 of the integers that they decode to (`crc_of`)."""

    payload: bytes
    rows: int
    crc: int


class Entry(NamedTuple):
    """Of a chunk: where it begins in the file, its length in bytes, its rows, the number of the first one, and both CRC-32."""

    offset: int
    length: int
    rows: int
    first: int
    crc: int
    decoded_crc: int


class Container(NamedTuple):
    """A file whose head is whole: what the head says, the index, and all bytes."""

    head: dict
    entries: tuple[Entry, ...]
    data: bytes

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.entries)

    def payload(self, number: int) -> bytes:
        """The bytes of a chunk.

        Raises:
            ValueError: they are cut short or damaged.
        """
        entry = self.entries[number]
        payload = self.data[entry.offset : entry.offset + entry.length]
        if len(payload) < entry.length:
            raise damaged(f"a file that ends within chunk {number}")
        if zlib.crc32(payload) != entry.crc:
            raise damaged(f"chunk {number}, which is damaged")
        return payload

    def require_end(self) -> None:
        """Raises ValueError unless the file ends where its last chunk does."""
        last = self.entries[-1] if self.entries else None
        end = last.offset + last.length if last else len(self.data)
        if len(self.data) > end:
            raise damaged(f"{len(self.data) - end:,} bytes after the last chunk")
        if len(self.data) < end:
            raise damaged(f"a file that is cut short by {end - len(self.data):,} bytes")


def written(head: dict, chunks: Sequence[Chunk]) -> bytes:
    """A file."""
    text = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), 9)
    index = b"".join(_ENTRY.pack(len(each.payload), each.rows, zlib.crc32(each.payload), each.crc) for each in chunks)
    front = MAGIC + _LENGTHS.pack(VERSION, len(text), len(index)) + text + index
    return b"".join([front, _CRC.pack(zlib.crc32(front)), *(each.payload for each in chunks)])


def read(data: bytes) -> Container:
    """The head and the index of a file.

    Raises:
        ValueError: it is no such file, of another version, or its head or index are damaged.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(
            "Expected a file that compress wrote. Received: other contents. Try its path, or decoding it as it is."
        )
    start = len(MAGIC) + _LENGTHS.size
    if len(data) < start:
        raise damaged("a file that ends within its head")
    version, length, index = _LENGTHS.unpack(data[len(MAGIC) : start])
    end = start + length + index
    if len(data) < end + _CRC.size or _CRC.unpack(data[end : end + _CRC.size])[0] != zlib.crc32(data[:end]):
        if version != VERSION:
            raise ValueError(f"Expected a file of version {VERSION}. Received: {version}. Try a newer version of this package.")
        raise damaged("a head that is damaged or cut short")
    if version != VERSION:
        raise ValueError(f"Expected a file of version {VERSION}. Received: {version}. Try a newer version of this package.")
    inflated = zlib.decompressobj().decompress(data[start : start + length], MOST_HEAD)
    entries, offset, first = [], end + _CRC.size, 0
    for size, rows, crc, decoded_crc in _ENTRY.iter_unpack(data[start + length : end]):
        entries.append(Entry(offset, size, rows, first, crc, decoded_crc))
        offset, first = offset + size, first + rows
    return Container(json.loads(inflated), tuple(entries), data)


def crc_of(integers: np.ndarray) -> int:
    """CRC-32 of integers, which must be below 2³¹."""
    return zlib.crc32(np.ascontiguousarray(integers, "<i4"))


def damaged(received: str) -> ValueError:
    return ValueError(
        f"Expected a whole file. Received: {received}. Try another copy of it, or --salvage (zoo.salvage), which reads the "
        "undamaged chunks."
    )
