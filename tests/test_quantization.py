"""The codebook: nearest entries, moving averages, restarts, and replicas that agree."""

import keras
import numpy as np
import pytest

import zoo


def _bottleneck(**settings) -> zoo.VectorQuantized:
    keras.utils.set_random_seed(0)
    bottleneck = zoo.VectorQuantized(**{"tokens": 3, "entries": 4, "width": 2, "restart": 0.0, **settings})
    bottleneck.build((None, 6))
    bottleneck.projection.set_weights([np.eye(6), np.zeros(6)])
    bottleneck.counts.assign(np.ones(bottleneck.entries))
    bottleneck.sums.assign(np.random.default_rng(0).normal(size=(bottleneck.entries, 2)))
    return bottleneck


FEATURES = np.random.default_rng(1).normal(size=(50, 6)).astype("float32")


def test_codes_are_the_nearest_entries():
    bottleneck = _bottleneck()
    codebook = np.asarray(bottleneck.codebook)
    vectors = FEATURES.reshape(50, 3, 2)
    index = np.linalg.norm(vectors[:, :, None] - codebook, axis=-1).argmin(axis=-1)
    codes, cost = bottleneck(FEATURES)
    np.testing.assert_allclose(np.asarray(codes)[0].reshape(50, 3, 2), codebook[index], atol=1e-6)
    np.testing.assert_allclose(cost, 3 * np.log(4), rtol=1e-6)
    np.testing.assert_array_equal(bottleneck.indices(FEATURES), index)
    np.testing.assert_allclose(bottleneck.snap(codes[0]), codes[0], atol=1e-6)
    assert bottleneck.bits == 6


def test_the_codebook_follows_its_vectors():
    bottleneck = _bottleneck(decay=0.9)
    before, index = np.asarray(bottleneck.sums), np.asarray(bottleneck.indices(FEATURES)).ravel()
    bottleneck(FEATURES, training=True)
    vectors = FEATURES.reshape(-1, 2)
    sums = np.stack([vectors[index == j].sum(axis=0) for j in range(4)])
    np.testing.assert_allclose(bottleneck.sums, 0.9 * before + 0.1 * sums / 150, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bottleneck.counts, 0.9 + 0.1 * np.bincount(index, minlength=4) / 150, rtol=1e-5)
    for _ in range(300):
        bottleneck(FEATURES, training=True)
    index = np.asarray(bottleneck.indices(FEATURES)).ravel()
    centres = np.stack([vectors[index == j].mean(axis=0) for j in range(4)])
    np.testing.assert_allclose(bottleneck.codebook, centres, atol=0.05)  # k-means, online


def test_an_entry_that_nothing_chooses_starts_again_from_the_batch():
    bottleneck = _bottleneck(restart=0.5, decay=0.1)
    sums = np.asarray(bottleneck.sums).copy()
    sums[2] = 1e3  # far from every vector
    bottleneck.sums.assign(sums)
    bottleneck(FEATURES, training=True)
    entry = np.asarray(bottleneck.codebook)[2]
    assert np.abs(FEATURES.reshape(-1, 2) - entry).max(axis=1).min() < 1e-5


def test_a_whole_model_uses_its_codebook(digits):
    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(
        zoo.dense((64,), shape=(8, 8, 1)), zoo.VectorQuantized(8, 16, 2), zoo.dense((64,)), zoo.SquaredError("sigmoid")
    )
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(digits, epochs=20, batch_size=64, verbose=0)
    index = np.asarray(model.bottleneck.indices(model.encode(digits)))
    shares = np.bincount(index.ravel(), minlength=16) / index.size
    assert np.exp(-np.sum(shares * np.log(shares + 1e-12))) > 8
    error = np.square(digits - np.asarray(model.reconstruct(digits))).sum(axis=(1, 2, 3)).mean()
    assert error < 3.0  # the mean image's is 4.8 and more


@pytest.mark.parametrize("settings", [{"entries": 1}, {"tokens": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="Expected"):
        _bottleneck(**settings)
