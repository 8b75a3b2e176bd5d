"""The Gaussian bottleneck: its divergence, its bounds, and the likelihood of a model whose likelihood is known."""

import keras
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import zoo
from zoo import noise

FEATURES = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


def _bottleneck(**settings) -> zoo.Gaussian:
    keras.utils.set_random_seed(0)
    bottleneck = zoo.Gaussian(3, **settings)
    bottleneck.build(FEATURES.shape)
    return bottleneck


def _kl(bottleneck) -> np.ndarray:
    mean, log_variance = (np.asarray(part) for part in bottleneck.posterior(FEATURES))
    return 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)  # (B, k)


def test_cost_is_the_divergence_from_the_prior():
    bottleneck = _bottleneck()
    codes, cost = bottleneck(FEATURES)
    assert codes.shape == (1, 6, 3)
    np.testing.assert_allclose(cost[0], _kl(bottleneck).sum(axis=1), rtol=1e-4)
    draws = np.random.default_rng(1).normal(size=(20_000, 6, 3)).astype("float32")
    _, ratio = bottleneck.draw(FEATURES, draws)
    np.testing.assert_allclose(np.asarray(ratio).mean(axis=0), _kl(bottleneck), atol=0.05)


def test_beta_and_free_bits_change_the_cost_in_training_alone():
    kl = _kl(_bottleneck())
    for settings, charged in (
        ({"beta": 2.0}, 2 * kl.sum(axis=1)),
        ({"free_bits": 0.4}, np.where(kl.mean(axis=0) > 0.4, kl, 0.4).sum(axis=1)),
    ):
        bottleneck = _bottleneck(**settings)
        np.testing.assert_allclose(bottleneck(FEATURES, training=True)[1][0], charged, rtol=1e-4)
        np.testing.assert_allclose(bottleneck(FEATURES)[1][0], kl.sum(axis=1), rtol=1e-4)


def test_the_weight_rises_over_the_warmup():
    bottleneck = _bottleneck(warmup=4, beta=3.0)
    shares = [float(bottleneck(FEATURES, training=True)[1][0, 0]) / _kl(bottleneck)[0].sum() for _ in range(6)]
    np.testing.assert_allclose(shares, [0, 0.75, 1.5, 2.25, 3, 3], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def factor_model() -> zoo.Autoencoder:
    """x = W a + b + noise of variance ½: x is N(b, W Wᵀ + ½ I), whatever the encoder says."""
    keras.utils.set_random_seed(1)
    return zoo.Autoencoder(zoo.linear((6,)), zoo.Gaussian(2), zoo.linear(), zoo.SquaredError())


def test_importance_sampling_finds_the_exact_likelihood(factor_model):
    weights, bias = (np.asarray(w, "float64") for w in factor_model.head.get_weights())  # (k, d), (d,)
    x = 0.5 * np.random.default_rng(2).normal(size=(5, 6)).astype("float32")
    exact = multivariate_normal(bias, weights.T @ weights + 0.5 * np.eye(6)).logpdf(x)
    bounds = [np.asarray(factor_model.log_likelihood(x, np.arange(5), samples)) for samples in (1, 20, 20_000)]
    np.testing.assert_allclose(bounds[-1], exact, atol=0.1)
    assert bounds[0].mean() < bounds[1].mean() < exact.mean() + 0.1
    assert np.asarray(factor_model.score(x)).mean() < exact.mean()


def test_the_importance_weighted_score_is_nearer_than_the_elbo(factor_model):
    x = np.random.default_rng(2).normal(size=(200, 6)).astype("float32")
    many = zoo.Autoencoder(zoo.linear((6,)), zoo.Gaussian(2, samples=50), zoo.linear(), zoo.SquaredError())
    many.set_weights(factor_model.get_weights())
    exact = factor_model.log_likelihood(x, np.arange(200), 2000)
    gaps = [float(np.mean(np.asarray(exact) - np.asarray(model.score(x)))) for model in (many, factor_model)]
    assert 0 < gaps[0] < 0.5 * gaps[1]


def test_variations_come_from_the_posterior(factor_model):
    x = np.random.default_rng(3).normal(size=(1, 6)).astype("float32")
    rows = np.repeat(x, 5000, axis=0)
    varied = np.asarray(factor_model.vary(rows, np.arange(5000)))
    mean, log_variance = (np.asarray(p)[0] for p in factor_model.bottleneck.posterior(factor_model.encoder(x)))
    weights, bias = factor_model.head.get_weights()
    np.testing.assert_allclose(varied.mean(axis=0), mean @ weights + bias, atol=0.05)
    np.testing.assert_allclose(np.cov(varied.T), weights.T @ np.diag(np.exp(log_variance)) @ weights, atol=0.08)
    again = np.asarray(factor_model.vary(x, [7]))
    np.testing.assert_allclose(again[0], varied[7], atol=1e-5)


def test_all_is_relative_to_the_prior_once_it_is_fitted():
    """x = W a + b + noise, with a from a mixture, is distributed as a mixture too."""
    keras.utils.set_random_seed(1)
    model = zoo.Autoencoder(zoo.linear((6,)), zoo.Gaussian(2), zoo.linear(), zoo.SquaredError(), zoo.Mixture(2))
    shares, means = [0.3, 0.7], np.float32([[0.8, 0], [-0.4, 0.4]])
    covariances = np.float32([[[0.5, 0.2], [0.2, 0.4]], [[0.3, 0.0], [0.0, 0.8]]])
    model.prior.assign(shares, means, covariances)
    weights, bias = (np.asarray(w, "float64") for w in model.head.get_weights())  # (k, d), (d,)
    x = 0.5 * np.random.default_rng(2).normal(size=(200, 6)).astype("float32")
    parts = [
        np.log(share) + multivariate_normal(mean @ weights + bias, weights.T @ covariance @ weights + 0.5 * np.eye(6)).logpdf(x)
        for share, mean, covariance in zip(shares, means, covariances, strict=True)
    ]
    exact = logsumexp(parts, axis=0)
    estimate = np.asarray(model.log_likelihood(x[:5], np.arange(5), 20_000))
    np.testing.assert_allclose(estimate, exact[:5], atol=0.15)
    outputs = model(x)
    assert np.mean(outputs["score"]) < exact.mean()
    np.testing.assert_allclose(outputs["score"], -np.asarray(outputs["kl"]) - outputs["reconstruction"], rtol=1e-4)
    drawn = np.asarray(model.generate(np.arange(4000)))
    np.testing.assert_allclose(drawn.mean(axis=0), np.dot(shares, means) @ weights + bias, atol=0.1)


def test_training_goes_on_under_a_fitted_prior():
    """The divergence from one Gaussian, which a mixture may be, has a closed form."""
    bottleneck, prior = _bottleneck(seed=0), zoo.Mixture(1)
    prior.build((None, 3))
    np.testing.assert_allclose(bottleneck(FEATURES, training=True, prior=prior)[1][0], _kl(bottleneck).sum(axis=1), rtol=1e-4)
    prior.assign([1.0], [[1.0, 0.0, -1.0]], 4 * np.eye(3)[None])
    many = np.repeat(FEATURES, 5000, axis=0)
    cost = np.asarray(bottleneck(many, training=True, prior=prior)[1][0]).reshape(6, 5000).mean(axis=1)
    mean, log_variance = (np.asarray(part) for part in bottleneck.posterior(FEATURES))
    kl = 0.5 * (((mean - [1, 0, -1]) ** 2 + np.exp(log_variance)) / 4 - 1 - log_variance + np.log(4)).sum(axis=1)
    np.testing.assert_allclose(cost, kl, atol=0.1)


def test_a_discretized_gaussian_is_a_distribution_over_the_levels():
    likelihood = zoo.DiscretizedGaussian(5)
    levels = np.linspace(0, 1, 5, dtype="float32").reshape(5, 1)
    for location, spread in ((0.0, 0.0), (2.0, -3.0), (-4.0, 1.0)):
        parameters = np.tile(np.float32([location, spread]), (1, 5, 1, 1))
        log_prob = np.asarray(likelihood.log_prob(levels, parameters))[0]
        assert np.exp(log_prob).sum() == pytest.approx(1, abs=2e-3)
    mean = 1 / (1 + np.exp(-2.0))
    scale = 0.0625 + np.log1p(np.exp(-5.0))
    inner = norm.cdf((0.75 + 0.125 - mean) / scale) - norm.cdf((0.75 - 0.125 - mean) / scale)
    received = likelihood.log_prob(levels[3:4], np.float32([2.0, -3.0]).reshape(1, 1, 1, 2))
    assert float(received[0, 0]) == pytest.approx(np.log(inner), rel=1e-3)


@pytest.mark.parametrize("settings", [{"beta": -1.0}, {"samples": 0}, {"free_bits": -0.1}, {"warmup": -3}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="Expected"):
        zoo.Gaussian(2, **settings)


@pytest.mark.parametrize("samples", [1, 3])
def test_draws_of_rows_are_independent_and_depend_on_the_row_alone(samples):
    """With one draw for all rows, the mean over many rows is as far off as that of a single one."""
    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(zoo.linear((6,)), zoo.Gaussian(2, samples=samples), zoo.linear(), zoo.SquaredError())
    model.head.set_weights([5 * weights for weights in model.head.get_weights()])  # so that the draws matter
    x = np.random.default_rng(0).normal(size=(4000, 6)).astype("float32")
    scores = np.asarray(model.score(x))
    np.testing.assert_array_equal(scores, model.score(x))
    order = np.random.default_rng(1).permutation(len(x))[:50]
    np.testing.assert_allclose(model.score(x[order]), scores[order], rtol=1e-4)
    np.testing.assert_allclose(np.concatenate([model.score(x[i : i + 1]) for i in order[:5]]), scores[order[:5]], rtol=1e-4)
    like = x[:1] + 0.02 * x[:2000]  # rows so like each other that their scores differ by the draws
    spread = np.asarray(model.score(like))
    draws = np.random.default_rng(2).normal(size=(samples, 2000, 2)).astype("float32")
    features = model.encoder(like)
    codes, cost = model.bottleneck.draw(features, draws)
    log_weight = np.asarray(model.likelihood.log_prob(like, model._judged(codes))) - np.asarray(cost).sum(axis=-1)
    expected = logsumexp(log_weight.astype("float64"), axis=0) - np.log(samples)
    np.testing.assert_allclose(spread.mean(), expected.mean(), atol=5 * expected.std() / np.sqrt(2000))
    np.testing.assert_allclose(spread.std(), expected.std(), rtol=0.15)


def test_a_key_outlives_rounding_and_tells_rows_apart():
    x = np.random.default_rng(0).integers(0, 256, (2000, 9)).astype("float32")
    keys = np.asarray(noise.key(keras.ops.convert_to_tensor(x / np.float32(255))))
    np.testing.assert_array_equal(noise.key(keras.ops.convert_to_tensor(x * np.float32(1 / 255))), keys)
    assert len(np.unique(keys)) == len(np.unique(x, axis=0)) == 2000
    zeros = keras.ops.convert_to_tensor(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], "float32"))
    first, second, swapped = np.asarray(noise.key(zeros))
    assert first == second != swapped
    uniform = np.asarray(noise.uniform(keras.ops.convert_to_tensor(keys), 4))
    np.testing.assert_allclose(uniform.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(uniform.T), np.eye(4), atol=0.08)
