"""Text files from any system: byte order marks, all kinds of line ends, and no stray characters."""

import codecs
import pathlib
import re
import unicodedata
from collections.abc import Iterator

from zoo.vocabulary import stray

ENDS = re.compile("\r\n|\n|\r")  # not the other ones of `str.splitlines`
MARKS = {  # UTF-32 comes before UTF-16, whose marks are prefixes of its marks
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a text file, split at tabs, with their numbers, which start at 1.

    The file is in UTF-8, or starts with the byte order mark of UTF-8, UTF-16 or UTF-32. Lines end with LF, CR LF or CR. Empty
    lines and comments are skipped; a comment is a line that starts with `;;;`, or with `#` and has no tab. Texts are converted
    to Unicode's composed form (NFC). Runs of spaces, including no-break spaces, become one; spaces at the ends are removed.

    Raises:
        ValueError: no such file; bytes of another encoding; characters that do not belong in a text (`zoo.vocabulary.stray`).
    """
    for number, line in enumerate(ENDS.split(_decoded(path)), 1):
        if line.startswith(";;;") or (line.startswith("#") and "\t" not in line) or not line.strip(" \t"):
            continue
        character = stray(line.replace("\t", ""))
        if character:
            name = unicodedata.name(character, "a control character")
            hint = "iconv -f utf-16 -t utf-8, if it is UTF-16 without a mark" if character == "\0" else "removing it"
            raise ValueError(
                f"Expected text. Received: U+{ord(character):04X}, {name}, in line {number} of {path}, "
                f"column {line.index(character) + 1}. Try {hint}."
            )
        yield number, [" ".join(unicodedata.normalize("NFC", field).split()) for field in line.split("\t")]


def pairs(path: pathlib.Path) -> Iterator[tuple[int, str, str]]:
    """The pairs of a text file, a line each, SOURCE tab TARGET, with the numbers of the lines; a target may be empty.

    Raises:
        ValueError: as `read`; a line that is no pair.
    """
    for number, (source, *targets) in read(path):
        target, rest = (targets[0], targets[1:]) if targets else ("", [""])
        if not source or not targets or any(rest):
            received = "\t".join([source, *targets])
            raise ValueError(
                f"Expected SOURCE, a tab and TARGET in every line. Received: {received!r} in line {number} of {path}. "
                "Try removing lines that are not pairs."
            )
        yield number, source, target


def _decoded(path: pathlib.Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"Expected a text file in UTF-8. Received: {path} ({error}). Try pairs:FILE.tsv.") from None
    mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
    encoding, data = MARKS.get(mark, "utf-8"), data[len(mark) :]
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = ENDS.split(data[: error.start].decode(encoding))
        column = len(before[-1].encode(encoding)) + 1
        raise ValueError(
            f"Expected text in {encoding.upper()}. Received: the byte 0x{data[error.start]:02x} in line {len(before)} of "
            f"{path}, byte {column} of the line ({error.reason}). Try iconv -f cp1252 -t utf-8, with the encoding of the file."
        ) from None
