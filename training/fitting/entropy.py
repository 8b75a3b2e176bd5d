"""The integer histograms with which rounded codes are compressed, fitted after training."""

import numpy as np
from sklearn.cluster import MiniBatchKMeans

import zoo
from zoo import inputs
from zoo.arguments import require_positive
from zoo.entropy import PRECISION

ROUNDS = 8  # of assigning rows to the cluster in which they take the fewest bits
PRIOR = 16.0  # rows that the histogram of all rows counts for in that of a cluster
PROBED = 1000  # rows at which the decoder's sensitivity is measured
PROBE = 0.1  # by which codes are moved there, in standard deviations


def fit_histograms(entropy: zoo.Histograms, numbers: np.ndarray, steps: np.ndarray, seed: int = 0) -> None:
    """Fits histograms to whole numbers `(n, k)`: rows are in the cluster in which they take the fewest bits."""
    lowest = _lowest(numbers, entropy.cells)
    place = numbers - lowest
    place = np.where((place < 0) | (place >= entropy.cells), entropy.cells, place)  # (n, k)
    groups = min(entropy.clusters, max(1, len(numbers) // 100))
    scaled = (numbers - numbers.mean(axis=0)) / np.maximum(numbers.std(axis=0).max(), 1e-6)
    cluster = MiniBatchKMeans(groups, n_init=1, random_state=seed).fit_predict(scaled)
    for _ in range(ROUNDS):
        shares, tables = _frequencies(place, cluster, entropy)
        entropy.assign(steps, lowest, shares, tables)
        _, cluster = entropy.bits(numbers)


def _lowest(numbers, cells):
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    middle = np.round(np.median(numbers, axis=0)).astype("int64") - cells // 2
    return np.where(high - low < cells, (low + high - cells + 1) // 2, middle)


def _frequencies(place, cluster, entropy):
    """Shares `(G,)` of clusters and tables `(G, k, N + 1)`, whole numbers."""
    g, k, n = entropy.clusters, place.shape[1], entropy.cells + 1
    flat = (cluster[:, None] * k + np.arange(k)) * n + place
    counts = np.bincount(flat.ravel(), minlength=g * k * n).reshape(g, k, n).astype("float64")
    whole = counts.sum(axis=0) + 0.5  # (k, N + 1)
    whole /= whole.sum(axis=-1, keepdims=True)
    shares = np.bincount(cluster, minlength=g) + 0.5
    return whole_numbers(shares), whole_numbers(counts + PRIOR * whole)


def whole_numbers(weights: np.ndarray) -> np.ndarray:
    """Weights `(…, N)` above 0 to whole numbers of at least 1 that sum to 2^`PRECISION`, in proportion."""
    total = 2**PRECISION - weights.shape[-1]
    shares = weights / weights.sum(axis=-1, keepdims=True) * total
    numbers = np.floor(shares).astype("int64") + 1
    np.put_along_axis(
        numbers,
        largest := numbers.argmax(axis=-1)[..., None],
        np.take_along_axis(numbers, largest, -1) + 2**PRECISION - numbers.sum(axis=-1, keepdims=True),
        -1,
    )
    return numbers.astype("int32")
