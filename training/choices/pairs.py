"""Settings of transformers that follow from pairs of texts."""

import numpy as np

from training.choices import Choice
from training.data.splits import Data

MANY = 20_000  # pairs from which on the transformer is of full size


def choose(data: Data) -> dict[str, Choice]:
    """The settings for pairs of texts, each with its reason."""
    n = data.train.size
    reason = f"for {n:,} pairs"
    width, depth = (128, 4) if n >= MANY else (64, 2)
    batch = int(2 ** np.clip(np.round(np.log2(max(n, 1) / 40)), 4, 8))
    return {
        "model.width": Choice(width, reason),
        "model.depth": Choice(depth, reason),
        "training.batch_size": Choice(min(batch, n), reason),
        "training.keep": Choice("best", "by the loss on the validation split"),
        "optimizer.learning_rate": Choice(2e-3, "as for pronunciations"),
    }
