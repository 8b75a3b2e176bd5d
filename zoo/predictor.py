"""An encoder put to work: its decoder replaced by a head that predicts targets, from few labels."""

from typing import ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs
from zoo.autoencoder import Autoencoder
from zoo.bottlenecks import Bottleneck
from zoo.finite import watched
from zoo.inputs import float_rows, known_shape
from zoo.likelihoods import require_finite
from zoo.model import Model
from zoo.signatures import Signature, Tensor


@keras.saving.register_keras_serializable("zoo")
class Predictor(Model):
    """Head on encoder: a classifier or a regressor of data `(B, *shape)`.

    Args:
        encoder: any Keras model with a known input shape, that of the data: an autoencoder's `encoder`, or its whole g as
            `zoo.coder(autoencoder)` gives it.
        head: any Keras model of the encoder's output; its last layer gives one logit for each class, or one number.
        loss: `SparseCategoricalCrossentropy(from_logits=True)` for a classifier, or a regression loss of Keras.
        frozen: keep the encoder as it is, out of training and in inference mode; otherwise it is fine-tuned.

    `compile()` needs an optimizer alone, and `fit(x, y)` reports the error: `error`, the share of wrong classes, or the mean
    squared error. 8-bit integers are scaled to [0, 1].

    Raises:
        ValueError: the encoder's input shape is unknown; a classification loss other than the one above.
    """

    parts: ClassVar = {"encoder": "encoder", "head": "head", "loss": "target_loss"}
    settings: ClassVar = ("frozen",)

    def __init__(self, encoder: keras.Model, head: keras.Model, loss: keras.losses.Loss, frozen: bool = False, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.classifier = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
        if isinstance(loss, str) or ("entropy" in type(loss).__name__.lower() and not (self.classifier and loss.from_logits)):
            raise ValueError(
                "Expected a loss object: SparseCategoricalCrossentropy(from_logits=True) or a regression loss. "
                f"Received: loss={loss!r}. Try keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )
        self.encoder = encoder
        self.head = head
        self.target_loss = loss
        self.frozen = frozen
        self.shape = known_shape(encoder)
        self.error = keras.metrics.Mean(name="error")
        features = encoder.compute_output_shape((None, *self.shape))
        if not head.built:
            head.build(features)
        self.outputs_ = head.compute_output_shape(features)[-1]
        self.built = True

    # Verbs

    def encode(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to what the head sees, flat."""
        return ops.reshape(self._features(float_rows(x, self.shape), False), (-1, self._width))

    def classify(self, x: ArrayLike) -> keras.KerasTensor:
        """Probabilities `(B, C)` of the classes."""
        return ops.softmax(self(float_rows(x, self.shape), training=False), axis=-1)

    def regress(self, x: ArrayLike) -> keras.KerasTensor:
        """The predicted number `(B,)`."""
        return self(float_rows(x, self.shape), training=False)[:, 0]

    @property
    def serving_default(self) -> str:
        return "classify" if self.classifier else "regress"

    def signatures(self) -> dict[str, Signature]:
        """What this model answers, by verb."""
        x = Tensor((None, *self.shape))
        answer = {"probability": Tensor((None, self.outputs_))} if self.classifier else {"y": Tensor((None,))}
        return {
            self.serving_default: Signature({"x": x}, answer),
            "encode": Signature({"x": x}, {"code": Tensor((None, self._width))}),
        }

    # Training. What is frozen is decided here and not in the encoder's layers, which an autoencoder may share.

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        return self.head.trainable_variables if self.frozen else super().trainable_variables

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.variables if id(variable) not in trained]

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.weights if id(variable) not in trained]

    def call(self, x, training=None):
        """Logits `(B, C)`, or `(B, 1)` numbers."""
        return ops.cast(self.head(self._features(float_rows(x, self.shape), training), training=training), "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = _per_row(y, "targets")
        y = y if self.classifier else y[:, None]  # a loss averages over the last axis, and weights count after that
        total = self.target_loss(y, y_pred, _per_row(sample_weight, "weights"))
        for extra in self.losses:
            total += self._aggregate_additional_loss(extra)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = _per_row(y, "targets")
        if self.classifier:
            error = ops.cast(ops.not_equal(ops.argmax(y_pred, axis=-1), ops.cast(y, "int32")), "float32")
        else:
            error = ops.square(ops.cast(y, "float32") - y_pred[:, 0])
        self.error.update_state(error, _per_row(sample_weight, "weights"))
        return self.get_metrics_result()

    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is finite data `(B, *shape)`, one row or more."""
        x = inputs.rows(x, self.shape)
        inputs.require_some(x)
        require_finite(ops.convert_to_numpy(x))

    def fit(self, x=None, y=None, **kwargs) -> keras.callbacks.History:
        """As in Keras; compiles with Adam where `compile` was not called.

        Rows and targets are checked whole before the first step, of a data set the first batch.

        Raises:
            ValueError: no rows, a wrong shape, NaN or Inf; labels that are not whole numbers in [0, C); an epoch that is not
                finite, before which the model then is (`zoo.Finite`).
        """
        if not self.compiled:
            self.compile("adam")
        if inputs.is_dataset(x):
            kwargs.setdefault("shuffle", False)  # a data set has its own order, and Keras would warn of it
            x, first = inputs.opened(x, self.shape)
            self._pair(*keras.utils.unpack_x_y_sample_weight(first)[:2])
        else:
            x, y = self._pair(x, y)
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            held_out = kwargs["validation_data"]
            kwargs["validation_data"] = (*self._pair(*held_out[:2]), *held_out[2:])
        kwargs["callbacks"] = watched(kwargs.get("callbacks"))
        return super().fit(x, y, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """As in Keras, with targets as in `fit`."""
        return super().evaluate(*((x, y) if inputs.is_dataset(x) else self._pair(x, y)), **kwargs)

    def _pair(self, x, y):
        """Rows and their targets, of the types that the loss takes.

        Raises:
            ValueError: as `fit`.
        """
        x = inputs.rows(x, self.shape)
        self.check(x)
        return x, inputs.labels(y, self.outputs_, len(x)) if self.classifier else inputs.targets(y, len(x))

    # Inside

    @property
    def _width(self) -> int:
        return int(np.prod(self.encoder.compute_output_shape((None, *self.shape))[1:]))

    def _features(self, x, training):
        return self.encoder(x, training=training and not self.frozen)


def _per_row(column, name: str):
    """One number a row `(B,)`, from `(B,)` or `(B, 1)`; None where there is none."""
    if column is None:
        return None
    if len(column.shape) not in (1, 2) or tuple(column.shape[1:]) not in ((), (1,)):
        raise ValueError(f"Expected {name} of shape (batch,). Received: shape {tuple(column.shape)}. Try one number a row.")
    return ops.reshape(column, (-1,))


def coder(autoencoder: Autoencoder) -> keras.Sequential:
    """g as one Keras model, data `(B, *shape)` to codes `(B, k)`; it shares the autoencoder's weights."""
    return keras.Sequential([keras.Input(autoencoder.shape), autoencoder.encoder, Code(autoencoder.bottleneck)], name="coder")


@keras.saving.register_keras_serializable("zoo")
class Code(keras.layers.Layer):
    """The code that a bottleneck gives deterministically for features `(B, …)`, as a layer."""

    def __init__(self, bottleneck: Bottleneck, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck = bottleneck

    def build(self, input_shape):
        if not self.bottleneck.built:
            self.bottleneck.build(input_shape)

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return ops.cast(self.bottleneck.encode(features), "float32")

    def get_config(self):
        return {**super().get_config(), "bottleneck": keras.saving.serialize_keras_object(self.bottleneck)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "bottleneck": keras.saving.deserialize_keras_object(config["bottleneck"])})
