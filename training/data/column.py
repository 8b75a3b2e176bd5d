"""What one pass over a column gathers, in bounded memory, whatever the column holds."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data import batches
from training.data.moments import Counter, Dates, Moments

MOST_VALUES = 10_000  # distinct values that are counted; further ones are only known to be there
FORMS = (  # of two that fit equally well the first is taken
    *(
        f"{date}{time}"
        for date in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d")
        for time in ("", " %H:%M:%S", "T%H:%M:%S", "T%H:%M:%SZ", " %H:%M", "T%H:%M")
    ),
    "%Y-%m",
)
LIKE_DATES = (  # texts of any of the forms, and some others: most columns need not be tried for each
    "^([0-9]{4}[-/.]?[0-9]{1,2}([-/.]?[0-9]{1,2})?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4})([ T]|$)"
)
YEARS = (-5_364_662_400.0, 5_680_281_600.0)  # 1800 to 2150 in seconds since 1970, where dates without separators must lie
LONG = 17  # characters of a number that may have more digits than were meant
SAMPLE = 100  # cells that decide which forms of dates are tried
SHARE = 0.95  # of the present cells that must be numbers, or dates of one form


class Column:
    """A column's cells so far. Cells of rows that are not `kept` only tell whether the column counts the rows.

    Args:
        form: that its dates have; by default it is one of FORMS.
    """

    def __init__(self, form: str | None = None):
        self.rows = 0  # kept, as are all cells below
        self.present = 0  # that are not missing
        self.numbers = 0
        self.whole = True  # whether all numbers are
        self.zeros = False  # whether a number starts with a needless zero, as codes do
        self.decimals = 0
        self.lowest, self.highest = np.inf, -np.inf
        self.plain, self.logs, self.logs1p = Moments(), Moments(), Moments()
        self.words = 0  # in all texts
        self.length = 0  # of all texts
        self.values: dict[str | float, int] = {}  # counts of the first MOST_VALUES distinct cells
        self.beyond = 0  # cells of further distinct values
        self.dates = {form: Dates()} if form else None  # by form; None until cells are seen
        self.other = ""  # a text that is no number
        self.typed = False  # whether the file says that these are numbers
        self.nested = False  # a type that is neither text nor number
        self.order: tuple[str, ...] | None = None  # of categories that the file says to be ordered
        self.counter = Counter()
        self.decimal = "."  # sign, in texts

    def add(self, array: pa.Array, kept: np.ndarray | None, decimal: str) -> None:
        """Adds cells `(n,)`, of rows that are kept where `kept` `(n,)` says so, or all."""
        self.decimal = decimal
        self.rows += len(array) if kept is None else int(kept.sum())
        if pa.types.is_dictionary(array.type) and array.type.ordered:
            self.order = tuple(map(str, array.dictionary.to_pylist()))
        cells = batches.plain(array)
        if cells is None:
            self.nested = True
            valid = array.is_valid().to_numpy(zero_copy_only=False)
            self.present += int(valid.sum() if kept is None else valid[kept].sum())
            return
        self.typed = pa.types.is_floating(cells.type)
        encoded = pc.dictionary_encode(cells if self.typed else batches.present(cells))
        distinct, place = encoded.dictionary, pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()
        numbers = batches.values(distinct if self.typed else batches.numbers(distinct, decimal))
        self.counter.add(np.append(numbers, np.nan)[place])
        counts = np.bincount(place if kept is None else place[kept], minlength=len(distinct) + 1)[:-1]
        if self.typed:
            counts = np.where(np.isnan(numbers), 0, counts)
        self.present += int(counts.sum())
        self._add_numbers(numbers, counts)
        if not self.typed:
            self._add_texts(distinct, numbers, counts)
        self._count(distinct, counts)

    def _add_numbers(self, numbers: np.ndarray, counts: np.ndarray) -> None:
        there = ~np.isnan(numbers) & (counts > 0)
        values, counts = numbers[there], counts[there]
        if not len(values):
            return
        self.numbers += int(counts.sum())
        self.lowest, self.highest = min(self.lowest, float(values.min())), max(self.highest, float(values.max()))
        self.whole = self.whole and bool((values == np.round(values)).all())
        if self.typed and not self.whole:
            self.decimals = max(self.decimals, _decimals(values))
        self.plain.add(values, counts)
        above = values > 0
        self.logs.add(np.log(values[above]), counts[above])
        above = values >= 0
        self.logs1p.add(np.log1p(values[above]), counts[above])

    def _add_texts(self, distinct: pa.StringArray, numbers: np.ndarray, counts: np.ndarray) -> None:
        there = counts > 0
        texts, numbers, counts = distinct.filter(pa.array(there)), numbers[there], counts[there]
        if not len(texts):
            return
        are = ~np.isnan(numbers)
        if are.any():
            numeric = texts.filter(pa.array(are))
            self.decimals = max(self.decimals, _written_decimals(numeric, self.decimal))
            self.zeros = self.zeros or pc.any(pc.match_substring_regex(numeric, "^0[0-9]+$")).as_py()
        if not are.all():
            others = texts.filter(pa.array(~are))
            self.other = self.other or others[0].as_py()
            self.words += int((counts[~are] * pc.count_substring_regex(others, r"\S+").to_numpy()).sum())
            self.length += int((counts[~are] * pc.utf8_length(others).to_numpy()).sum())
        if self.dates is None:
            sample = texts[:SAMPLE]
            like_dates = pc.mean(pc.match_substring_regex(sample, LIKE_DATES).cast(pa.int8())).as_py() >= SHARE
            self.dates = {form: Dates() for form in FORMS if like_dates and _may_be(sample, form)}
        for form, dates in self.dates.items():
            dates.add(batches.seconds(texts, form), counts)

    def _count(self, distinct: pa.Array, counts: np.ndarray) -> None:
        """Counts distinct values; there are too many of numbers to go on with once there are MOST_VALUES of them."""
        if self.beyond and self.numbers > 0.5 * self.present:
            self.beyond += int(counts.sum())
            return
        for value, count in zip(distinct.to_pylist(), counts.tolist(), strict=True):
            if count:
                if value in self.values:
                    self.values[value] += count
                elif len(self.values) < MOST_VALUES:
                    self.values[value] = count
                else:
                    self.beyond += count

    @property
    def numeric(self) -> bool:
        """Whether enough cells are numbers for the column to be one of numbers."""
        return 0 < self.numbers >= SHARE * self.present

    @property
    def coded(self) -> bool:
        """Whether the numbers are codes: whole ones, of which some have needless zeros before them."""
        return self.zeros and self.whole

    def number_counts(self) -> dict[float, int]:
        """How often each number is among the counted values of a column of numbers, in ascending order."""
        found: dict[float, int] = {}
        if self.numeric:
            values = list(self.values)
            if not self.typed:
                values = batches.values(batches.numbers(pa.array(values, pa.string()), self.decimal)).tolist()
            for value, count in zip(values, self.values.values(), strict=True):
                if np.isfinite(value):
                    found[value] = found.get(value, 0) + count
        return dict(sorted(found.items()))

    @property
    def form(self) -> str | None:
        """The form of dates that most cells have, if enough have it."""
        dates = self.dates or {}
        best = max(dates, key=lambda form: dates[form].count, default=None)
        return best if best and dates[best].count >= max(1, SHARE * self.present) else None

    def missing(self, present: int) -> float:
        """The share of missing cells, if `present` are not."""
        return 1 - present / self.rows if self.rows else 1.0


def _may_be(texts: pa.StringArray, form: str) -> bool:
    found = batches.seconds(texts, form)
    return bool(np.mean(~np.isnan(found)) >= SHARE) and (
        form != "%Y%m%d" or (YEARS[0] <= np.nanmin(found) and np.nanmax(found) <= YEARS[1])
    )


def _decimals(values: np.ndarray) -> int:
    """The most digits after the point that are needed to write numbers, at most 15."""
    return next((digits for digits in range(15) if (np.round(values, digits) == values).all()), 15)


def _written_decimals(texts: pa.StringArray, decimal: str) -> int:
    """The most digits after the decimal sign in numbers that are written without an exponent."""
    plain = texts.filter(pc.invert(pc.match_substring(texts, "e", ignore_case=True)))
    short = plain.filter(pc.less(pc.binary_length(plain), LONG))  # the others may be 0.30000000000000004 and the like
    plain = short if len(short) else plain
    place = pc.find_substring(plain, decimal).to_numpy()
    digits = np.where(place < 0, 0, pc.binary_length(plain).to_numpy() - place - 1)
    return min(int(digits.max(initial=0)), 15)
