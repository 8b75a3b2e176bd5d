"""Priors that are fitted to the codes of data after training."""

import warnings

import keras
import numpy as np

import zoo
from training.fitting.autoregressive import fit_autoregressive
from zoo import inputs

BATCH = 1000
MOST_CODES = 20_000  # most rows that a mixture is fitted to


def fit_prior(model: zoo.Autoencoder, x: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """Fits the prior of a model, from which `generate` draws, to the codes of data `(n, *shape)`. A standard normal stays one.

    `train` does this for a run. A model trained with `fit` or `solve` needs it before `generate` gives meaningful examples.

    Args:
        labels: `(n,)`, integers in [0, C), if the model's prior has C classes; each is learnt by itself.
        seed: of the fit.

    Raises:
        ValueError: data that are not valid for the model; missing labels, or labels out of range.
    """
    x = inputs.rows(x, model.shape)
    model.check(x)
    codes = [keras.ops.convert_to_numpy(model.draw(x[start : start + BATCH])) for start in range(0, len(x), BATCH)]
    fit_to_codes(model, np.concatenate(codes), labels, seed)


def fit_to_codes(model: zoo.Autoencoder, codes: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """As `fit_prior`, but to codes `(n, k)` from `model.draw`: those that are drawn are spread more widely than their means.

    Raises:
        ValueError: no codes; NaN or Inf among them; labels as in `fit_prior`. The prior has not changed.
    """
    inputs.require_some(codes)
    if not np.isfinite(codes).all():
        raise ValueError("Expected finite codes. Received: NaN or Inf. Try a model whose training did not diverge.")
    prior = model.prior
    if prior.classes:
        if labels is None:
            raise ValueError(f"Expected labels for a prior of {prior.classes} classes. Received: labels=None. Try labels=….")
        labels = inputs.labels(labels, prior.classes, len(codes))
    else:
        labels = None
    if isinstance(prior, zoo.Mixture):
        fit_mixture(prior, codes, labels, seed)
    elif isinstance(prior, zoo.Autoregressive):
        fit_autoregressive(prior, keras.ops.convert_to_numpy(model.bottleneck.symbols(codes)), labels, seed)


def fit_mixture(mixture: zoo.Mixture, codes: np.ndarray, labels: np.ndarray | None, seed: int = 0) -> None:
    """Fits a mixture to codes `(n, k)`, with labels `(n,)` if it has classes, by expectation maximization.

    With few rows, fewer components are fitted than the model has; the others get the proportion 0. So does a class without
    rows, which `generate_class` then refuses. A single row gets a Gaussian with the average covariance of the classes.
    """
    groups = [codes] if labels is None else [codes[labels == label] for label in range(mixture.classes)]
    spread = _spread(groups)
    parts = [_mixture(group, mixture.components, seed, spread) for group in groups]
    shares = np.array([len(group) for group in groups]) / len(codes)
    proportions, means, covariances = (np.stack(column) for column in zip(*parts, strict=True))
    mixture.assign(shares[:, None] * proportions, means, covariances)


def _spread(groups: list[np.ndarray]) -> np.ndarray:
    """The covariance `(k, k)` of codes around the means of their groups, pooled over all groups."""
    centred = np.concatenate([group - group.mean(axis=0) for group in groups if len(group)]).astype("float64")
    free = len(centred) - sum(1 for group in groups if len(group))
    return centred.T @ centred / max(free, 1) + 1e-6 * np.eye(centred.shape[1])


def _mixture(codes: np.ndarray, room: int, seed: int, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proportions `(M,)`, means `(M, k)` and covariances `(M, k, k)` of at most `room` = M Gaussians; a single row gets the
    covariance `spread`."""
    from sklearn.exceptions import ConvergenceWarning  # which the first step of training does not wait for
    from sklearn.mixture import GaussianMixture

    k = codes.shape[1]
    proportions, means, covariances = np.zeros(room), np.zeros((room, k)), np.tile(np.eye(k), (room, 1, 1))
    used = int(np.clip(len(codes) // (5 * (k + 1)), 1, room))
    if len(codes) == 1:
        proportions[0], means[0], covariances[0] = 1.0, codes[0], spread
    elif len(codes):
        codes = np.random.default_rng(seed).permutation(codes)[:MOST_CODES].astype("float64")
        mixture = GaussianMixture(used, random_state=seed, reg_covar=1e-6 + 1e-4 * codes.var())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture near the optimum is good enough
            mixture.fit(codes)
        proportions[:used], means[:used], covariances[:used] = mixture.weights_, mixture.means_, mixture.covariances_
    return proportions, means, covariances
