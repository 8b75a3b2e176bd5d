"""Predictors: an encoder with a head that predicts targets, in place of the decoder; for few labels."""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs
from zoo.autoencoder import Autoencoder
from zoo.bodies import applied
from zoo.bottlenecks import Bottleneck
from zoo.finite import watched
from zoo.inputs import float_rows, known_shape
from zoo.likelihoods import require_finite
from zoo.model import Model
from zoo.schema import Feature
from zoo.signatures import Signature, Tensor


@keras.saving.register_keras_serializable("zoo")
class Predictor(Model):
    """A head on an encoder: a classifier or a regressor of data `(B, *shape)`.

    Args:
        encoder: any Keras model with a known input shape, that of the data: an autoencoder's `encoder`, or its whole g, from
            `zoo.coder(autoencoder)`.
        head: any Keras model that takes the encoder's output and returns one logit per class, or one number.
        loss: `SparseCategoricalCrossentropy(from_logits=True)` for a classifier, or a regression loss of Keras.
        frozen: exclude the encoder from training, and run it in inference mode; otherwise it is fine-tuned.

    `compile()` needs only an optimizer. `fit(x, y)` reports `error`, the share of wrong classes or the mean squared
    error. 8-bit integers are scaled to [0, 1].

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
        self.schema = {"x": Feature.of(self.shape)}
        self.error = keras.metrics.Mean(name="error")
        features = encoder.compute_output_shape((None, *self.shape))
        if not head.built:
            head.build(features)
        self.outputs_ = head.compute_output_shape(features)[-1]
        self.built = True

    # Verbs

    def encode(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to the features that the head takes, flattened."""
        return ops.reshape(self._features(float_rows(x, self.shape), False), (-1, self._width))

    def classify(self, x: ArrayLike) -> keras.KerasTensor:
        """Class probabilities `(B, C)` of data `(B, *shape)`."""
        return ops.softmax(self(float_rows(x, self.shape), training=False), axis=-1)

    def regress(self, x: ArrayLike) -> keras.KerasTensor:
        """Predicted numbers `(B,)` for data `(B, *shape)`."""
        return self(float_rows(x, self.shape), training=False)[:, 0]

    @property
    def serving_default(self) -> str:
        return "classify" if self.classifier else "regress"

    def signatures(self) -> dict[str, Signature]:
        """The signatures of this model, by verb."""
        x = Tensor((None, *self.shape))
        answer = {"probability": Tensor((None, self.outputs_))} if self.classifier else {"y": Tensor((None,))}
        return {
            self.serving_default: Signature({"x": x}, answer),
            "encode": Signature({"x": x}, {"code": Tensor((None, self._width))}),
        }

    # Training. The encoder is frozen here and not in its layers, which an autoencoder may share.

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

    def call(self, x: ArrayLike, training: bool | None = None) -> keras.KerasTensor:
        """Logits `(B, C)`, or numbers `(B, 1)`."""
        return ops.cast(self.head(self._features(float_rows(x, self.shape), training), training=training), "float32")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> keras.KerasTensor:
        y = _per_row(y, "targets")
        y = y if self.classifier else y[:, None]  # a loss averages over the last axis before it applies weights
        total = self.target_loss(y, y_pred, _per_row(sample_weight, "weights"))
        for extra in self.losses:
            total += self._aggregate_additional_loss(extra)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        y = _per_row(y, "targets")
        if self.classifier:
            error = ops.cast(ops.not_equal(ops.argmax(y_pred, axis=-1), ops.cast(y, "int32")), "float32")
        else:
            error = ops.square(ops.cast(y, "float32") - y_pred[:, 0])
        self.error.update_state(error, _per_row(sample_weight, "weights"))
        return self.get_metrics_result()

    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is finite data `(B, *shape)`, at least one row."""
        x = inputs.rows(x, self.shape)
        inputs.require_some(x)
        require_finite(inputs.numpy(x))

    def fit(self, x: Any = None, y: Any = None, **kwargs) -> keras.callbacks.History:
        """As in Keras; compiles with Adam unless `compile` was called.

        All rows and targets are checked before the first step; of a data set, only the first batch.

        Raises:
            ValueError: no rows, a wrong shape, NaN or Inf; labels that are not integers in [0, C); an epoch that is not finite,
                after which the model is restored (`zoo.Finite`).
        """
        if not self.compiled:
            self.compile("adam")
        if inputs.is_dataset(x):
            kwargs.setdefault("shuffle", False)  # a data set has its own order; Keras would warn
            x, first = inputs.opened(x, self.shape)
            self._pair(*keras.utils.unpack_x_y_sample_weight(first)[:2])
        else:
            x, y = self._pair(x, y)
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            held_out = kwargs["validation_data"]
            kwargs["validation_data"] = (*self._pair(*held_out[:2]), *held_out[2:])
        kwargs["callbacks"] = watched(kwargs.get("callbacks"))
        return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs) -> Any:
        """As in Keras, with targets as in `fit`."""
        return super().evaluate(*((x, y) if inputs.is_dataset(x) else self._pair(x, y)), **kwargs)

    def _pair(self, x, y):
        """Checked rows and targets, in the types that the loss takes.

        Raises:
            ValueError: as `fit`.
        """
        x = inputs.rows(x, self.shape)
        self.check(x)
        return x, inputs.labels(y, self.outputs_, len(x)) if self.classifier else inputs.targets(y, len(x))

    # Helpers

    @property
    def _width(self) -> int:
        return int(np.prod(self.encoder.compute_output_shape((None, *self.shape))[1:]))

    def _features(self, x, training):
        return applied(self.encoder, x, training and not self.frozen)


def _per_row(column, name: str):
    """One number per row `(B,)`, from `(B,)` or `(B, 1)`; None for None."""
    if column is None:
        return None
    if len(column.shape) not in (1, 2) or tuple(column.shape[1:]) not in ((), (1,)):
        raise ValueError(f"Expected {name} of shape (batch,). Received: shape {tuple(column.shape)}. Try one number per row.")
    return ops.reshape(column, (-1,))


def coder(autoencoder: Autoencoder) -> keras.Sequential:
    """g as a single Keras model, from data `(B, *shape)` to codes `(B, k)`, which shares the autoencoder's weights."""
    return keras.Sequential([keras.Input(autoencoder.shape), autoencoder.encoder, Code(autoencoder.bottleneck)], name="coder")


@keras.saving.register_keras_serializable("zoo")
class Code(keras.layers.Layer):
    """The code that a bottleneck gives deterministically for features `(B, …)`, as a layer."""

    def __init__(self, bottleneck: Bottleneck, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck = bottleneck

    def build(self, input_shape: tuple) -> None:
        if not self.bottleneck.built:
            self.bottleneck.build(input_shape)

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return ops.cast(self.bottleneck.encode(features), "float32")

    def get_config(self) -> dict:
        return {**super().get_config(), "bottleneck": keras.saving.serialize_keras_object(self.bottleneck)}

    @classmethod
    def from_config(cls, config: dict) -> "Code":
        return cls(**{**config, "bottleneck": keras.saving.deserialize_keras_object(config["bottleneck"])})
