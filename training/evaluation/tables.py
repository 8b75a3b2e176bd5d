"""Evaluation of autoencoders of tables: how well they fill in cells, compared with the mean or mode, and with PCA."""

import numpy as np

import zoo
from training.data.splits import Split
from training.data.tables import Tables
from training.evaluation import arrays
from training.experiments.experiment import Experiment
from zoo import dates, rows
from zoo.columns import dtype, kept

HIDDEN = 0.2  # share of the cells that are hidden
BATCH = 1000
MOST_ROWS = 100_000  # of a split, by which cells are judged
FEW, REPEATS = 2_000, 10  # rows of a split below which they are judged several times, and the most of these times


def evaluate(
    model: zoo.TableAutoencoder, data: Tables, experiment: Experiment
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Evaluates a trained model on the test split.

    Returns:
        The metrics, and the arrays of `codes.npz`: for each split `SPLIT_codes` and `SPLIT_ids`.

    Metrics, of a fifth of the test split's cells, hidden at random (several times, if rows are few):
    `columns/NAME/imputation`, of numbers the root of the mean squared error divided by the standard deviation of the training
    split, of texts the share of wrong ones; `columns/NAME/baseline`, the same of the mean or the mode of the training split;
    `imputation/score`, the first divided by the second, averaged over the columns, so that `imputation/baseline` is 1;
    `pca/imputation`, the same of PCA of equal k, of indicators and standardized numbers, with means where cells are missing.
    `test/score` is log p of the rows in nats.
    """
    metrics = imputation(model, data.test, experiment.seed)
    pca = Pca(data, model.k)
    metrics["pca/imputation"] = imputation(pca, data.test, experiment.seed, model)["imputation/score"]
    metrics["test/score"] = arrays.average(data.test, model.score)
    if model.bottleneck.drawn:
        metrics["active_units"] = int(np.sum(arrays.active_units(arrays.encode(model, data.test)["codes"])))
    encoded = {name: arrays.encode(model, split) for name, split in data.splits.items()}
    columns = {f"{split}_{name}": column for split, part in encoded.items() for name, column in part.items()}
    return {name: float(value) for name, value in metrics.items()}, columns


def imputation(filler: object, split: Split, seed: int = 0, model: zoo.TableAutoencoder | None = None) -> dict[str, float]:
    """The metrics of hidden cells that `evaluate` describes.

    Args:
        filler: a model, or anything with its `reconstruct` of cells.
        model: whose columns the cells are, if `filler` is none.
    """
    schema = (model or filler).likelihood.columns
    x = cells(split, MOST_ROWS)
    x = np.tile(x, (int(np.clip(FEW // len(x), 1, REPEATS)), 1))
    hidden = (np.random.default_rng(seed).random(x.shape) < HIDDEN) & ~np.isnan(x)
    seen = np.where(hidden, np.float32(np.nan), x)
    starts = range(0, len(seen), BATCH)
    filled = np.concatenate([arrays.numpy(filler.reconstruct(seen[start : start + BATCH])) for start in starts])
    true, given = rows.raw_of(schema, x), rows.raw_of(schema, filled)
    metrics, ratios = {}, []
    for place, (name, feature) in enumerate(kept(schema).items()):
        chosen = hidden[:, place]
        if not chosen.any():
            continue
        error, baseline = _errors(feature, true[name][chosen], given[name][chosen])
        metrics |= {f"columns/{name}/imputation": error, f"columns/{name}/baseline": baseline}
        if baseline > 0:
            ratios.append(error / baseline)
    return {"imputation/score": float(np.mean(ratios)) if ratios else 1.0, "imputation/baseline": 1.0, **metrics}


def loss(model: zoo.TableAutoencoder, x: np.ndarray) -> float:
    """What training minimizes, for cells `(n, C)` of which the same are hidden always."""
    starts = range(0, len(x), BATCH)
    return -float(np.concatenate([arrays.numpy(model(x[i : i + BATCH], training=False)["objective"]) for i in starts]).mean())


def cells(split: Split, most: int) -> np.ndarray:
    """Cells `(n, C)` of a split, of at most so many rows: of all parts of it, or, of a stream, the first ones."""
    if split.arrays is not None:
        return split.arrays["x"][:: -(-split.size // most)]
    parts, count = [], 0
    for batch in split.batches(BATCH):
        parts.append(batch["x"])
        count += len(parts[-1])
        if count >= most:
            break
    return np.concatenate(parts)[:most]


def _errors(feature: zoo.schema.Feature, true: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """The error of given values `(n,)`, and that of the mean or the mode of the training data."""
    if dtype(feature) == "string" and feature.type != "datetime":
        mode = feature.classes[int(np.argmax(feature.shares))]
        return float(np.mean(true != given)), float(np.mean(true != mode))
    if feature.type == "datetime":
        true, given = (dates.seconds(values, feature.format) for values in (true, given))
    mean, scale = feature.mean, feature.scale
    if feature.classes:
        mean = float(np.dot(feature.classes, feature.shares) / sum(feature.shares))
        scale = float(np.sqrt(np.dot(np.square(np.array(feature.classes) - mean), feature.shares) / sum(feature.shares)))
    return (float(np.sqrt(np.mean(np.square(values - true)))) / scale for values in (given, np.full_like(true, mean)))


class Pca:
    """PCA of indicators of classes and of standardized numbers, as an imputer: missing ones are first their means, then what
    the k leading components make of the row."""

    def __init__(self, data: Tables, k: int):
        self._widths = [len(feature.classes or ()) for feature in kept(data.schema).values()]
        inputs = self._inputs(cells(data.train, MOST_ROWS))
        self._mean = np.nanmean(inputs, axis=0)
        centred = np.nan_to_num(inputs - self._mean)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        self._axes = axes[: min(k, len(axes))]  # (k, F)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Cells `(n, C)` as PCA reconstructs them."""
        centred = np.nan_to_num(self._inputs(x) - self._mean)
        expected, columns, start = centred @ self._axes.T @ self._axes + self._mean, [], 0
        for width in self._widths:
            part = expected[:, start : start + max(width, 1)]
            columns.append(part.argmax(axis=1) if width else part[:, 0])
            start += max(width, 1)
        return np.where(np.isnan(x), np.stack(columns, axis=1), x).astype("float32")

    def _inputs(self, x):
        parts = []
        for place, width in enumerate(self._widths):
            column = x[:, place : place + 1].astype("float64")
            indicators = np.where(np.isnan(column), np.nan, column == np.arange(width))
            parts.append(indicators if width else column)
        return np.concatenate(parts, axis=1)
