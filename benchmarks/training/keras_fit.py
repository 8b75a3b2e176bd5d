"""The same network in plain Keras: `fit` on NumPy arrays, with a loss and an optimizer of Keras, and nothing else."""

import workload

import zoo
from serving import quiet  # noqa: F401 - before Keras imports TensorFlow

import keras  # isort: skip
from keras import layers, ops

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Timed(keras.callbacks.Callback):
    def __init__(self, clock: workload.Clock):
        super().__init__()
        self.clock = clock

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.clock.tick()


@keras.saving.register_keras_serializable("benchmark")
class Drawn(layers.Layer):
    """Means and log-variances `(B, 2 k)` to codes `(B, k)`; adds the KL divergence to the loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        mean, log_variance = ops.split(ops.cast(x, "float32"), 2, axis=-1)
        cost = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1)
        self.add_loss(ops.mean(cost))
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def squared_error(x, found):
    return ops.sum(ops.square(ops.reshape(x, (-1, 784)) - ops.reshape(found, (-1, 784))), axis=-1)


def cross_entropy(x, logits):
    x, logits = (ops.reshape(each, (-1, 784)) for each in (x, logits))
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


def dense() -> keras.Model:
    bends = [("gelu" if layer in workload.BENDS else None) for layer in range(len(workload.WIDTHS) - 1)]
    inner = [layers.Dense(units, bend) for units, bend in zip(workload.WIDTHS[1:], bends, strict=True)]
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), *inner, layers.Activation("sigmoid", dtype="float32")])


def conv(network: str) -> keras.Model:
    k, image = workload.CODES[network], keras.Input((28, 28, 1))
    encoder, decoder = zoo.conv((28, 28, 1), hidden=(256,)), zoo.conv_decoder((28, 28, 1), hidden=(256,))
    code = layers.Dense(k)(encoder(image)) if network == "conv" else Drawn()(layers.Dense(2 * k)(encoder(image)))
    bend = "sigmoid" if network == "conv" else None
    return keras.Model(image, layers.Activation(bend, dtype="float32")(layers.Conv2D(1, 3, padding="same")(decoder(code))))


def main() -> None:
    work = workload.given()
    keras.config.set_dtype_policy(POLICIES[work.precision])
    settings = {"batch_size": work.batch_size, "epochs": work.epochs, "verbose": 0}
    if work.network == "transformer":
        x = {side: work.array(side) for side in ("source", "target")}
        sizes = [zoo.Vocabulary([f"t{i}" for i in range(int(each.max()) - 3)], each.shape[1] - 1, " ") for each in x.values()]
        model, rows = zoo.Transformer(*sizes), len(x["source"])
        model.compile(keras.optimizers.AdamW(1e-3))
        keras.Model.fit(model, x, callbacks=[Timed(clock := workload.Clock(rows))], **settings)
    else:
        x = work.array()
        model = dense() if work.network == "dense" else conv(work.network)
        model.compile(keras.optimizers.AdamW(1e-3), cross_entropy if work.network == "vae" else squared_error)
        model.fit(x, x, callbacks=[Timed(clock := workload.Clock(len(x)))], **settings)
    clock.print()


main()
