"""What the constructor and `fit` refuse, with what they say."""

import keras
import numpy as np
import pytest

import zoo


def test_no_bottleneck_is_refused_unless_asked_for():
    with pytest.raises(ValueError, match=r"the identity would win.*k=64, d=64.*overcomplete=True"):
        zoo.dense_autoencoder((8, 8, 1), 64)
    assert zoo.dense_autoencoder((8, 8, 1), 64, overcomplete=True).k == 64


def test_an_encoder_without_a_shape_is_refused():
    with pytest.raises(ValueError, match="knows the shape of its input"):
        zoo.Autoencoder(zoo.dense((4,)), zoo.Deterministic(2), zoo.dense((4,)), zoo.SquaredError())


def test_a_loss_is_refused(digits):
    model = zoo.dense_autoencoder((8, 8, 1), 2)
    model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match="the likelihood is the loss"):
        model.fit(digits, verbose=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: 255 * x, r"values in \[0, 255\].*Try x / 255"),
        (lambda x: 16 * x, r"values in \[0, 16\].*Try x / 16"),
        (lambda x: 2 * x - 1, r"values in \[-1, 1\].*Try \(x - -1\) / 2"),
        (lambda x: np.where(x > 0.9, np.nan, x), "NaN or Inf"),
        (lambda x: np.where(x > 0.9, np.inf, x), "NaN or Inf"),
        (lambda x: x[:, :, :, 0], r"x.reshape"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused_before_the_first_step(digits, spoil, message):
    model = zoo.dense_autoencoder((8, 8, 1), 2, likelihood=zoo.Bernoulli())
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(spoil(digits), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_data_set_is_looked_at_before_the_first_step(digits):
    import tensorflow as tf

    model = zoo.dense_autoencoder((8, 8, 1), 2, likelihood=zoo.Bernoulli())
    with pytest.raises(ValueError, match="Try x / 255"):
        model.fit(tf.data.Dataset.from_tensor_slices(255 * digits).batch(32), verbose=0)


def test_sample_weights_and_validation_data(digits):
    model = zoo.dense_autoencoder((8, 8, 1), 2, (16,))
    weights = np.zeros(64)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(digits[:64], sample_weight=weights, validation_data=digits[64:128], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.history.history["val_squared_error"][0] > 0
