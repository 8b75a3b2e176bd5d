"""Common autoencoders under their usual names."""

from collections.abc import Sequence

from zoo import bodies
from zoo.autoencoder import Autoencoder
from zoo.bottlenecks import Deterministic
from zoo.closed_form import LinearAutoencoder
from zoo.likelihoods import Likelihood, SquaredError


def linear_autoencoder(shape: tuple[int, ...], k: int, **kwargs) -> LinearAutoencoder:
    """Two linear projections; `fit` trains them, `solve` sets them to the principal components."""
    return LinearAutoencoder.of(shape, k, **kwargs)


def dense_autoencoder(
    shape: tuple[int, ...],
    k: int,
    widths: Sequence[int] = (512, 256),
    activation: str = "gelu",
    code_activation: str = "linear",
    likelihood: Likelihood | None = None,
    **kwargs,
) -> Autoencoder:
    """A fully connected encoder and its mirror image (a "deep" or "stacked" autoencoder; with no widths, a single layer).

    Args:
        shape: of one example.
        k: dimensions of the code.
        widths: units of the encoder's layers; the decoder has them in reverse order.
        activation: of the hidden layers.
        code_activation: f₁, the activation of the code.
        likelihood: `SquaredError()` unless given; its activation is f₂, that of the output.
        **kwargs: passed to `Autoencoder`.
    """
    return Autoencoder(
        bodies.dense(widths, activation, shape, name="encoder"),
        Deterministic(k, code_activation),
        bodies.dense(tuple(reversed(widths)), activation, name="decoder"),
        likelihood or SquaredError(),
        **kwargs,
    )
