"""Tables as arrays of numbers, for those who take nothing else, and back."""

import numpy as np
import pandas as pd

KINDS = ("one-hot", "ordinal")
MOST_CLASSES = 100  # indicators of a column


class Encoding:
    """Standardized numbers, and of texts either an indicator for each, or their standardized places in the alphabet.

    A missing cell is NaN, in each of its indicators. A text that the rows to learn from do not have is missing; only the
    MOST_CLASSES most frequent ones of a column have an indicator.
    """

    def __init__(self, train: pd.DataFrame, kind: str):
        self.kind, self.names = kind, [*train]
        self.classes = {name: self._classes(train[name]) for name in train if train[name].dtype == object}
        values = self._values(train)
        still = [self._indicates(name) for name in self.names for _ in range(self._width(name))]
        self.mean = np.where(still, 0.0, np.nan_to_num(np.nanmean(values, axis=0)))
        deviation = np.nanstd(values, axis=0)
        self.deviation = np.where(np.array(still) | ~(deviation > 0), 1.0, deviation)

    @property
    def width(self) -> int:
        return len(self.mean)

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """The cells as numbers `(n, width)`."""
        return (self._values(table) - self.mean) / self.deviation

    def decode(self, values: np.ndarray) -> pd.DataFrame:
        """The cells that numbers `(n, width)` stand for."""
        values, columns, start = values * self.deviation + self.mean, {}, 0
        for name in self.names:
            part = values[:, start : start + self._width(name)]
            start += self._width(name)
            columns[name] = part[:, 0] if name not in self.classes else self._texts(name, part)
        return pd.DataFrame(columns)

    def _classes(self, column: pd.Series) -> list[str]:
        counts = column.value_counts()
        return sorted(counts.index[:MOST_CLASSES] if self.kind == "one-hot" else counts.index)

    def _indicates(self, name: str) -> bool:
        return name in self.classes and self.kind == "one-hot"

    def _width(self, name: str) -> int:
        return len(self.classes[name]) if self._indicates(name) else 1

    def _values(self, table: pd.DataFrame) -> np.ndarray:
        parts = []
        for name in self.names:
            values = table[name]
            if name in self.classes:
                values = values.map({text: place for place, text in enumerate(self.classes[name])})
            values = values.to_numpy("float64")[:, None]
            if self._indicates(name):
                values = np.where(np.isnan(values), np.nan, values == np.arange(self._width(name)))
            parts.append(values)
        return np.concatenate(parts, axis=1)

    def _texts(self, name: str, values: np.ndarray) -> np.ndarray:
        classes = np.array(self.classes[name], object)
        places = values.argmax(axis=1) if self._indicates(name) else np.clip(np.rint(values[:, 0]), 0, len(classes) - 1)
        return classes[places.astype(int)]
