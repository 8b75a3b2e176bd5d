"""The quality of generated examples, measured in the features of a classifier that the project trained.

The Fréchet distances are not comparable to the FID, which uses the features of Inception: they are on a smaller scale.
"""

import numpy as np
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

import zoo
from zoo.model import Model

NEIGHBOURS = 3  # for precision and recall
COPIES = 1_000  # most examples whose nearest training example is searched for
BATCH = 1_000


def judge(dataset: str, shape: tuple[int, ...]) -> Model | None:
    """The preset `classifier_DATASET`; None if there is none for data of this shape."""
    name = f"classifier_{dataset}"
    if name not in zoo.list():
        return None
    classifier = zoo.load(name)
    return classifier if classifier.shape == shape else None


def frechet_distance(left: np.ndarray, right: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features `(n, f)` and `(m, f)`, treated as Gaussians (Heusel et al., 2017)."""
    difference = left.mean(axis=0) - right.mean(axis=0)
    first, second = np.cov(left, rowvar=False), np.cov(right, rowvar=False)
    cross = np.real(np.trace(sqrtm(first @ second)))
    return float(max(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def precision_recall(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """The share of generated features `(m, f)` in the manifold of the real ones `(n, f)`, and of real ones in that of the
    generated.

    A manifold is the union of balls around its points; each ball reaches the third nearest neighbour of its centre
    (Kynkäänniemi et al., 2019).
    """
    return _share_inside(generated, real), _share_inside(real, generated)


def copying(train: np.ndarray, held_out: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """The median distances, in the space of the data, of held-out and of generated examples to the nearest training example.

    Generated examples that are copies are closer to the training data than held-out examples are.
    """
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.reshape(len(train), -1))
    distances = [search.kneighbors(x[:COPIES].reshape(min(len(x), COPIES), -1))[0] for x in (held_out, generated)]
    return float(np.median(distances[0])), float(np.median(distances[1]))


def _share_inside(points: np.ndarray, manifold: np.ndarray) -> float:
    search = NearestNeighbors(algorithm="brute").fit(manifold)
    radii = search.kneighbors(manifold, NEIGHBOURS + 1)[0][:, -1]  # the first neighbour of a point is itself
    inside = [
        (_distances(points[i : i + BATCH], manifold) <= radii).any(axis=1).mean() * len(points[i : i + BATCH])
        for i in range(0, len(points), BATCH)
    ]
    return float(sum(inside) / len(points))


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.sqrt(np.maximum(squared, 0.0))
