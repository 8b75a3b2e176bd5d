"""The density over the codes, which `generate` draws from: a Gaussian mixture, fitted when training is done."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import zoo
from zoo import inputs

MOST_CODES = 20_000  # rows that a mixture is fitted to


def fit_density(model: zoo.Autoencoder, x: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """Fits the Gaussian mixture that `generate` draws from to the codes of data `(n, *shape)`.

    `train` does it for a run. A model that `fit` or `solve` trained on its own needs it before `generate` means anything.

    Args:
        labels: `(n,)`, whole numbers in [0, C), where the model's density has C classes: each gets a mixture of its own.

    Raises:
        ValueError: data that the model cannot take; labels that are missing, or no numbers of classes.
    """
    x = inputs.rows(x, model.shape)
    model.check(x)
    fit_mixture(model, model.predict(x, batch_size=1000, verbose=0)["code"], labels, seed)


def fit_mixture(model: zoo.Autoencoder, codes: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """As `fit_density`, from codes `(n, k)`, by expectation maximization.

    Few rows get fewer components than the model has room for; the rest keep the proportion 0, and so does a class without
    rows, which `generate_class` then refuses. The Gaussian of a single row is as wide as classes are on average.

    Raises:
        ValueError: no codes, or NaN or Inf among them; labels as in `fit_density`. The density stays as it was.
    """
    density = model.density
    inputs.require_some(codes)
    if not np.isfinite(codes).all():
        raise ValueError("Expected finite codes. Received: NaN or Inf. Try a model whose training did not diverge.")
    if density.classes:
        if labels is None:
            raise ValueError(
                f"Expected labels for a density of {density.classes} classes. Received: labels=None. Try labels=…."
            )
        labels = inputs.labels(labels, density.classes, len(codes))
        groups = [codes[labels == label] for label in range(density.classes)]
    else:
        groups = [codes]
    spread = _spread(groups)
    parts = [_mixture(group, density.components, seed, spread) for group in groups]
    shares = np.array([len(group) for group in groups]) / len(codes)
    proportions, means, covariances = (np.stack(column) for column in zip(*parts, strict=True))
    density.assign(shares[:, None] * proportions, means, covariances)


def _spread(groups: list[np.ndarray]) -> np.ndarray:
    """Covariance `(k, k)` of codes around the means of their groups, over all groups."""
    centred = np.concatenate([group - group.mean(axis=0) for group in groups if len(group)]).astype("float64")
    free = len(centred) - sum(1 for group in groups if len(group))
    return centred.T @ centred / max(free, 1) + 1e-6 * np.eye(centred.shape[1])


def _mixture(codes: np.ndarray, room: int, seed: int, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proportions `(M,)`, means `(M, k)` and covariances `(M, k, k)` of at most `room` = M Gaussians; `spread` is the
    covariance of a single row's."""
    k = codes.shape[1]
    proportions, means, covariances = np.zeros(room), np.zeros((room, k)), np.tile(np.eye(k), (room, 1, 1))
    used = int(np.clip(len(codes) // (5 * (k + 1)), 1, room))
    if len(codes) == 1:
        proportions[0], means[0], covariances[0] = 1.0, codes[0], spread
    elif len(codes):
        codes = np.random.default_rng(seed).permutation(codes)[:MOST_CODES].astype("float64")
        mixture = GaussianMixture(used, random_state=seed, reg_covar=1e-6 + 1e-4 * codes.var())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture near its optimum serves as well
            mixture.fit(codes)
        proportions[:used], means[:used], covariances[:used] = mixture.weights_, mixture.means_, mixture.covariances_
    return proportions, means, covariances
