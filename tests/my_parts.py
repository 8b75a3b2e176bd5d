"""A bottleneck, a likelihood and a body, as a user could write them: in one file, without changing anything else."""

from keras import ops

import zoo


@zoo.register("bottleneck", "circle")
class Circle(zoo.Bottleneck):
    """Codes on the unit circle, of two dimensions.

    Args:
        angles: how many different angles there are.
        pull: nats in training for each unit of distance from the circle.
    """

    def __init__(self, angles: int = 0, pull: float = 0.1, **kwargs):
        super().__init__(2, **kwargs)
        self.angles = angles
        self.pull = pull

    def call(self, features, training=None):
        free = ops.cast(self.project(features), "float32")
        distance = ops.abs(ops.norm(free, axis=-1) - 1.0)
        return self.encode(features)[None], (self.pull * distance if training else 0.0 * distance)[None]

    def encode(self, features):
        free = ops.cast(self.project(features), "float32")
        return free / (ops.norm(free, axis=-1, keepdims=True) + 1e-6)

    def get_config(self):
        config = super().get_config()
        del config["k"]
        return {**config, "angles": self.angles, "pull": self.pull}


@zoo.register("likelihood", "laplace")
class Laplace(zoo.Likelihood):
    """Absolute errors: a Laplace distribution around every value.

    Args:
        scale: of the distribution.
    """

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def mean(self, parameters):
        return parameters

    def log_prob(self, x, parameters):
        error = ops.abs(x[None] - parameters) / self.scale + ops.log(2.0 * self.scale)
        return -ops.sum(error, axis=tuple(range(2, len(error.shape))))

    def get_config(self):
        return {"scale": self.scale}


@zoo.register("body", "funnel")
def funnel(shape: tuple[int, ...], width: int = 16, activation: zoo.registry.Activation = "tanh"):
    """One layer on either side.

    Args:
        shape: of one example.
        width: units of the layer.
        activation: of the layer.
    """
    return zoo.dense((width,), activation, shape, "encoder"), zoo.dense((width,), activation, name="decoder")
