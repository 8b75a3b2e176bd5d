"""The counter hash: known bits on every backend, and the statistics of its numbers."""

import numpy as np
from scipy import stats

from zoo import noise

SEEDS = np.arange(-25_000, 25_000, dtype="int32")


def test_bits_are_the_same_everywhere():
    received = np.asarray(noise.bits(np.array([0, 1, -1], dtype="int32"), 2))
    expected = [[_reference(seed, 1), _reference(seed, 2)] for seed in (0, 1, -1)]
    np.testing.assert_array_equal(received, np.array(expected, dtype="uint32"))


def _reference(seed: int, position: int) -> int:
    """The hash in Python's own integers."""

    def mix(v):
        v = ((v ^ v >> 16) * 0x7FEB352D) & 0xFFFFFFFF
        v = ((v ^ v >> 15) * 0x846CA68B) & 0xFFFFFFFF
        return v ^ v >> 16

    row = mix((seed + 0x9E3779B9) & 0xFFFFFFFF)
    return mix(mix((row + position * 0x9E3779B9) & 0xFFFFFFFF) ^ row)


def test_uniform_numbers():
    u = np.asarray(noise.uniform(SEEDS, 4))
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    neighbours = np.histogram2d(u[:-1, 0], u[1:, 0], bins=16)[0]  # rows of consecutive seeds
    assert stats.chisquare(neighbours.ravel()).pvalue > 1e-3


def test_normal_numbers():
    z = np.asarray(noise.normal(SEEDS, 6))
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    bound = 5 / np.sqrt(len(SEEDS))
    assert np.abs(np.corrcoef(z.T) - np.eye(6)).max() < bound
    other = np.asarray(noise.normal(SEEDS, 1, stream=1))
    assert abs(np.corrcoef(z[:, 0], other[:, 0])[0, 1]) < bound
