"""What every kind of data has: how it is opened, what is built for it, how that is judged and shown."""

import abc
import os
import pathlib
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import keras
import numpy as np

from training.data.splits import Data, Split
from training.experiments.experiment import Experiment
from training.fitting import loop, strategies
from training.reporting.page import Entry
from training.run import Run
from zoo.model import Model


class Evaluation(NamedTuple):
    """The metrics; the arrays of `codes.npz`; and the model beside which the metrics are set, where there is one."""

    metrics: dict[str, float]
    arrays: dict[str, np.ndarray]
    baseline: Model | None = None


class Kind(abc.ABC):
    """A kind of data. It is registered under the slot `kind`, with the slots of the experiments that are of it."""

    objective: ClassVar[str] = "squared_error"  # the metric by whose value on the validation split settings are searched
    sampled: ClassVar[tuple[str, ...]] = ("x", "label")  # columns of the rows that go with an export or a preset

    @abc.abstractmethod
    def open(self, experiment: Experiment) -> Data:
        """The data of an experiment, with their schema, split as it says."""

    def settled(self, experiment: Experiment, data: Data) -> Experiment:
        """The experiment with the values of those settings that it leaves to the data, each printed in a line."""
        return experiment

    @abc.abstractmethod
    def model(self, experiment: Experiment, data: Data) -> Model:
        """The model of an experiment for its data and with their schema, freshly initialized; seeds of layers follow from the
        experiment's."""

    def prepare(self, model: Model, data: Data) -> None:  # noqa: B027 - not every kind needs it
        """What is done to a new model before training. Raises ValueError for data in memory that it cannot take; those of a
        stream are looked at batch by batch."""

    def after_fit(self, model: Model, data: Data, experiment: Experiment) -> None:  # noqa: B027 - as above
        """What is done to a model when training is done."""

    @abc.abstractmethod
    def evaluate(self, model: Model, data: Data, experiment: Experiment) -> Evaluation:
        """Judges a finished model on the test split."""

    @abc.abstractmethod
    def held_out_error(self, model: Model, split: Split, data: Data) -> float:
        """The main figure of a model on a split, the lower the better."""

    @abc.abstractmethod
    def figures(self, run: Run, model: Model, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
        """The pictures of a run's report, in the page's order."""

    @abc.abstractmethod
    def limits(self, experiment: Experiment) -> str:
        """What a model card says of what the model cannot do."""

    def write(self, data: Data, folder: str | os.PathLike) -> pathlib.Path:
        """Writes the splits of data as files that are data again; returns the folder.

        Raises:
            ValueError: a kind whose splits are not written.
        """
        raise ValueError(f"Expected data whose splits are written as files. Received: {data.name}. Try g2p_cmudict.")

    def build(self, experiment: Experiment, data: Data) -> Model:
        """The model of an experiment, ready to be trained in the experiment's precision.

        Raises:
            ValueError: parts that do not go together; data in memory that the model cannot take.
        """
        for slot in ("optimizer", "training", "evaluation"):
            experiment.make(slot)  # raises for a wrong setting now, not when it is used
        with loop.computing_in(strategies.precision(experiment)):
            keras.utils.set_random_seed(experiment.seed)
            model = self.model(experiment, data)
        self.prepare(model, data)
        return model

    def in_float32(self, model: Model, experiment: Experiment, data: Data) -> Model:
        """The model computing in float32, whatever it was trained in."""
        if strategies.precision(experiment) == "float32":
            return model
        keras.utils.set_random_seed(experiment.seed)
        copy = self.model(experiment, data)
        copy.set_weights(model.get_weights())
        return copy
