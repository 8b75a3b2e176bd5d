"""Dates and times as texts of a format, and as seconds since 1970-01-01, in the Gregorian calendar and without time zones.

A format is that of `strptime`, of the directives in `PARTS` and of other characters, which stand for themselves. The arithmetic
is that of an `xp`, NumPy or `tf.experimental.numpy`, so that it exists once; the algorithms are those of Hinnant (2014),
"chrono-compatible low-level date algorithms".
"""

import math
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

PARTS = {"Y": "[0-9]{4}", "m": "[0-9]{1,2}", "d": "[0-9]{1,2}", "H": "[0-9]{1,2}", "M": "[0-9]{2}", "S": "[0-9]{2}"}
ABSENT = {"Y": 1970.0, "m": 1.0, "d": 1.0, "H": 0.0, "M": 0.0, "S": 0.0}  # of parts that a format does not have
UNITS = {"S": 1.0, "M": 60.0, "H": 3_600.0}  # seconds
DAY = 86_400.0
HIGHEST = {"Y": 9999, "m": 12, "d": 31, "H": 23, "M": 59, "S": 59}
DIRECTIVE = re.compile(r"%([A-Za-z])")


def expression(format: str) -> tuple[str, list[str]]:
    """A regular expression for texts of a format, which Python and RE2 read alike, and the parts by which its groups are named.

    Where nothing is between two parts, as in 20240131, each has all of its digits.

    Raises:
        ValueError: a directive that is not in `PARTS`, or one that is there twice.
    """
    parts = DIRECTIVE.findall(format)
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(PARTS):
        raise ValueError(f"Expected a format of %{', %'.join(PARTS)}, each once. Received: {format!r}. Try %Y-%m-%d.")
    literals = DIRECTIVE.split(format)[::2]
    pattern = re.escape(literals[0])
    for part, literal in zip(parts, literals[1:], strict=True):
        pattern += f"(?P<{part}>{PARTS[part]}){re.escape(literal)}"
    return (pattern if all(literals[1:-1]) else pattern.replace("{1,2}", "{2}")), parts


def unit(format: str) -> float:
    """How many seconds apart the texts of a format are: a second, a minute, an hour or a day, to which `parts_of` rounds."""
    parts = expression(format)[1]
    return next((seconds for part, seconds in UNITS.items() if part in parts), DAY)


def seconds(texts: Sequence[str], format: str) -> np.ndarray:
    """Texts `(n,)` as seconds since 1970, float64 `(n,)`; NaN for those that are no dates of this format."""
    pattern, parts = expression(format)
    match = re.compile(pattern).fullmatch
    found = [match(text) for text in texts]
    values = {part: np.array([float(each[i + 1]) if each else math.nan for each in found]) for i, part in enumerate(parts)}
    return seconds_of(values, np)


def seconds_of(parts: dict[str, Any], xp: ModuleType) -> Any:
    """Parts of dates, float64 `(n,)`, as seconds since 1970; NaN where a part is NaN or out of its range."""
    year, month, day, hour, minute, second = (parts.get(name, ABSENT[name]) for name in PARTS)
    year = year - xp.where(month <= 2, 1.0, 0.0)
    era = xp.floor(year / 400.0)
    of_era = year - 400.0 * era
    of_year = xp.floor((153.0 * (month + xp.where(month > 2, -3.0, 9.0)) + 2.0) / 5.0) + day - 1.0
    days = 146_097.0 * era + 365.0 * of_era + xp.floor(of_era / 4.0) - xp.floor(of_era / 100.0) + of_year - 719_468.0
    total = 86_400.0 * days + 3_600.0 * hour + 60.0 * minute + second
    for name, value in parts.items():
        low = 1.0 if name in "md" else 0.0
        total = xp.where(xp.logical_and(value >= low, value <= HIGHEST[name]), total, math.nan)
    return xp.where(parts_of(total, xp)["d"] == day, total, math.nan)  # 31 February is no date


def parts_of(seconds: Any, xp: ModuleType, unit: float = 1.0) -> dict[str, Any]:
    """The parts of dates that are seconds since 1970, float64 `(n,)`: the inverse of `seconds_of`, to whole `unit`s."""
    seconds = unit * xp.floor(seconds / unit + 0.5)
    days = xp.floor(seconds / 86_400.0)
    rest, shifted = seconds - 86_400.0 * days, days + 719_468.0
    era = xp.floor(shifted / 146_097.0)
    of_era = shifted - 146_097.0 * era
    years = xp.floor((of_era - xp.floor(of_era / 1_460.0) + xp.floor(of_era / 36_524.0) - xp.floor(of_era / 146_096.0)) / 365.0)
    of_year = of_era - (365.0 * years + xp.floor(years / 4.0) - xp.floor(years / 100.0))
    place = xp.floor((5.0 * of_year + 2.0) / 153.0)
    month = place + xp.where(place < 10, 3.0, -9.0)
    return {
        "Y": years + 400.0 * era + xp.where(month <= 2, 1.0, 0.0),
        "m": month,
        "d": of_year - xp.floor((153.0 * place + 2.0) / 5.0) + 1.0,
        "H": xp.floor(rest / 3_600.0),
        "M": xp.floor(rest / 60.0) - 60.0 * xp.floor(rest / 3_600.0),
        "S": rest - 60.0 * xp.floor(rest / 60.0),
    }


def texts(seconds: np.ndarray, format: str) -> np.ndarray:
    """Seconds since 1970 `(n,)` as texts of a format; "" for NaN."""
    parts = parts_of(np.nan_to_num(np.asarray(seconds, "float64")), np, unit(format))
    columns = zip(*(parts[name].astype(int).tolist() for name in PARTS), strict=True)
    literal = format.replace("{", "{{").replace("}", "}}")
    written = DIRECTIVE.sub(lambda match: f"{{{match[1]}:0{4 if match[1] == 'Y' else 2}d}}", literal)
    found = [written.format(**dict(zip(PARTS, row, strict=True))) for row in columns]
    return np.where(np.isnan(seconds), "", np.array(found, object))
