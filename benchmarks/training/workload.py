"""What every contender of a comparison trains: one network, on the same rows, in batches of the same size and in one precision.

A contender is a script, `SCRIPT WORKLOAD`, WORKLOAD being this in JSON. It prints the examples a second of each epoch after the
first, in JSON.
"""

import json
import os
import sys
import time
from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """A network of NETWORKS; a folder with `x.npy`, float32 `(n, 28, 28, 1)`, or `source.npy` and `target.npy`, int32 `(n, T)`;
    the number of epochs, the first included; the batch size; and float32 or bfloat16, in which the network computes."""

    network: str
    folder: str
    epochs: int
    batch_size: int
    precision: str

    def array(self, name: str = "x") -> np.ndarray:
        return np.load(os.path.join(self.folder, f"{name}.npy"))


NETWORKS = {  # each with the settings of the zoo's experiment
    "dense": ("dense_mnist_k30", {"width": 512, "depth": 2, "k": 16, "batch_size": 128, "learning_rate": 1e-3, "shift": 0}),
    "conv": ("conv_mnist_k16", {"shift": 0}),
    "vae": ("vae_mnist", {}),
    "transformer": ("g2p_cmudict", {}),
}
WIDTHS = (784, 512, 256, 16, 256, 512, 784)  # of the dense network
BENDS = (0, 1, 3, 4)  # its layers with a GELU
CODES = {"conv": 16, "vae": 32}  # dimensions
BODY = (128, 4, 1, 4, 384, 0.1)  # the transformer's width, encoder and decoder blocks, heads, hidden units, dropout rate


class Clock:
    """Takes the time of epochs."""

    def __init__(self, rows: int):
        self.rows = rows
        self.rates: list[float] = []
        self._since = None

    def tick(self) -> None:
        """Has to be called at the end of every epoch; the first call begins the measurement."""
        now = time.perf_counter()
        if self._since is not None:
            self.rates.append(self.rows / (now - self._since))
        self._since = now

    def print(self) -> None:
        print(json.dumps(self.rates))


def batches(random: np.random.Generator, count: int, batch_size: int) -> np.ndarray:
    """The rows of an epoch's batches, `(steps, batch_size)`, in an order of its own."""
    steps = count // batch_size
    return random.permutation(count)[: steps * batch_size].reshape(steps, batch_size)


def pooled(random: np.random.Generator, lengths: tuple[np.ndarray, ...], batch_size: int, pool: int = 64) -> np.ndarray:
    """As `batches`, but with rows of similar lengths in a batch: those of every `pool` batches are sorted."""
    drawn = batches(random, len(lengths[0]), batch_size)
    for start in range(0, len(drawn), pool):
        rows = drawn[start : start + pool].reshape(-1)
        sorted_ = rows[np.lexsort([column[rows] for column in lengths])].reshape(-1, batch_size)
        drawn[start : start + pool] = sorted_[random.permutation(len(sorted_))]
    return drawn


def given() -> Workload:
    return Workload(*json.loads(sys.argv[1]))
