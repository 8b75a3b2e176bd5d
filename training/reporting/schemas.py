"""What is known of the columns of a table, in a few words each, for the terminal and for the report."""

from collections.abc import Iterator

import numpy as np

from training.data.schema_files import REASONS
from zoo import dates
from zoo.columns import LEFT_OUT, kept
from zoo.schema import Feature, Schema

HEAD = ("column", "type", "values", "missing")
MOST_LINES = 60  # columns that are listed in the terminal
LONGEST = 40  # characters of a name, and of the names of classes
FEW = 4  # classes that are named where there are more than fit


def lines(schema: Schema, target: Schema | None = None) -> list[str]:
    """The columns of a table as aligned lines: names, types, values, and shares of missing cells. Of very many, the first."""
    named = list(rows(schema, target))
    shown = [HEAD, *named[:MOST_LINES]]
    widths = [max(len(row[place]) for row in shown) for place in range(3)]
    found = ["  ".join([*(f"{row[place]:<{widths[place]}}" for place in range(3)), row[3]]).rstrip() for row in shown]
    more = len(named) - MOST_LINES
    return [*found, f"… and {more:,} more columns"] if more > 0 else found


def rows(schema: Schema, target: Schema | None = None) -> Iterator[tuple[str, str, str, str]]:
    """What HEAD names, of each column, the one to be predicted, if any, first."""
    for name, feature in {**(target or {}), **schema}.items():
        words = f"to be predicted: {values(feature)}" if name in (target or {}) else values(feature)
        yield shortened(name), feature.type, words, missing(feature)


def counted(schema: Schema) -> str:
    """How many columns a table has, and how many of them are left out."""
    left_out = len(schema) - len(kept(schema))
    columns = f"{len(schema):,} column{'s' * (len(schema) != 1)}"
    return f"{columns}, {left_out:,} of them left out" if left_out else columns


def values(feature: Feature) -> str:
    """What values a column has: its range, its classes, or why it is left out."""
    if feature.type in LEFT_OUT:
        return f"left out: {REASONS[feature.type]}"
    if feature.type == "datetime":
        return " to ".join(dates.texts(np.array(feature.range), feature.format))
    if not feature.classes:
        return " to ".join(map(number, feature.range))
    names = [each if isinstance(each, str) else number(each) for each in feature.classes]
    joint = " < " if feature.type == "ordinal" else ", "
    text = joint.join(names)
    if len(text) <= LONGEST:
        return text
    shown = names[:FEW]
    while len(shown) > 1 and len(joint.join(shown)) > LONGEST:
        shown.pop()
    return f"{shortened(joint.join(shown))}{joint}… ({len(names)} classes)"


def missing(feature: Feature) -> str:
    """The share of missing cells in percent, empty where there are none."""
    share = 100 * (feature.missing or 0.0)
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %" if share else ""


def number(value: float) -> str:
    """A number in at most six digits."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.6g}"


def shortened(text: str) -> str:
    """A text of at most LONGEST characters, in one line."""
    text = " ".join(text.split()) or text
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
