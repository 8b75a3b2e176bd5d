"""What a representation is worth: its error beside PCA's, and what can be done with the codes."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zoo
from training.data import Data, Split

BATCH = 1000


def encode(model: zoo.Autoencoder, split: Split) -> dict[str, np.ndarray]:
    """`codes` `(n, k)`, `ids` `(n,)` and, where there are labels, `labels` `(n,)` of a whole split, in its order."""
    parts = {"codes": [], "ids": [], "labels": []}
    for rows in split.batches(BATCH):
        model.check(rows["x"])  # which a stream has not been before
        parts["codes"].append(keras.ops.convert_to_numpy(model.encode(rows["x"])))
        parts["ids"].append(rows["id"])
        if "label" in rows:
            parts["labels"].append(rows["label"])
    return {name: np.concatenate(column) for name, column in parts.items() if column}


def baseline(data: Data, k: int) -> zoo.LinearAutoencoder | None:
    """PCA of equal k, fitted on the training split; None where k ≥ d leaves no error or d² entries are too many."""
    d = int(np.prod(data.shape))
    if k >= d or d > zoo.LARGEST_COVARIANCE:
        return None
    return zoo.pca((batch["x"] for batch in data.train.batches()), k, data.shape)


def evaluate(
    model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Judges a fitted model on the test split, beside PCA where `baseline` gives one.

    Returns:
        The metrics, and the arrays of `codes.npz`: for each split `SPLIT_codes`, `SPLIT_ids` and `SPLIT_labels`.

    Metrics: `squared_error` is Σᵢ (xᵢ − x̃ᵢ)² averaged over examples, `mse` the same divided by d; `pca/…` is PCA's. With
    labels: `knn/error`, 1-nearest-neighbour on the codes; `probe/accuracy`, logistic regression on the standardized codes;
    `kmeans/purity` and `kmeans/ari`, as many clusters as classes; neighbours and probe learn from the training split, clusters
    are found in it, all are judged on the test split.
    """
    encoded = {name: encode(model, split) for name, split in data.splits.items()}
    metrics = {}
    for name, judged in {"test": model, **({"pca": pca} if pca else {})}.items():
        metrics[f"{name}/squared_error"] = squared_error(judged, data.test)
        metrics[f"{name}/mse"] = metrics[f"{name}/squared_error"] / np.prod(data.shape)
    metrics["test/score"] = _average(data.test, model.score)
    metrics["train/squared_error"] = squared_error(model, data.train)
    if data.classes is not None:
        train, test = encoded["train"], encoded["test"]
        metrics |= judge_codes(train["codes"], train["labels"], test["codes"], test["labels"], seed)
        if pca:
            left, right = (encode(pca, split)["codes"] for split in (data.train, data.test))
            metrics["pca/knn_error"] = _knn_error(left, train["labels"], right, test["labels"])
    arrays = {f"{split}_{name}": column for split, part in encoded.items() for name, column in part.items()}
    return {name: float(value) for name, value in metrics.items()}, arrays


def squared_error(model: zoo.Autoencoder, split: Split) -> float:
    """L_SE of the reconstructions, averaged over the examples of a split."""

    def error(x):
        difference = x - keras.ops.convert_to_numpy(model.reconstruct(x))
        return np.sum(np.square(difference).reshape(len(x), -1), axis=1, dtype="float64")

    return _average(split, error)


def judge_codes(train, train_labels, test, test_labels, seed: int = 0) -> dict[str, float]:
    """What codes `(n, k)` know of labels `(n,)` that the model never saw; nothing where training rows have one label."""
    if len(np.unique(train_labels)) < 2:
        return {}
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    clusters = kmeans(train, len(np.unique(train_labels)), seed).predict(test)
    return {
        "knn/error": _knn_error(train, train_labels, test, test_labels),
        "probe/accuracy": probe.fit(train, train_labels).score(test, test_labels),
        "kmeans/purity": purity(test_labels, clusters),
        "kmeans/ari": adjusted_rand_score(test_labels, clusters),
    }


def kmeans(codes: np.ndarray, clusters: int, seed: int = 0) -> KMeans:
    """Clusters found in codes `(n, k)`, no more than distinct codes: the best of four starts."""
    clusters = min(clusters, len(np.unique(codes, axis=0)))
    return KMeans(clusters, n_init=4, random_state=seed).fit(codes)


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of the rows whose label is the commonest of their cluster."""
    counts = [np.unique(labels[clusters == cluster], return_counts=True)[1].max() for cluster in np.unique(clusters)]
    return sum(counts) / len(labels)


def _knn_error(train, train_labels, test, test_labels) -> float:
    neighbours = KNeighborsClassifier(1, algorithm="brute").fit(train, train_labels)
    return 1 - neighbours.score(test, test_labels)


def _average(split: Split, values: Callable[[np.ndarray], Iterator[float]]) -> float:
    total = sum(float(np.sum(keras.ops.convert_to_numpy(values(rows["x"])))) for rows in split.batches(BATCH))
    return total / split.size
