"""Training on inputs alone: the loss of an example is what the model itself says of it."""

import abc
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from zoo import inputs
from zoo.finite import watched
from zoo.model import Model


class PerExample(keras.losses.Loss):
    """Passes per-example losses to Keras, which averages them correctly, over replicas too."""

    def call(self, y_true: Any, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return y_pred


class Unsupervised(Model):
    """A model that is fitted to inputs `(B, *shape)`, without targets.

    Calling it returns a dict with `score` `(B,)`, or `objective` in its place: what training maximizes, averaged over examples.
    """

    shape: tuple[int, ...]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._mean_loss = PerExample(name="mean")

    @abc.abstractmethod
    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is data `(B, *shape)`, at least one row, that this model can be trained on."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> keras.KerasTensor:
        loss = -y_pred.get("objective", y_pred.get("score"))  # (B,)
        total = self._mean_loss(loss, loss, sample_weight)
        for extra in self.losses:  # from regularizers and `add_loss` of the parts
            total += self._aggregate_additional_loss(extra)
        return total

    def fit(self, x: Any = None, **kwargs) -> keras.callbacks.History:
        """As in Keras, on inputs only; compiles with Adam unless `compile` was called.

        Rows, in any form that `encode` takes, are all checked before the first step; of a data set, only the first batch.

        Raises:
            ValueError: compiled with a loss or metrics, no rows, a wrong shape, NaN or Inf, or values that the likelihood
                cannot take; an epoch that is not finite, after which the model is restored (`zoo.Finite`).
        """
        if not self.compiled:
            self.compile("adam")
        if self.loss is not None or self._compile_metrics is not None:
            raise ValueError(
                f"Expected neither loss nor metrics in compile: the likelihood is the loss, and there are no targets. "
                f"Received: loss={self.loss!r} or metrics. Try compile(optimizer) and Autoencoder(…, likelihood=…)."
            )
        x, first = self._opened(x)
        self.check(inputs.batch_inputs(first))
        if inputs.is_dataset(x):
            kwargs.setdefault("shuffle", False)  # a data set has its own order; Keras would warn
        if kwargs.get("validation_data") is not None:
            held_out, *more = keras.utils.unpack_x_y_sample_weight(kwargs["validation_data"])
            held_out, _ = self._opened(held_out)
            kwargs["validation_data"] = keras.utils.pack_x_y_sample_weight(held_out, *more)
        kwargs["callbacks"] = watched(kwargs.get("callbacks"))
        if kwargs.get("sample_weight") is not None:
            kwargs["y"] = x  # without y, Keras drops the weights
        return super().fit(x, **kwargs)

    def evaluate(self, x: Any = None, *args, **kwargs) -> Any:
        """As in Keras, on inputs only."""
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` asks, after every epoch, about data opened before
            x, _ = self._opened(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args, **kwargs) -> dict[str, np.ndarray]:
        """As in Keras: the outputs of calling the model, as NumPy arrays."""
        return super().predict(self._opened(x)[0], *args, **kwargs)

    def _opened(self, x):
        """As `zoo.inputs.opened`."""
        return inputs.opened(x, self.shape)
