"""Stops training at NaN or infinity, with the model at its last finite weights."""

import keras
import numpy as np


class Finite(keras.callbacks.Callback):
    """Ends training with a ValueError after an epoch whose metrics, weights or optimizer state are not all finite.

    The model and its optimizer are then restored to the end of the epoch before, or to the start. `fit` of every model of the
    zoo adds one in front of its other callbacks, unless it is given one.

    Args:
        advice: what the error says to try.

    Raises:
        ValueError: see above; also if the weights are not finite before the first epoch.
    """

    def __init__(self, advice: str = "a lower learning rate, or other data"):
        super().__init__()
        self.advice = advice

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._kept = {}
        self._keep("before the first epoch", {})

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._keep(f"in epoch {epoch + 1}", logs or {}, f"after epoch {epoch}" if epoch else "before the first epoch")

    def _keep(self, now: str, logs: dict, kept: str = "") -> None:
        """Keeps the state if it is finite; else restores the kept one and raises an error that names them `now` and `kept`."""
        state = self._state()
        values = {key: keras.ops.convert_to_numpy(variable) for key, variable in state.items()}
        names = sorted(logs, key=lambda name: name != "loss")
        bad = {name: logs[name] for name in names if not np.isfinite(logs[name]).all()} or _not_finite(state, values)
        if not bad:
            self._kept = values
            return
        for key in state.keys() & self._kept.keys():
            state[key].assign(self._kept[key])
        name, value = next(iter(bad.items()))
        restored = f" The weights were restored to those from {kept}." if kept else ""
        raise ValueError(
            f"Expected a finite {'loss' if name in logs else 'weight'}. Received: {name}={value} {now}. "
            f"Try {self.advice}.{restored}"
        )

    def _state(self) -> dict:
        """Weights, seeds and the optimizer's variables, by `id`."""
        weights = [*self.model.weights, *(v for v in self.model.non_trainable_variables if v.dtype.startswith("uint"))]
        return {id(variable): variable for variable in (*weights, *self.model.optimizer.variables)}


def watched(callbacks: keras.callbacks.Callback | list | None) -> list:
    """The callbacks of a `fit`, with a `Finite` in front unless there is one."""
    callbacks = [] if callbacks is None else [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*callbacks]
    return callbacks if any(isinstance(each, Finite) for each in callbacks) else [Finite(), *callbacks]


def _not_finite(state: dict, values: dict) -> dict[str, float]:
    """The path of the first float variable with NaN or Inf, and that value; empty if there is none."""
    for key, value in values.items():
        if state[key].dtype.startswith(("float", "bfloat")):
            value = value.astype("float32", copy=False)
            if not np.isfinite(value).all():
                return {state[key].path: value[~np.isfinite(value)][0]}
    return {}
