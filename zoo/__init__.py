"""Autoencoders as free combinations of encoder, bottleneck, decoder and likelihood, on any Keras backend."""

from zoo.autoencoder import Autoencoder
from zoo.autoregressive import Autoregressive
from zoo.bodies import conv, conv_decoder, dense, linear
from zoo.bottlenecks import Bottleneck, Deterministic, Gaussian
from zoo.closed_form import LARGEST_COVARIANCE, LinearAutoencoder, pca, start_as_pca
from zoo.compression import Salvaged, compress, decompress, salvage
from zoo.corruption import HideCells, RandomAffine, RandomNoise
from zoo.entropy import Histograms
from zoo.finite import Finite
from zoo.likelihoods import Bernoulli, Discrete, DiscretizedGaussian, Likelihood, SquaredError
from zoo.logistic_mixture import LogisticMixture
from zoo.mixed import ColumnInputs, Mixed
from zoo.mixture import Mixture
from zoo.models import dense_autoencoder, linear_autoencoder
from zoo.predictor import Predictor, coder
from zoo.presets import card, list, load, sample, save_preset
from zoo.priors import Prior, StandardNormal
from zoo.quantization import VectorQuantized
from zoo.ranks import Ranks
from zoo.registry import register
from zoo.regression import start_as_regression
from zoo.rounding import Rounded
from zoo.scaling import Standardize
from zoo.signatures import Signature, Tensor
from zoo.tables import TableAutoencoder
from zoo.transformer import Transformer
from zoo.vocabulary import Vocabulary

__all__ = [
    "LARGEST_COVARIANCE",
    "Autoencoder",
    "Autoregressive",
    "Bernoulli",
    "Bottleneck",
    "ColumnInputs",
    "Deterministic",
    "Discrete",
    "DiscretizedGaussian",
    "Finite",
    "Gaussian",
    "HideCells",
    "Histograms",
    "Likelihood",
    "LinearAutoencoder",
    "LogisticMixture",
    "Mixed",
    "Mixture",
    "Predictor",
    "Prior",
    "RandomAffine",
    "RandomNoise",
    "Ranks",
    "Rounded",
    "Salvaged",
    "Signature",
    "SquaredError",
    "StandardNormal",
    "Standardize",
    "TableAutoencoder",
    "Tensor",
    "Transformer",
    "VectorQuantized",
    "Vocabulary",
    "card",
    "coder",
    "compress",
    "conv",
    "conv_decoder",
    "decompress",
    "dense",
    "dense_autoencoder",
    "linear",
    "linear_autoencoder",
    "list",
    "load",
    "pca",
    "register",
    "salvage",
    "sample",
    "save_preset",
    "start_as_pca",
    "start_as_regression",
]
