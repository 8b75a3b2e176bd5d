"""Batch jobs of more and more rows: the most memory of their processes, and whether each row is there once. The last job is run
again, and one of its workers killed when half is done.

    python benchmarks/batch_sizes.py [MODEL] [--verb=encode] [--counts=100000,1000000,10000000] [--workers=2]

The rows are random 8-bit numbers in one `.npy` file, the same 10,000 again and again. The answers are shards of Parquet, which
are all read and compared with what the model says of the 10,000. Memory is what a process has had in RAM at most, as the
kernel counts it; TensorFlow alone takes half a gigabyte. 10,000,000 rows for a model of MNIST take 10 GB of the folder for
temporary files. Linux only.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet

DIFFERENT, PAUSE = 10_000, 0.5  # rows, and seconds between looks at the processes
KINDS = {"spawn_main": "runner", "sdk_worker_main": "worker"}  # what is in their commands
SHARD = 16_384  # rows
ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="dense_mnist_k30", help="a preset, a run or an export of arrays")
    parser.add_argument("--verb", default="encode", help="one with a single answer, an array")
    parser.add_argument("--counts", default="100000,1000000,10000000")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    from serving.batch import models
    from serving.batch.handler import Answering

    counts = [(int(count), False) for count in options.counts.split(",")]
    with models.version(options.model) as path, tempfile.TemporaryDirectory() as folder:
        (spec,) = models.signatures(path)[options.verb][0].values()
        x = np.random.default_rng(0).integers(0, 256, (DIFFERENT, *spec.shape[1:]), "uint8")
        ask = Answering(path, options.verb)
        (expected,) = ask({ask.inputs[0]: (x / 255).astype("float32")}).values()
        print(f"{options.model}, {options.verb}, rows {x.shape[1:]}, {options.workers} workers, {os.cpu_count()} cores")
        print("| rows | s | command | runner | a worker | rows that are right, once |\n" + "|---" * 6 + "|", flush=True)
        for count, killed in [*counts, (counts[-1][0], True)]:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                _write(pathlib.Path(own, "x.npy"), x, count)
                seconds, most = _job(path, options, pathlib.Path(own), count if killed else None)
                memory = " | ".join(f"{most[kind]:.2f} GiB" for kind in ("command", "runner", "worker"))
                said = f"{count:,}{', a worker killed' if killed else ''}"
                print(f"| {said} | {seconds:.0f} | {memory} | {_right(pathlib.Path(own), count, expected):,} |", flush=True)


def _write(path: pathlib.Path, x: np.ndarray, count: int) -> None:
    """Writes an array whose rows need not fit into memory."""
    header = {"descr": x.dtype.str, "fortran_order": False, "shape": (count, *x.shape[1:])}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, len(x)):
            file.write(x[: count - start].tobytes())


def _job(path: pathlib.Path, options: argparse.Namespace, folder: pathlib.Path, kill: int | None) -> tuple[float, dict]:
    """Seconds of a job, and the most memory of a process of each kind, in GiB. A worker is killed when half of `kill` rows are
    done."""
    command = [sys.executable, "-m", "serving", "batch", options.verb, str(path), f"--input={folder}/x.npy"]
    command += [f"--output={folder}/y.parquet", f"--rows_per_shard={SHARD}", "--direct_running_mode=multi_processing"]
    began, most = time.perf_counter(), dict.fromkeys(("command", *KINDS.values()), 0.0)
    job = subprocess.Popen([*command, f"--direct_num_workers={options.workers}"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while job.poll() is None:
            there = [*_processes(job.pid)]
            for _, kind, memory in there:
                most[kind] = max(most[kind], memory)
            workers = [(memory, process) for process, kind, memory in there if kind == "worker"]
            if kill and workers and len(_shards(folder)) * SHARD > kill / 2:
                os.kill(max(workers)[1], signal.SIGKILL)  # and not the shell that began one
                kill = None
            time.sleep(PAUSE)
    finally:
        job.kill()
    if job.returncode or kill:
        raise SystemExit(f"Expected a job that ends well. Received: exit code {job.returncode}. Try more rows.")
    return time.perf_counter() - began, most


def _processes(process: int, kind: str = "command") -> Iterator[tuple[int, str, float]]:
    """A process and those below it, with what each is, and the most memory that it has had, in GiB."""
    with contextlib.suppress(OSError, LookupError):  # it has ended
        folder = pathlib.Path(f"/proc/{process}")
        yield process, kind, int((folder / "status").read_text().split("VmHWM:")[1].split()[0]) / 2**20
        for child in " ".join(thread.read_text() for thread in folder.glob("task/*/children")).split():
            command = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().decode()
            yield from _processes(int(child), next((KINDS[part] for part in KINDS if part in command), kind))


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("y-*.parquet"))


def _right(folder: pathlib.Path, count: int, expected: np.ndarray) -> int:
    """How many of the rows are in the shards once, with the right answers and no others."""
    times = np.zeros(count, int)
    for shard in _shards(folder):
        table = pyarrow.parquet.read_table(shard).drop_columns("file")
        rows, *answers = (column.to_numpy() for column in table.columns)
        good = np.isclose(np.stack(answers, axis=1), expected[rows % len(expected)], atol=1e-4).all(axis=1)
        np.add.at(times, rows, np.where(good, 1, 2))
    return int((times == 1).sum())


if __name__ == "__main__":
    main()
