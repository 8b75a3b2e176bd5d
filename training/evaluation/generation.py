"""How good generated data are: judged in the features of a classifier that the project trained itself.

The Fréchet distances are small numbers of their own scale: not comparable to the FID, which is in Inception's features.
"""

import numpy as np
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

import zoo
from zoo.model import Model

NEIGHBOURS = 3  # of precision and recall
COPIES = 1_000  # generated examples whose nearest training example is looked for
BATCH = 1_000


def judge(dataset: str, shape: tuple[int, ...]) -> Model | None:
    """The preset `classifier_DATASET`; None where there is none for data of this shape."""
    name = f"classifier_{dataset}"
    if name not in zoo.list():
        return None
    classifier = zoo.load(name)
    return classifier if classifier.shape == shape else None


def frechet_distance(left: np.ndarray, right: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features `(n, f)` and `(m, f)`, taken as Gaussians (Heusel et al., 2017)."""
    difference = left.mean(axis=0) - right.mean(axis=0)
    first, second = np.cov(left, rowvar=False), np.cov(right, rowvar=False)
    cross = np.real(np.trace(sqrtm(first @ second)))
    return float(max(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def precision_recall(real: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """Shares of the made features within the real ones' manifold, and of the real within the made ones'.

    A manifold is the union of balls around its points that reach their third nearest neighbour (Kynkäänniemi et al., 2019).
    """
    return _inside(made, real), _inside(real, made)


def copying(train: np.ndarray, held_out: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """Median distance, in the data's own space, from held-out and from made examples to their nearest training example.

    Examples that a model made by copying lie nearer than held-out ones do.
    """
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.reshape(len(train), -1))
    held_out, made = (np.median(search.kneighbors(x[:COPIES].reshape(min(len(x), COPIES), -1))[0]) for x in (held_out, made))
    return float(held_out), float(made)


def _inside(points: np.ndarray, manifold: np.ndarray) -> float:
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
