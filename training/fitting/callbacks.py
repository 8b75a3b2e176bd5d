"""What is added to `model.fit`: checkpoints from which a killed run goes on, and a progress bar for the whole run."""

import json
import pathlib
import time

import keras
import numpy as np
from tqdm import tqdm

from training import files

RESTART = "--restart, which trains from the beginning, or another --workdir"
SHOWN = ("squared_error", "val_squared_error", "sequence_error", "val_sequence_error")


class Checkpoint(keras.callbacks.Callback):
    """Writes the whole state of training after every epoch: weights, random seeds, optimizer and history. It comes after
    `zoo.Finite`, which ends training before a state that is not finite is written.

    Args:
        path: of the checkpoint, one `.npz` file that is replaced as a whole.

    `history` holds a dict of metrics for each finished epoch and `seconds` the time that they took, those before a kill too.
    """

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.path = path
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0

    def restore(self, model: keras.Model) -> int:
        """Brings `model`, compiled, to where the checkpoint left it; returns the number of epochs done, 0 without one.

        Raises:
            ValueError: the checkpoint is of another model, or damaged; nothing has changed then.
        """
        if not self.path.exists():
            return 0
        with files.reading(self.path, "a checkpoint of this model", RESTART), np.load(self.path) as saved:
            values = [saved[_key(i)] for i in range(len(saved.files) - 2)]
            history, seconds = json.loads(str(saved["history"])), float(saved["seconds"])
            variables = _state(model)
            if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
                raise ValueError("variables of other shapes")
            if not isinstance(history, list):
                raise ValueError("a history that is no list")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history, self.seconds = history, seconds
        return len(history)

    def on_train_begin(self, logs=None):
        self._since = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        rate = float(self.model.optimizer.learning_rate)  # which may be lowered in the middle of a run
        self.history.append({**{name: float(value) for name, value in logs.items()}, "learning_rate": rate})
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        state = {_key(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(_state(self.model))}
        story = {"history": json.dumps(self.history), "seconds": self.seconds}
        files.write(self.path, lambda beside: np.savez(beside, **story, **state))


class Progress(keras.callbacks.Callback):
    """One bar over all epochs, with the time that is left."""

    def __init__(self, epochs: range, description: str = "training"):
        super().__init__()
        self.epochs = epochs
        self.description = description

    def on_train_begin(self, logs=None):
        total, done = self.epochs.stop, self.epochs.start
        self.bar = tqdm(total=total, initial=done, desc=self.description, unit="epoch", dynamic_ncols=True)

    def on_epoch_end(self, epoch, logs=None):
        shown = {name: f"{logs[name]:.4g}" for name in SHOWN if name in logs}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


def _state(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


def _key(index: int) -> str:
    return f"variable_{index}"
