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
    np.testing.assert_array_equal(bottleneck.symbols(FEATURES), index)
    np.testing.assert_allclose(bottleneck.snap(codes[0]), codes[0], atol=1e-6)
    assert bottleneck.bits == 6


def test_the_codebook_follows_its_vectors():
    bottleneck = _bottleneck(decay=0.9)
    before, index = np.asarray(bottleneck.sums), np.asarray(bottleneck.symbols(FEATURES)).ravel()
    bottleneck(FEATURES, training=True)
    vectors = FEATURES.reshape(-1, 2)
    sums = np.stack([vectors[index == j].sum(axis=0) for j in range(4)])
    np.testing.assert_allclose(bottleneck.sums, 0.9 * before + 0.1 * sums / 150, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bottleneck.counts, 0.9 + 0.1 * np.bincount(index, minlength=4) / 150, rtol=1e-5)
    for _ in range(300):
        bottleneck(FEATURES, training=True)
    index = np.asarray(bottleneck.symbols(FEATURES)).ravel()
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


@pytest.mark.parametrize("decay", [0.0, 1e-20])
def test_an_entry_that_nothing_chooses_stays_where_no_restart_is_wanted(decay):
    bottleneck = _bottleneck(decay=decay)
    sums = np.asarray(bottleneck.sums).copy()
    sums[2] = 1e3
    bottleneck.sums.assign(sums)
    for _ in range(3):  # below the smallest float32
        codes, cost = bottleneck(FEATURES, training=True)
    assert np.isfinite(codes).all() and np.isfinite(cost).all()
    np.testing.assert_allclose(np.asarray(bottleneck.codebook)[2], 1e3, rtol=1e-4)
    near = np.full((1, 6), 1e3, dtype="float32")  # and it follows again once a vector chooses it
    bottleneck(near - 50, training=True)
    np.testing.assert_allclose(np.asarray(bottleneck.codebook)[2], 950, rtol=1e-3)


def test_a_complete_model_uses_its_codebook(digits):
    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(
        zoo.dense((64,), shape=(8, 8, 1)), zoo.VectorQuantized(8, 16, 2), zoo.dense((64,)), zoo.SquaredError("sigmoid")
    )
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(digits, epochs=20, batch_size=64, verbose=0)
    index = np.asarray(model.bottleneck.symbols(model.encode(digits)))
    shares = np.bincount(index.ravel(), minlength=16) / index.size
    assert np.exp(-np.sum(shares * np.log(shares + 1e-12))) > 8
    error = np.square(digits - np.asarray(model.reconstruct(digits))).sum(axis=(1, 2, 3)).mean()
    assert error < 3.0  # the mean image's is 4.8 and more


NAN, INF = float("nan"), float("inf")
VQ = {"tokens": 3, "entries": 4, "width": 2}
REFUSED = [
    *((zoo.VectorQuantized, {**VQ, name: value}) for name in VQ for value in (0, -2, 1.5, NAN)),
    (zoo.VectorQuantized, {**VQ, "entries": 1}),
    (zoo.VectorQuantized, {**VQ, "tokens": -3, "width": -2}),
    *((zoo.VectorQuantized, {**VQ, "commitment": value}) for value in (-0.1, NAN, INF)),
    *((zoo.VectorQuantized, {**VQ, name: value}) for name in ("decay", "restart") for value in (-0.1, 1.0, 2.0, NAN, INF)),
    *((zoo.Deterministic, {"k": value}) for value in (0, -1, 2.5, NAN)),
    *((zoo.Deterministic, {"k": 2, "sparsity": value}) for value in (-1.0, NAN, INF)),
    *((zoo.Gaussian, {"k": 2, name: v}) for name in ("beta", "free_bits", "warmup") for v in (-1.0, NAN, INF)),
    *((zoo.Gaussian, {"k": 2, "samples": value}) for value in (0, 1.5, NAN)),
    *((zoo.RandomNoise, {"highest": value}) for value in (-0.1, NAN, INF)),
    *((zoo.RandomAffine, {name: v}) for name in ("shift", "rotation", "scale", "shear") for v in (-0.1, NAN, INF)),
    (zoo.RandomAffine, {"scale": 1.0}),
    *((zoo.Rounded, {"k": 2, "rate": value}) for value in (-0.1, NAN, INF)),
    *((zoo.Rounded, {"k": 2, "logistics": value}) for value in (0, 1.5, NAN)),
    *((zoo.Histograms, {"cells": value}) for value in (1, 2.5, NAN)),
    *((zoo.Histograms, {"clusters": value}) for value in (0, NAN)),
    *((zoo.Histograms, {"distortion": value}) for value in (0.0, -1.0, NAN, INF)),
    (zoo.LogisticMixture, {"logistics": 0}),
    *((zoo.DiscretizedGaussian, {"levels": value}) for value in (1, 0, 16.5, NAN)),
]


@pytest.mark.parametrize(("part", "settings"), REFUSED)
def test_settings_that_would_lead_to_nan_or_nothing_are_refused(part, settings):
    name = next(reversed(settings)) if part is not zoo.VectorQuantized else ""
    with pytest.raises(ValueError, match=rf"Expected {name}.*\. Received: {name}.*\. Try {name}"):
        part(**settings)
