"""Randomness: equal seeds give equal runs, different seeds different ones, and no two parts share their draws."""

import functools

import keras
import numpy as np
import pytest

import training
import zoo
from training import kinds
from training.data import splits
from training.data.splits import Split
from training.fitting import loop
from training.seeds import derived

RANDOM = {
    "gaussian": {"bottleneck": "gaussian", "corruption": "affine_noise", "noise": 0.1},
    "vector_quantized": {"bottleneck": "vector_quantized", "tokens": 2, "token_width": 2, "entries": 8},
    "predictor": {"kind": "predictor", "labels": 50},
}
LAYERS = {
    "bottleneck": lambda seed: zoo.Gaussian(4, seed=seed),
    "quantized": lambda seed: zoo.VectorQuantized(4, 16, 2, restart=0.99, seed=seed),
    "noise": lambda seed: zoo.RandomNoise(0.5, seed=seed),
    "affine": lambda seed: zoo.RandomAffine(seed=seed),
}


def _trained(experiment) -> np.ndarray:

    data = kinds.open_data(experiment)
    model = kinds.build(experiment, data)
    loop.compile(model, data, experiment)
    loop.fit_epochs(model, data, experiment, range(1), [])
    return np.concatenate([np.ravel(weights) for weights in model.get_weights()])


@pytest.mark.parametrize("settings", RANDOM.values(), ids=RANDOM)
def test_equal_seeds_give_equal_runs_and_others_do_not(small, settings):
    experiment = small.override(**settings, seed=1, epochs=1)
    once, again, other = (_trained(experiment.override(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 1e-3


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_takes_its_seed_and_keeps_it(make, digits):
    def drawn(layer):
        if isinstance(layer, zoo.Bottleneck):
            layer.build((None, 64))
            layer.projection.set_weights([np.eye(64, layer.projection.units), np.zeros(layer.projection.units)])
            codes, _ = layer(digits[:8].reshape(8, 64), training=True)
            return np.concatenate([np.ravel(codes), *(np.ravel(weights) for weights in layer.get_weights())])
        return np.asarray(layer(digits[:8], training=True))

    one, same, other = (drawn(make(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4
    layer = make(3)
    restored = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(drawn(restored), drawn(layer))
    config = layer.get_config()
    del config["seed"]  # as it was saved before layers had one
    assert type(layer).from_config(config).seed is None
    keras.utils.set_random_seed(0)
    assert np.abs(drawn(make(None)) - drawn(make(None))).max() > 1e-4


def test_parts_of_an_experiment_draw_for_themselves(small):
    experiment = small.override(**RANDOM["gaussian"])
    model = kinds.build(experiment, training.load("digits"))
    seeds = [model.bottleneck.seed, *(layer.seed for layer in model.corruption.layers)]
    assert len({*seeds, derived(0, "shift"), derived(0, "binarize"), derived(1, "bottleneck")}) == 6
    assert all(0 <= seed < 2**31 for seed in (*seeds, derived(2**70, "x")))


def test_shifts_and_binarization_have_keys_of_their_own(monkeypatch):
    x = np.random.default_rng(0).random((64, 6, 6, 1), "float32")

    def first(seed: int, shift: int = 0) -> np.ndarray:
        split = Split(64, {"x": x, "id": np.arange(64).astype(str)}, dynamic=True, shift=shift)
        return next(iter(split.training(64, 1, range(1), seed))).numpy()

    keys = []

    def kept(original, *arguments):
        keys.append(arguments[-1])
        return original(*arguments)

    for name in ("drawn", "_shifted"):
        monkeypatch.setattr(splits, name, functools.partial(kept, getattr(splits, name)))
    first(0, shift=1)
    assert len({int(seed) for seed, _ in keys}) == 2
    assert np.any(first(0) != first(1)) and np.array_equal(first(1), first(1))


def test_windows_of_a_stream_share_no_order_between_seeds():
    import tensorflow as tf

    x = np.arange(600, dtype="float32")[:, None]
    stream = tf.data.Dataset.from_tensors({"x": x}).repeat(1)
    split = Split(600, stream=stream, window=300)

    def orders(seed: int) -> list[np.ndarray]:
        rows = [batch.numpy()[:, 0] for batch in split.training(300, 2, range(1), seed)]
        return [np.argsort(window) for window in rows]

    (_, second), (first, _) = orders(0), orders(1)  # once the same: seed + window was the key
    assert np.any(first != second)
