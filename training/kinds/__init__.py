"""Kinds of data: everything that depends on the kind, behind one interface."""

import keras

from training.data.splits import Data
from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind

__all__ = ["Evaluation", "Kind", "build", "of", "open_data"]


def of(experiment: Experiment) -> Kind:
    """The kind of an experiment's data."""
    return experiment.make("kind")


def open_data(experiment: Experiment) -> Data:
    """Opens the data of an experiment, with the splits that it asks for."""
    return of(experiment).open(experiment)


def build(experiment: Experiment, data: Data) -> keras.Model:
    """Builds the model of an experiment for its data, ready to be trained."""
    return of(experiment).build(experiment, data)
