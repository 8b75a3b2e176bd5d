"""The likelihoods against their formulas."""

import keras
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, log_ndtr, logit, logsumexp

import zoo

X = np.random.default_rng(0).uniform(size=(3, 4, 2)).astype("float32")
PARAMETERS = np.random.default_rng(1).normal(size=(2, 3, 4, 2)).astype("float32")  # two samples


def test_squared_error_is_a_gaussian_of_variance_one_half():
    expected = stats.norm(PARAMETERS, np.sqrt(0.5)).logpdf(X[None]).sum(axis=(2, 3))
    received = zoo.SquaredError().log_prob(X, PARAMETERS)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_squared_error_is_the_sum_over_dimensions_up_to_a_constant():
    error = np.square(X[None] - PARAMETERS).sum(axis=(2, 3))
    np.testing.assert_allclose(-zoo.SquaredError().log_prob(X, PARAMETERS) - 4 * np.log(np.pi), error, rtol=1e-4)


def test_squared_error_with_an_output_activation():
    likelihood = zoo.SquaredError("sigmoid")
    np.testing.assert_allclose(likelihood.mean(PARAMETERS), 1 / (1 + np.exp(-PARAMETERS)), rtol=1e-5)


def test_bernoulli():
    bits = np.round(X)
    p = 1 / (1 + np.exp(-PARAMETERS.astype("float64")))
    expected = stats.bernoulli(p).logpmf(bits[None]).sum(axis=(2, 3))
    np.testing.assert_allclose(zoo.Bernoulli().log_prob(bits, PARAMETERS), expected, rtol=1e-5)


def test_bernoulli_stays_finite_far_out():
    far = np.full((1, 1, 2), 1e4, dtype="float32")
    received = np.asarray(zoo.Bernoulli().log_prob(np.array([[1.0, 0.0]], dtype="float32"), far))
    np.testing.assert_allclose(received, [[-1e4]])


def _log_bin(levels, k, location, spread):
    """The logarithm of a bin's mass, in float64: by the difference of the CDFs, by the density where the bin is narrow."""
    n = levels - 1
    scale = 0.25 + n * np.logaddexp(0, spread - 2)
    offset = k - n * expit(location)
    middle, half = np.abs(offset) / scale, 0.5 / scale
    upper, lower = log_ndtr(half - middle), log_ndtr(-half - middle)
    wide = upper + np.log(-np.expm1(np.where(lower < upper, lower - upper, -1.0)))
    y, weights = np.polynomial.legendre.leggauss(40)
    inside = np.exp(-np.minimum(middle * half, 3.0)[..., None] * y - np.square(half[..., None] * y) / 2) @ weights
    narrow = stats.norm.logpdf(middle) + np.log(half * inside)
    inner = np.where(middle * half > 2, wide, narrow)
    return np.where(k == 0, log_ndtr((0.5 + offset) / scale), np.where(k == n, log_ndtr((0.5 - offset) / scale), inner))


def _grid(levels):
    """Levels `(N,)` and parameters `(N, 2)`: all levels, or some; means from end to end; the narrowest σ to a flat one."""
    k = np.unique(np.linspace(0, levels - 1, 18).round())
    location = np.linspace(-17, 17, 69)
    spread = np.array([-100.0, -20.0, -6.0, -3.0, -1.0, 0.0, 2.0, 5.0, 100.0, 1e4])
    k, location, spread = (part.ravel() for part in np.meshgrid(k, location, spread, indexing="ij"))
    return k, np.stack([location, spread], axis=-1)


@pytest.mark.parametrize(("levels", "tolerance"), [(2, 2e-6), (5, 5e-6), (17, 2e-5), (256, 2e-4)])
def test_a_discretized_gaussian_has_the_mass_of_its_bins(levels, tolerance):
    k, parameters = _grid(levels)
    x = (k / (levels - 1)).astype("float32")[:, None]
    received = zoo.DiscretizedGaussian(levels).log_prob(x, parameters.astype("float32")[None, :, None])
    expected = _log_bin(levels, k, *parameters.astype("float32").astype("float64").T)
    assert expected.min() < {2: -3, 5: -99, 17: -1900, 256: -5e5}[levels]
    np.testing.assert_allclose(np.asarray(received)[0], expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("k", [0, 1, 100, 254, 255])
def test_a_discretized_gaussian_falls_without_a_jump(k):
    """As the mean goes away from a level, at the narrowest σ."""
    away = -1 if k > 127 else 1
    location = logit(np.clip(k / 255 + away * np.linspace(0.0, 0.06, 3000), 1e-7, 1 - 1e-7)).astype("float32")
    parameters = np.stack([location, np.full_like(location, -100.0)], axis=-1)[None, :, None]
    x = np.full((3000, 1), k / 255, dtype="float32")
    log_prob = np.asarray(zoo.DiscretizedGaussian(256).log_prob(x, parameters))[0]
    steps = np.diff(log_prob)
    assert log_prob[0] > -1 and log_prob[-1] < -1500
    assert steps.max() < 1e-3 and steps.min() > -1.5  # roundings of 1,800 nats; the slope is 61 nats by σ, a step σ / 49


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_probabilities_of_all_levels_sum_to_one(levels):
    x = np.linspace(0, 1, levels, dtype="float32")[:, None]
    for location in (-9.0, -1.3, 0.0, 0.41, 2.0, 14.0):
        parameters = np.stack(np.broadcast_arrays(location, np.float32([[-100.0, -4.0, -2.0, 0.0, 6.0]])), axis=-1)
        parameters = np.tile(parameters.reshape(5, 1, 1, 2).astype("float32"), (1, levels, 1, 1))  # (5, levels, 1, 2)
        log_prob = np.asarray(zoo.DiscretizedGaussian(levels).log_prob(x, parameters), dtype="float64")
        np.testing.assert_allclose(np.exp(log_prob).sum(axis=1), 1.0, atol=1e-5)


def _gradients(likelihood, parameters, x):
    """Of log p by parameters and by x."""

    def log_prob(parameters, x):
        return keras.ops.sum(likelihood.log_prob(x, parameters))

    if keras.backend.backend() == "jax":
        import jax

        return [np.asarray(gradient) for gradient in jax.grad(log_prob, (0, 1))(parameters, x)]
    import tensorflow as tf

    given = [tf.constant(parameters), tf.constant(x)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        total = log_prob(*given)
    return [gradient.numpy() for gradient in tape.gradient(total, given)]


def test_gradients_of_a_discretized_gaussian_are_finite_and_right():
    k, parameters = _grid(17)
    received, by_x = _gradients(
        zoo.DiscretizedGaussian(17), parameters[None, :, None].astype("float32"), (k[:, None] / 16).astype("float32")
    )
    assert np.isfinite(received).all() and np.isfinite(by_x).all()
    for column, step in enumerate(1e-5 * np.eye(2)):
        above, below = (_log_bin(17, k, *(parameters + sign * step).T) for sign in (1, -1))
        np.testing.assert_allclose(received[0, :, 0, column], (above - below) / 2e-5, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("likelihood", [zoo.SquaredError(), zoo.Bernoulli(), zoo.DiscretizedGaussian()])
def test_good_values_pass(likelihood):
    likelihood.check(X)
    likelihood.check(X[:0])


def _mixture_cdf(edges, parameters, components):
    """P(x < edge) of bins, by SciPy's logistic distribution: of edges `(E,)` and parameters `(N, 3 M)`, `(N, E)`."""
    logits, location, spread = np.split(parameters.astype("float64"), 3, axis=-1)  # (N, M)
    weights = np.exp(logits - logsumexp(logits, axis=-1, keepdims=True))
    mean = 16 * (location + np.linspace(0, 1, components))
    scale = 0.05 + np.exp(np.clip(spread, -5.5, 5.5) + 2.5)
    return (weights[:, None] * stats.logistic(mean[:, None], scale[:, None]).cdf(edges[:, None] - 0.5)).sum(axis=-1)


def test_a_logistic_mixture_has_the_mass_of_its_bins_for_training_and_for_coding():
    likelihood, random = zoo.LogisticMixture(17, logistics=3), np.random.default_rng(0)
    parameters = (random.normal(size=(200, 9)) * np.repeat([1.0, 0.5, 3.0], 3)).astype("float32")
    cdf = _mixture_cdf(np.arange(1, 17), parameters, 3)  # (200, 16)
    mass = np.diff(cdf, prepend=0.0, append=1.0)  # (200, 17)
    x = (np.arange(17) / 16).astype("float32")[:, None]
    log_prob = [likelihood.log_prob(x, np.tile(row, (1, 17, 1, 1)))[0] for row in parameters[:20]]
    np.testing.assert_allclose(np.exp(np.asarray(log_prob)), mass[:20], atol=2e-6)
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, "float64")).sum(axis=1), 1.0, atol=1e-5)
    for edge in (1, 7, 16):
        below = likelihood.below(parameters.astype("float64"), np.full(200, edge))
        np.testing.assert_allclose(below, cdf[:, edge - 1], atol=1e-8)
    exact = (mass * np.arange(17) / 16).sum(axis=1)
    np.testing.assert_allclose(
        likelihood.mean(parameters[:, None])[:, 0], exact, atol=0.02
    )  # narrow components are between bins


@pytest.mark.parametrize("x", [0.0, 0.5, 1.0])
def test_a_logistic_mixture_has_finite_gradients_far_out(x):
    far = np.array([[[[0, 50, 300, -300, 40, -40]]]], "float32")
    log_prob = np.asarray(zoo.LogisticMixture(256, logistics=2).log_prob(np.full((1, 1), x, "float32"), far))
    assert np.isfinite(log_prob).all()
    (gradient,) = _gradients(zoo.LogisticMixture(256, logistics=2), far, np.full((1, 1), x, "float32"))[:1]
    assert np.isfinite(gradient).all()
