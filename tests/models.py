"""Every model and builder that has to pass the contract, by name, each for images `(8, 8, 1)`."""

import keras

import zoo

SHAPE = (8, 8, 1)


def own_bodies() -> zoo.Autoencoder:
    """A user's own Keras models as encoder (functional, convolutional) and decoder (sequential)."""
    image = keras.Input(SHAPE)
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    encoder = keras.Model(image, features)
    decoder = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.1)])
    return zoo.Autoencoder(encoder, zoo.Deterministic(4), decoder, zoo.Bernoulli())


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
}
