"""Autoencoders of tables: rows of mixed type in, with cells missing, and rows out."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import noise
from zoo.autoencoder import Autoencoder
from zoo.bodies import applied
from zoo.bottlenecks import Bottleneck
from zoo.columns import dtype, kept
from zoo.entropy import Histograms
from zoo.inputs import float_rows, integers, is_dataset, is_tensor
from zoo.mixed import Mixed
from zoo.registry import register
from zoo.rows import Raw, cells, filled, raw, raw_of
from zoo.signatures import Signature, Tensor

SWEEPS = 8  # of `generate_given`
MASKS = 4  # sets of hidden cells by which a row is judged outside training, unless `masks` is set
SHARE = 0.2  # of the cells in each of these sets
COPIES = 64  # of a row at once, each without one of its cells


@register("model", "table")
class TableAutoencoder(Autoencoder):
    """An autoencoder of tables whose columns are of different types and may have missing cells.

    Its parts are those of an `Autoencoder`: the encoder takes cells `(B, C)` (`zoo.ColumnInputs` is its first layer), the
    likelihood is a `zoo.Mixed`, and `zoo.HideCells` as the corruption makes it learn to fill in what is missing.

    Verbs take rows as people have them, a dict of columns, a pandas or Polars table, or a list of dicts (see `zoo.rows`), and
    return a dict of columns, float64 `(B,)` or texts `(B,)`. Training takes cells (`zoo.rows.cells`), and so do verbs, which
    then return cells.

    Args:
        overcomplete: allow a code of as many numbers as say what a row holds, or more.

    `masks` is the number of sets of hidden cells by which a row is judged outside training; of many rows, one will do.
    """

    serving_default = "reconstruct"

    def __init__(
        self,
        encoder: keras.Model,
        bottleneck: Bottleneck,
        decoder: keras.Model,
        likelihood: Mixed,
        overcomplete: bool = False,
        **kwargs,
    ):
        if not isinstance(likelihood, Mixed):
            received = type(likelihood).__name__
            raise ValueError(f"Expected a likelihood of columns. Received: {received}. Try zoo.Mixed(columns).")
        super().__init__(encoder, bottleneck, decoder, likelihood, overcomplete=overcomplete, **kwargs)
        self.schema = likelihood.columns
        self.masks = MASKS
        self.imputation = keras.metrics.Mean(name="imputation")

    def add_entropy(self, entropy: Histograms | None) -> None:
        """As of every autoencoder, but there is none: tables are compressed without loss."""
        if entropy is not None:
            raise ValueError(
                "Expected a model of arrays, for codes that are rounded. Received: one of tables. Try compress without --lossy."
            )
        super().add_entropy(None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the model has, in the order of the cells."""
        return tuple(kept(self.likelihood.columns))

    @property
    def dimensions(self) -> int:
        """How many numbers say what a row holds: one for each number, for classes one less than there are."""
        return sum(max(1, len(feature.classes or ()) - 1) for feature in kept(self.likelihood.columns).values())

    # Verbs

    def encode(self, rows: Any) -> keras.KerasTensor:
        """Rows to codes `(B, k)`, deterministically; missing cells may be any."""
        return self._encode(self.cells(rows))

    def decode(self, code: ArrayLike) -> Raw:
        """Codes `(B, k)` to rows: of each cell what is to be expected, the mean of numbers, the most probable class."""
        return self._rows(self._decode(code))

    def reconstruct(self, rows: Any) -> Raw:
        """Rows with their missing cells filled in; the others are given back as they are."""
        if _are_cells(rows):
            return self._reconstruct(self.cells(rows))
        return filled(self._raw(rows), self._rows(self._reconstruct(self.cells(rows))))

    def reconstruct_all(self, rows: Any) -> Raw:
        """Rows as the model would expect every cell, those that are there too."""
        expected = self._reconstruct_all(self.cells(rows))
        return expected if _are_cells(rows) else self._rows(expected)

    def generate(self, seed: ArrayLike) -> Raw:
        """New rows, one for each int32 seed `(B,)`: codes drawn from the prior, cells from the likelihood of each column."""
        return self._rows(self._generate(seed))

    def generate_given(self, rows: Any, seed: ArrayLike) -> Raw:
        """Rows with their missing cells drawn, one for each int32 seed `(B,)`; the others are given back as they are.

        The missing cells are drawn again and again, each time half of them given the others (iterative imputation, as in the
        pseudo-Gibbs sampling of Rezende et al., 2014, § 4.5).
        """
        if _are_cells(rows):
            return self._generate_given(self.cells(rows), seed)
        return filled(self._raw(rows), self._rows(self._generate_given(self.cells(rows), seed)))

    def score(self, rows: Any) -> keras.KerasTensor:
        """log p of the cells that are there, or a bound on it, in nats `(B,)`; higher is more typical. Of numbers it is a
        density per unit of the column."""
        return self._score(self.cells(rows))

    def bits(self, rows: Any) -> keras.KerasTensor:
        """As of any autoencoder. Of numbers it is the density times the unit of their last decimal."""
        cells = self.cells(rows)
        decimals = [feature.decimals or 0 for feature in kept(self.likelihood.columns).values()]
        units = np.where(np.isnan(ops.convert_to_numpy(cells)), 0.0, np.array(decimals) * math.log2(10))
        return super().bits(cells) + units.sum(axis=1).astype("float32")

    def score_cells(self, rows: Any) -> dict[str, np.ndarray]:
        """How much less probable each cell is than the most probable value, given the other cells of its row: log p(cell) −
        log p(mode) in nats, by column, float32 `(B,)`; NaN where a cell is missing.

        0 is as expected, −4.5 are three standard deviations. The lowest of a row is the cell that fits the others least.
        """
        scores = self._score_cells(self.cells(rows))
        if _are_cells(rows):
            return scores
        return dict(zip(self.columns, ops.convert_to_numpy(scores).T, strict=True))

    def score_code(self, rows: Any) -> keras.KerasTensor:
        """log p(g(rows)) in nats, `(B,)`, under the prior: higher is more typical."""
        return self._score_of(self.encode(rows))

    def signatures(self) -> dict[str, Signature]:
        """The signatures of this model, by verb: a tensor `(None,)` for each column, texts as strings, numbers as float64.

        Beside a column called seed, the seed is `seed_`.
        """
        columns = {name: Tensor((None,), dtype(feature)) for name, feature in kept(self.likelihood.columns).items()}
        code, integer, score = Tensor((None, self.k)), Tensor((None,), "int32"), {"score": Tensor((None,))}
        verbs = {
            "encode": Signature(columns, {"code": code}),
            "decode": Signature({"code": code}, columns),
            "reconstruct": Signature(columns, columns),
            "reconstruct_all": Signature(columns, columns),
            "generate": Signature({"seed": integer}, columns),
            "generate_given": Signature({**columns, "seed_" if "seed" in columns else "seed": integer}, columns),
            "score": Signature(columns, score),
            "score_cells": Signature(columns, {name: Tensor((None,)) for name in columns}),
            "score_code": Signature(columns, score),
        }
        if self.ranks is not None:
            verbs["typicality"] = Signature(columns, {"typicality": Tensor((None,))})
        return verbs

    def tensors(self, verb: str) -> Callable:
        """The function behind a verb that takes cells `(B, C)` in place of the columns, and returns cells."""
        own = {"score_code": lambda cells: self._score_of(self._encode(cells)), "typicality": self._typicality}
        return own.get(verb) or getattr(self, f"_{verb}")

    # The verbs on cells

    def _encode(self, cells):
        return super().encode(cells)

    def _decode(self, code):
        return self.likelihood.mean(self._parameters(self.bottleneck.snap(float_rows(code, (self.k,)))))

    def _reconstruct_all(self, cells):
        return self._decode(self._encode(cells))

    def _reconstruct(self, cells):
        return ops.where(ops.isnan(cells), self._reconstruct_all(cells), cells)

    def _generate(self, seed):
        return self._drawn(self._codes(integers(seed)), *self._noise(integers(seed)))

    def _generate_given(self, cells, seed):
        free, shape = ops.isnan(cells), (-1, SWEEPS, cells.shape[1])
        normal, uniform = (ops.reshape(each, shape) for each in self._noise(integers(seed), SWEEPS))  # (B, SWEEPS, C)
        hide = ops.reshape(noise.uniform(integers(seed), SWEEPS * shape[-1], stream=7), shape) < 0.5

        def sweep(number, drawn):
            hidden = ops.logical_and(free, ops.logical_or(ops.isnan(drawn), ops.take(hide, number, axis=1)))
            codes = self._encode(ops.where(hidden, np.nan, drawn))
            cells = self._drawn(codes, ops.take(normal, number, axis=1), ops.take(uniform, number, axis=1))
            return ops.where(hidden, cells, drawn)

        return ops.fori_loop(0, SWEEPS, sweep, cells)

    def _score(self, cells):
        codes, cost = self._coded(cells, applied(self.encoder, cells))
        return self._bound(self.likelihood.log_prob(cells, self._judged(codes)), cost)

    def _typicality(self, cells):
        return self.ranks(self._score(cells))

    def _score_cells(self, cells):
        count = cells.shape[1]
        copies = min(count, COPIES)  # K

        def judge(block, scores):
            places = copies * block + ops.arange(copies)
            alone = (places[:, None] == ops.arange(count))[:, None]  # (K, 1, C)
            hidden = ops.where(alone, np.nan, cells[None])  # (K, B, C): copies of each row, each without one of its cells
            parameters = self._parameters(self._encode(ops.reshape(hidden, (-1, count))))
            parameters = ops.reshape(parameters, (copies, -1, parameters.shape[-1]))  # (K, B, P)
            ratios = self.likelihood.log_ratios(cells, parameters)  # (K, B, C)
            return scores + ops.sum(ops.where(alone, ratios, 0.0), axis=0)

        blocks, scores = -(-count // copies), ops.zeros_like(cells)
        scores = judge(0, scores) if blocks == 1 else ops.fori_loop(0, blocks, judge, scores)
        return ops.where(ops.isnan(cells), np.nan, scores)

    def _drawn(self, codes, normal, uniform):
        """Cells `(B, C)` drawn from the likelihood given codes `(B, k)`."""
        return self.likelihood.draw(self._parameters(codes), normal, uniform)

    def _noise(self, seed, rows=1):
        """Standard normal and uniform numbers `(B, rows · C)`."""
        count = rows * self.shape[0]
        return noise.normal(seed, count, stream=5), noise.uniform(seed, count, stream=6)

    # Training

    def call(self, x: ArrayLike, training: bool | None = None) -> dict[str, keras.KerasTensor]:
        """A dict of batch-first tensors for cells `(B, C)`: `objective` and `imputation`, of cells that were hidden; outside
        training also `code`, `x` (the cells to expect) and `score`."""
        x = float_rows(x, self.shape)
        outputs = self._judged_hidden(x, training)
        if not training:
            codes, cost = self._coded(x, applied(self.encoder, x))
            parameters = self._judged(codes)
            expected = ops.mean(self.likelihood.mean(parameters), axis=0)
            score = self._bound(self.likelihood.log_prob(x, parameters), cost)
            outputs |= {"code": self._encode(x), "x": expected, "score": score}
        return outputs

    def _judged_hidden(self, x, training):
        """`objective`, what training maximizes, and `imputation`, the average loss of the hidden cells, `(B,)` each; a loss of
        1 is that of the best constant.

        Outside training the same cells of a row are hidden always, and they alone are judged.
        """
        if training:
            seen = x if self.corruption is None else self.corruption(x, training=True)
            visible = 1.0 if self.corruption is None else self.likelihood.visible
        else:
            key, count, visible = self._key(x), x.shape[1], 0.0
            draws = ops.concatenate([noise.uniform(key, count, stream=20 + mask) for mask in range(self.masks)])  # (M B, C)
            x = ops.tile(x, (self.masks, 1))
            seen = ops.where(draws < SHARE, np.nan, x)
        hidden = ops.cast(ops.logical_and(ops.isnan(seen), ops.logical_not(ops.isnan(x))), "float32")
        hidden = ops.take(hidden, self.likelihood.places, axis=-1)  # in the order of the losses
        codes, cost = self._coded(x, applied(self.encoder, seen, training), training)
        losses = self.likelihood.losses(x, self._judged(codes, training))  # (S, B, C)
        objective = self._bound(-ops.sum(losses * (hidden + visible * (1.0 - hidden)), axis=-1), cost)
        imputation = ops.sum(ops.mean(losses, axis=0) * hidden, axis=-1) / ops.maximum(ops.sum(hidden, axis=-1), 1.0)
        sets = 1 if training else self.masks
        named = {"objective": objective, "imputation": imputation}
        return {name: ops.mean(ops.reshape(each, (sets, -1)), axis=0) for name, each in named.items()}

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        self.imputation.update_state(y_pred["imputation"], sample_weight)
        return {name: value for name, value in self.get_metrics_result().items() if name in ("loss", "imputation")}

    # Helpers

    def cells(self, rows: Any) -> keras.KerasTensor:
        """Rows as cells `(B, C)`, float32, NaN where a cell is missing; cells as they are."""
        if not _are_cells(rows):
            rows = cells(self.likelihood.columns, self._raw(rows))
        return float_rows(rows, self.shape)

    def _raw(self, rows):
        return raw(self.likelihood.columns, rows)

    def _rows(self, cells):
        return raw_of(self.likelihood.columns, ops.convert_to_numpy(cells))

    def _opened(self, x):
        return super()._opened(x if is_dataset(x) or _are_cells(x) else self.cells(x))

    def _key(self, x):
        return noise.key(ops.where(ops.isnan(x), -1.0, x))


def _are_cells(rows: Any) -> bool:
    """Whether rows are cells `(B, C)` already."""
    return is_tensor(rows) or (isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind == "f")
