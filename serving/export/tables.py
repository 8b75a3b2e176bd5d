"""Signatures for tables: one tensor for each column, raw values in and out, with the tables of categories in the graph.

The arithmetic is that of `zoo.columns` and `zoo.dates`. What is of the same kind is computed together: a step of its own for
each of forty columns would take longer than the model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.experimental.numpy as tnp

from serving.export.images import Verb
from zoo import dates
from zoo.columns import OTHER, dtype, groups, kept
from zoo.model import Model
from zoo.rows import BLANKS, raw, raw_of
from zoo.schema import Feature, Schema
from zoo.signatures import Tensor

FILLING = ("reconstruct", "generate_given")  # verbs that give the values that are there back as they were

Stacks = list[tf.Tensor]  # raw columns `(B, G)`, those of a kind together


def takes_columns(model: Model) -> bool:
    """Whether the signatures of a model declare columns, numbers in float64 and texts without a vocabulary."""
    return any(_is_column(tensor) for signature in model.signatures().values() for tensor in signature.inputs.values())


def _is_column(tensor: Tensor) -> bool:
    return tensor.dtype in ("float64", "string") and not tensor.vocabulary


def verbs(model: Model) -> dict[str, Verb]:
    """The verbs of a model of tables; the verbs themselves take and return cells."""
    table = Table(kept(model.schema))
    example = sample(model.schema)
    return {
        name: Verb(signature, _on_columns(model, name, table), (table,), example)
        for name, signature in model.signatures().items()
    }


def sample(schema: Schema, rows: Any = None) -> dict[str, np.ndarray]:
    """Rows, or cells `(n, C)`, or by default a row of means, as raw columns `(n,)` that NumPy can store; numbers of cells have
    as many digits as those of the table."""
    cells = np.zeros((1, len(kept(schema)))) if rows is None else rows
    columns = raw_of(schema, cells) if isinstance(cells, np.ndarray) else raw(schema, rows)
    return {name: _storable(column, schema[name].decimals) for name, column in columns.items()}


def _storable(column: np.ndarray, decimals: int | None) -> np.ndarray:
    if column.dtype.kind != "f":
        return column.astype(str)
    return column if decimals is None else np.round(column, decimals)


def _on_columns(model: Model, verb: str, table: "Table") -> Callable:
    """The function of a verb that takes and returns columns."""
    on_cells, (inputs, outputs) = model.tensors(verb), model.signatures()[verb]

    def call(*values):
        given = dict(zip(inputs, values, strict=True))
        others = [value for name, value in given.items() if not _is_column(inputs[name])]
        if len(others) == len(given):
            results = on_cells(*others)
        else:
            stacks = table.stacks(given)
            results = on_cells(table.cells(stacks), *others)
        if verb == "score_cells":
            return dict(zip(outputs, tf.unstack(results, axis=1), strict=True))
        if not all(map(_is_column, outputs.values())):
            return results
        answers = table.stacks_of(results)
        return table.columns(table.filled(stacks, answers) if verb in FILLING else answers)

    return call


class Table(tf.Module):
    """Raw columns to cells `(B, C)` and back, as `zoo.rows`."""

    def __init__(self, schema: Schema):
        super().__init__()
        self.names = [*schema]
        features = [*schema.values()]
        self._places, self._kinds = zip(*_kinds(features), strict=True)
        self._groups = groups(schema)
        self._stacked = np.argsort(np.concatenate(self._places))  # where the column of each cell is in the stacks
        self._grouped = np.argsort(np.concatenate([places for places, _ in self._groups]))  # and in the groups

    def stacks(self, columns: Mapping[str, tf.Tensor]) -> Stacks:
        return [tf.stack([columns[self.names[place]] for place in places], axis=1) for places in self._places]

    def columns(self, stacks: Stacks) -> dict[str, tf.Tensor]:
        columns = [column for stack in stacks for column in tf.unstack(stack, axis=1)]
        return {self.names[place]: column for place, column in zip(np.concatenate(self._places), columns, strict=True)}

    @tf.function(autograph=False)  # traced once for all verbs
    def cells(self, stacks: Stacks) -> tf.Tensor:
        numbers = [kind.numbers(stack) for kind, stack in zip(self._kinds, stacks, strict=True)]
        by_group = _parts(tf.concat(numbers, axis=1), [self._stacked[places] for places, _ in self._groups])
        cells = [group.cells(part, tnp) for (_, group), part in zip(self._groups, by_group, strict=True)]
        return tf.gather(tf.cast(tf.concat(cells, axis=1), tf.float32), self._grouped, axis=1)

    @tf.function(autograph=False)
    def stacks_of(self, cells: tf.Tensor) -> Stacks:
        cells = tf.cast(cells, tf.float64)
        by_group = _parts(cells, [places for places, _ in self._groups])
        numbers = [group.raw(part, tnp) for (_, group), part in zip(self._groups, by_group, strict=True)]
        numbers = tf.gather(tf.concat(numbers, axis=1), self._grouped, axis=1)  # (B, C), float64
        by_kind = _parts(tf.where(tf.math.is_nan(cells), cells, numbers), self._places)
        return [kind.values(part) for kind, part in zip(self._kinds, by_kind, strict=True)]

    def filled(self, stacks: Stacks, others: Stacks) -> Stacks:
        """Raw columns with their missing values taken from others, as `zoo.rows.filled`."""
        pairs = zip(stacks, others, strict=True)
        return [tf.where(_are_missing(stack), other, stack) for stack, other in pairs]


def _are_missing(values: tf.Tensor) -> tf.Tensor:
    return tf.strings.strip(values) == "" if values.dtype == tf.string else tf.math.is_nan(values)


def _kinds(features: Sequence[Feature]) -> list[tuple[np.ndarray, "_Numbers"]]:
    """The places of the columns whose raw values are alike, and how these are read."""
    found: dict[tuple, list[int]] = {}
    for place, feature in enumerate(features):
        found.setdefault((dtype(feature), feature.format or ""), []).append(place)
    made = []
    for (kind, format), places in found.items():
        own = [features[place] for place in places]
        made.append((np.array(places), _Numbers() if kind == "float64" else _Dates(format) if format else _Texts(own)))
    return made


def _parts(values: tf.Tensor, places: Sequence[np.ndarray]) -> list[tf.Tensor]:
    """Columns of `(B, C)` by their places, in parts."""
    return tf.split(tf.gather(values, np.concatenate(places), axis=1), [len(part) for part in places], axis=1)


class _Numbers(tf.Module):
    """Numbers, which are read as they are."""

    def numbers(self, values: tf.Tensor) -> tf.Tensor:
        return values

    def values(self, numbers: tf.Tensor) -> tf.Tensor:
        return numbers


class _Texts(tf.Module):
    """Texts `(B, G)` as the numbers of their classes, and back. All columns share one table, where a text has the place of its
    column before it."""

    def __init__(self, features: Sequence[Feature]):
        super().__init__()
        keys = [f"{place} {text.strip(BLANKS)}" for place, feature in enumerate(features) for text in (*feature.classes, "")]
        numbers = [number for feature in features for number in (*map(float, range(len(feature.classes))), np.nan)]
        initial = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(numbers, tf.float64))
        self._table = tf.lookup.StaticHashTable(initial, -1.0)
        self._prefixes = np.array([[f"{place} " for place in range(len(features))]])
        self._counts = np.array([len(feature.classes) for feature in features], "float64")
        self._texts = [text for feature in features for text in (*feature.classes, OTHER, "")]
        self._starts = np.cumsum([0, *(self._counts[:-1] + 2)])

    def numbers(self, texts: tf.Tensor) -> tf.Tensor:
        found = self._table.lookup(tf.strings.join([tf.broadcast_to(self._prefixes, tf.shape(texts)), tf.strings.strip(texts)]))
        return tf.where(found == -1.0, self._counts, found)

    def values(self, numbers: tf.Tensor) -> tf.Tensor:
        places = tf.where(tf.math.is_nan(numbers), self._counts + 1, numbers)
        return tf.gather(tf.constant(self._texts), tf.cast(places + self._starts, tf.int32))


class _Dates(tf.Module):
    """Dates of one format as seconds since 1970, and back, as `zoo.dates`."""

    def __init__(self, format: str):
        super().__init__()
        self._format = format
        self._pattern, self._parts = dates.expression(format)

    def numbers(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.strip(texts)
        good = tf.strings.regex_full_match(texts, self._pattern)
        parts = {}
        for number, part in enumerate(self._parts, 1):
            digits = tf.strings.regex_replace(texts, f"^{self._pattern}$", rf"\{number}", replace_global=False)
            parts[part] = tf.strings.to_number(tf.where(good, digits, "nan"), tf.float64)
        return dates.seconds_of(parts, tnp)

    def values(self, numbers: tf.Tensor) -> tf.Tensor:
        parts = dates.parts_of(
            tf.where(tf.math.is_nan(numbers), tf.zeros_like(numbers), numbers), tnp, dates.unit(self._format)
        )
        literals = dates.DIRECTIVE.split(self._format)[::2]
        written = [literals[0]]
        for part, literal in zip(self._parts, literals[1:], strict=True):
            width = 4 if part == "Y" else 2
            written += [tf.strings.as_string(tf.cast(parts[part], tf.int64), width=width, fill="0"), literal]
        return tf.where(tf.math.is_nan(numbers), "", tf.strings.join(written))
