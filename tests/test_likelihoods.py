"""The likelihoods against their formulas."""

import numpy as np
import pytest
from scipy import stats

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


@pytest.mark.parametrize("likelihood", [zoo.SquaredError(), zoo.Bernoulli()])
def test_good_values_pass(likelihood):
    likelihood.check(X)
    likelihood.check(X[:0])
