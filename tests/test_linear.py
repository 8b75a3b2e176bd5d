"""The linear autoencoder: gradient descent reaches principal component analysis, and `solve` computes it."""

import tracemalloc

import keras
import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

import zoo
from zoo.closed_form import CHUNK

K = 4  # the gap to the fifth component is wide: the subspace is well determined


@pytest.fixture(scope="module")
def flat(digits) -> np.ndarray:
    return digits.reshape(len(digits), -1)


@pytest.fixture(scope="module")
def reference(flat) -> PCA:
    return PCA(K, svd_solver="full").fit(flat.astype("float64"))


def _error(model, x) -> float:
    return float(np.square(x - np.asarray(model.reconstruct(x))).reshape(len(x), -1).sum(axis=1).mean())


def _reference_error(reference, flat) -> float:
    return np.square(flat - reference.inverse_transform(reference.transform(flat))).sum(axis=1).mean()


def _angle(model, reference) -> float:
    """Sine of the largest angle between the decoder's columns and the principal axes."""
    decoder = np.asarray(model.head.layers[1].kernel).T.astype("float64")  # (d, k)
    return float(np.sin(subspace_angles(decoder, reference.components_.T)).max())


def test_solve_is_pca(digits, flat, reference):
    model = zoo.linear_autoencoder((8, 8, 1), K)
    variances = model.solve(digits)
    assert _angle(model, reference) < 1e-5
    assert _error(model, digits) == pytest.approx(_reference_error(reference, flat), rel=1e-5)
    np.testing.assert_allclose(variances, reference.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(np.abs(model.encode(digits)), np.abs(reference.transform(flat)), atol=1e-3)


def test_solve_far_from_the_origin(digits, reference):
    model = zoo.pca(digits + 1000, K)
    assert _angle(model, reference) < 1e-3  # float32 has seven digits, four of which the shift takes
    assert _error(model, digits + 1000) == pytest.approx(_error(zoo.pca(digits, K), digits), rel=1e-3)


@pytest.mark.parametrize("batch", [7, 100, 1797])
def test_solve_streams(digits, reference, batch):
    batches = (digits[i : i + batch] for i in range(0, len(digits), batch))
    model = zoo.pca(batches, K, (8, 8, 1))
    assert _angle(model, reference) < 1e-5


def test_memory_does_not_grow_with_the_rows():
    def peak(batches: int) -> int:
        rng = np.random.default_rng(0)
        tracemalloc.start()
        zoo.pca((rng.normal(size=(512, 64)).astype("float32") for _ in range(batches)), K, (64,))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    chunk = CHUNK // 64 // 512  # batches that are multiplied at once
    assert peak(8 * chunk) < 1.1 * peak(2 * chunk)


def test_gradient_descent_reaches_pca(digits, flat, reference):
    keras.utils.set_random_seed(0)
    model = zoo.linear_autoencoder((8, 8, 1), K)
    rate = keras.optimizers.schedules.CosineDecay(0.0, 290 * 8, warmup_target=2e-2, warmup_steps=10 * 8)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=8)
    model.fit(np.tile(digits, (30, 1, 1, 1)), epochs=10, batch_size=200, verbose=0)  # an epoch takes a while by itself
    assert _error(model, digits) < 1.01 * _reference_error(reference, flat)
    assert _angle(model, reference) < 0.05


def test_only_the_linear_network_has_the_closed_form():
    for parts in (
        (zoo.dense((4,), shape=(8,)), zoo.Deterministic(2), zoo.linear(), zoo.SquaredError()),
        (keras.Sequential([keras.Input((8,)), keras.layers.ReLU()]), zoo.Deterministic(2), zoo.linear(), zoo.SquaredError()),
        (zoo.linear((8,)), zoo.Deterministic(2, use_bias=False), zoo.linear(), zoo.SquaredError()),
        (zoo.linear((8,)), zoo.Deterministic(2, "tanh"), zoo.linear(), zoo.SquaredError()),
        (zoo.linear((8,)), zoo.Deterministic(2), zoo.linear(), zoo.SquaredError("sigmoid")),
        (zoo.linear((8,)), zoo.Deterministic(2), zoo.linear(), zoo.Bernoulli()),
    ):
        with pytest.raises(ValueError, match="Expected two linear projections"):
            zoo.LinearAutoencoder(*parts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((1, 8), "float32"), "at least two rows"),
        (np.full((5, 8), np.nan, "float32"), "NaN or Inf"),
        (np.zeros((5, 9), "float32"), "Expected shape"),
        ([], "at least two rows"),
    ],
)
def test_bad_data(data, message):
    model = zoo.linear_autoencoder((8,), 2)
    with pytest.raises(ValueError, match=message):
        model.solve(data)


def test_many_dimensions():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 6)) * [9, 8, 7, 6, 5, 4]) @ rng.normal(size=(6, 3000)) + rng.normal(size=(300, 3000))
    model = zoo.pca(x.astype("float32"), 6)
    exact = PCA(6, svd_solver="full").fit(x)
    assert _angle(model, exact) < 1e-4


def test_more_components_than_dimensions():
    with pytest.raises(ValueError, match="Expected at most d components"):
        zoo.linear_autoencoder((8,), 9, overcomplete=True).solve(np.zeros((20, 8), "float32"))
    with pytest.raises(ValueError, match="shape of one example"):
        zoo.pca(iter([]), 2)


def test_too_many_dimensions():
    with pytest.raises(ValueError, match="at most 16,384 dimensions"):
        zoo.linear_autoencoder((20_000,), 2).solve(np.zeros((3, 20_000), "float32"))
