"""`python -m serving batch VERB MODEL`: what is asked for is looked at before any worker begins."""

import functools
import math
import os
import pathlib
import sys
import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from serving.batch import models, runners, supervised
from serving.batch.feed import Feed
from serving.batch.job import Job, blocks, shard_rows
from serving.batch.pipeline import asked
from serving.batch.progress import progress
from serving.batch.record import Record, described
from serving.batch.sinks import ENDINGS, Sink, require_writable
from serving.batch.sources import Range, expanded, opened, require_free
from serving.models.schemas import columns, schema
from serving.models.servable import TensorSpec
from zoo.schema import restored

FILES = "_bytes"  # what the signature for picture files is called after a verb
SHOWN = 3  # names in an error


def batch(
    verb: str,
    model: str | os.PathLike,
    inputs: Sequence[str],
    output: str,
    format: str | None = None,
    split: str = "all",
    keep: Sequence[str] = (),
    constants: Mapping[str, str] | None = None,
    rows_per_shard: int | None = None,
    overwrite: bool = False,
    beam: Sequence[str] = (),
) -> str:
    """Writes what a verb of a model answers to the rows of any number of files, with Beam.

    Args:
        verb: a signature of the model.
        model: path of an exported model, or of a run; or the name of a preset.
        inputs: files, folders of pictures, patterns of these with *, or data sets of TFDS, `tfds:NAME`.
        output: path of the shards, `codes.parquet` of `codes-00000-00000.parquet` and so on; or a folder, with a `format`.
        format: the ending, where the output has none.
        split: of data sets of TFDS.
        keep: columns of the data that the output has too.
        constants: inputs that are the same in every row, as text.
        rows_per_shard: at most; as many as take about 64 MiB, and 16,384 at most, unless given.
        overwrite: removes the output of an earlier job first.
        beam: options of Beam, such as `--runner=FlinkRunner`.

    Returns:
        What was written, in lines.

    Raises:
        ValueError: no such model, verb, data or options; data that do not fit the model; an output that is there already.
    """
    options, began = runners.options_of(beam), time.perf_counter()
    remote = not runners.is_direct(options)
    names, (base, ending) = expanded(inputs, absolute=remote), _output(output, format, verb)
    base = os.path.abspath(base) if remote else base
    with models.version(model, remote) as path:
        verb, made = _job(verb, path, names, split, keep, constants or {}, base, ending, rows_per_shard)
        said = {
            "verb": verb,
            "model": models.identity(model),
            "inputs": described(names),
            "split": split,
            "keep": [*keep],
            "with": {**(constants or {})},
            "format": ending,
            "rows_per_shard": made.shard,
        }
        _try(made)
        parts = made.parts()
        record = Record(base, ending, said)
        if not record.begin(overwrite):
            return f"{record.path}: this job is complete, and nothing was written. Try --overwrite to write it anew."
        there = record.done()
        counted = _run(beam, made, parts, record)
    if not record.done():
        raise ValueError(f"Expected at least one row. Received: none in {', '.join(names[:SHOWN])}. Try other files.")
    record.end()
    return _summary(record, base, ending, counted, len(there), time.perf_counter() - began)


def _run(arguments: Sequence[str], job: Job, parts: list[tuple[int, Range]], record: Record) -> dict[str, int]:
    """Runs a job until all of its shards are there; returns Beam's counters, none if a worker died on the way.

    Raises:
        ValueError: workers die although nothing has been written since the last one did; a runner that ends too early.
    """
    died = None
    total = None if any(rows[1] is None for _, rows in parts) else sum(stop - start for _, (start, stop) in parts)
    with progress(lambda: min(len(record.done()) * job.shard, total or math.inf), total):
        while True:
            there = record.done()
            left = _left(parts, there, job.shard)
            build = functools.partial(asked, job=job, parts=left, done=there)
            try:
                counted = supervised.run(arguments, build) if left else {}
                break
            except supervised.WorkerDied as error:
                if died == there:
                    raise ValueError(
                        f"Expected workers that live. Received: {error}, again and again. Try fewer of them, or a smaller "
                        "--rows_per_shard, if memory was short."
                    ) from None
                died = there
                print(f"{error}; what is left is begun again", file=sys.stderr, flush=True)
    missing = [rows for _, rows in _left(parts, record.done(), job.shard) if rows[1] is not None]
    if missing:
        raise ValueError(
            f"Expected every shard to be written. Received: {len(missing):,} of {len(parts):,} that are not there. "
            "Try an output that all workers see under the same path."
        )
    return counted if died is None else {}


def _left(parts: list[tuple[int, Range]], done: Collection[tuple[int, int]], size: int) -> list[tuple[int, Range]]:
    """The parts of which something may be left to do."""
    return [(number, rows) for number, rows in parts if rows[1] is None or (number, rows[0] // size) not in done]


def _output(output: str, format: str | None, verb: str) -> tuple[str, str]:
    """The path of the shards without their ending, and the ending."""
    given = f".{format.removeprefix('.')}" if format else None
    found = next((each for each in sorted(ENDINGS, key=len, reverse=True) if output.lower().endswith(each)), None)
    ending = given or found
    if ending not in ENDINGS:
        raise ValueError(
            f"Expected an output that ends in {', '.join(ENDINGS)}, or one of these as --format. Received: {given or output}. "
            f"Try {os.path.splitext(output)[0]}.parquet; .npz for arrays of any shape."
        )
    if found:
        return output[: -len(found)], ending
    folder = output.endswith(os.sep) or os.path.isdir(output)
    return os.path.join(output, verb) if folder else output, ending


def _job(
    verb: str,
    path: pathlib.Path,
    names: Sequence[str],
    split: str,
    keep: Sequence[str],
    constants: Mapping[str, str],
    base: str,
    ending: str,
    rows: int | None,
) -> tuple[str, Job]:
    """The signature and the job."""
    known = models.signatures(path)
    pictures = all(os.path.isdir(name) for name in names)
    verb = f"{verb}{FILES}" if pictures and f"{verb}{FILES}" in known else verb
    if verb not in known:
        raise ValueError(f"Expected a verb of the model: {', '.join(sorted(known))}. Received: {verb}. Try one of these.")
    inputs, outputs = known[verb]
    require_free(keep, outputs)
    every = restored({name: each for name, each in schema(path).items() if name in columns(path)})
    given = {name: _constant(name, text, inputs) for name, text in constants.items()}
    feed = Feed(inputs, {name: every[name] for name in every if name in inputs}, given, tuple(keep))
    sink = Sink(base, ending, outputs, {name: every[name] for name in every if name in outputs})
    require_writable(sink)
    size = rows or shard_rows(feed, sink)
    if size < 1:
        raise ValueError(f"Expected at least one row in a shard. Received: {size}. Try leaving it out.")
    return verb, Job(str(path), verb, tuple(names), split, feed, sink, size)


def _constant(name: str, text: str, inputs: Mapping[str, TensorSpec]) -> float | int | str:
    spec = inputs.get(name)
    if spec is None or len(spec.shape) != 1:
        single = ", ".join(each for each, known in inputs.items() if len(known.shape) == 1) or "none of them"
        raise ValueError(f"Expected an input with one value a row: {single}. Received: --with {name}. Try one of these.")
    if spec.dtype.kind == "O":
        return text
    try:
        return np.array(text).astype(spec.dtype).item()
    except (ValueError, OverflowError):
        raise ValueError(f"Expected {spec.dtype} as {name}. Received: {text}. Try --with {name}=1.") from None


def _try(job: Job) -> None:
    """Reads the first rows of the first source that has some, so that what fits none of them is said at once."""
    for number, name in enumerate(job.sources):
        source = opened(name, job.split)
        for rows in source.ranges(job.block)[:1]:
            if any(True for _ in blocks(job, number, rows, (), source)):
                return


def _summary(record: Record, base: str, ending: str, counted: Mapping[str, int], before: int, seconds: float) -> str:
    """What was written, in lines; how many rows, if no worker died."""
    shards, rows, bad = f"{len(record.done()) - before:,} shards", counted.get("rows", 0), counted.get("bad", 0)
    said = f"{rows:,} rows in {shards}, {(rows + bad) / seconds:,.0f} rows/s" if counted else shards
    lines = [f"Wrote {base}-*{ending}: {said}, in {seconds:.1f} s"]
    if before:
        lines.append(f"{before:,} shards of the same job were there already")
    if record.bad():
        number = f"{bad:,} bad rows" if counted else "bad rows"
        lines.append(f"{number}, with what is wrong with them: {record.bad()[0]}" + " …" * (len(record.bad()) > 1))
    return "\n".join(lines)
