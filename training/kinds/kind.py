"""The interface of a kind of data: how data are opened, and how models of them are built, evaluated and reported."""

import abc
import os
import pathlib
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import keras
import numpy as np

from training.choices import Choice
from training.data.splits import Data, Split
from training.experiments.experiment import Experiment
from training.fitting import loop, strategies
from training.reporting.entries import Entry
from training.run import Run
from zoo.model import Model


class Evaluation(NamedTuple):
    """The metrics, the arrays of `codes.npz`, and the baseline model, if there is one."""

    metrics: dict[str, float]
    arrays: dict[str, np.ndarray]
    baseline: Model | None = None


class Kind(abc.ABC):
    """Base class of the kinds of data. They are registered in the slot `kind`, with the slots of their experiments."""

    objective: ClassVar[str] = "squared_error"  # the metric on the validation split that a search for settings minimizes
    most_epochs: ClassVar[int] = 300  # that training ever needs, as a rule
    share_of_time: ClassVar[float] = 0.6  # for epochs; the rest is for reading, evaluation, pictures and the export
    sampled: ClassVar[tuple[str, ...]] = ("x", "label")  # columns of the rows that an export or a preset contains
    pictured: ClassVar[tuple[str, ...]] = ()  # pictures of the report that a preset contains

    @abc.abstractmethod
    def open(self, experiment: Experiment) -> Data:
        """Opens the data of an experiment, with their schema and the splits that it asks for."""

    def described(self, data: Data) -> list[str]:
        """What data hold, in lines for the terminal, of which the first continues a line."""
        shapes = (f"{feature.type} {' × '.join(map(str, feature.shape))}".strip() for feature in data.schema.values())
        return [" and ".join(shapes)]

    def keep(self, data: Data, run: Run) -> None:  # noqa: B027 - not every kind needs it
        """Writes what is known of the data, and can be given back, to a run's folder."""

    def choose(self, data: Data, given: frozenset[str]) -> dict[str, Choice]:
        """Settings that fit data, by full name, each with its reason; `given` are the names of those that the user has set.

        Raises:
            ValueError: a kind that needs an experiment to be named.
        """
        raise ValueError(f"Expected an experiment for this kind of data. Received: none. Try --dataset={data.name} alone.")

    def settled(self, experiment: Experiment, data: Data) -> Experiment:
        """The experiment with values, taken from the data, for the settings that it leaves open. Each is printed on a line."""
        return experiment

    @abc.abstractmethod
    def model(self, experiment: Experiment, data: Data) -> Model:
        """Makes the model of an experiment for its data, with their schema and initial weights. The seeds of its layers are
        derived from the experiment's."""

    def prepare(self, model: Model, data: Data) -> None:  # noqa: B027 - not every kind needs it
        """Prepares a new model for training. Raises ValueError if data in memory are not valid for it; a stream is checked
        later, batch by batch."""

    def refine(  # noqa: B027 - as above
        self, model: Model, data: Data, experiment: Experiment, run: Run, history: list[dict[str, float]]
    ) -> None:
        """Goes on with the training of a fitted model, where that is of use; `history` has the metrics of its epochs."""

    def after_fit(self, model: Model, data: Data, experiment: Experiment) -> None:  # noqa: B027 - as above
        """Completes a model after training."""

    @abc.abstractmethod
    def evaluate(self, model: Model, data: Data, experiment: Experiment) -> Evaluation:
        """Evaluates a finished model on the test split."""

    @abc.abstractmethod
    def held_out_error(self, model: Model, split: Split, data: Data) -> float:
        """The main error of a model on a split; lower is better."""

    @abc.abstractmethod
    def figures(self, run: Run, model: Model, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
        """The pictures of a run's report, in the order of the page."""

    @abc.abstractmethod
    def limits(self, experiment: Experiment) -> str:
        """What a model card says about the limits of the model."""

    def write(self, data: Data, folder: str | os.PathLike) -> pathlib.Path:
        """Writes the splits of data as files that can be opened as a data set; returns the folder.

        Raises:
            ValueError: splits of this kind cannot be written.
        """
        raise ValueError(f"Expected data whose splits can be written as files. Received: {data.name}. Try g2p_cmudict.")

    def examples(self, rows: dict[str, np.ndarray], data: Data) -> dict[str, np.ndarray]:
        """Rows of a run's sample as a preset contains them, pictures in 8 bits."""
        x = rows.get("x")
        if x is None or data.schema["x"].type != "image" or x.min() < 0 or x.max() > 1:
            return rows
        return {**rows, "x": np.round(255 * x).astype("uint8")}

    def build(self, experiment: Experiment, data: Data) -> Model:
        """Builds the model of an experiment, ready to be trained in the experiment's precision.

        Raises:
            ValueError: parts that do not fit together; data in memory that are not valid for the model.
        """
        for slot in ("optimizer", "training", "evaluation"):
            experiment.make(slot)  # raises for wrong settings now, not when they are used
        with loop.computing_in(strategies.precision(experiment)):
            keras.utils.set_random_seed(experiment.seed)
            model = self.model(experiment, data)
        self.prepare(model, data)
        return model

    def in_float32(self, model: Model, experiment: Experiment, data: Data) -> Model:
        """The same model, computing in float32, whatever precision it was trained in."""
        if strategies.precision(experiment) == "float32":
            return model
        keras.utils.set_random_seed(experiment.seed)
        copy = self.model(experiment, data)
        copy.set_weights(model.get_weights())
        return copy
