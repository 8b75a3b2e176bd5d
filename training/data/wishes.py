"""What the user says of columns: which types are possible, and what they make of a column."""

from collections.abc import Mapping

from training.data.column import SHARE, Column
from training.data.features import MOST_CLASSES, classed, datetime, frequent, left_out, numbers, ordered
from zoo.columns import LEFT_OUT
from zoo.schema import Feature

NUMBERS = ("continuous", "positive", "count")
TYPES = (*NUMBERS, "binary", "categorical", "ordinal", "datetime", *LEFT_OUT)


def wished(column: Column, name: str, wish: Feature) -> Feature:
    """The feature of the type that the user wants.

    Raises:
        ValueError: the cells do not allow it.
    """
    if wish.type in LEFT_OUT:
        return left_out(column, wish.type)
    counts = column.number_counts()
    present = len(counts) if column.numeric else len(column.values)
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
    if not column.numeric:
        raise _refused(name, wish, "numbers", f"texts such as {column.other!r}", "categorical")
    least = {"positive": ("numbers above 0", column.lowest > 0), "count": ("whole numbers from 0", column.lowest >= 0)}
    expected, allowed = least.get(wish.type, ("", True))
    if not allowed or (wish.type == "count" and not column.whole):
        instead = "positive" if column.lowest > 0 else "continuous"
        raise _refused(name, wish, expected, f"numbers from {column.lowest:g} to {column.highest:g}", instead)
    return numbers(column, name, wish.type)


def _wished_dates(column: Column, name: str, wish: Feature) -> Feature:
    form = wish.format or column.form
    dates = (column.dates or {}).get(form)
    if dates is None or dates.count < SHARE * column.present:
        some = ", ".join(map(str, list(column.values)[:3]))
        raise _refused(name, wish, f"dates{f' in the form {form}' if form else ''}", some, "text")
    return datetime(column, form)


def _wished_classes(column: Column, name: str, wish: Feature, counts: dict[float, int]) -> Feature:
    values = counts if counts and not column.coded else column.values
    wanted = tuple(dict.fromkeys(_class(each, values) for each in wish.classes or ()))
    if wanted and not any(each in values for each in wanted):
        some = ", ".join(map(str, list(values)[:5]))
        raise _refused(name, wish, "the listed classes", f"none of them, but {some}", f"{wish.type}, without classes")
    if not wanted and wish.type == "categorical":
        wanted = frequent(values, column.present)
    elif not wanted and wish.type == "ordinal" and values is column.values:
        wanted = ordered(column)
    wanted = wanted or tuple(sorted(values))
    if wish.type == "ordinal" and values is column.values and not (wish.classes or ordered(column)):
        some = ", ".join(map(str, list(values)[:5]))
        raise _refused(name, wish, "classes whose order is known", some, f"{{type: ordinal, classes: [{some}]}}")
    if wish.type == "binary" and len(wanted) != 2:
        raise _refused(name, wish, "two classes", f"{len(wanted):,}", "categorical")
    if len(wanted) > MOST_CLASSES:
        instead = "continuous" if values is counts else "text"
        raise _refused(name, wish, f"at most {MOST_CLASSES} classes", f"{len(wanted):,}", instead)
    return classed(column, wish.type, wanted)


def _class(text: str | float, values: Mapping) -> str | float:
    """A class as it is among the values: a number where these are numbers."""
    try:
        return text if isinstance(next(iter(values), ""), str) else float(text)
    except ValueError:
        return text
