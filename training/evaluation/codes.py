"""What codes are good for: labels, neighbours and clusters, by scikit-learn."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def judge(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """What codes `(n, k)` reveal about labels `(n,)` that the model never saw; empty if all training rows have one label."""
    if len(np.unique(train_labels)) < 2:
        return {}
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    clusters = kmeans(train, len(np.unique(train_labels)), seed).predict(test)
    return {
        "knn/error": knn_error(train, train_labels, test, test_labels),
        "probe/accuracy": probe.fit(train, train_labels).score(test, test_labels),
        "kmeans/purity": purity(test_labels, clusters),
        "kmeans/ari": adjusted_rand_score(test_labels, clusters),
    }


def kmeans(codes: np.ndarray, clusters: int, seed: int = 0) -> KMeans:
    """Clusters of codes `(n, k)`, at most as many as there are distinct codes: the best of four starts."""
    clusters = min(clusters, len(np.unique(codes, axis=0)))
    return KMeans(clusters, n_init=4, random_state=seed).fit(codes)


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """The share of rows whose label is the most common one in their cluster."""
    counts = [np.unique(labels[clusters == cluster], return_counts=True)[1].max() for cluster in np.unique(clusters)]
    return sum(counts) / len(labels)


def knn_error(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """The share of rows that have another label than their nearest neighbour among the training rows."""
    neighbours = KNeighborsClassifier(1, algorithm="brute").fit(train, train_labels)
    return 1 - neighbours.score(test, test_labels)
