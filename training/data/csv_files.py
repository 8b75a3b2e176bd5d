"""CSV files from any program: separator, encoding and decimal sign are recognised, and every cell is read as text."""

import codecs
import collections
import csv
import io
import itertools
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv

from training.data.lines import ENDS, MARKS

BLOCK = 2**22  # bytes that are read and parsed at once; no line may be longer
HEAD = 2**20  # bytes from which the form of a file is recognised
HEAD_ROWS = 200
SEPARATORS = "\t;|,"  # from the least likely in the texts of cells; of equally good ones the first is taken
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*")
YEARS = (1500, 2100)
Opener = Callable[[], io.BufferedIOBase]


class Form(NamedTuple):
    """How a CSV file is written. `head` are the names as they stand there, empty where the file has none; `width` is the number
    of its columns; `start` that of the bytes, in UTF-8, before its first row; `end` what lines end with; `mark` the file's byte
    order mark."""

    separator: str = ","
    decimal: str = "."
    head: tuple[str, ...] = ()
    width: int = 0
    start: int = 0
    end: str = "\n"
    mark: bytes = b""


USUAL = Form()


class Decoded(io.RawIOBase):
    """A file in UTF-8, or with the byte order mark of UTF-8, UTF-16 or UTF-32, or in cp1252, as bytes in UTF-8 without a mark.

    A file without a mark is taken to be in UTF-8 or cp1252 by the first part of it that is not ASCII.
    """

    def __init__(self, file: io.BufferedIOBase):
        self._file, self._decoder, self._rest, self._started = file, None, b"", False
        self.encoding, self.mark = "ascii", b""
        self.quotes = 0  # that have been read

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:
        while not self._rest:
            data = self._file.read(BLOCK)
            self._rest = self._converted(data, final=len(data) < BLOCK)
            if not data:
                break
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _converted(self, data: bytes, final: bool) -> bytes:
        if not self._started:
            self._started = True
            self.mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
            data = data[len(self.mark) :]
            if self.mark:
                self._read_as(MARKS[self.mark])
        if self.encoding == "ascii" and not data.isascii():
            self._read_as("utf-8" if _is_utf8(data, final) else "cp1252")
        if self._decoder:
            data = self._decoder.decode(data, final=not data).encode()
        self.quotes += data.count(b'"')
        return data

    def _read_as(self, encoding: str) -> None:
        self.encoding = encoding
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")


def _is_utf8(data: bytes, final: bool) -> bool:
    """Whether data are in UTF-8 or, as then an error will say, partly: bytes in cp1252 are characters of it hardly ever."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final)
    except UnicodeDecodeError:
        return not data.decode("utf-8", "ignore").isascii()
    return True


def recognised(opener: Opener, name: str, most_columns: int) -> Form:
    """The form of a CSV file, from its head.

    Raises:
        ValueError: an empty file, a head without rows, more than `most_columns` columns, bytes that are no text.
    """
    text, mark, cut = _start(opener, name)
    separator = max(SEPARATORS, key=lambda each: _fit(text, each))
    rows = _rows(text, separator, cut)
    if len(rows) < 2 or not _fit(text, separator):
        _require_cells(opener, text, name)
    if not rows:
        received = f"a first line of more than {HEAD:,} bytes" if cut else "an empty file"
        raise ValueError(
            f"Expected a CSV file: a line of names, then the rows. Received: {received}, {name}. Try another file."
        )
    (first, start), cells = rows[0], [row for row, _ in rows[1:]]
    require_columns(len(first), most_columns, name)
    decimal = _decimal([first, *cells], grouped=separator == ",")
    end = (ENDS.search(text) or ["\n"])[0]
    if not _is_head(first, cells, decimal):
        return Form(separator, decimal, (), len(first), 0, end, mark)
    if not cells:
        raise ValueError(
            f"Expected rows below the names. Received: only line 1 of {name}, {_brief(first)}. Try a file with rows."
        )
    return Form(separator, decimal, tuple(first), len(first), start, end, mark)


def _start(opener: Opener, name: str) -> tuple[str, bytes, bool]:
    """The first characters of a file, its byte order mark, and whether there may be more of them."""
    decoded = Decoded(opener())
    with io.BufferedReader(decoded) as file:
        data = file.read(HEAD)
    if b"\0" in data:
        line = len(ENDS.split(data[: data.index(b"\0")].decode("utf-8", "replace")))
        raise ValueError(
            f"Expected text. Received: a zero byte in line {line} of {name}. Try saving it as CSV in UTF-8, or iconv -f utf-16 "
            "-t utf-8, if it is UTF-16 without a mark."
        )
    return data.decode("utf-8", "ignore"), decoded.mark, len(data) == HEAD


def require_columns(count: int, most: int, name: str) -> None:
    """Raises ValueError for a table of more columns than `most`."""
    if count > most:
        raise ValueError(
            f"Expected a table of at most {most:,} columns. Received: {count:,} in {name}. Try a file of the columns of "
            "interest or, if all of them are numbers, an array: numpy.save('data.npy', x)."
        )


def _rows(text: str, separator: str, cut: bool) -> list[tuple[list[str], int]]:
    """The first rows that are not empty, each with the number of bytes, in UTF-8, up to its end; of a text that is cut without
    the last one."""
    lines = io.StringIO(text, newline="")
    found = []
    try:
        for row in csv.reader(lines, delimiter=separator):
            if row:
                found.append((row, lines.tell()))
            if len(found) > HEAD_ROWS:
                break
        else:
            found = found[:-1] if cut else found
    except csv.Error:  # a cell that is longer than the module allows, probably by a quote that is not closed
        pass
    return [(row, len(text[:end].encode()) if number == 0 else 0) for number, (row, end) in enumerate(found)]


def _fit(text: str, separator: str) -> float:
    """The share of rows that are as wide as the first one, which has at least two cells; 0 otherwise."""
    widths = [len(row) for row, _ in _rows(text, separator, len(text) > HEAD // 2)]
    return widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0


def _brief(row: list[str]) -> str:
    """The start of a row, in one line."""
    return " ".join(", ".join(row).split())[:80]


def _require_cells(opener: Opener, text: str, name: str) -> None:
    """Raises ValueError for a file whose first line has one cell only because a quote is not closed, or above longer lines."""
    for separator in SEPARATORS:
        widths = [len(row) for row, _ in _rows(text, separator, len(text) > HEAD // 2)]
        if len(widths) < 2 and '"' in text:
            _require_closed_quotes(opener, Form(separator), name)
        width, count = collections.Counter(widths or [0]).most_common(1)[0]
        if width > 1 == widths[0] and 2 * count > len(widths):
            raise ValueError(
                f"Expected the names of the columns in the first line. Received: line 1 of {name} with one cell, above rows of "
                f"{width:,}. Try removing what is above the names or, of a table of one column, quotes around its cells."
            )


def _decimal(rows: list[list[str]], grouped: bool) -> str:
    """The decimal sign: a comma if more numbers have one than a point. If thousands may be `grouped`, 1,234 has neither."""
    signs = collections.Counter()
    for cell in itertools.chain.from_iterable(rows):
        if NUMBER.fullmatch(cell):
            signs.update(() if grouped and GROUPED.fullmatch(cell) else set(cell) & {",", "."})
    return "," if signs[","] > signs["."] else "."


def _is_head(first: list[str], rows: list[list[str]], decimal: str) -> bool:
    """Whether the first line has names. It has none if there are only numbers in it, other than 0, 1, 2 … or years, or if there
    is a number with a decimal sign, a minus or an exponent among texts, above other numbers."""
    places = [place for place, cell in enumerate(first) if NUMBER.fullmatch(cell)]
    if not places:
        return True
    words = [first[place].strip() for place in places]
    everything = len(places) == len([cell for cell in first if cell.strip()])
    if all(word.isdecimal() for word in words):
        return not everything or _counts_on([int(word) for word in words])
    below = all(NUMBER.fullmatch(row[place]) for row in rows for place in places if place < len(row) and row[place].strip())
    return not everything and not (below and rows)


def _counts_on(numbers: list[int]) -> bool:
    """Whether these are 0, 1, 2 …, or years at equal distances."""
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return len(steps) == 1 and min(steps) > 0 and (numbers[0] == 0 or YEARS[0] <= numbers[0] <= numbers[-1] <= YEARS[1])


def batches(opener: Opener, form: Form, names: tuple[str, ...], name: str) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV file in record batches of texts.

    Raises:
        ValueError: lines of different numbers of cells, a quote that is not closed, bytes of another encoding, a damaged file.
    """
    decoded = Decoded(opener())
    with io.BufferedReader(decoded, BLOCK) as file:
        file.read(form.start)
        if not file.peek(1):
            return
        options = {
            "read_options": pa.csv.ReadOptions(column_names=list(names), block_size=BLOCK),
            "parse_options": pa.csv.ParseOptions(
                delimiter=form.separator, newlines_in_values=True, ignore_empty_lines=form.width > 1
            ),
            "convert_options": pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        }
        try:
            yield from pa.csv.open_csv(pa.PythonFile(file, mode="r"), **options)
            if decoded.quotes % 2:  # perhaps only the sign of inches, within a cell
                _require_closed_quotes(opener, form, name)
        except pa.ArrowInvalid as error:
            _require_even_rows(opener, form, name)
            _require_utf8(opener, name)
            raise ValueError(f"Expected a CSV file. Received: {name} ({_line(error)}). Try saving it again.") from None


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no reason given")


def _parsed(opener: Opener, form: Form, name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, with the numbers of the lines in which they start; raises ValueError for a quote that is not closed."""
    with io.TextIOWrapper(io.BufferedReader(Decoded(opener())), "utf-8", errors="replace", newline="") as file:
        reader, line = csv.reader(file, delimiter=form.separator, strict=True), 1
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f'Expected a quote (") to be closed, and a quote within quotes to be doubled. Received: a row that starts in '
                f"line {line} of {name} ({error}). Try correcting this line."
            ) from None


def _require_closed_quotes(opener: Opener, form: Form, name: str) -> None:
    for _ in _parsed(opener, form, name):
        pass


def _require_even_rows(opener: Opener, form: Form, name: str) -> None:
    for line, row in _parsed(opener, form, name):
        if row and len(row) != form.width:
            separator = {"\t": "tabs"}.get(form.separator, repr(form.separator))
            raise ValueError(
                f"Expected {form.width:,} cells in every line, as in the first one, separated by {separator}. Received: "
                f"{len(row):,} in line {line} of {name}, {_brief(row)!r}. Try correcting this line, or "
                "quotes around a cell that has the separator in it."
            )


def _require_utf8(opener: Opener, name: str) -> None:
    with io.BufferedReader(Decoded(opener()), BLOCK) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"Expected text in UTF-8, as above. Received: the byte 0x{line[error.start]:02x} in line {number} of "
                    f"{name}. Try iconv -f cp1252 -t utf-8, or correcting this line."
                ) from None


def opener(path: pathlib.Path, compressed: bool) -> Opener:
    """A function that opens a file, uncompressed, for reading."""
    if not compressed:
        return lambda: open(path, "rb")
    import gzip

    return lambda: gzip.open(path, "rb")
