"""Kinds of data: everything in which one differs from another, in one protocol."""

import keras

from training.data.splits import Data
from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind

__all__ = ["Evaluation", "Kind", "build", "of", "open_data"]


def of(experiment: Experiment) -> Kind:
    """The kind of an experiment."""
    return experiment.make("kind")


def open_data(experiment: Experiment) -> Data:
    """The data of an experiment, split as it says."""
    return of(experiment).open(experiment)


def build(experiment: Experiment, data: Data) -> keras.Model:
    """The model of an experiment for its data, ready to be trained."""
    return of(experiment).build(experiment, data)
