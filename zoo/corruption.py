"""Corruptions: layers that change the encoder's input in training, so that codes become invariant to the change. Any Keras
layer can be one."""

import math

import keras
from keras import ops

from zoo.arguments import require_amount
from zoo.registry import register


@register("corruption", "noise")
class RandomNoise(keras.layers.Layer):
    """Gaussian noise in training; the standard deviation for each example is drawn uniformly from [0, `highest`].

    One model then copes with all noise levels; `keras.layers.GaussianNoise` trains for a single one.

    Args:
        highest: the largest standard deviation.
        seed: of the noise, an integer; drawn unless given.
    """

    def __init__(self, highest: float, seed: int | None = None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_amount(highest=highest)
        self.highest = highest
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, x: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        if not training:
            return x
        rows = (ops.shape(x)[0], *(1 for _ in x.shape[1:]))
        deviation = keras.random.uniform(rows, 0.0, self.highest, seed=self._seeds)
        return x + deviation * keras.random.normal(ops.shape(x), seed=self._seeds)

    def get_config(self) -> dict:
        return {**super().get_config(), "highest": self.highest, "seed": self.seed}


@register("corruption", "hide")
class HideCells(keras.layers.Layer):
    """Hides cells of a table in training, as if they were missing; the share hidden is drawn for each row, uniformly from
    [0, `highest`].

    An autoencoder that is judged by the hidden cells learns to fill in cells that are missing, whichever they are.

    Args:
        highest: the largest share of the cells of a row.
        seed: of the draws, an integer; drawn unless given.
    """

    def __init__(self, highest: float = 0.5, seed: int | None = None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_amount(highest=highest)
        self.highest = highest
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, x: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        if not training:
            return x
        shares = keras.random.uniform((ops.shape(x)[0], 1), 0.0, self.highest, seed=self._seeds)
        return ops.where(keras.random.uniform(ops.shape(x), seed=self._seeds) < shares, math.nan, x)

    def get_config(self) -> dict:
        return {**super().get_config(), "highest": self.highest, "seed": self.seed}


@register("corruption", "affine")
class RandomAffine(keras.layers.Layer):
    """Shifts, rotates, scales and shears each image `(height, width, channels)` in training, by uniform random amounts.

    An autoencoder that reconstructs the original image learns to leave these changes out of its codes.

    Args:
        shift: maximum shift along height and width, in pixels.
        rotation: maximum rotation, in degrees.
        scale: maximum relative change of size, below 1.
        shear: maximum shear, in pixels to the side per pixel up.
        seed: of the draws, an integer; drawn unless given.
    """

    def __init__(
        self,
        shift: float = 2.0,
        rotation: float = 15.0,
        scale: float = 0.15,
        shear: float = 0.3,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_amount(shift=shift, rotation=rotation, shear=shear)
        require_amount(below=1, scale=scale)
        self.shift = shift
        self.rotation = rotation
        self.scale = scale
        self.shear = shear
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)
        self.supports_jit = keras.backend.backend() != "tensorflow"  # whose transform of images XLA cannot compile

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                f"Expected images (height, width, channels) to shift and rotate. Received: shape {tuple(input_shape[1:])}. "
                "Try zoo.RandomNoise, or --corruption=none."
            )

    def call(self, x: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        return ops.image.affine_transform(x, self._transforms(x)) if training else x

    def get_config(self) -> dict:
        names = ("shift", "rotation", "scale", "shear", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _transforms(self, x):
        """Rows `(B, 8)` that map output to input coordinates, around the centre."""
        draws = keras.random.uniform((ops.shape(x)[0], 5), -1.0, 1.0, seed=self._seeds)
        angle, scale, shear, right, down = ops.unstack(draws, 5, axis=1)  # (B,) each
        angle, scale = angle * math.radians(self.rotation), 1.0 + scale * self.scale
        cosine, sine, shear = scale * ops.cos(angle), scale * ops.sin(angle), shear * self.shear
        centre_x, centre_y = (x.shape[2] - 1) / 2, (x.shape[1] - 1) / 2
        x_shift = centre_x - cosine * centre_x - (shear - sine) * centre_y + right * self.shift
        y_shift = centre_y - sine * centre_x - cosine * centre_y + down * self.shift
        zero = ops.zeros_like(angle)
        return ops.stack([cosine, shear - sine, x_shift, sine, cosine, y_shift, zero, zero], axis=1)


@register("corruption", "affine_noise")
def affine_noise(
    highest: float,
    shift: float = 2.0,
    rotation: float = 15.0,
    scale: float = 0.15,
    shear: float = 0.3,
    seed: int | None = None,
) -> keras.Sequential:
    """`RandomAffine`, then `RandomNoise`: a random affine map and Gaussian noise in training.

    Args:
        highest: the largest standard deviation of the noise.
        shift: maximum shift along height and width, in pixels.
        rotation: maximum rotation, in degrees.
        scale: maximum relative change of size, below 1.
        shear: maximum shear, in pixels to the side per pixel up.
        seed: of the draws, an integer, from which each layer gets one of its own; drawn unless given.
    """
    first, second = (None, None) if seed is None else (seed, seed + 1)
    return keras.Sequential([RandomAffine(shift, rotation, scale, shear, first), RandomNoise(highest, second)])
