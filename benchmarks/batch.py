"""Batch jobs against the same model asked in a loop: rows a second, on the same cores, in one run.

    python benchmarks/batch.py [MODEL] [--verb=encode] [--rows=200000] [--workers=2]

The loop has all data in memory, and asks about 256 rows at once. Beam's workers start, import TensorFlow and load the model
before they do anything; so two jobs are timed, one of them with a fifth of the rows, and the difference is what more rows
cost. What the whole job took is given too.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np

BATCH, TIMES = 256, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="dense_mnist_k30", help="a preset, a run or an export of arrays")
    parser.add_argument("--verb", default="encode")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
    from serving.batch import models

    with models.version(options.model) as path, tempfile.TemporaryDirectory() as folder:
        (spec,) = models.signatures(path)[options.verb][0].values()
        x = np.random.default_rng(0).random((options.rows, *spec.shape[1:])).astype("float32")
        loop = statistics.median(_loop(path, options.verb, x) for _ in range(TIMES))
        few = _job(path, options, x[: options.rows // 5], pathlib.Path(folder, "few"))
        all_ = _job(path, options, x, pathlib.Path(folder, "all"))
    more, whole = (options.rows - options.rows // 5) / (all_ - few), options.rows / all_
    print(f"{options.model}, {options.verb}, {options.rows:,} rows {spec.shape[1:]}, {os.cpu_count()} cores")
    print(f"| | rows/s | of the loop |\n|---|---|---|\n| a loop, {BATCH} rows at once | {loop:,.0f} | 100 % |")
    print(f"| {options.workers} workers, once they run | {more:,.0f} | {more / loop:.0%} |")
    print(f"| {options.workers} workers, the whole job of {all_:.0f} s | {whole:,.0f} | {whole / loop:.0%} |")


def _loop(path: pathlib.Path, verb: str, x: np.ndarray) -> float:
    """Rows a second in this process."""
    from serving.batch.handler import Answering

    ask: Callable = Answering(path, verb)
    (name,) = ask.inputs
    ask({name: x[:BATCH]})
    began = time.perf_counter()
    for start in range(0, len(x), BATCH):
        ask({name: x[start : start + BATCH]})
    return len(x) / (time.perf_counter() - began)


def _job(path: pathlib.Path, options: argparse.Namespace, x: np.ndarray, folder: pathlib.Path) -> float:
    """Seconds of a whole job."""
    from serving.batch.command import batch

    folder.mkdir()
    np.save(folder / "x.npy", x)
    workers = ["--direct_running_mode=multi_processing", f"--direct_num_workers={options.workers}"]
    began = time.perf_counter()
    batch(options.verb, path, [f"{folder}/x.npy"], f"{folder}/answers.npz", beam=workers)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
