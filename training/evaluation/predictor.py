"""Evaluation of predictors: how often the class is wrong, or how large the error of the number is."""

import numpy as np

import zoo
from training.data.splits import Data
from training.evaluation.arrays import answers, encode


def evaluate(model: zoo.Predictor, data: Data) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`SPLIT/error`, the share of wrong classes; for numbers `SPLIT/rmse` and `SPLIT/r2`, the share of explained variance.

    Returns:
        The metrics, and the arrays of `codes.npz`: codes, ids and labels as for an autoencoder, `SPLIT_answers` and
        `SPLIT_targets`.
    """
    metrics, arrays = {}, {}
    for name, split in data.splits.items():
        arrays |= {f"{name}_{key}": column for key, column in encode(model, split).items()}
        predicted = answers(getattr(model, model.serving_default), split)
        targets = split.arrays["target"]
        if model.classifier:
            predicted = predicted.argmax(axis=1)
            metrics[f"{name}/error"] = float(np.mean(predicted != targets))
        else:
            metrics[f"{name}/rmse"] = float(np.sqrt(np.mean(np.square(predicted - targets))))
            metrics[f"{name}/r2"] = float(1 - np.mean(np.square(predicted - targets)) / np.var(targets))
        arrays |= {f"{name}_answers": predicted, f"{name}_targets": targets}
    return metrics, arrays
