"""What the tests share, in a temporary folder: data sets prepared by TFDS, and a finished run."""

import multiprocessing
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

PREFIX, DAY = "latent-zoo-tests-", 24 * 3600  # seconds
if "ZOO_TESTS" not in os.environ:  # where it is, this is one of several processes
    for left in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):  # by tests that a signal has ended
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
    _folder = tempfile.TemporaryDirectory(prefix=PREFIX)
    os.environ["ZOO_TESTS"] = _folder.name
if "PYTEST_XDIST_WORKER" in os.environ:  # several share the cores, and threads of all would wait for one another
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
SHARED = pathlib.Path(os.environ["ZOO_TESTS"])
os.environ["TFDS_DATA_DIR"] = str(SHARED / "tfds")  # before tensorflow_datasets is imported

import fcntl  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]


def pytest_configure(config):
    """Imports TensorFlow quietly, before Keras does; not in a process that only starts others."""
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        from serving import quiet  # noqa: F401


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """1,797 images `(8, 8, 1)` in [0, 1]."""
    from sklearn.datasets import load_digits

    return (load_digits().images[..., None] / 16).astype("float32")


@pytest.fixture
def processor(monkeypatch, tmp_path_factory):
    """Makes this machine one without accelerators; its processor has the given name and flags, or none."""
    from training.fitting import processors, strategies

    cpuinfo = tmp_path_factory.mktemp("processor") / "cpuinfo"
    monkeypatch.setattr(processors, "CPUINFO", cpuinfo)
    monkeypatch.setattr(strategies, "_accelerators", list)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)

    def describe(name: str, flags: str) -> None:
        cpuinfo.write_text(f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu {flags}\n\n" * 2)

    return describe


@pytest.fixture(scope="session")
def small():
    """An experiment that takes a second or two."""
    import training

    return training.EXPERIMENTS["dense_digits_k8"].override(width=32, depth=1, epochs=4)


@pytest.fixture(scope="session")
def run(small):
    """A finished run of the small experiment; no test may change it."""
    import keras

    import training

    with open(SHARED / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first process trains, the others find it finished
        return training.train(small, SHARED / keras.backend.backend() / "small")


class Forked:
    """A process forked from one that has imported what it needs, which is cheaper than to import that again."""

    def __init__(self, function: Callable, arguments: tuple, environment: Mapping[str, str]):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["serving.quiet", "training.tuning"])
        self.said = SHARED / f"said-{time.monotonic_ns()}"
        self.process = context.Process(target=_run, args=(environment, str(self.said), function, arguments))
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Waits for its end; returns its exit code, and what it said on both streams."""
        self.process.join(400)
        return self.process.exitcode, self.said.read_text()


def _run(environment: Mapping[str, str], said: str, function: Callable, arguments: tuple) -> None:
    os.environ.update(environment)
    with open(said, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(function(*arguments))


def is_progress(line: str) -> bool:
    """Whether a line on stderr tells how far a run is: the bar of training, or a stage that took long."""
    return (
        not line.strip()
        or line.startswith(("training: ", "training on all rows: "))
        or bool(re.fullmatch(r"[A-Za-z: ]+ … (\d+ s)?", line.strip()))
    )
