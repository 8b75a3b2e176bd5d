"""What the codes of a table tell of a column that the autoencoder has not seen."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

import zoo
from training.data.splits import Data, Split
from training.data.targets import ANSWER
from zoo.rows import raw_of
from zoo.schema import Feature, Schema

SHARES = (0.05, 1.0)  # of the labels, that heads are given
DRAWS = 3  # of rows with labels, where they are few, over which figures are averaged
MOST_ROWS = 20_000  # with labels
FEWEST = 10  # rows with labels
STEPS, AN_EPOCH, LOOP = 1_000, 50, 10  # of training; of an epoch at least, because short ones cost too much; of one call
PATIENCE = 4  # epochs without a lower error on held-out rows, after which training ends
WIDTH = 64  # of a head's hidden layer
RATE, DECAY = 2e-3, 1e-2
BATCH = 1000


class Labelled(NamedTuple):
    """Cells `(n, C)`, and what is to be predicted, `(n,)`: the numbers of classes, or numbers."""

    x: np.ndarray
    y: np.ndarray


def evaluate(
    model: zoo.Autoencoder, fresh: Callable[[], zoo.Autoencoder], data: Data, target: Schema, seed: int = 0
) -> dict[str, float]:
    """How well a head on the codes predicts the target of the test split, and the same network from scratch.

    Args:
        model: the trained autoencoder.
        fresh: makes one of the same parts, with initial weights.
        target: the column to be predicted, by its name.

    Metrics: of classes `target/WAY/accuracy`, of numbers `target/WAY/r2` and `target/WAY/rmse`. WAY is `codes`, a head with a
    hidden layer on the codes, which stay as they are; `scratch`, the same network, encoder, bottleneck and head, from initial
    weights; `baseline`, the mean or the mode. Both networks are given the same rows with labels; `…_5_percent` few of them,
    where it counts what the autoencoder has learnt from the others. Empty if there are too few labels.
    """
    ((name, feature),) = target.items()
    train, held_out, test = (_labelled(split, name, feature) for split in (data.train, data.held_out, data.test))
    if min(len(train.y), len(held_out.y)) < FEWEST or not len(test.y) or np.ptp(train.y) == 0:
        return {}
    if feature.classes:  # classes that the training split does not have are wrong always
        train, held_out = (Labelled(*(column[part.y < len(feature.classes)] for column in part)) for part in (train, held_out))
    codes = [Labelled(_codes(model, part.x), part.y) for part in (train, held_out, test)]
    width, count = codes[0].x.shape[1], len(feature.classes or ())
    networks = {
        "codes": (_Network([keras.Input((width,))], count), codes),
        "scratch": (_Network(zoo.coder(fresh()).layers, count, model.shape), [train, held_out, test]),
    }
    constant = np.bincount(train.y.astype(int)).argmax() if count else train.y.mean()
    metrics = _figures("baseline", "", count, np.full(len(test.y), constant), test.y)
    for share in SHARES:
        suffix, draws = (f"_{100 * share:g}_percent", DRAWS) if share < 1 else ("", 1)
        found = []
        for draw in range(draws):
            rows = [_few(part, share, (seed, draw)) for part in (train, held_out)]
            figures = {}
            for way, (network, parts) in networks.items():
                chosen = [Labelled(part.x[row], part.y[row]) for part, row in zip(parts, rows, strict=False)]
                figures |= _figures(way, suffix, count, network.answers(*chosen, parts[2].x), test.y)
            found.append(figures)
        metrics |= {key: float(np.mean([figures[key] for figures in found])) for key in found[0]}
    return metrics


class _Network:
    """Layers and a head, which are trained again and again from the same initial weights; so they are compiled once."""

    def __init__(self, layers: list[keras.layers.Layer], classes: int, shape: tuple[int, ...] = ()):
        head = [
            keras.layers.BatchNormalization(momentum=0.9, name="scale"),  # codes have any scale
            keras.layers.Dense(WIDTH, activation="gelu", name="hidden"),
            keras.layers.Dense(classes or 1, name="answer"),
        ]
        self._classes = classes
        inputs = [keras.Input(shape)] if shape else []
        self._model = keras.Sequential([*inputs, *layers, *head])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else keras.losses.MeanSquaredError()
        optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
        optimizer.build(self._model.trainable_variables)
        self._model.compile(optimizer, loss, steps_per_execution=LOOP)
        self._variables = [*self._model.variables, *optimizer.variables]
        self._start = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def answers(self, train: Labelled, held_out: Labelled, x: np.ndarray) -> np.ndarray:
        """What is predicted for rows x, `(n,)`, after training that ends by the error on rows that are held out; of numbers, no
        lower and no higher ones than in training."""
        for variable, start in zip(self._variables, self._start, strict=True):
            variable.assign(start)
        mean, scale = (0.0, 1.0) if self._classes else (train.y.mean(), max(train.y.std(), 1e-12))
        batch = int(min(len(train.y), 2 ** np.clip(np.round(np.log2(len(train.y) / 20)), 4, 8)))
        times = -(-AN_EPOCH * batch // len(train.y))  # that the rows are in an epoch
        steps = -(-times * len(train.y) // batch)
        stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
        targets = [(part.y if self._classes else (part.y - mean) / scale).astype("float32") for part in (train, held_out)]
        rows = {"x": np.tile(train.x, (times, 1)), "y": np.tile(targets[0], times)}
        rows |= {"batch_size": batch, "validation_data": (held_out.x, targets[1])}
        self._model.fit(**rows, epochs=max(1, STEPS // steps), callbacks=[stop], verbose=0)
        found = self._model.predict(x, batch_size=BATCH, verbose=0)
        if self._classes:
            return found.argmax(axis=1)
        return np.clip(found[:, 0] * scale + mean, train.y.min(), train.y.max())


def _labelled(split: Split, name: str, feature: Feature) -> Labelled:
    """The rows of a split, of many some, whose target is known."""
    found, count = [], 0
    for rows in split.batches(BATCH):
        known = ~np.isnan(rows[ANSWER])
        found.append((rows["x"][known], rows[ANSWER][known]))
        count += len(found[-1][1])
        if split.arrays is None and count >= MOST_ROWS:
            break
    x, cells = (np.concatenate(columns) for columns in zip(*found, strict=True))
    if count > MOST_ROWS:  # files are often sorted
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:MOST_ROWS])
        x, cells = x[chosen], cells[chosen]
    if feature.classes:
        return Labelled(x, cells)
    numbers = raw_of({name: feature}, cells[:, None])[name]
    return Labelled(x, numbers if feature.type != "datetime" else cells)


def _codes(model: zoo.Autoencoder, x: np.ndarray) -> np.ndarray:
    parts = (model.encode(x[start : start + BATCH]) for start in range(0, len(x), BATCH))
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def _few(labelled: Labelled, share: float, seed: tuple[int, int]) -> np.ndarray:
    """The places of a share of rows, drawn at random, in their order."""
    count = len(labelled.y)
    number = count if share == 1 else min(count, max(FEWEST, round(share * count)))
    return np.sort(np.random.default_rng(seed).permutation(count)[:number])


def _figures(way: str, suffix: str, classes: int, answers: np.ndarray, y: np.ndarray) -> dict[str, float]:
    if classes:
        return {f"target/{way}/accuracy{suffix}": float(np.mean(answers == y))}
    error = float(np.mean(np.square(answers - y)))
    figures = {"r2": 1 - error / max(float(np.var(y)), 1e-12), "rmse": float(np.sqrt(error))}
    return {f"target/{way}/{name}{suffix}": value for name, value in figures.items()}
