"""Settings of autoencoders that follow from tables."""

import numpy as np

import zoo
from training.choices import Choice
from training.data.tables import Tables
from zoo.columns import kept
from zoo.inputs import float_rows

KEPT = 0.95  # share of the variance of the inputs that k principal components keep at least
LARGEST_K = 64
ROWS = 20_000  # rows from which k is found
STEPS_AN_EPOCH = 20  # wanted, by the batch size
MANY = 1_000  # rows that can tell values apart which are close together
FREQUENCIES = 4  # with that many


def choose(data: Tables) -> dict[str, Choice]:
    """The settings for a table, each with its reason."""
    n = data.train.size
    batch = int(2 ** np.clip(np.round(np.log2(max(n, 1) / STEPS_AN_EPOCH)), 5, 9))
    return {
        "body.frequencies": Choice(FREQUENCIES if n >= MANY else 0, f"for {n:,} rows"),
        "bottleneck.k": _k(data),
        "training.batch_size": Choice(min(batch, n), f"for {n:,} rows"),
        "training.keep": Choice("best", "by the hidden cells of the validation split"),
        "optimizer.learning_rate": Choice(1e-3, "as found over many tables"),
        "optimizer.warmup": Choice(0.2, "so that what the linear start knows is not lost"),
        "optimizer.weight_decay": Choice(0.1, "as found over many tables"),
    }


def _k(data: Tables) -> Choice:
    """The fewest principal components of the encoder's inputs that keep 95 % of their variance."""
    columns = kept(data.schema).values()
    most = max(1, min(LARGEST_K, sum(max(1, len(column.classes or ()) - 1) for column in columns) - 1))
    layer, parts, count = zoo.ColumnInputs(data.schema), [], 0
    for batch in data.train.batches():
        parts.append(np.asarray(layer(float_rows(batch["x"], data.shape))))
        count += len(parts[-1])
        if count >= ROWS:
            break
    inputs = np.concatenate(parts).astype("float64")
    variances = np.linalg.svd(inputs - inputs.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / max(variances.sum(), 1e-12)
    k = int(np.searchsorted(shares, KEPT) + 1)
    if k > most:
        return Choice(most, f"the most; it keeps {100 * shares[most - 1]:.0f} % of the variance by PCA")
    return Choice(k, f"the fewest that keep {100 * KEPT:.0f} % of the variance by PCA")
