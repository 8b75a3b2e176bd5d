"""The last part of training: on all rows that are not for testing, at a learning rate that falls to zero once more."""

import contextlib
from collections.abc import Sequence

import keras

from training.data.splits import Data
from training.experiments.experiment import Experiment
from training.fitting import loop
from training.fitting.callbacks import Progress

SHARE = 0.25  # of the epochs that the best weights took
RATE = 0.5  # of the highest learning rate until then
WARMUP = 0.1  # of the steps; the optimizer begins anew


def cool_down(model: keras.Model, data: Data, experiment: Experiment, rates: Sequence[float]) -> None:
    """Goes on with the training of a model that has its best weights, with the rows of the validation split, which has done its
    part, among the training rows.

    Of few rows every one counts; and weights that were best while the rate was high still move about a minimum.

    Args:
        data: in memory, with a validation split.
        rates: the learning rates of the epochs that led to the best weights. If there are none above 0, nothing is done.
    """
    if not any(rates):
        return
    settings = {"epochs": max(1, round(SHARE * len(rates))), "warmup": WARMUP, "learning_rate": RATE * max(rates)}
    shorter, whole = experiment.override(settings), data.joined()
    loop.compile(model, whole, shorter)
    again = range(settings["epochs"])
    with contextlib.closing(Progress(again, "training on all rows")) as progress:
        loop.fit_epochs(model, whole, shorter, again, [progress])
