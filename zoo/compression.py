"""Compression of data with a model, and back (see docs/compression.md)."""

import concurrent.futures
import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from zoo import presets
from zoo import rows as rows_
from zoo.autoencoder import Autoencoder
from zoo.coding import container, levels
from zoo.coding.bits_back import BitsBack
from zoo.coding.container import Container
from zoo.coding.entries import Entries
from zoo.coding.fingerprint import fingerprint
from zoo.coding.mode import Mode
from zoo.coding.pairs import Pairs
from zoo.coding.rounded import Rounded, require_entropy
from zoo.lossless import require_lossless
from zoo.model import Model
from zoo.rows import Raw
from zoo.tables import TableAutoencoder
from zoo.transformer import Transformer

MODES: dict[str, type[Mode]] = {mode.name: mode for mode in (BitsBack, Rounded, Entries, Pairs)}
SHOWN = 12  # digits of a fingerprint in an error

Progress = Callable[[int, int], None]  # rows that are done, and all rows


class Salvaged(NamedTuple):
    """The rows of undamaged chunks, as `decompress` gives them, their numbers `(m,)`, and what is wrong with the others, by
    number of the chunk."""

    x: np.ndarray | Raw
    rows: np.ndarray
    damaged: dict[int, str]


def compress(
    model: Autoencoder | Transformer,
    x: ArrayLike,
    name: str | None = None,
    portable: bool = True,
    lossy: bool = False,
    particles: int = 1,
    progress: Progress | None = None,
) -> bytes:
    """A file that holds rows x `(n, *shape)`, those of a table, or pairs of texts `{"source": (n,), "target": (n,)}`, from
    which `decompress` makes the same rows again, to the bit.

    Args:
        model: the more probable it finds the rows, the shorter the file.
        name: of the model, which is written into the file; that of the preset, if it is one.
        portable: whether every machine can read the file. Otherwise those can that compute as this one does; then
            any layers will do. Pairs of texts can only be compressed so.
        lossy: whether the file holds the rounded codes of the rows alone, of which `decompress` makes what the model decodes of
            them. With a model that has histograms of these (`training.fit_entropy`) every machine can read the file, and finds
            the same rows but for the rounding errors of its decoder. Without, vector-quantized codes are coded by the prior.
        particles: without loss, how many codes are tried for each row. More make the file shorter, down to −log p(x) where one
            reaches its bound, and take as many times as long, both ways.
        progress: is told how many rows are done.

    Raises:
        ValueError: a model that cannot compress without loss, or rows that would not come back as they are; with `lossy`, a
            model whose rounded codes have no histograms (`training.fit_entropy`).
    """
    mode, x = _prepared(model, x, portable, lossy, particles)
    integers = mode.integers(x)
    parts = [integers[start : start + mode.chunk] for start in range(0, len(integers), mode.chunk)]
    chunks, done = [], 0
    for part, payload in zip(parts, _each(mode, mode.encode, parts), strict=True):
        chunks.append(container.Chunk(payload, len(part), container.crc_of(part)))
        done += len(part)
        if progress:
            progress(done, len(integers))
    return container.written(_head(mode, name or model.name, integers.shape[1:]), chunks)


def decompress(
    data: bytes, model: Model | None = None, rows: range | slice | None = None, progress: Progress | None = None
) -> np.ndarray | Raw:
    """The rows `(n, *shape)` of a file, the columns `(n,)` of a table by name, as `zoo.rows.raw` has them, or the `source` and
    the `target` `(n,)` of pairs of texts.

    Args:
        data: what `compress` gave.
        model: with which it was written; None for the preset that the file names.
        rows: only these, of which the chunks that hold them are decoded.
        progress: is told how many rows are done.

    Raises:
        ValueError: a damaged file, with the chunk that is; another model, another version; a machine that does not compute as
            the one that wrote the file. There is no case in which wrong rows are returned.
    """
    file = container.read(data)
    file.require_end()
    first, last = _bounds(file, rows)
    numbers = [number for number, each in enumerate(file.entries) if each.first < last and first < each.first + each.rows]
    for number in numbers:
        file.payload(number)  # before a model is looked for
    mode, parts, done = _opened(file, model), [], 0
    total = sum(file.entries[number].rows for number in numbers)
    for part in _each(mode, lambda number: _decoded(file, mode, number), numbers):
        parts.append(part)
        done += len(part)
        if progress:
            progress(done, total)
    integers = np.concatenate([_none(file), *parts])
    offset = file.entries[numbers[0]].first if numbers else 0
    return mode.values(integers[first - offset : last - offset])


def salvage(data: bytes, model: Model | None = None) -> Salvaged:
    """What can be had of a damaged file: the rows of its undamaged chunks.

    Raises:
        ValueError: as `decompress`, but for damaged chunks; a damaged head, without which nothing can be read.
    """
    file = container.read(data)
    mode = _opened(file, model)
    parts, numbers, damaged = [_none(file)], [np.zeros(0, "int64")], {}
    for number, entry in enumerate(file.entries):
        try:
            parts.append(_decoded(file, mode, number))
            numbers.append(np.arange(entry.first, entry.first + entry.rows))
        except ValueError as error:
            damaged[number] = str(error)
    return Salvaged(mode.values(np.concatenate(parts)), np.concatenate(numbers), damaged)


def inspect(data: bytes) -> dict[str, object]:
    """What a file says of itself: its mode, model, shape, rows and settings, and for each chunk its `first` row, how many
    `rows` it holds, its `bytes`, and whether they are `whole`.

    Raises:
        ValueError: no such file, or one whose head is damaged.
    """
    file = container.read(data)
    chunks = [
        {"first": entry.first, "rows": entry.rows, "bytes": entry.length, "whole": _is_whole(file, number)}
        for number, entry in enumerate(file.entries)
    ]
    return {**file.head, "rows": file.rows, "bytes": len(data), "chunks": chunks}


def _prepared(model: Model, x: Any, portable: bool, lossy: bool, particles: int) -> tuple[Mode, np.ndarray | Raw]:
    """The mode in which rows are coded, and the rows as it takes them."""
    if isinstance(model, Transformer):
        return Pairs.prepared(model, x, portable, lossy=lossy, particles=particles), x
    if lossy:
        kind = _lossy(model)
        x = levels.rows(x, model.shape)
        return kind.prepared(model, x), x
    require_lossless(model)
    x = _raw(model, x) if isinstance(model, TableAutoencoder) else levels.rows(x, model.shape)
    return BitsBack.prepared(model, x, portable=portable, particles=particles), x


def _raw(model: TableAutoencoder, rows: Any) -> Raw:
    """The raw columns of rows, of which the model has to have all: what it does not have would be lost."""
    more = [name for name in rows_.columns_of(rows) if name not in model.columns]
    if more:
        raise ValueError(
            f"Expected the columns that the model has alone: {', '.join(model.columns)}. Received: {', '.join(map(str, more))} "
            "too. Try leaving them out, and keeping them elsewhere."
        )
    return rows_.raw(model.schema, rows)


def _none(file: Container) -> np.ndarray:
    """The integers of no rows."""
    return np.zeros((0, *file.head["coded"]), "int64")


def _is_whole(file: Container, number: int) -> bool:
    try:
        file.payload(number)
    except ValueError:
        return False
    return True


def _lossy(model: Autoencoder) -> type[Mode]:
    """The mode in which a model codes with loss."""
    if isinstance(model, Autoencoder) and model.entropy is None and model.bottleneck.discrete:
        return Entries
    require_entropy(model)
    return Rounded


def _head(mode: Mode, name: str, coded: tuple[int, ...]) -> dict:
    return {
        "mode": mode.name,
        "model": name,
        "fingerprint": fingerprint(mode.model, mode.parts),
        "shape": list(getattr(mode.model, "shape", ())),
        "coded": list(coded),
        "digest": _digest(mode),
        "made": _machine(),
        "settings": mode.settings,
    }


def _digest(mode: Mode) -> str:
    return hashlib.sha256(mode.probe()).hexdigest()[:16]


def _machine() -> str:
    return f"keras {keras.__version__} on {keras.backend.backend()}, numpy {np.__version__}, {platform.machine()}"


def _opened(file: Container, model: Model | None) -> Mode:
    """The mode that reads a file, if it reads it here as it was written."""
    head = file.head
    if head["mode"] not in MODES:
        raise ValueError(
            f"Expected a mode of {', '.join(MODES)}. Received: {head['mode']}. Try a newer version of this package."
        )
    if model is None:
        model = _preset(head)
    elif (found := fingerprint(model, MODES[head["mode"]].parts)) != head["fingerprint"]:
        raise ValueError(
            f"Expected the model that the file was written with, {_named(head)}. Received: another, of fingerprint "
            f"{found[:SHOWN]}. Try that model, with the weights that it had."
        )
    mode = MODES[head["mode"]](model, head["settings"])
    if _digest(mode) != head["digest"]:
        other = ", or a file that is written with portable=True" if isinstance(mode, BitsBack) else ""
        raise ValueError(
            f"Expected a machine that computes to the bit as the one that wrote the file, with {head['made']}. Received: "
            f"{_machine()}, on which a probe comes out otherwise. Try there{other}."
        )
    return mode


def preset_of(data: bytes) -> Model:
    """The preset that a file was written with.

    Raises:
        ValueError: a damaged head, or a file of another model.
    """
    return _preset(container.read(data).head)


def _preset(head: dict) -> Model:
    parts = MODES[head["mode"]].parts
    for name in sorted(presets.list(), key=lambda name: name != head["model"]):
        model = presets.load(name)
        if fingerprint(model, parts) == head["fingerprint"]:
            return model
    raise ValueError(
        f"Expected a file of one of the presets, zoo.list(), or its model. Received: one of {_named(head)}. Try "
        "decompress(data, model)."
    )


def _named(head: dict) -> str:
    return f"{head['model']}, of fingerprint {head['fingerprint'][:SHOWN]}"


def _bounds(file: Container, rows: range | slice | None) -> tuple[int, int]:
    """The first row and the one after the last."""
    if rows is None:
        return 0, file.rows
    start, stop, step = (rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows.indices(file.rows)
    if step != 1 or not 0 <= start <= stop <= file.rows:
        raise ValueError(
            f"Expected successive rows from 0 to {file.rows:,}. Received: {start}:{stop}:{step}. Try "
            f"0:{min(file.rows, Mode.chunk)}."
        )
    return start, stop


def _decoded(file: Container, mode: Mode, number: int) -> np.ndarray:
    """The integers of a chunk; ValueError unless they are those that were written."""
    entry, payload = file.entries[number], file.payload(number)
    try:
        integers = mode.decode(payload, entry.rows)
    except Exception as error:  # of any kind: a chunk may hold anything
        raise container.damaged(f"chunk {number}, which cannot be decoded ({error})") from error
    if container.crc_of(integers) != entry.decoded_crc:
        raise container.damaged(f"chunk {number}, which decodes to other numbers than were written")
    return integers


def _each(mode: Mode, function: Callable, values: Iterable) -> Iterator:
    """What a function gives for each value, in their order; several at once, where the mode allows that."""
    if not mode.parallel:
        yield from map(function, values)
        return
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, threadpool_limits(1, "blas"):  # one thread for each
        yield from pool.map(function, values)
