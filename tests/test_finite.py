"""Numbers that float32 cannot hold or square are refused everywhere; training that diverges keeps the last good weights."""

import keras
import numpy as np
import pytest
from models import PREDICTORS

import zoo

ROWS = np.random.default_rng(0).random((20, 8, 8, 1))


def _spoilt(value, dtype="float64") -> np.ndarray:
    x = ROWS.astype(dtype)
    x[7, 2, 3] = value
    return x


def _solve(x):
    zoo.linear_autoencoder((8, 8, 1), 2).solve(x)


def _solve_batches(x):
    zoo.pca((x[i : i + 5] for i in range(0, len(x), 5)), 2, (8, 8, 1))


def _fit(x):
    zoo.dense_autoencoder((8, 8, 1), 2, (8,)).fit(x, verbose=0)


def _fit_predictor(x):
    PREDICTORS["regressor"]().fit(x, np.zeros(len(x), "float32"), verbose=0)


@pytest.mark.parametrize("way", [_fit, _fit_predictor, _solve, _solve_batches])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e20, -1e39, 1e300])
def test_values_beyond_float32_are_refused_with_their_row(way, value):
    with pytest.raises(ValueError, match=rf"Expected finite values.*Received: {value!s} in row 7,".replace("+", "[+]")):
        way(_spoilt(value))


@pytest.mark.parametrize("value", ["1e39", "1e4000"])
def test_long_doubles_beyond_float32_are_refused_too(value):
    with pytest.raises(ValueError, match=r"Expected finite values.*in row 7,"):
        _fit(_spoilt(np.longdouble(value), "longdouble"))


def test_large_values_are_solved_for():
    model = zoo.linear_autoencoder((8, 8, 1), 2)
    np.testing.assert_allclose(model.solve(1e12 * ROWS) / 1e24, model.solve(ROWS), rtol=1e-3)


def _exploding(optimizer) -> zoo.Autoencoder:
    model = zoo.dense_autoencoder((8, 8, 1), 2, (8,))
    model.compile(optimizer)
    return model


def test_a_fit_that_is_not_finite_ends_and_keeps_the_last_good_weights():
    class Burst(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate = 1e30

        def on_epoch_end(self, epoch, logs=None):
            kept.append([self.model.get_weights(), [np.array(v) for v in self.model.optimizer.variables]])

    kept = []
    model = _exploding(keras.optimizers.SGD(1e-3, momentum=0.9))
    with pytest.raises(ValueError, match=r"Expected a finite loss.* loss=.* in epoch 3.*restored to those from after epoch 2"):
        model.fit(ROWS, epochs=5, batch_size=5, verbose=0, callbacks=[Burst()])
    assert len(kept) == 2  # nobody else sees the epoch
    for one, other in zip(kept[-1][0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(kept[-1][1][2:], model.optimizer.variables[2:], strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    model.optimizer.learning_rate = 1e-3
    assert np.isfinite(model.fit(ROWS, verbose=0).history["loss"][0])


def test_weights_are_looked_at_beside_the_loss():
    """A single step, whose loss is still that of the old weights."""
    model = _exploding(keras.optimizers.SGD(1e38))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Expected a finite weight.* in epoch 1\..*those from before the first epoch"):
        model.fit(1e5 * ROWS, batch_size=20, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_validation_data_and_weights_of_before_are_looked_at_too():
    model = _exploding("adam")
    with pytest.raises(ValueError, match=r"Expected a finite loss.* val_loss=nan in epoch 1"):
        model.fit(ROWS, validation_data=_spoilt(np.nan, "float32"), verbose=0)
    model.head.weights[-1].assign(np.full(64, np.nan, "float32"))
    with pytest.raises(ValueError, match=r"Expected a finite weight. Received: .*=nan before the first epoch"):
        model.fit(ROWS, verbose=0)
