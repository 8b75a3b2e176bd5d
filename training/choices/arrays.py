"""Settings of autoencoders that follow from arrays of numbers."""

import numpy as np

import zoo
from training.choices import Choice
from training.data.splits import Data
from zoo.scaling import moments

KEPT = 0.95  # share of the variance that k principal components keep at least
LARGEST_K = 64
LARGEST_DENSE = 3_072  # dimensions up to which fully connected bodies are taken: 32 × 32 × 3
FEW = 2_000  # rows below which layers are narrower
BENDING = frozenset(  # settings with which the code or the output may not be linear
    name for slot in ("likelihood", "bottleneck") for name in (slot, f"{slot}.activation", f"{slot}.use_bias")
) - {"bottleneck"} | {"code_activation", "output_activation", "use_bias"}
STEPS_AN_EPOCH = 40  # wanted, by the batch size


def choose(data: Data, given: frozenset[str]) -> dict[str, Choice]:
    """The settings for data, each with its reason; `given` are the names of those that the user has set."""
    feature, n, d = data.schema["x"], data.train.size, int(np.prod(data.shape))
    if d < 2:
        raise ValueError(f"Expected examples of two values or more, to be coded by fewer. Received: {d} in {data.name}.")
    found = {}
    grey_levels = feature.type == "image" and feature.range is not None and feature.range[0] >= 0 and feature.range[1] <= 1
    if not grey_levels:
        found["scaling"] = Choice("standardize", "the dimensions have units of their own")
    small = d <= LARGEST_DENSE
    found |= _body(feature.type, n, d, not given & BENDING) | {"bottleneck.k": _k(data, d, not grey_levels)}
    batch = int(2 ** np.clip(np.round(np.log2(max(n, 1) / STEPS_AN_EPOCH)), 4, 8 if small else 6))
    found["training.batch_size"] = Choice(min(batch, n), f"for {n:,} rows")
    found["training.keep"] = Choice("best", "by the loss on the validation split")
    found["typicality"] = Choice("ranks", "so that a score can be read as a share of the data")
    return found


def _body(kind: str, n: int, d: int, linear: bool) -> dict[str, Choice]:
    if kind == "image" and d > LARGEST_DENSE:
        return {
            "body": Choice("conv", f"images of {d:,} values"),
            "body.hidden": Choice(256, "beside the code"),
            "likelihood": Choice("squared_error", "values of any kind"),
        }
    width = 512 if n >= FEW else 256
    start = "pca" if linear and d <= zoo.LARGEST_COVARIANCE else "random"
    why_random = "too many values for PCA" if linear else "the code or the output is not linear"
    return {
        "body": Choice("dense", f"{'small images' if kind == 'image' else 'vectors'} of {d:,} values"),
        "body.width": Choice(width, f"for {n:,} rows"),
        "body.start": Choice(start, "so that it cannot end above PCA's error" if start == "pca" else why_random),
        "likelihood": Choice("squared_error", "values of any kind"),
        "optimizer.warmup": Choice(0.1, "a careful start from PCA"),
    }


def _k(data: Data, d: int, standardized: bool) -> Choice:
    """The fewest principal components that keep 95 % of the variance in the units of judgement."""
    most = max(1, min(LARGEST_K, d // 2, data.train.size - 1))
    if d > zoo.LARGEST_COVARIANCE:
        return Choice(most, "too many values for PCA")
    scaling = None
    _, deviation = moments((batch["x"] for batch in data.train.batches()), data.shape)
    total = float(np.square(deviation).sum())
    if standardized:
        scaling = zoo.Standardize()
        scaling.build((None, *data.shape))
        scaling.fit(batch["x"] for batch in data.train.batches())
        total = float(np.count_nonzero(deviation))
    if most >= d or total == 0:
        return Choice(most, "the data hardly vary" if total == 0 else "below the number of dimensions")
    variances = zoo.pca((batch["x"] for batch in data.train.batches()), most, data.shape, scaling).variances
    shares = np.cumsum(variances) / total
    k = int(np.searchsorted(shares, KEPT) + 1)
    if k > most:
        return Choice(most, f"the most; it keeps {100 * shares[-1]:.0f} % of the variance by PCA")
    return Choice(k, f"the fewest that keep {100 * KEPT:.0f} % of the variance by PCA")
