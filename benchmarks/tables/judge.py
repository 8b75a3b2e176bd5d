"""How the filling of hidden cells is judged, in the same way for everyone.

A fifth of the rows of a table are for testing, and of their cells, among those that have a value, a fifth are hidden. Who fills
them in sees the other rows, and of the test rows what is left.

The error of a column of numbers is the root of the mean squared error of its hidden cells, divided by the standard deviation of
the column in the other rows; the error of any other column is the share of wrong texts. Each is divided by the error of the
other rows' mean, or of their most frequent text. The score is the average over the columns: 1 is the mean and the mode.

What a column is of follows from the file, as pandas reads it, except that dates are judged as numbers, of days. Columns that
the zoo recognises as identifiers, free text or constants count for nobody, nor do those in which mean or mode make no error.
"""

import pathlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

TEST, HIDDEN, SEED = 0.2, 0.2, 0
PARTS = ("train", "test", "hidden")
DAY = pd.Timedelta(days=1)


def path(folder: pathlib.Path, name: str, part: str = "") -> pathlib.Path:
    """Where a table is, or one of its PARTS."""
    return folder / (f"{name}.{part}.csv" if part else f"{name}.csv")


def split(folder: pathlib.Path, name: str) -> None:
    """Writes the rows to learn from, the test rows, and the test rows without the hidden cells, unless they are there."""
    if all(path(folder, name, part).exists() for part in PARTS):
        return
    table = texts(path(folder, name))
    random = np.random.default_rng(SEED)
    order = random.permutation(len(table))
    count = round(TEST * len(table))
    train, test = table.iloc[np.sort(order[count:])], table.iloc[np.sort(order[:count])]
    hidden = test.mask(random.random(test.shape) < HIDDEN, "")
    for part, rows in zip(PARTS, (train, test, hidden), strict=True):
        rows.to_csv(path(folder, name, part), index=False)


def texts(file: pathlib.Path) -> pd.DataFrame:
    """The cells of a file as they are written there."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def read(file: pathlib.Path, dates: Iterable[str] = ()) -> pd.DataFrame:
    """The cells of a file: numbers where pandas finds them, dates as numbers of days, else texts; NaN or None if missing."""
    table = pd.read_csv(file)
    return pd.DataFrame({name: _column(table[name], name in set(dates)) for name in table})


def read_as(file: pathlib.Path, like: pd.DataFrame, dates: Iterable[str] = ()) -> pd.DataFrame:
    """The cells of a file, as columns of the same types as those of another."""
    table = pd.read_csv(file, dtype={name: str for name in like if like[name].dtype == object})
    return pd.DataFrame({name: _column(table[name], name in set(dates)) for name in table})


def _column(values: pd.Series, date: bool) -> pd.Series:
    if date:
        return (pd.to_datetime(values, errors="coerce") - pd.Timestamp(0)) / DAY
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        return values.astype("float64")
    return pd.Series([None if pd.isna(value) else str(value).strip() for value in values], values.index, object)


class Judge:
    """Judges how the hidden cells of a table have been filled in.

    Args:
        folder: of the tables.
        name: of the table, which has been `split`.
        dates: names of the columns of dates.
    """

    def __init__(self, folder: pathlib.Path, name: str, dates: Iterable[str] = ()):
        self.dates = tuple(dates)
        whole = read(path(folder, name), dates)
        self.train, self.test, self.hidden = (read_as(path(folder, name, part), whole, dates) for part in PARTS)

    def errors(self, filled: pd.DataFrame, columns: Iterable[str]) -> dict[str, float]:
        """The error of each of the columns divided by that of the mean or the mode.

        Raises:
            ValueError: a hidden cell of numbers that is still missing.
        """
        found = {name: self._error(name, filled[name]) for name in columns}
        return {name: error for name, error in found.items() if error is not None}

    def _error(self, name: str, filled: pd.Series) -> float | None:
        train, chosen = self.train[name], (self.test[name].notna() & self.hidden[name].isna()).to_numpy()
        true, given = self.test[name].to_numpy()[chosen], filled.to_numpy()[chosen]
        if self.train[name].dtype == object:
            baseline, error = np.mean(true != train.mode()[0]), np.mean(true != given)
        else:
            if np.isnan(given).any():
                raise ValueError(f"Expected every cell of {name} filled in. Received: {np.isnan(given).sum()} still missing.")
            baseline, error = (np.sqrt(np.mean(np.square(true - each))) for each in (train.mean(), given))
        return float(error / baseline) if len(true) and baseline > 0 else None


def score(errors: dict[str, float]) -> float:
    """The average over the columns; 1 is the mean and the mode."""
    return float(np.mean([*errors.values()])) if errors else 1.0
