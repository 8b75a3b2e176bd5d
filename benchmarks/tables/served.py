"""An exported model of a table, asked over REST."""

import pathlib

import httpx
import pandas as pd

import serving
from benchmarks.tables import judge
from training.run import Run


def answers(folder: pathlib.Path, name: str, workdir: pathlib.Path) -> dict:
    """Asks the export of a run to fill in its first test row, with the columns named as in the file; says what is wrong with
    the answer, if anything is."""
    rows = judge.read(judge.path(folder, name, "hidden"))
    given = {column: _value(rows[column]) for column in rows}
    try:
        with serving.Server(Run(workdir).export) as server:
            models = httpx.get(f"{server.url}/v1/models").json()
            return {"models": models, "given": given}
    except Exception as error:  # of any kind: it is a result
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _value(column: pd.Series) -> str | float | None:
    value = column.iloc[0]
    if column.dtype == object:
        return value or ""
    return None if pd.isna(value) else float(value)
