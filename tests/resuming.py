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
    """A new model that goes on from the checkpoint after `half` of the epochs ends with the very weights of the first."""
    whole, halfway, weights = folder / "whole.npz", folder / "halfway.npz", []
    for path, part in ((whole, range(experiment.epochs)), (halfway, range(half, experiment.epochs))):
        model = kinds.build(experiment, data)
        loop.compile(model, data, experiment)
        checkpoint = Checkpoint(path)
        assert checkpoint.restore(model) == part.start
        loop.fit_epochs(model, data, experiment, part, [checkpoint, Halfway(whole, halfway, half)])
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
