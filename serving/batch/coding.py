"""`python -m serving batch compress` and `decompress`: each file to one of its own, by any number of workers."""

import functools
import json
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from serving import compression as single
from serving.batch import runners, supervised
from serving.batch.blocks import FILE, REASON
from serving.batch.errors import clearly
from serving.batch.pipeline import NAMESPACE
from serving.batch.progress import progress
from serving.batch.sources import expanded
from serving.command import outside
from training.run import trained
from zoo import compression, files

COMPRESS, DECOMPRESS = "compress", "decompress"  # verbs
ENDING = ".laz"
BAD = "bad"

Pair = tuple[str, str]  # the path of a file, and that of what is made of it


def code(
    verb: str,
    model: str,
    inputs: Sequence[str],
    output: str,
    portable: bool = True,
    lossy: bool = False,
    particles: int = 1,
    overwrite: bool = False,
    arguments: Sequence[str] = (),
) -> str:
    """Compresses or decompresses each of many files into a folder, with Beam.

    A file whose output is there already, and no older, is passed over. One that cannot be coded is named with the reason in
    `VERB.bad.jsonl` in that folder.

    Args:
        verb: COMPRESS or DECOMPRESS.
        model: a preset's name, or the folder of a preset, of a run or of an export.
        inputs: files, folders of pictures, or patterns of these with *.
        output: the folder; where the inputs are of several folders, it has these too.
        portable, lossy, particles: as `zoo.compression.compress`.
        overwrite: passes none over.
        arguments: options of Beam.

    Returns:
        What was written, in lines.

    Raises:
        ValueError: no such model or files; a worker that died.
    """
    began = time.perf_counter()
    remote = not runners.is_direct(runners.options_of(arguments))
    trained(model)  # which says at once that there is none
    model = os.path.abspath(model) if remote and os.path.exists(model) else model
    folder = pathlib.Path(os.path.abspath(output) if remote else output)
    pairs = _pairs(expanded(inputs, absolute=remote), folder, verb)
    left = [pair for pair in pairs if overwrite or not _is_done(pair)]
    bad = folder / f"{verb}.{BAD}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    files.write(bad, lambda new: new.write_text(""))  # which says at once that nothing can be written there
    build = functools.partial(asked, coder=Code(verb, model, portable, lossy, particles), pairs=left, bad=str(bad))
    with progress(lambda: sum(map(_is_done, left)), len(left), "file"):
        try:
            counted = supervised.run(arguments, build) if left else {}
        except supervised.WorkerDied as error:
            raise ValueError(
                f"Expected workers that live. Received: {error}. Try the same command again: it passes over what is done."
            ) from None
    refused = bad.read_text(encoding="utf-8").count("\n")
    if not refused:
        bad.unlink()
    lines = [
        f"Wrote {counted.get('files', 0):,} files to {folder}, {counted.get('read', 0):,} bytes to "
        f"{counted.get('written', 0):,}, in {time.perf_counter() - began:.1f} s"
    ]
    if len(left) < len(pairs):
        lines.append(f"{len(pairs) - len(left):,} were there already. Try --overwrite to write them anew.")
    if refused:
        lines.append(f"{refused:,} files were refused: {bad} has the reasons.")
    return "\n".join(lines)


def _pairs(names: Sequence[str], folder: pathlib.Path, verb: str) -> list[Pair]:
    """Files with their outputs, below the folder as they are below the one that has them all."""
    root = os.path.commonpath([os.path.dirname(os.path.abspath(name)) for name in names])
    pairs = [(name, str(folder / _renamed(os.path.relpath(os.path.abspath(name), root), verb))) for name in names]
    outputs = [output for _, output in pairs]
    twice = next((output for place, output in enumerate(outputs) if output in outputs[:place]), None)
    if twice:
        raise ValueError(f"Expected an output of its own for each file. Received: {twice} twice. Try two commands.")
    return pairs


def _renamed(name: str, verb: str) -> str:
    if verb == COMPRESS:
        return name + ENDING
    base = name.removesuffix(ENDING)
    return base.removesuffix(".npz") + ".npy" if base.endswith(".npz") else base if base != name else name + ".npy"


def _is_done(pair: Pair) -> bool:
    source, output = map(pathlib.Path, pair)
    return output.exists() and source.exists() and output.stat().st_mtime >= source.stat().st_mtime


def asked(begin: beam.Pipeline, coder: "Code", pairs: list[Pair], bad: str) -> None:
    """Adds the whole of a job to a pipeline."""
    coded = begin | "Files" >> beam.Create(pairs) | "Spread" >> beam.Reshuffle() | "Code" >> beam.ParDo(coder)
    _ = coded | "Gather" >> beam.GroupByKey() | "Write bad" >> beam.ParDo(_write_bad, bad)


class Code(beam.DoFn):
    """Codes files, by the settings of `zoo.compression.compress` in their order; those that cannot be are handed on, with the
    reason. The threads of a worker share a model."""

    def __init__(self, verb: str, model: str, *settings: bool | int):
        self._verb, self._model, self._settings = verb, model, settings
        self._shared = shared.Shared()

    def setup(self) -> None:
        with clearly():
            self._coder = self._shared.acquire(lambda: trained(self._model))

    def process(self, pair: Pair) -> Iterator[tuple[str, Pair]]:
        source, output = pair
        try:
            read, written = (self._compress if self._verb == COMPRESS else self._decompress)(source, output)
        except ValueError as error:  # of this file, and not of the disk
            if outside(error) is None:
                raise
            yield BAD, (source, str(error))
            return
        except OSError:
            with clearly():
                raise
        for name, count in (("files", 1), ("read", read), ("written", written)):
            Metrics.counter(NAMESPACE, name).inc(count)

    def _compress(self, source: str, output: str) -> tuple[int, int]:
        x = single.read([source], self._coder)
        data = compression.compress(self._coder, x, single.name_of(self._model), *self._settings)
        files.write(output, lambda new: new.write_bytes(data))
        return sum(column.nbytes for column in (x.values() if isinstance(x, dict) else [x])), len(data)

    def _decompress(self, source: str, output: str) -> tuple[int, int]:
        data = pathlib.Path(source).read_bytes()
        x = compression.decompress(data, self._coder)
        columns = [*x.values()] if isinstance(x, dict) else [x]
        single.write(x, np.arange(len(columns[0])), output, self._coder)
        return len(data), sum(column.nbytes for column in columns)


def _write_bad(gathered: tuple[str, Iterable[Pair]], path: str) -> Iterable:
    lines = [json.dumps({FILE: file, REASON: reason}, ensure_ascii=False) + "\n" for file, reason in sorted(gathered[1])]
    with clearly():
        files.write(path, lambda new: new.write_text("".join(lines), encoding="utf-8"))
    return ()
