"""The likelihood of tables whose columns are of different types, and what an encoder sees of such a table."""

import itertools
import json
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from zoo import class_columns, columns, number_columns  # noqa: F401 - the first and the last register types
from zoo.arguments import require_amount
from zoo.likelihoods import Likelihood
from zoo.registry import register
from zoo.schema import Schema, described, restored


@register("likelihood", "mixed")
class Mixed(Likelihood):
    """Each column of a table judged by the likelihood of its type (see `zoo.columns`); missing cells are not judged.

    In training each column's loss is divided by what the best constant would cost, the generalized variance of Udell et al.
    (2016, § 4.3), so that no type drowns the others, and units do not matter.

    Args:
        columns: the table's schema, by name; columns of the types `zoo.columns.LEFT_OUT` are passed over.
        visible: weight in training of cells that the encoder has seen; that of hidden cells is 1.

    Raises:
        ValueError: no columns that can be judged; an unknown type.
    """

    def __init__(self, columns: Schema | str, visible: float = 0.2):
        require_amount(visible=visible)
        self.columns = _schema(columns)
        self.visible = visible
        self.groups = groups(self.columns)
        self.places = np.concatenate([places for places, _ in self.groups])
        self._order = np.argsort(self.places)  # from the order of the groups to that of the columns
        self._cells = _edges(group.size for _, group in self.groups)
        edges = np.cumsum([0, *(group.parameters for _, group in self.groups)])
        self.slices = [slice(int(low), int(high)) for low, high in itertools.pairwise(edges)]

    def head(self, shape: tuple[int, ...], features: tuple[int, ...]) -> keras.layers.Layer:
        """The projection to the parameters `(B, P)` of all columns, which starts at each column's distribution as a whole."""
        start = np.concatenate([group.start(np.ones(group.size)) for _, group in self.groups])
        bias = lambda shape, dtype=None: ops.convert_to_tensor(start, dtype=dtype)  # noqa: E731
        kernel = keras.initializers.VarianceScaling(0.25)
        layers = [keras.layers.Flatten(), keras.layers.Dense(len(start), kernel_initializer=kernel, bias_initializer=bias)]
        return keras.Sequential(layers, name="head")

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """The cells to expect, `(…, C)`, given parameters `(…, P)`."""
        return self._by_column(self._each(lambda group, parameters: group.point(parameters), parameters))

    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        """Cells `(B, C)` drawn given parameters `(B, P)`, from standard normal and uniform numbers `(B, C)`."""
        draws = (ops.take(each, self.places, axis=-1) for each in (normal, uniform))
        return self._by_column(self._each(lambda group, *given: group.draw(*given), parameters, *draws))

    def log_probs(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of each cell in nats, `(S, B, C)`, for cells `(B, C)` and parameters `(S, B, P)`; 0 where a cell is missing."""
        return self._by_column(self._judged("log_prob", x, parameters))

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sum(self.log_probs(x, parameters), axis=-1)

    def losses(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """What training minimizes, of each cell, shaped as in `log_probs`, but in the order of `places`, since to change the
        order takes time in training; 0 where a cell is missing."""
        return self._judged("loss", x, parameters)

    def log_ratios(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of each cell less that of the most probable value, in nats, shaped as in `log_probs`; 0 where it is missing."""
        return self._by_column(self._judged("log_ratio", x, parameters))

    def check(self, x: np.ndarray) -> None:
        """Cells are what a schema made of raw values; there is nothing that could be wrong with them but infinity.

        Raises:
            ValueError: an infinite cell.
        """
        if np.isinf(x).any():
            row, column = np.argwhere(np.isinf(x))[0]
            raise ValueError(
                f"Expected finite numbers. Received: {x[row, column]} in row {row} of {[*columns.kept(self.columns)][column]}. "
                "Try leaving that cell empty."
            )

    def get_config(self) -> dict:
        return {"columns": _text(self.columns), "visible": self.visible}

    def _judged(self, judgement, x, parameters):
        """What the groups' judgement of cells `(B, C)` is, in the order of `places`."""
        x = ops.take(x, self.places, axis=-1)
        known = ops.logical_not(ops.isnan(x))
        judge = lambda group, parameters, cells: getattr(group, judgement)(cells, parameters)  # noqa: E731
        return ops.where(known, self._each(judge, parameters, ops.where(known, x, 0.0)), 0.0)

    def _each(self, function, parameters, *cells):
        """What a function gives for every group, its parameters and its cells, in the order of `places`."""
        parts = [_split(parameters, [part.start for part in self.slices[1:]]), *(_split(each, self._cells) for each in cells)]
        found = [function(group, *given) for (_, group), *given in zip(self.groups, *parts, strict=True)]
        return ops.concatenate(found, axis=-1)

    def _by_column(self, x):
        return ops.take(x, self._order, axis=-1)


@register("features", "columns")
class ColumnInputs(keras.layers.Layer):
    """Cells `(B, C)` of a table, of which any may be missing, to inputs `(B, F)` of an encoder: numbers in standard units,
    classes as indicators, 0 where a cell is missing, and for each column whether it is.

    `owners` are the places of the columns that the inputs are of, those beside the flags, `(F − C,)`; `numbers` the places of
    the inputs that are numbers in standard units.

    Args:
        columns: the table's schema, by name.
    """

    def __init__(self, columns: Schema | str, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.columns = _schema(columns)
        self.groups = groups(self.columns)
        self._places = np.concatenate([places for places, _ in self.groups])
        self.owners = np.concatenate([np.repeat(places, group.width // group.size) for places, group in self.groups])
        self._edges = _edges(group.size for _, group in self.groups)
        columns = [group for _, group in self.groups for _ in range(group.size)]
        firsts = len(columns) + np.cumsum([0, *(group.width // group.size for group in columns)])
        self.numbers = [int(first) + i for first, group in zip(firsts, columns, strict=False) for i in range(group.scales)]

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        missing = ops.cast(ops.isnan(x), x.dtype)
        cells = ops.take(ops.where(ops.isnan(x), 0.0, x), self._places, axis=-1)  # (B, C), by group
        parts = zip(self.groups, _split(cells, self._edges), strict=True)
        inputs = ops.concatenate([group.inputs(part) for (_, group), part in parts], axis=-1)
        return ops.concatenate([missing, inputs * (1.0 - ops.take(missing, self.owners, axis=-1))], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], input_shape[-1] + sum(group.width for _, group in self.groups))

    def get_config(self) -> dict:
        return {**super().get_config(), "columns": _text(self.columns)}


def groups(schema: Schema) -> list[tuple[np.ndarray, columns.Columns]]:
    """As `zoo.columns.groups`.

    Raises:
        ValueError: no column that a model can have.
    """
    found = columns.groups(schema)
    if not found:
        raise ValueError(f"Expected a column to learn from. Received: {', '.join(schema) or 'no columns'}, all left out.")
    return [(np.array(places, "int32"), group) for places, group in found]


def _edges(sizes: Iterable[int]) -> list[int]:
    """The places between parts of these sizes."""
    return np.cumsum([*sizes])[:-1].tolist()


def _split(x, edges):
    return ops.split(x, edges, axis=-1) if edges else [x]  # at no place, TensorFlow does not split


def _schema(schema: Schema | str) -> Schema:
    """A schema, which in a configuration is JSON: Keras would take columns of some names for parts of its own."""
    return restored(json.loads(schema)) if isinstance(schema, str) else schema


def _text(schema: Schema) -> str:
    return json.dumps(described(schema))
