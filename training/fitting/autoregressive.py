"""Fits an autoregressive prior to the indices of vector-quantized codes."""

import keras
import numpy as np
import tensorflow as tf

import zoo
from training.seeds import derived

BATCH = 128
LEARNING_RATE = 2e-3  # at its peak
WARMUP = 0.05  # share of the steps in which it rises


class Indices(keras.Model):
    """The logits `(B, T, K)` of a prior for indices `(B, T)` and labels `(B,)`."""

    def __init__(self, prior: zoo.Autoregressive):
        super().__init__(dtype="float32")
        self.prior = prior

    def call(self, rows: dict, training: bool | None = None) -> keras.KerasTensor:
        return self.prior.logits(rows["indices"], rows["label"], training)


def fit_autoregressive(prior: zoo.Autoregressive, indices: np.ndarray, labels: np.ndarray | None, seed: int = 0) -> None:
    """Fits a prior to indices `(n, T)`, with labels `(n,)` if it has classes, by maximum likelihood.

    Raises:
        ValueError: a loss that is not finite; the prior has not changed.
    """
    if not prior.epochs:
        return
    batch = min(BATCH, len(indices))
    steps = prior.epochs * (len(indices) // batch)
    rising = max(1, int(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - rising), warmup_target=LEARNING_RATE, warmup_steps=rising)
    copy = zoo.Autoregressive.from_config(prior.get_config())  # the prior may be mirrored on several devices
    copy.build((None, prior.tokens, prior.entries))
    copy.set_weights(prior.get_weights())
    copy.trainable = True
    model, loss = Indices(copy), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=keras.backend.backend() == "jax")
    rows = _batches(indices, labels, batch, derived(seed, "prior"))
    model.fit(rows, epochs=prior.epochs, callbacks=[zoo.Finite()], shuffle=False, verbose=0)
    prior.set_weights(copy.get_weights())
    if prior.classes:
        prior.seen.assign(np.bincount(labels, minlength=prior.classes) > 0)


def _batches(indices: np.ndarray, labels: np.ndarray | None, batch: int, seed: int) -> tf.data.Dataset:
    """Rows and what to predict, shuffled anew for each epoch. The first half of a batch has no labels, so that p(i) is learnt
    beside p(i | class)."""
    labels = np.full(len(indices), -1) if labels is None else labels
    hidden = np.arange(batch) < (batch + 1) // 2
    rows = tf.data.Dataset.from_tensor_slices({"indices": indices.astype("int32"), "label": labels.astype("int32")})
    rows = rows.cache().shuffle(len(indices), seed=seed).batch(batch, drop_remainder=True)
    return rows.map(lambda row: ({**row, "label": tf.where(hidden, -1, row["label"])}, row["indices"])).prefetch(2)
