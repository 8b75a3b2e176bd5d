"""Rows of tables whose columns are discrete: as they come, as whole numbers, and on the stack."""

import numpy as np

from zoo import rows as rows_
from zoo.class_columns import Categorical, Ordinal
from zoo.coding import curves
from zoo.coding.stack import Distribution, Stack, costs
from zoo.columns import Columns, kept
from zoo.mixed import Mixed
from zoo.number_columns import NARROWEST, UNIT, Continuous
from zoo.rows import Raw

LEAST_MISSING = 2.0**-10  # probability of a missing cell, and of one that is there
MOST = 2**30  # numbers that a cell can be
SHARE = 2.0**24  # of a class, in 1


class Cells:
    """How rows of a table are whole numbers, and back, to the bit; how these are pushed and popped.

    A missing cell is 0, another one 1 more than the number of its class or, of numbers with d decimals, than how many times
    10⁻ᵈ it is above the lowest that can be coded. That is the lowest of the training data less their range; the highest is as
    far.

    Args:
        likelihood: of the data.

    Raises:
        ValueError: a column that is not discrete, or of which that is not known.
    """

    def __init__(self, likelihood: Mixed):
        self._schema, self._likelihood = likelihood.columns, likelihood
        names = [*kept(self._schema)]
        self._groups = [
            (places, _group(group, [names[place] for place in places]), part)
            for (places, group), part in zip(likelihood.groups, likelihood.slices, strict=True)
        ]
        self._names = names
        missing = np.array([kept(self._schema)[name].missing or 0.0 for name in names])
        self._missing = np.clip(missing, LEAST_MISSING, 1.0 - LEAST_MISSING)

    @property
    def example(self) -> tuple[tuple[int, ...], int]:
        return (len(self._names),), 2  # the least of all columns: missing, and the first of a cell's numbers

    def numbers(self, x: Raw) -> np.ndarray:
        """Raw columns `(n,)` as numbers `(n, C)`, int64.

        Raises:
            ValueError: a cell that would not be given back as it is.
        """
        values = np.stack([rows_.numbers_of(x[name], self._schema[name]) for name in self._names], axis=1)
        numbers = np.zeros(values.shape, "int64")
        for places, group, _ in self._groups:
            found = values[:, places]
            numbers[:, places] = np.where(np.isnan(found), 0, 1 + group.numbers(np.nan_to_num(found)))
        again = self.rows(numbers)
        for name in self._names:
            same = (again[name] == x[name]) | (rows_.missing(again[name]) & rows_.missing(x[name]))
            if not same.all():
                row = int(np.flatnonzero(~same)[0])
                raise ValueError(
                    f"Expected cells that come back to the bit. Received: {x[name][row]!r:.40} in row {row} of {name}, which "
                    f"would be {again[name][row]!r:.40}, and {(~same).sum() - 1:,} more such cells. Try leaving them empty, or "
                    "a model of such data."
                )
        return numbers

    def rows(self, numbers: np.ndarray) -> Raw:
        """The raw columns `(n,)` of numbers `(n, C)`."""
        values = np.full(numbers.shape, np.nan)
        for places, group, _ in self._groups:
            found = numbers[:, places]
            values[:, places] = np.where(found == 0, np.nan, group.values(np.maximum(found - 1, 0)))
        return {name: rows_.values_of(values[:, place], self._schema[name]) for place, name in enumerate(self._names)}

    def inputs(self, numbers: np.ndarray) -> np.ndarray:
        """What the encoder is given, cells `(B, C)`, float32."""
        return rows_.cells(self._schema, self.rows(numbers))

    def push(self, stack: Stack, parameters: np.ndarray, numbers: np.ndarray) -> None:
        """Adds the numbers of rows `(B, C)`, given the likelihood's parameters `(B, P)`."""
        for places, group, part in reversed(self._groups):
            found = numbers[:, places].ravel()
            here = np.flatnonzero(found)
            stack.push(group.distribution(parameters[:, part], here), found[here] - 1)
        stack.push(self._absence(len(numbers)), (numbers > 0).astype("int64").ravel())

    def costs(self, parameters: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """As `Levels.costs`."""
        total = np.zeros(len(numbers), "int64")
        for places, group, part in self._groups:
            found = numbers[:, places].ravel()
            here, taken = np.flatnonzero(found), np.zeros(found.shape, "int64")
            taken[here] = costs(group.distribution(parameters[:, part], here), found[here] - 1)
            total += taken.reshape(len(numbers), -1).sum(axis=1)
        return total

    def pop(self, stack: Stack, parameters: np.ndarray) -> np.ndarray:
        """The numbers of rows `(B, C)` that were pushed last."""
        numbers = stack.pop(self._absence(len(parameters))).reshape(len(parameters), -1)
        for places, group, part in self._groups:
            found = numbers[:, places].ravel()
            here = np.flatnonzero(found)
            found[here] = 1 + stack.pop(group.distribution(parameters[:, part], here))
            numbers[:, places] = found.reshape(len(parameters), -1)
        return numbers

    def _absence(self, rows: int) -> Distribution:
        """Of 0 for a missing cell, and 1 for one that is there."""
        missing = np.tile(self._missing, rows)
        return Distribution(len(missing), 0, 2, lambda edges, places: missing[places])


class _Classes:
    """Cells that are numbers of classes."""

    def __init__(self, group: Columns):
        self._group = group
        self._count = group.most - group.others

    def numbers(self, values: np.ndarray) -> np.ndarray:
        return np.clip(self._group.cells(values, np), 0, self._group.counts - 1).astype("int64")

    def values(self, numbers: np.ndarray) -> np.ndarray:
        return self._group.raw(np.minimum(numbers, self._group.counts - 1).astype("float64"), np)

    def distribution(self, parameters: np.ndarray, here: np.ndarray) -> Distribution:
        """Of the cells `(m,)` that are at these places of `(B, G)`, flattened, given parameters `(B, P)`."""
        edges = self._edges(parameters.reshape(len(parameters), self._group.size, -1))  # (B, G, K)
        edges = edges.reshape(-1, edges.shape[-1])[here]

        def below(found, places):
            return edges[places, found - 1] / edges[places, -1]

        return Distribution(len(here), 0, self._count, below)

    def _edges(self, parameters: np.ndarray) -> np.ndarray:
        """Probabilities of classes, added up, as whole numbers `(B, G, K)`; classes that a column does not have add nothing."""
        places, counts = np.arange(self._count), self._group.counts[:, None]
        if isinstance(self._group, Ordinal):
            steps = np.concatenate([parameters[..., :1], curves.softplus(parameters[..., 1:])], axis=-1)
            below = np.concatenate([curves.sigmoid(np.cumsum(steps, axis=-1)), np.ones((*steps.shape[:-1], 1))], axis=-1)
            return np.rint(np.where(places < counts - 1, below, 1.0) * SHARE) + np.minimum(places + 1, counts)
        logits = np.where(places < counts, parameters[..., : self._count], -np.inf)
        shares = curves.exp(logits - np.max(logits, axis=-1, keepdims=True))
        return np.cumsum(np.where(places < counts, 1.0 + np.rint(shares * SHARE), 0.0), axis=-1)


class _Decimals:
    """Cells that are numbers with decimals, under the normal distribution of the intervals around them."""

    def __init__(self, group: Continuous, names: list[str]):
        self._group = group
        self._parts = np.array([float(10**feature.decimals) for feature in group.features])  # in 1
        low, high = np.array([feature.range for feature in group.features]).T
        self._low = np.floor((low - (high - low)) * self._parts).astype("int64")
        count = np.ceil((high + (high - low)) * self._parts) - self._low + 1
        if (count > MOST).any():
            raise _not_discrete(names[int(np.argmax(count > MOST))], "too many decimals for its range")
        self._count = int(count.max())

    def numbers(self, values: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(values * self._parts) - self._low, 0, self._count - 1).astype("int64")

    def values(self, numbers: np.ndarray) -> np.ndarray:
        return (numbers + self._low) / self._parts

    def distribution(self, parameters: np.ndarray, here: np.ndarray) -> Distribution:
        parameters = parameters.reshape(-1, 2)[here]  # a mean and a deviation for each cell
        column = here % self._group.size
        mean, deviation = parameters[:, 0], NARROWEST + (1 - NARROWEST) * curves.softplus(parameters[:, 1] + UNIT)
        parts, low = self._parts[column], self._low[column]
        centre, scale = (np.array([getattr(each, name) for each in self._group.features])[column] for name in ("mean", "scale"))

        def below(edges, places):
            edge = (edges + low[places] - 0.5) / parts[places]
            standard = (edge - centre[places]) / scale[places]
            return curves.normal_cdf((standard - mean[places]) / deviation[places])

        return Distribution(len(here), 0, self._count, below)


def _group(group: Columns, names: list[str]) -> _Classes | _Decimals:
    if type(group) is Continuous:
        for name, feature in zip(names, group.features, strict=True):
            if feature.decimals is None:
                raise _not_discrete(name, "numbers of any number of decimals")
        return _Decimals(group, names)
    if isinstance(group, Categorical | Ordinal):
        return _Classes(group)
    raise _not_discrete(names[0], f"of the type {type(group).__name__.lower()}")


def _not_discrete(name: str, received: str) -> ValueError:
    return ValueError(
        f"Expected columns of classes, or of numbers with known decimals, to compress without loss. Received: {name}, "
        f"{received}. Try another type for it in the schema of training."
    )
