"""Autoencoders as the free combination of encoder, bottleneck, decoder and likelihood, on any Keras backend."""

from zoo.autoencoder import Autoencoder
from zoo.bodies import dense, linear
from zoo.bottlenecks import Deterministic
from zoo.closed_form import LARGEST_COVARIANCE, LinearAutoencoder, pca
from zoo.density import Mixture
from zoo.likelihoods import Bernoulli, Likelihood, SquaredError
from zoo.models import dense_autoencoder, linear_autoencoder
from zoo.signatures import Signature, Tensor

__all__ = [
    "LARGEST_COVARIANCE",
    "Autoencoder",
    "Bernoulli",
    "Deterministic",
    "Likelihood",
    "LinearAutoencoder",
    "Mixture",
    "Signature",
    "SquaredError",
    "Tensor",
    "dense",
    "dense_autoencoder",
    "linear",
    "linear_autoencoder",
    "pca",
]
