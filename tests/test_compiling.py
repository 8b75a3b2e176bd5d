"""How a step of training is computed on a processor: by XLA, or by operations of which Adam's update is one."""

import keras
import numpy as np
import pytest

import training
import zoo
from training import kinds
from training.fitting import adam, blocks, loop, strategies

EXPERIMENTS = {
    "dense_digits_k8": True,
    "conv_mnist_k16": False,  # convolutions
    "vae_mnist_k2": False,  # a transform of images that XLA cannot compile
    "denoising_mnist_k64": False,  # noise, which XLA draws slowly
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_xla_compiles_what_is_faster_with_it(name, processor):
    processor("Some Processor", "avx2")
    experiment = training.EXPERIMENTS[name]
    model = zoo.Autoencoder(
        zoo.dense((4,), shape=(8, 8, 1)),
        zoo.Deterministic(2),
        zoo.dense((4,)),
        zoo.SquaredError(),
        corruption=experiment.make("corruption", seed=0),
    )
    assert strategies.compiles(model, experiment, strategies.MANY) == EXPERIMENTS[name]
    assert not strategies.compiles(model, experiment, strategies.MANY - 1)
    assert strategies.compiles(model, experiment.override({"xla": "on"}), 1)
    assert not strategies.compiles(model, experiment.override({"xla": "off"}), strategies.MANY)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_in_one_operation_makes_the_same_steps(weight_decay):
    x = np.random.default_rng(0).random((32, 6)).astype("float32")

    def trained(fused: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=weight_decay)
        optimizer.build(model.trainable_variables)
        if fused:
            adam.fuse(optimizer)
        model.compile(optimizer, "mse", jit_compile=False)
        model.fit(x, x, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return [np.asarray(variable) for variable in (*model.variables, *optimizer.variables)]

    for fused, plain in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [0, 1])
def test_steps_in_blocks_are_those_of_batches(shift, monkeypatch, tmp_path):
    experiment = training.EXPERIMENTS["dense_digits_k8"].override(
        {"xla": "on", "epochs": 2, "width": 8, "depth": 1, "shift": shift}
    )

    def trained(largest: int) -> tuple[list[np.ndarray], list[dict[str, float]]]:
        monkeypatch.setattr(blocks, "LARGEST", largest)
        keras.utils.set_random_seed(0)
        data, kind = kinds.open_data(experiment), kinds.of(experiment)
        model = kind.build(experiment, data)
        history, _ = loop.fit(model, data, experiment, training.Run(tmp_path / str(largest)))
        assert (model.steps_per_execution == 1) == bool(largest)
        state = [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]
        if largest:  # the model takes batches again
            model.train_on_batch(next(data.train.batches(32))["x"])
        return state, history

    (found, history), (expected, others) = trained(blocks.LARGEST), trained(0)
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-4, atol=1e-6)
    for each, other in zip(history, others, strict=True):
        assert each == pytest.approx(other, rel=1e-5)
