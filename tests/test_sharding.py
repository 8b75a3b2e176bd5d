"""Weights that the devices of one process share, with JAX."""

import keras
import numpy as np
import pytest

import training
from training import kinds
from training.fitting import loop, strategies
from training.run import Run

if keras.backend.backend() != "jax":
    pytest.skip("only JAX has this strategy", allow_module_level=True)

SETTINGS = {"width": 1024, "depth": 1, "epochs": 2, "batch_size": 63, "validation": 0.1}
KERNEL = 64 * 1024 * 4  # bytes of the first layer's, and of the last one's


def test_devices_that_share_the_weights_train_as_one_does(tmp_path):
    import jax

    experiment = training.EXPERIMENTS["dense_digits_k8"].override(SETTINGS)
    data = kinds.open_data(experiment)
    trained = {}
    for strategy in ("one", "model"):
        with strategies.scope(strategy):
            model = kinds.build(experiment, data)
            history, _ = loop.fit(model, data, experiment, Run(tmp_path / strategy))
        trained[strategy] = model, history
    (one, left), (model, right) = trained.values()
    for weight, other in zip(one.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5, rtol=0)
    assert left == [*map(pytest.approx, right)]
    held = dict.fromkeys(jax.devices(), 0)
    for variable in [*model.variables, *model.optimizer.variables]:
        for shard in variable.value.addressable_shards:
            held[shard.device] += shard.data.nbytes
    whole = sum(variable.value.nbytes for variable in [*one.variables, *one.optimizer.variables])
    assert len(held) == 2 and len({*held.values()}) == 1
    assert max(held.values()) == whole - 2 * 3 * KERNEL // 2  # of each kernel and its two moments, every device has a half
