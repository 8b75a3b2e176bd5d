"""Orders of classes: known scales of words, and ranges of numbers."""

import re
from collections.abc import Iterable

SCALES = (  # from the lowest to the highest; words at one place, joined by |, mean the same
    "lowest, very low, low, medium low, medium|moderate|average|mid|middle|normal|med, medium high, high, very high, highest",
    "xxs, xs, s, m, l, xl, xxl|2xl, xxxl|3xl, xxxxl|4xl",
    "tiny, very small, small, medium|average|med|regular, large|big, very large|extra large, huge",
    "never, almost never, hardly ever|rarely|seldom, sometimes|occasionally, often|frequently|usually, almost always, always",
    "never, once, twice, more",
    "never, less than monthly, yearly, monthly, weekly, daily",
    "strongly disagree, disagree, somewhat disagree|slightly disagree, neutral|undecided|neither|neither agree nor disagree|"
    "not sure, somewhat agree|slightly agree, agree, strongly agree",
    "very dissatisfied, dissatisfied, neutral|neither, satisfied, very satisfied",
    "very unlikely, unlikely, neutral|possible|somewhat likely, likely, very likely",
    "too little|too few|too low|too small, about right|just right|right, too much|too many|too high|too large",
    "not at all|not, a little|slightly|not very|notvery, somewhat|moderately, quite|very, extremely|very much",
    "very unhappy, unhappy|not too happy, neutral, happy|pretty happy, very happy",
    "very bad|terrible|awful, bad, medium|mediocre|fair, good, better, best|very good|great",
    "very bad|terrible|awful, bad, ok|okay|average|neutral, good, very good|great, excellent|best|perfect",
    "very poor, poor, fair|average, good, very good|great, excellent|superior, premium, ideal",
    "none|no|nil|absent, minimal|trace|very mild, mild|slight|little|some|light, moderate|medium, severe|marked|heavy, "
    "very severe|extreme",
    "worse|decreased|less|lower|down, same|unchanged|equal|no change|stable, better|increased|more|higher|up",
    "first|1st, second|2nd, third|3rd, fourth|4th, fifth|5th, sixth|6th, seventh|7th, eighth|8th, ninth|9th, tenth|10th",
    "i, ii, iii, iv, v, vi, vii, viii, ix, x",
    "none|no formal education, less than high school|less than hs|below hs|hs drop out|dropout, elementary, primary, "
    "middle school|lower secondary, some high school, ged, secondary|high school|highschool|hs|hs grad|high school graduate, "
    "below college, some college, associate|vocational, college|college grad|tertiary, "
    "university|bachelor|bachelors|undergraduate, master|masters|graduate|advanced degree|postgraduate, phd|doctor|doctorate",
    "assistant|assistant professor|asstprof, associate|associate professor|assocprof, professor|full professor|prof",
    "infant|baby, toddler, child, teen|teenager|adolescent, young adult|young, adult|middle aged, senior|old|elderly",
    "short, medium|average, long",
    "short, medium|average, tall",
    "light, medium, heavy|dark",
    "thin, medium|average, thick",
    "narrow, medium, wide",
    "weak, medium|moderate, strong, very strong",
    "slow, medium|moderate, fast",
    "soft, medium, hard",
    "young, middle|middle aged|adult, old",
    "freezing, cold, cool, mild|warm, hot",
    "very easy, easy, medium|moderate|intermediate, hard|difficult|challenging, very hard|very difficult",
    "novice, beginner, intermediate, advanced, expert",
    "bronze, silver, gold, platinum, diamond",
    "freshman, sophomore, junior, senior",
    "junior, intermediate|mid|middle, senior",
    "lower, middle, upper",
    "low, mid, top",
    "bottom, middle, top",
    "minor, moderate, major, critical",
    "i3, i2, i1, si2, si1, vs2, vs1, vvs2, vvs1, if, fl",
)
SIZE = r"[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)\s*([kKmM]?)\s*(?:%|years?|yrs?|y|days?|months?|[ck]m|kg|g|hours?|h|min)?"
BELOW, ABOVE = r"(?:<=?|≤|under|below|less than|up to|fewer than)", r"(?:>=?|≥|over|above|more than|at least)"
RANGES = (  # each with how its numbers are ordered: the lowest of a range first, then its highest
    (re.compile(rf"{BELOW}\s*{SIZE}", re.I), lambda low: (low - 1e-9 * abs(low) - 1e-9, low, 0)),
    (re.compile(rf"{SIZE}\s*(?:or less|or below|and under|or under|or fewer)", re.I), lambda low: (low - 1e-9, low, 0)),
    (re.compile(rf"[\[(]?{SIZE}\s*(?:-|–|—|to|,|;|\.\.+)\s*{SIZE}[\])]?", re.I), lambda low, high: (low, high, 1)),
    (re.compile(rf"{SIZE}\s*(?:\+|plus|and over|or more|and above|or above|or over|and older|or older)", re.I), None),
    (re.compile(rf"{ABOVE}\s*{SIZE}", re.I), None),
    (re.compile(SIZE, re.I), lambda low: (low, low, 1)),
)
FEWEST = 3  # classes that have an order


def order(classes: Iterable[str]) -> tuple[str, ...] | None:
    """The classes in the order of a known scale, or of the numbers of ranges such as `<5`, `5-9`, `10+`; None without one.

    All classes, at least three, must be on one scale, at different places. Upper and lower case, and blanks, do not matter.
    """
    classes = list(classes)
    if len(classes) < FEWEST:
        return None
    words = [re.sub(r"[\s_.]+|(?<=[a-z])-(?=[a-z])", " ", word.lower()).strip() for word in classes]
    places = next((places for scale in _SCALES if (places := [scale.get(word) for word in words]).count(None) == 0), None)
    places = places or _range_places(classes)
    if places is None or len(set(places)) < len(places):
        return None
    return tuple(word for _, word in sorted(zip(places, classes, strict=True)))


def _places(scale: str) -> dict[str, int]:
    """The places of the words of a scale."""
    steps = [step.split("|") for step in scale.split(", ")]
    return {word.replace("-", " "): place for place, words in enumerate(steps) for word in words}


_SCALES = [_places(scale) for scale in SCALES]


def _range_places(classes: list[str]) -> list[tuple] | None:
    """Where ranges of numbers lie; None unless all classes are numbers or ranges, and most of them ranges."""
    places = [_range_place(word.strip()) for word in classes]
    if None in places:
        return None
    single = sum(re.fullmatch(SIZE, word.strip(), re.I) is not None for word in classes)
    return places if 2 * single < len(classes) else None


def _range_place(word: str) -> tuple | None:
    for pattern, place in RANGES:
        match = pattern.fullmatch(word)
        if match:
            groups = match.groups()
            sizes = [_number(*groups[start : start + 2]) for start in range(0, len(groups), 2)]
            return place(*sizes) if place else (sizes[0], float("inf"), 1)
    return None


def _number(digits: str, unit: str) -> float:
    return float(digits.replace(",", "")) * {"k": 1e3, "m": 1e6}.get(unit.lower(), 1)
