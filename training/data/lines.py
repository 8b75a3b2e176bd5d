"""Text files as people have them: the mark of their encoding, any ends of lines, and no accident that becomes a letter."""

import codecs
import pathlib
import re
import unicodedata
from collections.abc import Iterator

from zoo.vocabulary import stray

ENDS = re.compile("\r\n|\n|\r")  # and none of those that `str.splitlines` knows besides
MARKS = {  # UTF-32's begin as UTF-16's do
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a text file with their numbers, from 1, split at tabs.

    The file is in UTF-8, or begins with the mark of UTF-8, UTF-16 or UTF-32; a line ends with LF, CR LF or CR. Empty lines are
    skipped, and so are comments: lines that begin with `;;;`, and those without a tab that begin with `#`. Texts come in the
    composed form of Unicode (NFC); a run of spaces, those that do not break too, is one space, and there is none at the ends.

    Raises:
        ValueError: no such file, bytes of another encoding, characters that no text has (`zoo.vocabulary.stray`).
    """
    for number, line in enumerate(ENDS.split(_decoded(path)), 1):
        if line.startswith(";;;") or (line.startswith("#") and "\t" not in line) or not line.strip(" \t"):
            continue
        found = stray(line.replace("\t", ""))
        if found:
            name = unicodedata.name(found, "a control character")
            hint = "iconv -f utf-16 -t utf-8, if it is UTF-16 without its mark" if found == "\0" else "removing it"
            raise ValueError(
                f"Expected text. Received: U+{ord(found):04X}, {name}, in line {number} of {path}, "
                f"place {line.index(found) + 1}. Try {hint}."
            )
        yield number, [" ".join(unicodedata.normalize("NFC", field).split()) for field in line.split("\t")]


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
        place = len(before[-1].encode(encoding)) + 1
        raise ValueError(
            f"Expected text in {encoding.upper()}. Received: the byte 0x{data[error.start]:02x} in line {len(before)} of "
            f"{path}, byte {place} of the line ({error.reason}). Try iconv -f cp1252 -t utf-8, with the encoding that it is in."
        ) from None
