"""The histograms of whole numbers with which codes are compressed, fitted after training."""

import keras
import numpy as np

import zoo
from zoo import inputs
from zoo.entropy import TOTAL

ROUNDS = 10  # of assigning rows to the cluster in which they take the fewest bits
BORROWED = 16.0  # rows of all data that a cluster's histograms count beside its own
LEAST_ROWS = 100  # of a cluster, on the average
PROBED = 1000  # rows at which the decoder's sensitivity is measured
PROBE = 0.1  # by which codes are moved there, in standard deviations


def fit_entropy(model: zoo.Autoencoder, x: np.ndarray, seed: int = 0) -> None:
    """Fits what lossy compression codes with to data `(n, *shape)`: the steps to which codes are rounded, and histograms of the
    whole numbers that they become. A model without an `entropy` gets `zoo.Histograms()`.

    `train` does this for a run with --entropy=histograms.

    Args:
        seed: of the fit.

    Raises:
        ValueError: a model of tables; data that are not valid for the model.
    """
    if model.entropy is None:
        model.add_entropy(zoo.Histograms())
    x = inputs.rows(x, model.shape)
    model.check(x)
    x = _numpy(x)
    fit_entropy_to_codes(model, x[:PROBED], model.predict(x, batch_size=1000, verbose=0)["code"], seed)


def fit_entropy_to_codes(model: zoo.Autoencoder, x: np.ndarray, codes: np.ndarray, seed: int = 0) -> None:
    """As `fit_entropy`, but from codes `(n, k)`, and the first rows that these are of, `(m, *shape)`."""
    symbols = _numpy(model.bottleneck.symbols(codes))
    steps = np.ones(symbols.shape[1], "float32") if model.bottleneck.whole else _steps(model, x, codes)
    fit_histograms(model.entropy, np.rint(symbols / steps).astype("int64"), steps, seed)


def fit_histograms(entropy: zoo.Histograms, numbers: np.ndarray, steps: np.ndarray, seed: int = 0) -> None:
    """Fits histograms to whole numbers `(n, m)`. Clusters begin as those of k-means; then rows move to the cluster in which
    they take the fewest bits, and histograms follow."""
    from sklearn.cluster import MiniBatchKMeans  # which the first step of training does not wait for

    lowest = _lowest(numbers, entropy.size)
    groups = int(np.clip(len(numbers) // LEAST_ROWS, 1, entropy.clusters))
    cluster = MiniBatchKMeans(groups, n_init=1, random_state=seed).fit_predict(numbers.astype("float64"))
    for _ in range(ROUNDS):
        entropy.assign(steps, lowest, *_frequencies(entropy, numbers - lowest, cluster))
        cluster = entropy.clustered(numbers)
    entropy.assign(steps, lowest, *_frequencies(entropy, numbers - lowest, cluster))


def _steps(model, x, codes) -> np.ndarray:
    """Steps `(k,)` of which each adds the same error: Δ² / 12 times the squared length of the decoder's derivative."""
    farthest, moves = np.abs(codes).max(axis=0), np.maximum(PROBE * codes.std(axis=0), 1e-6)
    codes = codes[: len(x)]
    decoded = _numpy(model.decode(codes))
    budget = model.entropy.distortion * _squared(x - decoded) / len(moves)
    slopes = [_squared(_numpy(model.decode(codes + move)) - decoded) / move.max() ** 2 for move in np.diag(moves)]
    steps = np.sqrt(12 * budget / np.maximum(slopes, 1e-12))
    return np.minimum(steps, np.maximum(2 * farthest, 1e-6)).astype("float32")  # nothing may depend on a dimension


def _squared(difference) -> float:
    """The squared error of an example, averaged over them."""
    return float(np.mean(np.sum(np.square(difference).reshape(len(difference), -1), axis=1)))


def _lowest(numbers, size) -> np.ndarray:
    """The least number of each histogram: all numbers are within, or as many around the median as there is room for."""
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    around = np.round(np.median(numbers, axis=0)).astype("int64") - size // 2
    return np.where(high - low < size, (low + high - size + 1) // 2, around)


def _frequencies(entropy, places, cluster) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of clusters `(G,)`, and of places and escapes in each, `(G, m, N + 1)`."""
    g, m, n = entropy.clusters, places.shape[1], entropy.size + 1
    places = np.where((places < 0) | (places >= entropy.size), entropy.size, places)
    flat = (cluster[:, None] * m + np.arange(m)) * n + places  # (n, m)
    counts = np.bincount(flat.ravel(), minlength=g * m * n).reshape(g, m, n)
    everywhere = counts.sum(axis=0) + 0.1  # (m, N + 1)
    everywhere /= everywhere.sum(axis=-1, keepdims=True)
    return whole_shares(np.bincount(cluster, minlength=g) + 0.1), whole_shares(counts + BORROWED * everywhere)


def whole_shares(weights: np.ndarray) -> np.ndarray:
    """Weights `(…, N)` above 0 as whole numbers of at least 1 that sum to `TOTAL`, nearly in proportion."""
    shares = weights / weights.sum(axis=-1, keepdims=True)
    numbers = 1 + np.floor(shares * (TOTAL - weights.shape[-1])).astype("int64")
    most = numbers.argmax(axis=-1)[..., None]
    rest = TOTAL - numbers.sum(axis=-1, keepdims=True)
    np.put_along_axis(numbers, most, np.take_along_axis(numbers, most, -1) + rest, -1)
    return numbers


def _numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
