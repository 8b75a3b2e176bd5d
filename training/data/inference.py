"""The schema of a table, inferred in one pass over its rows.

A cell is missing if it is empty or one of the words `batches.MISSING`, with or without blanks around it. Of what is present in
the rows that count, the first line that applies decides:

| type | a column is of it if |
|---|---|
| `text` | it holds lists, bytes or other things that are neither texts, numbers nor dates |
| `constant` | all that is present is one value, or nothing is |
| `datetime` | 95 % are dates of one form, such as 2024-01-31, 31.1.2024, 1/31/2024 or 20240131, with or without a time of day |
| numbers | 95 % are numbers (the rest is taken to be missing), and they are no codes, whole numbers with needless zeros before them |
| … `identifier` | whole numbers count the rows: strictly increasing, with one left out for each that is there at most, or each once in another order; years (1500 to 2100) do not |
| … `binary` | there are two of them |
| … `ordinal` | they are 1, 2 … m with m from 3 to 10 |
| … `count` | they are whole, the lowest from 0 to 5 and the highest up to 1,000, and skewed (skewness above 0.5) or at most 20 different ones |
| … `positive` | all are above 0, their skewness is above 1, and that of their logarithms is at most half as large |
| … `continuous` | else |
| `binary` | there are two texts |
| `ordinal` | the texts are on a known scale (`scales.SCALES`) or are ranges of numbers (<5, 5–9, 10+), or the file says that its categories are ordered |
| `identifier` | 90 % of the texts are different, and have fewer than three words each |
| `text` | as `identifier`, but with more words; or the classes that can be told apart hold less than half of the cells |
| `categorical` | else |

Classes of a categorical column are the 100 most frequent ones that 3 rows and 0.1 % of the rows have, at least; all others are
`<other>`.
"""  # noqa: E501 - a table

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa

from training.data import batches, scales
from training.data.column import MOST_VALUES, SHARE, Column, distinct_numbers
from zoo.schema import Feature, Schema

KEPT = ("continuous", "positive", "count", "binary", "categorical", "ordinal", "datetime")
TYPES = (*KEPT, *batches.LEFT_OUT)
NUMBERS = ("continuous", "positive", "count")
YEARS = (1500, 2100)
LEVELS = range(3, 11)  # of ordinal numbers
COUNT_START, COUNT_END, COUNT_SKEWNESS, COUNT_LEVELS = 5, 1000, 0.5, 20
SKEWED = 1.0
DIFFERENT = 0.9  # share of different texts from which they identify rows
WORDS, LENGTH = 3, 40  # on average, from which texts are free
FEWEST, FEWEST_SHARE, MOST_CLASSES = 3, 0.001, 100  # rows of a class, and classes of a column
COVERED = 0.5  # share of the cells that the classes must hold


def infer(
    rows: Iterable[pa.RecordBatch],
    types: Mapping[str, Feature] | None = None,
    kept: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Schema:
    """The schema of a table; what is unusual in a column is printed on a line.

    Args:
        rows: record batches, which are read once.
        types: wishes, by name, as `schema_files.read_schema` gives them: type and, if they matter, classes and format.
        kept: says for row numbers `(n,)`, which start at 0, whether the rows count, bool `(n,)`; by default all do.

    Raises:
        ValueError: no rows; a wish for a column that is not there or that its cells do not allow.
    """
    columns: dict[str, Column] = {}
    start, decimal = 0, "."
    for batch in rows:
        columns = columns or {name: Column() for name in batch.schema.names}
        chosen = None if kept is None else kept(np.arange(start, start + batch.num_rows))
        decimal = batches.decimal_sign(batch)
        for column, array in zip(columns.values(), batch.columns, strict=True):
            column.add(array, chosen, decimal)
        start += batch.num_rows
    if not start:
        raise ValueError("Expected a table with rows. Received: none. Try another file.")
    types = types or {}
    _require_known(types, columns)
    return {
        name: _wished(column, name, types[name], decimal) if name in types else _feature(column, name, decimal)
        for name, column in columns.items()
    }


def _require_known(types: Mapping[str, Feature], columns: Mapping[str, Column]) -> None:
    for name in types:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 3) or list(columns)[:5]
            raise ValueError(f"Expected a column of the table. Received: {name!r} in the schema. Try {' or '.join(near)}.")


def _feature(column: Column, name: str, decimal: str) -> Feature:
    """The feature that fits a column best."""
    if column.nested:
        return _left_out(column, "text")
    counts = _number_counts(column, decimal)
    form = _form(column)
    if (len(counts) if _are_numbers(column) else len(column.values)) <= 1:
        return _left_out(column, "constant")._replace(classes=tuple(counts if _are_numbers(column) else column.values) or None)
    if form:
        _say_ambiguous(column, name, form)
        return _datetime(column, form)
    if _are_numbers(column) and not (column.zeros and column.whole):
        return _of_numbers(column, name, counts)
    return _of_texts(column)


def _are_numbers(column: Column) -> bool:
    return 0 < column.numbers >= SHARE * column.present


def _number_counts(column: Column, decimal: str) -> dict[float, int]:
    """The distinct numbers in ascending order, with their counts; no more than MOST_VALUES."""
    return distinct_numbers(column.values, decimal) if _are_numbers(column) else {}


def _left_out(column: Column, kind: str) -> Feature:
    return Feature(kind, missing=_missing(column, column.present))


def _missing(column: Column, present: int) -> float:
    return (column.rows - present) / column.rows if column.rows else 1.0


def _of_numbers(column: Column, name: str, counts: dict[float, int]) -> Feature:
    if _counts_rows(column):
        return _left_out(column, "identifier")
    if column.numbers < column.present:
        count = column.present - column.numbers
        print(f"{name}: {count:,} cells such as {column.other!r} are no numbers, and count as missing", file=sys.stderr)
    if len(counts) == 2:
        return _classes(column, "binary", tuple(counts))
    if column.whole and len(counts) in LEVELS and tuple(counts) == tuple(range(1, len(counts) + 1)):
        return _classes(column, "ordinal", tuple(counts))
    return _numbers(column, _kind_of_numbers(column, len(counts)))


def _kind_of_numbers(column: Column, levels: int) -> str:
    skewness = column.plain.skewness
    if column.whole and 0 <= column.lowest <= COUNT_START and column.highest <= COUNT_END:
        if skewness > COUNT_SKEWNESS or levels <= COUNT_LEVELS:
            return "count"
    if column.lowest > 0 and skewness > SKEWED and abs(column.logs.skewness) <= skewness / 2:
        return "positive"
    return "continuous"


def _counts_rows(column: Column) -> bool:
    counter = column.counter
    years = YEARS[0] <= counter.lowest and counter.highest <= YEARS[1]
    dense = counter.increasing and counter.length <= 2 * counter.rows
    return counter.possible and not years and (dense or counter.each_once)


def _numbers(column: Column, kind: str) -> Feature:
    moments = {"continuous": column.plain, "positive": column.logs, "count": column.logs1p}[kind]
    return Feature(
        kind,
        range=(column.lowest, column.highest),
        missing=_missing(column, column.numbers),
        mean=moments.mean,
        scale=moments.deviation,
        decimals=column.decimals,
    )


def _classes(column: Column, kind: str, classes: tuple) -> Feature:
    numbers = isinstance(classes[0], float)
    decimals = column.decimals if numbers else None
    return Feature(
        kind, classes=classes, missing=_missing(column, column.numbers if numbers else column.present), decimals=decimals
    )


def _form(column: Column) -> str | None:
    """The form of the dates that most cells have, if enough have it."""
    dates = column.dates or {}
    best = max(dates, key=lambda form: dates[form].count, default=None)
    return best if best and dates[best].count >= SHARE * column.present and dates[best].count else None


def _say_ambiguous(column: Column, name: str, form: str) -> None:
    swapped = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    other = column.dates.get(swapped) if "%Y" in form[2:] else None
    if other and other.count == column.dates[form].count:
        print(f"{name}: taken to be dates in the form {form}; {swapped} would fit as well", file=sys.stderr)


def _datetime(column: Column, form: str) -> Feature:
    dates = column.dates[form]
    return Feature(
        "datetime",
        range=(dates.lowest, dates.highest),
        missing=_missing(column, dates.count),
        mean=dates.moments.mean,
        scale=dates.moments.deviation,
        format=form,
    )


def _of_texts(column: Column) -> Feature:
    values = column.values
    if len(values) == 2:
        return _classes(column, "binary", tuple(sorted(values)))
    order = _ordered(column) if not column.beyond else None
    if order:
        return _classes(column, "ordinal", order)
    classes = _frequent(column)
    free = column.words >= WORDS * column.present or column.length >= LENGTH * column.present
    if len(values) >= DIFFERENT * column.present or (column.beyond and not free and _held(column, classes) < COVERED):
        return _left_out(column, "text" if free else "identifier")
    if _held(column, classes) < COVERED:
        return _left_out(column, "text")
    return _classes(column, "categorical", classes)


def _ordered(column: Column) -> tuple[str, ...] | None:
    if column.order:
        return tuple(each for each in column.order if each in column.values)
    return scales.order(column.values)


def _frequent(column: Column) -> tuple:
    """The classes that are frequent enough, by name."""
    fewest = max(FEWEST, FEWEST_SHARE * column.present)
    often = sorted((value for value, count in column.values.items() if count >= fewest), key=lambda v: (-column.values[v], v))
    return tuple(sorted(often[:MOST_CLASSES]))


def _held(column: Column, classes: tuple) -> float:
    """The share of the present cells that the classes hold."""
    return sum(column.values[each] for each in classes) / max(column.present, 1)


def _wished(column: Column, name: str, wish: Feature, decimal: str) -> Feature:
    """The feature of the type that the user wants.

    Raises:
        ValueError: the cells do not allow it.
    """
    if wish.type in batches.LEFT_OUT:
        return _left_out(column, wish.type)
    counts = _number_counts(column, decimal)
    present = len(counts) if _are_numbers(column) else len(column.values)
    if column.nested or present <= 1:
        held = "lists, bytes or the like" if column.nested else f"only {next(iter(column.values), 'missing cells')!r}"
        raise _refused(name, wish, "different numbers or texts", held, "constant" if not column.nested else "text")
    if wish.type == "datetime":
        return _wished_dates(column, name, wish)
    if wish.type in NUMBERS:
        return _wished_numbers(column, name, wish)
    return _wished_classes(column, name, wish, counts)


def _refused(name: str, wish: Feature, expected: str, received: str, instead: str) -> ValueError:
    return ValueError(
        f"Expected {expected} in the column {name!r}, which the schema says is {wish.type}. Received: {received}. "
        f"Try {name}: {instead}."
    )


def _wished_numbers(column: Column, name: str, wish: Feature) -> Feature:
    if not _are_numbers(column):
        raise _refused(name, wish, "numbers", f"texts such as {column.other!r}", "categorical")
    least = {"positive": ("numbers above 0", column.lowest > 0), "count": ("whole numbers from 0", column.lowest >= 0)}
    expected, allowed = least.get(wish.type, ("", True))
    if not allowed or (wish.type == "count" and not column.whole):
        instead = "positive" if column.lowest > 0 else "continuous"
        raise _refused(name, wish, expected, f"numbers from {column.lowest:g} to {column.highest:g}", instead)
    return _numbers(column, wish.type)


def _wished_dates(column: Column, name: str, wish: Feature) -> Feature:
    form = wish.format or _form(column)
    dates = (column.dates or {}).get(form)
    if dates is None or dates.count < SHARE * column.present:
        some = ", ".join(map(str, list(column.values)[:3]))
        raise _refused(name, wish, f"dates{f' in the form {form}' if form else ''}", some, "text")
    return _datetime(column, form)


def _wished_classes(column: Column, name: str, wish: Feature, counts: dict[float, int]) -> Feature:
    values = counts if counts and not (column.zeros and column.whole) else column.values
    wanted = tuple(dict.fromkeys(_class(each, values) for each in wish.classes or ()))
    unknown = [each for each in wanted if each not in values]
    if len(unknown) == len(wanted) > 0:
        near = ", ".join(map(str, list(values)[:5]))
        raise _refused(name, wish, "the listed classes", f"none of them, but {near}", f"{wish.type}, without classes")
    if wish.type == "binary" and len(wanted or values) != 2:
        raise _refused(name, wish, "two classes", f"{len(wanted or values):,}", "categorical")
    if not wanted and wish.type == "ordinal" and values is not counts:
        wanted = _ordered(column) if not column.beyond else None
        if not wanted:
            raise _refused(name, wish, "classes in a known order", ", ".join(list(values)[:5]), "{type: ordinal, classes: […]}")
    if not wanted:
        wanted = tuple(values) if wish.type != "categorical" else _frequent(column) if values is column.values else ()
        wanted = wanted or tuple(sorted(sorted(values, key=lambda each: (-values[each], each))[:MOST_CLASSES]))
    if wish.type != "categorical" and len(wanted) > MOST_CLASSES:
        raise _refused(name, wish, f"at most {MOST_CLASSES} classes", f"{min(len(wanted), MOST_VALUES):,}", "continuous")
    return _classes(
        column,
        wish.type,
        wanted if isinstance(wanted[0], float) else tuple(sorted(wanted)) if wish.type == "binary" else wanted,
    )


def _class(text: str | float, values: Mapping) -> str | float:
    """A class as it is among the values: numbers where these are numbers."""
    if isinstance(next(iter(values), ""), str):
        return str(text)
    try:
        return float(text)
    except ValueError:
        return text
