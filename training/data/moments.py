"""Sums over the cells of a column, gathered part by part."""

import numpy as np


class Moments:
    """Count, mean and the sums of the second and third powers of deviations, gathered in parts and stable (Chan et al., 1983;
    Pébay, 2008)."""

    def __init__(self):
        self.count = self.mean = self.square = self.cube = np.float64(0)  # beyond the largest number it is infinite, no error

    def add(self, values: np.ndarray, counts: np.ndarray) -> None:
        """Adds values `(n,)`, each as often as counts `(n,)` say."""
        count = float(counts.sum())
        if count:
            with np.errstate(over="ignore", invalid="ignore"):  # cubes of large numbers
                self._add(values, counts, count)

    def _add(self, values, counts, count):
        mean = (counts * values).sum() / count
        off = values - mean
        square, cube = (counts * off**2).sum(), (counts * off**3).sum()
        total, apart = self.count + count, mean - self.mean
        self.cube += cube + apart**3 * self.count * count * (self.count - count) / total**2
        self.cube += 3 * apart * (self.count * square - count * self.square) / total
        self.square += square + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.square / self.count)) if self.count else 0.0

    @property
    def skewness(self) -> float:
        """0 where it is not defined; NaN where it is too large to tell."""
        deviation = np.float64(self.deviation)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return float(self.cube / self.count / deviation**3) if deviation > 0 else 0.0


class Dates:
    """The cells that are dates of one form."""

    def __init__(self):
        self.count, self.lowest, self.highest, self.moments = 0, np.inf, -np.inf, Moments()

    def add(self, seconds: np.ndarray, counts: np.ndarray) -> None:
        there = ~np.isnan(seconds)
        if there.any():
            seconds, counts = seconds[there], counts[there]
            self.count += int(counts.sum())
            self.lowest, self.highest = min(self.lowest, float(seconds.min())), max(self.highest, float(seconds.max()))
            self.moments.add(seconds, counts)


class Counter:
    """Whether the numbers of a column count its rows: the whole numbers there are strictly increasing, or each of those from
    the lowest to the highest is there once."""

    def __init__(self):
        self.rows, self.last, self.lowest, self.highest = 0, -np.inf, np.inf, -np.inf
        self.possible, self.falls, self.moments = True, 0, Moments()

    def add(self, values: np.ndarray) -> None:
        """Adds the numbers of all rows, NaN for what is none."""
        self.rows += len(values)
        self.possible = self.possible and len(values) > 0 and not np.isnan(values).any() and bool((values % 1 == 0).all())
        if not self.possible:
            return
        self.falls += int((np.diff(values, prepend=self.last) <= 0).sum())
        self.last, self.lowest = float(values[-1]), min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.moments.add(values, np.ones(len(values)))

    @property
    def increasing(self) -> bool:
        return self.possible and not self.falls

    @property
    def sorted(self) -> float:
        """The share of the numbers that are larger than those before them; 0 if they are not all whole numbers."""
        return 1 - self.falls / self.rows if self.possible and self.rows else 0.0

    @property
    def length(self) -> float:
        """How many whole numbers there are from the lowest to the highest."""
        return self.highest - self.lowest + 1

    @property
    def each_once(self) -> bool:
        """Whether the moments are those of whole numbers each of which is there once."""
        mean, square = (self.lowest + self.highest) / 2, self.rows * (self.rows**2 - 1) / 12
        same = np.isclose(self.moments.mean, mean, rtol=1e-9, atol=1e-9) and np.isclose(self.moments.square, square, rtol=1e-9)
        return self.possible and self.length == self.rows and bool(same)
