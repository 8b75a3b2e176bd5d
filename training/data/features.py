"""The features of columns, by the rules that `training.data.inference` lists."""

import re
import sys
from collections.abc import Mapping

import numpy as np

from training.data import scales
from training.data.column import Column
from zoo.schema import Feature

YEARS = (1500, 2100)
LEVELS = range(3, 11)  # of ordinal numbers
COUNT_START, COUNT_END, COUNT_SKEWNESS, COUNT_LEVELS = 5, 1000, 0.5, 20
SKEWED = 1.0
IDENTIFIER = re.compile(r"(?i:(^|[\W_])(id|uuid|guid|index|rownames|row names))$|[a-z]I[Dd]$")
SORTED = 0.95  # share of the numbers that are larger than those before them
DIFFERENT = 0.9  # share of different texts from which they identify rows
WORDS, LENGTH = 3, 40  # on average, from which texts are free
FEWEST, FEWEST_SHARE, MOST_CLASSES = 3, 0.001, 100  # rows of a class, and classes of a column
COVERED = 0.5  # share of the cells that the classes must hold


def inferred(column: Column, name: str, first: bool) -> Feature:
    """The feature that fits a column best; `first` says that it is the first one of its table."""
    if column.nested:
        return left_out(column, "text")
    counts = column.number_counts()
    distinct = counts if column.numeric else column.values
    if len(distinct) <= 1:
        return left_out(column, "constant")
    if column.form:
        _say_ambiguous(column, name, column.form)
        return datetime(column, column.form)
    if column.numeric and not column.coded:
        return _of_numbers(column, name, counts, first)
    return _of_texts(column)


def left_out(column: Column, kind: str) -> Feature:
    """A column that is not kept; the value of a constant one is its only class."""
    distinct = tuple(column.number_counts() if column.numeric else column.values)
    classes = distinct if kind == "constant" and len(distinct) == 1 else None
    return Feature(kind, classes=classes, missing=column.missing(column.present))


def _of_numbers(column: Column, name: str, counts: dict[float, int], first: bool) -> Feature:
    if _counts_rows(column) or _names_rows(column, name, first):
        return left_out(column, "identifier")
    if column.numbers < column.present:
        count = column.present - column.numbers
        print(f"{name}: cells that are no numbers, such as {column.other!r}, count as missing: {count:,}", file=sys.stderr)
    if len(counts) == 2:
        return classed(column, "binary", tuple(counts))
    if column.whole and len(counts) in LEVELS and tuple(counts) == tuple(range(1, len(counts) + 1)):
        return classed(column, "ordinal", tuple(counts))
    return numbers(column, name, _kind_of_numbers(column, len(counts)))


def _kind_of_numbers(column: Column, levels: int) -> str:
    skewness = column.plain.skewness
    few = column.whole and 0 <= column.lowest <= COUNT_START and column.highest <= COUNT_END
    if few and skewness > (0 if levels <= COUNT_LEVELS else COUNT_SKEWNESS):
        return "count"
    if column.lowest > 0 and skewness > SKEWED and abs(column.logs.skewness) <= skewness / 2:
        return "positive"
    return "continuous"


def _counts_rows(column: Column) -> bool:
    counter = column.counter
    years = YEARS[0] <= counter.lowest and counter.highest <= YEARS[1]
    dense = counter.increasing and counter.length <= 2 * counter.rows
    return counter.possible and not years and (dense or counter.each_once)


def _names_rows(column: Column, name: str, first: bool) -> bool:
    """Whether numbers are all different, and are names of rows by their place and order, or by what they are called."""
    called = IDENTIFIER.search(name) is not None
    if column.beyond:  # too many to know that they are different, unless they are sorted
        return called or (first and column.counter.increasing)
    return len(column.values) == column.numbers and (called or (first and column.counter.sorted >= SORTED))


def numbers(column: Column, name: str, kind: str) -> Feature:
    """A column of numbers that is `continuous`, `positive` or `count`.

    Raises:
        ValueError: numbers so large, or so near to each other, that their standard deviation is not a number above 0.
    """
    logs = {"continuous": None, "positive": column.logs, "count": column.logs1p}[kind]
    if not all(0 < moments.deviation < np.inf for moments in (column.plain, logs) if moments):
        raise ValueError(
            f"Expected numbers whose squares are numbers in the column {name!r}. Received: {column.lowest:g} to "
            f"{column.highest:g}. Try other units, or leaving the column out by a schema with {name}: text."
        )
    return Feature(
        kind,
        range=(column.lowest, column.highest),
        missing=column.missing(column.numbers),
        mean=float(column.plain.mean),
        scale=column.plain.deviation,
        log_mean=float(logs.mean) if logs else None,
        log_scale=logs and logs.deviation,
        decimals=column.decimals,
    )


def classed(column: Column, kind: str, classes: tuple) -> Feature:
    """A column of classes, which are all texts or all numbers."""
    numbers = isinstance(classes[0], float)
    counts, present = (column.number_counts(), column.numbers) if numbers else (column.values, column.present)
    return Feature(
        kind,
        classes=classes,
        shares=tuple(counts[each] / present if each in counts else 0.0 for each in classes),
        missing=column.missing(present),
        decimals=column.decimals if numbers else None,
    )


def _say_ambiguous(column: Column, name: str, form: str) -> None:
    swapped = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    other = column.dates.get(swapped) if "%Y" in form[2:] else None
    if other and other.count == column.dates[form].count:
        print(f"{name}: taken to be dates in the form {form}; {swapped} would fit as well", file=sys.stderr)


def datetime(column: Column, form: str) -> Feature:
    """A column of dates of one form."""
    dates = column.dates[form]
    return Feature(
        "datetime",
        range=(dates.lowest, dates.highest),
        missing=column.missing(dates.count),
        mean=float(dates.moments.mean),
        scale=dates.moments.deviation,
        format=form,
    )


def _of_texts(column: Column) -> Feature:
    values = column.values
    if len(values) == 2:
        return classed(column, "binary", tuple(sorted(values)))
    order = ordered(column) if not column.beyond else None
    if order:
        return classed(column, "ordinal", order)
    classes = frequent(values, column.present)
    free = column.words >= WORDS * column.present or column.length >= LENGTH * column.present
    if len(values) >= DIFFERENT * column.present or (column.beyond and not free and _held(column, classes) < COVERED):
        return left_out(column, "text" if free else "identifier")
    if _held(column, classes) < COVERED:
        return left_out(column, "text")
    return classed(column, "categorical", classes)


def ordered(column: Column) -> tuple[str, ...] | None:
    """The texts of a column in their order, if they are known to have one."""
    if column.order:
        return tuple(each for each in column.order if each in column.values)
    return scales.order(column.values)


def frequent(counts: Mapping, present: int) -> tuple:
    """The values that are frequent enough to be classes of `present` cells, sorted."""
    fewest = max(FEWEST, FEWEST_SHARE * present)
    often = sorted((value for value in counts if counts[value] >= fewest), key=lambda value: (-counts[value], value))
    return tuple(sorted(often[:MOST_CLASSES]))


def _held(column: Column, classes: tuple) -> float:
    """The share of the present cells that the classes hold."""
    return sum(column.values[each] for each in classes) / max(column.present, 1)
