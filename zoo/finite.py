"""Training stays finite: where it does not, it ends, and the model keeps the last good weights."""

import keras
import numpy as np


class Finite(keras.callbacks.Callback):
    """Ends training with a ValueError after an epoch whose figures, weights or optimizer state are not all finite.

    The model and its optimizer then hold what they did at the end of the epoch before, or at the start. `fit` of every model of
    the zoo has one, in front of its other callbacks; another may be given in its place.

    Args:
        advice: what the error says to try.

    Raises:
        ValueError: see above; weights that are not finite before the first epoch either.
    """

    def __init__(self, advice: str = "a lower learning rate, or other data"):
        super().__init__()
        self.advice = advice

    def on_train_begin(self, logs=None):
        self._kept = {}
        self._keep("before the first epoch", {})

    def on_epoch_end(self, epoch, logs=None):
        self._keep(f"in epoch {epoch + 1}", logs or {}, f"after epoch {epoch}" if epoch else "before the first epoch")

    def _keep(self, now: str, logs: dict, kept: str = "") -> None:
        """Keeps the state of now, or brings back the one that was kept, by what the error calls them."""
        state = self._state()
        values = {key: keras.ops.convert_to_numpy(variable) for key, variable in state.items()}
        figures = sorted(logs, key=lambda name: name != "loss")
        bad = {name: logs[name] for name in figures if not np.isfinite(logs[name]).all()} or _not_finite(state, values)
        if not bad:
            self._kept = values
            return
        for key in state.keys() & self._kept.keys():
            state[key].assign(self._kept[key])
        name, value = next(iter(bad.items()))
        again = f" The weights are again those from {kept}." if kept else ""
        raise ValueError(
            f"Expected a finite {'loss' if name in logs else 'weight'}. Received: {name}={value} {now}. "
            f"Try {self.advice}.{again}"
        )

    def _state(self) -> dict:
        """Weights, seeds and the optimizer's variables by what tells them apart."""
        weights = [*self.model.weights, *(v for v in self.model.non_trainable_variables if v.dtype.startswith("uint"))]
        return {id(variable): variable for variable in (*weights, *self.model.optimizer.variables)}


def watched(callbacks) -> list:
    """The callbacks of a `fit` with `Finite` in front, where there is none."""
    callbacks = [] if callbacks is None else [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*callbacks]
    return callbacks if any(isinstance(each, Finite) for each in callbacks) else [Finite(), *callbacks]


def _not_finite(state: dict, values: dict) -> dict[str, float]:
    """The first variable of floating point with NaN or Inf, and that."""
    for key, value in values.items():
        if state[key].dtype.startswith(("float", "bfloat")):
            value = value.astype("float32", copy=False)
            if not np.isfinite(value).all():
                return {state[key].path: value[~np.isfinite(value)][0]}
    return {}
