"""Codes on a grid, and how they are pushed and popped: under a posterior, and under a prior.

A cell i of dimension j is the interval from i · step to (i + 1) · step, and stands for the number in its middle; steps are
powers of two. What a distribution has beyond the outermost cells is counted to these.
"""

import decimal
import math
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from keras import ops

from zoo.coding import curves
from zoo.coding.curves import DIGITS
from zoo.coding.stack import BIT, Distribution, Stack, costs
from zoo.mixture import Mixture
from zoo.priors import Prior, StandardNormal

CELLS = 4  # of a posterior's standard deviation, in each dimension on the average; finer ones gain nothing
SPREAD = 8.0  # standard deviations of posteriors that the cells reach to
COARSEST, FINEST = 0, -16  # of a step, as powers of two
MOST_BITS = 20  # of a cell's number
UNIT = 2.0**12  # of standardized codes, when components are compared: they are multiples of its inverse
FARTHEST = 2.0**8  # standard deviations that are told apart then; k · (FARTHEST · UNIT)² is exact for k up to 2¹²
SHARE = 2.0**24  # of components' weights, in 1
EXACT_BITS = 52  # of whole numbers in float64
LOG_2 = 0.6931471805599453


class Grid(NamedTuple):
    """The cells of codes in R^k: from −2^(bits − 1) to below 2^(bits − 1) in each dimension, 2^exponent wide, `(k,)`."""

    exponents: np.ndarray
    bits: int

    @classmethod
    def around(cls, mean: np.ndarray, deviation: np.ndarray) -> "Grid":
        """The grid that suits posteriors with these means and standard deviations `(n, k)`."""
        width = np.log2(np.exp(np.mean(np.log(deviation), axis=0)) / CELLS)
        exponents = np.clip(np.floor(width), FINEST, COARSEST).astype(int)
        reach = np.max((np.abs(mean) + SPREAD * deviation) / 2.0**exponents)
        return cls(exponents, int(np.clip(np.ceil(np.log2(max(reach, 1.0))) + 1, 2, MOST_BITS)))

    @property
    def half(self) -> int:
        return 2 ** (self.bits - 1)

    @property
    def steps(self) -> np.ndarray:
        return np.ldexp(1.0, self.exponents)

    def middles(self, cells: np.ndarray) -> np.ndarray:
        """The codes `(B, k)`, float64, that cells stand for."""
        return (cells + 0.5) * self.steps

    def normal(self, mean: np.ndarray, deviation: np.ndarray, step: np.ndarray) -> Distribution:
        """Of cells, one for each mean, standard deviation and step `(m,)`."""

        def below(edges, places):
            return curves.normal_cdf((edges * step[places] - mean[places]) / deviation[places])

        return Distribution(len(mean), -self.half, self.half, below)


class Posterior:
    """Independent normal distributions of the k numbers of B codes, on a grid.

    Args:
        mean, deviation: `(B, k)`.
    """

    def __init__(self, grid: Grid, mean: np.ndarray, deviation: np.ndarray):
        steps = np.broadcast_to(grid.steps, mean.shape).ravel()
        self._shape = mean.shape
        self._cells = grid.normal(mean.ravel(), deviation.ravel(), steps)

    def pop(self, stack: Stack) -> np.ndarray:
        """Cells `(B, k)`, int64."""
        return stack.pop(self._cells).reshape(self._shape)

    def push(self, stack: Stack, cells: np.ndarray) -> None:
        stack.push(self._cells, cells.ravel())

    def costs(self, cells: np.ndarray) -> np.ndarray:
        """What cells `(B, k)` take, `(B,)`, as `stack.costs` has it."""
        return costs(self._cells, cells.ravel()).reshape(self._shape).sum(axis=1)


class NormalPrior:
    """Codes of the standard normal distribution, on a grid."""

    def __init__(self, grid: Grid):
        self._grid = grid

    def push(self, stack: Stack, cells: np.ndarray) -> None:
        """Adds cells `(B, k)`, int64."""
        stack.push(self._cells(len(cells)), cells.ravel())

    def pop(self, stack: Stack, rows: int) -> np.ndarray:
        """Cells `(B, k)` of as many rows, int64."""
        return stack.pop(self._cells(rows)).reshape(rows, -1)

    def costs(self, cells: np.ndarray) -> np.ndarray:
        """As `Posterior.costs`, but for a number that all cells share."""
        return costs(self._cells(len(cells)), cells.ravel()).reshape(cells.shape).sum(axis=1)

    def _cells(self, rows: int) -> Distribution:
        steps = np.tile(self._grid.steps, rows)
        return self._grid.normal(np.zeros(len(steps)), np.ones(len(steps)), steps)


class MixturePrior:
    """Codes of a mixture of normal distributions, on a grid.

    Which component a code is of is a latent number too, and its bits are got back: it is popped from the stack by its
    probability given the code, and pushed by its proportion. Together with the code given the component that costs
    −log p(code), and needs no sum over components. Given the component, the numbers of a code follow one after another, each
    normal given those before it.

    Args:
        proportions: `(M,)`, above 0.
        means: `(M, k)`.
        scales: `(M, k, k)`, lower triangular.
    """

    def __init__(self, grid: Grid, proportions: np.ndarray, means: np.ndarray, scales: np.ndarray):
        self._grid, self._proportions, self._means, self._scales = grid, proportions, means, scales
        inverse = _inverse(scales)  # (M, k, k)
        self._after = 1 - int(grid.exponents.min())  # bits of a code after the point
        before = grid.bits + int(grid.exponents.max())
        spare = EXACT_BITS - self._after - before - _bits_of(len(scales[0]) * np.abs(inverse).max())
        self._weights = np.rint(np.ldexp(inverse, spare)).reshape(-1, means.shape[1]).T.copy()  # (k, M k)
        self._finer = spare + self._after
        self._centres = np.rint(_products(inverse, means) * UNIT)  # (M, k)
        self._constant = _logarithms(proportions) - _log_volumes(scales)  # (M,)

    def push(self, stack: Stack, cells: np.ndarray) -> None:
        """Adds cells `(B, k)`, int64."""
        codes = self._grid.middles(cells)
        component = stack.pop(self._responsibilities(codes))
        given = _Given(self._means[component], self._scales[component])
        mean = np.empty_like(codes)
        for j in range(codes.shape[1]):
            mean[:, j] = given.mean
            given.follow(codes[:, j])
        steps, k = np.repeat(self._grid.steps, len(codes)), codes.shape[1]
        normal = self._grid.normal(mean.T.ravel(), given.deviations.T.ravel(), steps)
        stack.push(normal, cells.T.ravel(), parts=k)
        stack.push(self._components(len(cells)), component)

    def pop(self, stack: Stack, rows: int) -> np.ndarray:
        """Cells `(B, k)` of as many rows, int64."""
        component = stack.pop(self._components(rows))
        given = _Given(self._means[component], self._scales[component])
        cells = np.empty((rows, self._means.shape[1]), "int64")
        for j, step in enumerate(self._grid.steps):
            normal = self._grid.normal(given.mean, given.deviations[:, j], np.full(rows, step))
            cells[:, j] = stack.pop(normal)
            given.follow((cells[:, j] + 0.5) * step)
        stack.push(self._responsibilities(self._grid.middles(cells)), component)
        return cells

    def costs(self, cells: np.ndarray) -> np.ndarray:
        """As `NormalPrior.costs`."""
        log = self._logs(self._grid.middles(cells))
        most = np.max(log, axis=-1)
        total = np.cumsum(curves.exp(log - most[:, None]), axis=-1)[:, -1]  # in the order of the components
        return -np.rint(BIT * (most / LOG_2 + curves.log2(total))).astype("int64")

    def _components(self, rows: int) -> Distribution:
        return shares(np.broadcast_to(self._proportions, (rows, len(self._proportions))))

    def _responsibilities(self, codes: np.ndarray) -> Distribution:
        """Of the components, given codes `(B, k)`."""
        log = self._logs(codes)
        return shares(curves.exp(log - np.max(log, axis=-1, keepdims=True)))

    def _logs(self, codes: np.ndarray) -> np.ndarray:
        """The logarithms of the components' proportions times their densities of codes `(B, k)`, `(B, M)`, but for a number
        that all have in common. They are near the exact ones, which costs next to nothing; what matters is that they are the
        same everywhere, so all sums are of whole numbers."""
        products = np.ldexp(codes, self._after) @ self._weights  # (B, M k)
        standard = np.rint(np.ldexp(products, -self._finer) * UNIT).reshape(len(codes), *self._centres.shape) - self._centres
        standard = np.clip(standard, -FARTHEST * UNIT, FARTHEST * UNIT)
        distance = np.sum(np.square(standard), axis=-1) / UNIT**2  # (B, M)
        return self._constant - 0.5 * distance


class _Given:
    """The numbers of codes `(B, k)` one after another, each normal given those before it.

    Args:
        means: `(B, k)`.
        scales: `(B, k, k)`, lower triangular.
    """

    def __init__(self, means: np.ndarray, scales: np.ndarray):
        self._means, self._scales, self._place = means, scales, 0
        self.deviations = np.diagonal(scales, axis1=1, axis2=2)  # (B, k)

    @property
    def mean(self) -> np.ndarray:
        """Of the next number, `(B,)`."""
        return self._means[:, self._place]

    def follow(self, numbers: np.ndarray) -> None:
        """Takes the next number `(B,)` as given."""
        j = self._place
        standard = (numbers - self._means[:, j]) / self.deviations[:, j]
        self._means[:, j + 1 :] += self._scales[:, j + 1 :, j] * standard[:, None]
        self._place += 1


def prior(found: Prior, grid: Grid) -> NormalPrior | MixturePrior:
    """What codes on a grid are pushed and popped under.

    Raises:
        ValueError: a prior of another kind.
    """
    if isinstance(found, StandardNormal):
        return NormalPrior(grid)
    if not isinstance(found, Mixture):
        raise ValueError(
            f"Expected a prior of codes that can be coded without loss: StandardNormal or Mixture. Received: "
            f"{type(found).__name__}. Try --prior=mixture, or --lossy."
        )
    k = found.means.shape[-1]
    proportions, means, scales = (
        np.asarray(ops.convert_to_numpy(each), "float64").reshape(-1, *shape)
        for each, shape in ((found.proportions, ()), (found.means, (k,)), (found.scales, (k, k)))
    )
    if not means.any() and (scales == np.eye(k)).all():  # not fitted
        return NormalPrior(grid)
    here = proportions > 0
    return MixturePrior(grid, proportions[here], means[here], scales[here])


def shares(weights: np.ndarray) -> Distribution:
    """Of numbers of components, one for each row of weights `(B, M)`, in [0, 1]."""
    edges = np.cumsum(np.rint(weights * SHARE), axis=-1)  # whole numbers

    def below(found, places):
        return edges[places, found - 1] / edges[places, -1]

    return Distribution(len(weights), 0, weights.shape[1], below)


def _inverse(scales: np.ndarray) -> np.ndarray:
    """The inverses of lower triangular matrices `(M, k, k)`, column by column; LAPACK's rounding is not defined."""
    k = scales.shape[1]
    inverse = np.zeros(scales.shape)
    for row in range(k):
        rest = np.zeros((len(scales), k))
        rest[:, row] = 1.0
        for column in range(row):
            rest -= scales[:, row, column, None] * inverse[:, column]
        inverse[:, row] = rest / scales[:, row, row, None]
    return inverse


def _products(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Of matrices `(M, k, k)` with vectors `(M, k)`, summed in the order of the columns."""
    total = np.zeros(vectors.shape)
    for column in range(vectors.shape[1]):
        total += matrices[:, :, column] * vectors[:, column, None]
    return total


def _log_volumes(scales: np.ndarray) -> np.ndarray:
    """The logarithms of determinants of lower triangular matrices `(M, k, k)`, `(M,)`."""
    mantissas, exponents = np.frexp(np.diagonal(scales, axis1=1, axis2=2))
    product = np.ones(len(scales))
    for column in mantissas.T:
        product *= column
    return _logarithms(product) + exponents.sum(axis=1) * LOG_2


def _logarithms(numbers: np.ndarray) -> np.ndarray:
    with decimal.localcontext(decimal.Context(prec=DIGITS)):
        return np.array([float(Decimal(float(number)).ln()) for number in numbers])


def _bits_of(number: float) -> int:
    """The least whole b such that 2ᵇ is above a number."""
    return math.frexp(number)[1]
