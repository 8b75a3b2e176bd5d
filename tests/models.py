"""Every model and builder that has to pass the contract, by name, each for images `(8, 8, 1)`."""

import keras
import pytest

import zoo

SHAPE = (8, 8, 1)


def own_bodies() -> zoo.Autoencoder:
    """A user's own Keras models as encoder (functional, convolutional) and decoder (sequential)."""
    image = keras.Input(SHAPE)
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    encoder = keras.Model(image, features)
    decoder = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.1)])
    return zoo.Autoencoder(encoder, zoo.Deterministic(4), decoder, zoo.Bernoulli())


def conv() -> zoo.Autoencoder:
    """Denoising and sparse."""
    bottleneck = zoo.Deterministic(4, sparsity=1e-3)
    return zoo.Autoencoder(
        zoo.conv(SHAPE, 8), bottleneck, zoo.conv_decoder(SHAPE, 8), zoo.SquaredError("sigmoid"), corruption=zoo.RandomNoise(0.2)
    )


def vae() -> zoo.Autoencoder:
    """With a mixture for each class, and a corruption that moves images."""
    bottleneck = zoo.Gaussian(4, beta=0.5, free_bits=0.05, warmup=4)
    return zoo.Autoencoder(
        zoo.dense((32,), shape=SHAPE),
        bottleneck,
        zoo.dense((32,)),
        zoo.Bernoulli(),
        zoo.Mixture(2, classes=10),
        zoo.RandomAffine(0.5),
    )


def importance_weighted() -> zoo.Autoencoder:
    return zoo.Autoencoder(
        zoo.dense((32,), shape=SHAPE),
        zoo.Gaussian(4, samples=3),
        zoo.dense((32,)),
        zoo.DiscretizedGaussian(17),
        zoo.StandardNormal(),
    )


def vector_quantized() -> zoo.Autoencoder:
    return zoo.Autoencoder(
        zoo.dense((32,), shape=SHAPE),
        zoo.VectorQuantized(4, 16, 2),
        zoo.dense((32,)),
        zoo.SquaredError("sigmoid"),
        zoo.Autoregressive(16, 1, 2, epochs=1, classes=10),
    )


def rounded() -> zoo.Autoencoder:
    """With codes of whole numbers, grey levels by a mixture, and what lossy compression codes with."""
    return zoo.Autoencoder(
        zoo.dense((32,), shape=SHAPE),
        zoo.Rounded(4, rate=0.5),
        zoo.dense((32,)),
        zoo.LogisticMixture(17, logistics=2),
        entropy=zoo.Histograms(8, 2),
    )


MODELS = {
    "linear": lambda: zoo.linear_autoencoder(SHAPE, 3),
    "dense": lambda: zoo.dense_autoencoder(SHAPE, 5, (32, 16)),
    "dense_bernoulli": lambda: zoo.dense_autoencoder(SHAPE, 2, (32,), "relu", likelihood=zoo.Bernoulli()),
    "single_layer": lambda: zoo.dense_autoencoder(SHAPE, 3, (), code_activation="tanh", likelihood=zoo.SquaredError("sigmoid")),
    "vectors": lambda: zoo.Autoencoder(
        zoo.dense((16,), shape=(64,)),
        zoo.Deterministic(3, use_bias=False),
        zoo.dense((16,)),
        zoo.SquaredError(),
        zoo.Mixture(2),
    ),
    "overcomplete": lambda: zoo.dense_autoencoder(SHAPE, 70, (), overcomplete=True),
    "own_bodies": own_bodies,
    "conv": conv,
    "vae": vae,
    "importance_weighted": importance_weighted,
    "vector_quantized": vector_quantized,
    "rounded": rounded,
}
ALIKE = ("dense_bernoulli", "single_layer", "overcomplete")  # whose parts others have
NAMES = [pytest.param(name, marks=pytest.mark.exhaustive) if name in ALIKE else name for name in MODELS]


def classifier() -> zoo.Predictor:
    encoder = zoo.coder(vae())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return zoo.Predictor(encoder, keras.Sequential([keras.layers.Dense(10)]), loss, frozen=True)


def regressor() -> zoo.Predictor:
    head = keras.Sequential([keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dense(1)])
    return zoo.Predictor(zoo.dense((32,), shape=SHAPE), head, keras.losses.MeanSquaredError())


PREDICTORS = {"classifier": classifier, "regressor": regressor}
