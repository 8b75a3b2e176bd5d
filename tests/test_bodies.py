"""Convolutional bodies for images of any size, and the corruptions."""

import keras
import numpy as np
import pytest

import zoo

SHAPES = [((28, 28, 1), 2), ((32, 32, 3), 3), ((29, 17, 2), 2), ((5, 9, 1), 0), ((8, 8, 1), 1)]


@pytest.mark.parametrize(("shape", "levels"), SHAPES)
def test_depth_follows_the_size(shape, levels):
    encoder, decoder = zoo.conv(shape, 4), zoo.conv_decoder(shape, 4)
    assert sum(layer.name.startswith("down") for layer in encoder.layers) == levels
    decoder.build((None, 3))
    features = decoder(np.zeros((2, 3), "float32"))
    assert tuple(features.shape[:3]) == (2, *shape[:2])
    model = zoo.Autoencoder(encoder, zoo.Deterministic(3), decoder, zoo.SquaredError("sigmoid"))
    x = np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")
    assert model.reconstruct(x).shape == (2, *shape)
    assert isinstance(model.head.layers[0], keras.layers.Conv2D)


def test_an_upsampled_constant_has_no_checkerboard():
    """From a constant image every pixel far from the edges sees the same: no pattern of period 2 appears."""
    keras.utils.set_random_seed(0)
    decoder = zoo.conv_decoder((56, 56, 1), 4, activation="silu")
    decoder.build((None, 2))
    grow = next(layer for layer in decoder.layers if layer.name == "grow")
    grow.set_weights([np.zeros(grow.kernel.shape), np.ones(grow.bias.shape)])
    features = np.asarray(decoder(np.ones((1, 2), "float32")))[0, 24:32, 24:32]
    np.testing.assert_allclose(features, np.broadcast_to(features[:1, :1], features.shape), rtol=1e-4)
    assert np.abs(features).max() > 0


def test_what_is_not_an_image_is_refused():
    with pytest.raises(ValueError, match=r"Try zoo\.dense"):
        zoo.conv((64,))
    parts = (zoo.dense((16,), shape=(64,)), zoo.Deterministic(4), zoo.dense((16,)), zoo.SquaredError())
    with pytest.raises(ValueError, match="Expected images"):
        zoo.Autoencoder(*parts, corruption=zoo.RandomAffine())


def test_center_starts_at_the_mean_of_the_data(digits):
    for likelihood in (zoo.SquaredError("sigmoid"), zoo.SquaredError(), zoo.Bernoulli(), zoo.DiscretizedGaussian(17)):
        keras.utils.set_random_seed(0)
        model = zoo.Autoencoder(zoo.conv((8, 8, 1), 4), zoo.Deterministic(2), zoo.conv_decoder((8, 8, 1), 4), likelihood)
        model.center(digits)
        assert np.asarray(model.decode(np.zeros((1, 2)))).mean() == pytest.approx(digits.mean(), abs=0.02)
    dense = zoo.dense_autoencoder((8, 8, 1), 2, (16,), likelihood=zoo.SquaredError())
    dense.center(digits)
    np.testing.assert_allclose(dense.decode(np.zeros((1, 2)))[0], digits.mean(axis=0), atol=1e-4)


def test_noise_of_a_strength_of_its_own_for_every_row():
    noise = zoo.RandomNoise(0.5)
    x = np.zeros((4000, 100), "float32")
    assert np.asarray(noise(x)).max() == 0
    deviations = np.asarray(noise(x, training=True)).std(axis=1)
    assert 0.23 < deviations.mean() < 0.27
    assert deviations.min() < 0.02 and 0.4 < deviations.max() < 0.65


def test_affine_maps_turn_and_move_around_the_centre():
    x = np.zeros((300, 9, 9, 1), "float32")
    x[:, 4, 4] = 1
    still = zoo.RandomAffine(shift=0, rotation=180, scale=0, shear=0)
    np.testing.assert_allclose(still(x, training=True)[:, 4, 4], 1, atol=1e-4)
    np.testing.assert_array_equal(still(x), x)
    moved = np.asarray(zoo.RandomAffine(shift=2, rotation=0, scale=0, shear=0)(x, training=True))[..., 0]
    centres = np.stack([(moved.sum(axis=2) @ np.arange(9)), (moved.sum(axis=1) @ np.arange(9))]) / moved.sum(axis=(1, 2)) - 4
    assert np.abs(centres).max() < 2.01 and (centres.std(axis=1) > 1).all()
    np.testing.assert_allclose(moved.sum(axis=(1, 2)), 1, atol=1e-4)


def test_corruption_is_for_training_alone(digits):
    keras.utils.set_random_seed(0)
    parts = (zoo.dense((16,), shape=(8, 8, 1)), zoo.Deterministic(4), zoo.dense((16,)), zoo.SquaredError())
    model = zoo.Autoencoder(*parts, corruption=zoo.RandomNoise(2.0))
    clean = np.asarray(model.reconstruct(digits[:5]))
    np.testing.assert_allclose(model(digits[:5], training=False)["x"], clean, atol=1e-5)
    assert np.abs(np.asarray(model(digits[:5], training=True)["x"]) - clean).max() > 1e-2


def test_sparsity_is_a_penalty_on_codes_in_training():
    bottleneck = zoo.Deterministic(3, sparsity=0.5)
    bottleneck.build((None, 2))
    features = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    codes, cost = bottleneck(features, training=True)
    np.testing.assert_allclose(cost[0], 0.5 * np.abs(np.asarray(codes[0])).sum(axis=1), rtol=1e-5)
    assert np.asarray(bottleneck(features)[1]).max() == 0
