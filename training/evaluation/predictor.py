"""What a predictor is worth: how often its class is wrong, or how far its number is off."""

import numpy as np

import zoo
from training.data.splits import Data
from training.evaluation.arrays import answers, encode


def evaluate(model: zoo.Predictor, data: Data) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`SPLIT/error`, the share of wrong classes; for numbers `SPLIT/rmse` and `test/r2`, the share of variance explained.

    Returns:
        The metrics, and the arrays of `codes.npz`: codes, ids, labels as for an autoencoder, and `SPLIT_answers`.
    """
    metrics, arrays = {}, {}
    for name, split in data.splits.items():
        arrays |= {f"{name}_{key}": column for key, column in encode(model, split).items()}
        given = answers(getattr(model, model.serving_default), split)
        wanted = split.arrays["target"]
        if model.classifier:
            given = given.argmax(axis=1)
            metrics[f"{name}/error"] = float(np.mean(given != wanted))
        else:
            metrics[f"{name}/rmse"] = float(np.sqrt(np.mean(np.square(given - wanted))))
            metrics[f"{name}/r2"] = float(1 - np.mean(np.square(given - wanted)) / np.var(wanted))
        arrays |= {f"{name}_answers": given, f"{name}_targets": wanted}
    return metrics, arrays
