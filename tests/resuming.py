"""Training that goes on from a checkpoint, beside training that was never interrupted."""

import pathlib
import shutil

import keras
import numpy as np

from training import kinds
from training.fitting import loop
from training.fitting.callbacks import Checkpoint


class Halfway(keras.callbacks.Callback):
    """Keeps a copy of a checkpoint as it is after some epochs; comes after the `Checkpoint`."""

    def __init__(self, path: pathlib.Path, copy: pathlib.Path, epochs: int):
        super().__init__()
        self.path, self.copy, self.epochs = path, copy, epochs

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epochs:
            shutil.copy(self.path, self.copy)


def assert_two_parts_are_one_whole(experiment, data, half: int, folder: pathlib.Path) -> None:
    """A model that goes back to the checkpoint after `half` of the epochs ends with the very weights that it had at the end.

    What the checkpoint left out would keep its last value. It is the same model, which is not compiled again; a process that
    was killed goes on with a new one in `test_training.py`.
    """
    whole, halfway = folder / "whole.npz", folder / "halfway.npz"
    model = kinds.build(experiment, data)
    loop.compile(model, data, experiment)
    callbacks = [Checkpoint(whole), Halfway(whole, halfway, half)]
    loop.fit_epochs(model, data, experiment, range(experiment.epochs), callbacks)
    weights, checkpoint = model.get_weights(), Checkpoint(halfway)
    assert checkpoint.restore(model) == half
    assert any(np.any(one != other) for one, other in zip(weights, model.get_weights(), strict=True))
    loop.fit_epochs(model, data, experiment, range(half, experiment.epochs), [checkpoint])
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
