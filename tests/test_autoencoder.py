"""What the constructor and `fit` refuse, and their error messages."""

import keras
import numpy as np
import pytest

import zoo


def test_no_bottleneck_is_refused_unless_asked_for():
    with pytest.raises(ValueError, match=r"the identity would win.*k=64, d=64.*overcomplete=True"):
        zoo.dense_autoencoder((8, 8, 1), 64)
    assert zoo.dense_autoencoder((8, 8, 1), 64, overcomplete=True).k == 64


def test_an_encoder_without_a_shape_is_refused():
    with pytest.raises(ValueError, match="with a known input shape"):
        zoo.Autoencoder(zoo.dense((4,)), zoo.Deterministic(2), zoo.dense((4,)), zoo.SquaredError())


@pytest.mark.parametrize("wrong", [{"loss": "mse"}, {"metrics": ["mae"]}])
def test_a_loss_or_metrics_are_refused(digits, wrong):
    model = zoo.dense_autoencoder((8, 8, 1), 2)
    model.compile("adam", **wrong)
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


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64", "float16", "float64"])
def test_numbers_of_any_type_are_taken(digits, dtype):
    import tensorflow as tf

    x = np.round(digits[:64]).astype(dtype)
    model = zoo.dense_autoencoder((8, 8, 1), 2, (16,), likelihood=zoo.Bernoulli())
    for data in (x, tf.data.Dataset.from_tensor_slices(x).batch(32)):
        history = model.fit(data, verbose=0).history
        assert np.isfinite(history["loss"][0]) and history["squared_error"][0] > 0
    with pytest.raises(ValueError, match=r"values in \[0, 255\]"):
        zoo.dense_autoencoder((8, 8, 1), 2, likelihood=zoo.Bernoulli()).fit((255 * digits).astype("int32"))


def test_regularizers_of_the_users_own_models_count(digits):
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(16, kernel_regularizer=keras.regularizers.L2(10.0))(keras.layers.Flatten()(image))
    model = zoo.Autoencoder(keras.Model(image, hidden), zoo.Deterministic(2), zoo.dense((16,)), zoo.SquaredError())
    model.compile(keras.optimizers.SGD(0.0))
    evaluated = model.evaluate(digits[:64], batch_size=64, verbose=0, return_dict=True)
    penalty = 10 * float(np.square(np.asarray(model.encoder.layers[-1].kernel)).sum())
    assert evaluated["loss"] == pytest.approx(penalty - float(np.mean(model.score(digits[:64]))), rel=1e-4)


@pytest.mark.parametrize("seeds", [[2**32 + 5], [1.5], np.array([1.0]), ["a"]])
def test_seeds_that_would_change_are_refused(seeds):
    with pytest.raises(ValueError, match=r"Expected (integers|numbers)"):
        zoo.dense_autoencoder((8, 8, 1), 2, (4,)).generate(seeds)


def test_bodies_in_low_precision(digits):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = zoo.dense_autoencoder((8, 8, 1), 2, (16,))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    history = model.fit(digits, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for answer in (model.encode(digits[:2]), model.generate([1, 2]), model.score(digits[:2])):
        assert keras.backend.standardize_dtype(answer.dtype) == "float32"


def test_a_likelihood_with_one_bound():
    class Positive(zoo.SquaredError):
        low = 0.0

    with pytest.raises(ValueError, match=r"Expected values in \[0, inf\] for Positive"):
        Positive().check(np.array([[-1.0]]))


def test_sample_weights_and_validation_data(digits):
    model = zoo.dense_autoencoder((8, 8, 1), 2, (16,))
    weights = np.zeros(64)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(digits[:64], sample_weight=weights, validation_data=digits[64:128], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.history.history["val_squared_error"][0] > 0
