"""What a report shows, in order: pictures and tables."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table(NamedTuple):
    """Texts in rows below a head, and the places of the columns that are of numbers."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: tuple[int, ...] = ()


class Entry(NamedTuple):
    """One picture or table of a report."""

    name: str  # of the file, if it is a picture
    title: str
    caption: str
    figure: "Figure | Table"
