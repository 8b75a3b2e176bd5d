"""Models whose data can be compressed without loss."""

from zoo.bottlenecks import Deterministic, Gaussian
from zoo.likelihoods import Discrete
from zoo.mixed import Mixed
from zoo.model import Model


def require_lossless(model: Model) -> None:
    """Raises ValueError unless data can be compressed with a model without loss."""
    wrong = None
    if not hasattr(model, "bottleneck"):
        wrong = f"a {type(model).__name__}"
    elif not isinstance(model.likelihood, Discrete | Mixed):
        wrong = f"{type(model.likelihood).__name__}, which gives no probabilities of levels"
    elif not isinstance(model.bottleneck, Gaussian | Deterministic):
        wrong = f"a {type(model.bottleneck).__name__} bottleneck"
    elif model.scaling is not None:
        wrong = f"{type(model.scaling).__name__} before the encoder"
    if wrong:
        raise ValueError(
            f"Expected an autoencoder with codes in R^k and a likelihood of levels or of columns, such as Bernoulli, "
            f"DiscretizedGaussian or Mixed, to compress without loss. Received: {wrong}. Try --lossy (lossy=True)."
        )
