"""Callbacks of `model.fit`: checkpoints, from which an interrupted run is resumed, and a progress bar for all epochs."""

import json
import math
import pathlib
import time
from collections.abc import Iterator, Mapping

import keras
import numpy as np
from tqdm import tqdm

from training import files

RESTART = "--restart, which trains from the beginning, or another --workdir"
SHOWN = (  # metrics beside the progress bar
    "scaled_error",
    "val_scaled_error",
    "squared_error",
    "val_squared_error",
    "sequence_error",
    "val_sequence_error",
    "imputation",
    "val_imputation",
)


class Checkpoint(keras.callbacks.Callback):
    """Writes the complete state of training after an epoch: weights, random seeds, optimizer and history.

    It must come after `zoo.Finite`, which ends training before a state that is not finite could be written.

    Args:
        path: of the checkpoint, an `.npz` file, which is replaced at once.
        seconds_between: least time between two checkpoints, but for the last one: epochs may be shorter than it takes to write.
        share: most of the time that writing may take, as far as the one before tells; 0.01: a hundredth.
        best: the keeper of the best weights, if there is one, which writes them first.
        writes: whether it writes; of several processes that train together one does, and the others keep the history alone.

    `history` is a list with the metrics of every finished epoch, and `seconds` is the time that these epochs took. Both include
    the epochs before a restored checkpoint.
    """

    def __init__(
        self,
        path: pathlib.Path,
        seconds_between: float = 0.0,
        share: float = math.inf,
        best: "Best | None" = None,
        writes: bool = True,
    ):
        super().__init__()
        self.path = path
        self.seconds_between = seconds_between if writes else math.inf
        self.share = share
        self.writes = writes
        self.best = best
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._written = 0  # epochs
        self._took = 0.0  # seconds

    def restore(self, model: keras.Model) -> int:
        """Restores the state of a compiled `model`; returns the number of finished epochs, 0 without a checkpoint.

        Raises:
            ValueError: the checkpoint is of another model, or damaged; the model has not changed.
        """
        if not self.path.exists():
            return 0
        with files.reading(self.path, "a checkpoint of this model", RESTART), np.load(self.path) as saved:
            found = [saved[_key(i)] for i in range(len(saved.files) - 2)]
            history, seconds = json.loads(str(saved["history"])), float(saved["seconds"])
            variables = state(model)
            if [value.shape for value in found] != [tuple(variable.shape) for variable in variables]:
                raise ValueError("variables of other shapes")
            if not isinstance(history, list):
                raise ValueError("a history that is not a list")
        for variable, value in zip(variables, found, strict=True):
            variable.assign(value)
        self.history, self.seconds, self._written = history, seconds, len(history)
        return len(history)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._since = self._last = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)  # a resumed run may have another one
        self.history.append({**{name: float(value) for name, value in logs.items()}, "learning_rate": rate})
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        if now - self._last >= max(self.seconds_between, self._took / self.share):
            self._write()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.writes and self._written < len(self.history):
            self._write()

    def _write(self) -> None:
        began = time.perf_counter()
        if self.best:
            self.best.write()
        arrays = {_key(i): value for i, value in enumerate(values(self.model))}
        records = {"history": json.dumps(self.history), "seconds": self.seconds}
        files.write(self.path, lambda temporary: np.savez(temporary, **records, **arrays))
        self._written, self._last = len(self.history), time.perf_counter()
        self._took = self._last - began


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest loss on the validation split, and ends training when it does not fall.

    It must come before the `Checkpoint`, which has it write them, so that of a killed run it knows every epoch that the
    checkpoint has.

    Args:
        path: of the weights, an `.npz` file, which is replaced at once.
        patience: epochs without a lower loss after which training ends; 0: it does not.
    """

    def __init__(self, path: pathlib.Path, patience: int = 0):
        super().__init__()
        self.path = path
        self.patience = patience
        self.epoch, self.loss = 0, float("inf")
        self._unwritten: dict[str, np.ndarray] = {}
        if path.exists():
            with files.reading(path, "the best weights of this run", RESTART), np.load(path) as saved:
                self.epoch, self.loss = int(saved["epoch"]), float(saved["loss"])

    def offer(self, model: keras.Model, epoch: int, logs: Mapping[str, float], prefix: str = "") -> None:
        """Takes over the weights that a model has after this many epochs, if its loss on the validation split is the lowest.

        The loss outside training is the bound on log p(x), with a weight of 1 for the KL divergence; here it has that of
        training.
        """
        bottleneck = getattr(model, "bottleneck", None)
        loss, beta = logs[f"{prefix}loss"], getattr(bottleneck, "beta", 1.0)
        if beta != 1.0 and f"{prefix}kl" in logs:
            loss = logs[f"{prefix}reconstruction"] + beta * logs[f"{prefix}kl"]
        if loss < self.loss:
            self.epoch, self.loss = epoch, float(loss)
            self._unwritten = {_key(i): np.array(keras.ops.convert_to_numpy(weight)) for i, weight in enumerate(model.weights)}

    def write(self) -> None:
        """Writes the best weights, unless the file has them."""
        if self._unwritten:
            records = {"epoch": self.epoch, "loss": self.loss}
            files.write(self.path, lambda beside: np.savez(beside, **records, **self._unwritten))
            self._unwritten = {}

    def exhausted(self, epochs: int) -> bool:
        """Whether training ends after this many epochs."""
        return 0 < self.patience <= epochs - self.epoch

    def restore(self, model: keras.Model) -> None:
        """Gives a model the best weights."""
        with files.reading(self.path, "the best weights of this run", RESTART), np.load(self.path) as saved:
            values = [saved[_key(i)] for i in range(len(saved.files) - 2)]
            if [value.shape for value in values] != [tuple(weight.shape) for weight in model.weights]:
                raise ValueError("weights of other shapes")
        for weight, value in zip(model.weights, values, strict=True):
            weight.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.offer(self.model, epoch + 1, logs, "val_")
        if self.exhausted(epoch + 1):
            self.model.stop_training = True


class Board(keras.callbacks.TensorBoard):
    """Writes metrics to event files for TensorBoard.

    Args:
        folder: of the event files.
        seconds_between: least time between two epochs that are written: epochs may be shorter than it takes to write.
    """

    def __init__(self, folder: pathlib.Path, seconds_between: float = 0.0):
        super().__init__(folder, write_graph=False)
        self.seconds_between = seconds_between
        self._last = float("-inf")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = time.perf_counter()
        if now - self._last >= self.seconds_between:
            self._last = now
            super().on_epoch_end(epoch, logs)


class Progress(keras.callbacks.Callback):
    """One progress bar for all epochs, with the remaining time.

    Args:
        epochs: numbers of the epochs to be run.
        description: text before the bar.
    """

    def __init__(self, epochs: range, description: str = "training"):
        super().__init__()
        self.epochs = epochs
        self.description = description
        self.bar = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        total, done = self.epochs.stop, self.epochs.start
        self.bar = tqdm(total=total, initial=done, desc=self.description, unit="epoch", dynamic_ncols=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        shown = {name: f"{logs[name]:.4g}" for name in SHOWN if name in logs}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Ends the bar's line, also after an error."""
        if self.bar is not None:
            self.bar.close()


def state(model: keras.Model) -> list:
    """The variables of the state of training: weights, random seeds, metrics and what the optimizer keeps."""
    return [*model.variables, *model.optimizer.variables]


def values(model: keras.Model) -> Iterator[np.ndarray]:
    """The values of the state; 0 for metrics, which begin anew in every epoch: only all workers together can read them."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    for variable in state(model):
        yield np.zeros(variable.shape, variable.dtype) if id(variable) in metrics else keras.ops.convert_to_numpy(variable)


def _key(index: int) -> str:
    return f"variable_{index}"
