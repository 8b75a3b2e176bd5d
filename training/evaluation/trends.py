"""How strongly the columns of a table depend on each other, pair by pair."""

import itertools

import numpy as np

from zoo.columns import kept
from zoo.number_columns import FARTHEST
from zoo.schema import Schema

MOST_CLASSES = 30  # of a column; rarer ones count as one class
FEWEST = 3  # rows in which both of two columns have a value


def trends(schema: Schema, cells: np.ndarray) -> np.ndarray:
    """The strengths of all pair trends `(C, C)`, in [0, 1], of cells `(n, C)` that may be missing.

    Of two columns of numbers, ordinal ones included, it is |r|, the correlation; of numbers and classes the correlation ratio η
    (Fisher, 1925, § 45), corrected for the number of classes (Kelley, 1935); of two columns of classes Cramér's V, corrected
    likewise (Bergsma, 2013). NaN where a column does not vary in the rows in which both have a value.
    """
    features = [*kept(schema).values()]
    are_classes = np.array([feature.type in ("binary", "categorical") for feature in features])
    numbers, classes = np.flatnonzero(~are_classes), np.flatnonzero(are_classes)
    strengths = np.full((len(features), len(features)), np.nan)
    highest = np.array([np.inf if feature.type == "ordinal" else FARTHEST for feature in features])[numbers]
    x = np.clip(cells[:, numbers].astype("float64"), -highest, highest)
    strengths[np.ix_(numbers, numbers)] = _correlations(x)
    if len(classes):
        parts = [_indicators(cells[:, place]) for place in classes]
        edges = np.cumsum([0, *(part.shape[1] for part in parts)])
        indicators = np.concatenate(parts, axis=1)
        tables = indicators.T @ indicators  # of all pairs of columns
        slices = [slice(low, high) for low, high in itertools.pairwise(edges)]
        for place, rows in zip(classes, slices, strict=True):
            ratios = _correlation_ratios(x, indicators[:, rows])
            strengths[place, numbers] = strengths[numbers, place] = ratios
            strengths[place, classes] = [_cramers_v(tables[rows, columns]) for columns in slices]
    return strengths


def _indicators(cells: np.ndarray) -> np.ndarray:
    """Which class each cell `(n,)` is of, `(n, K)`, with zeros where it is missing; the rarest classes are one."""
    values, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")]
    known = (cells[:, None] == common[: MOST_CLASSES - 1]).astype("float64")
    rest = np.isin(cells, common[MOST_CLASSES - 1 :]).astype("float64")[:, None]
    return np.concatenate([known, rest], axis=1) if len(common) >= MOST_CLASSES else known


def _correlations(x: np.ndarray) -> np.ndarray:
    """|r| of columns `(n, P)`, each pair in the rows in which both have a value."""
    present = (~np.isnan(x)).astype("float64")
    x = np.nan_to_num(x)
    count = np.maximum(present.T @ present, 1.0)
    sums = x.T @ present  # of one column, over the rows in which the other has a value
    squares = (x**2).T @ present - sums**2 / count
    products = x.T @ x - sums * sums.T / count
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.abs(products) / np.sqrt(squares * squares.T)
    varying = (squares > 1e-9 * count) & (1e-9 * count < squares.T) & (count >= FEWEST)
    return np.where(varying, np.minimum(correlations, 1.0), np.nan)


def _correlation_ratios(x: np.ndarray, indicators: np.ndarray) -> np.ndarray:
    """The corrected η of columns of numbers `(n, P)` by the classes of indicators `(n, K)`, `(P,)`."""
    present, x = (~np.isnan(x)).astype("float64"), np.nan_to_num(x)
    counts, sums = indicators.T @ present, indicators.T @ x  # (K, P)
    squares = indicators.sum(axis=1) @ x**2
    n, groups = counts.sum(axis=0), (counts > 0).sum(axis=0)
    mean = sums.sum(axis=0) ** 2 / np.maximum(n, 1.0)
    total = squares - mean
    between = np.sum(sums**2 / np.maximum(counts, 1.0), axis=0) - mean
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = 1.0 - (1.0 - between / total) * (n - 1.0) / (n - groups)
    varying = (total > 1e-9 * n) & (groups > 1) & (n > groups)
    return np.where(varying, np.sqrt(np.clip(explained, 0.0, 1.0)), np.nan)


def _cramers_v(table: np.ndarray) -> float:
    """The corrected V of two columns of classes, by the numbers of rows of each pair of classes `(K, L)`."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n, (rows, columns) = table.sum(), table.shape
    if n < FEWEST or min(rows, columns) < 2:
        return np.nan
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi = np.sum((table - expected) ** 2 / expected) / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    least = min(size - (size - 1) ** 2 / (n - 1) for size in (rows, columns)) - 1
    return float(np.sqrt(min(phi / least, 1.0))) if least > 0 else np.nan
