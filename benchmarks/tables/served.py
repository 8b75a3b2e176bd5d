"""An exported model of a table, asked over REST."""

import argparse

import httpx
import pandas as pd

import serving
from benchmarks.tables import judge, zoo_runs
from training.run import Run


def answers(options: argparse.Namespace, name: str) -> dict:
    """Asks the export of a run to fill in the first test row of a table, with the columns named as in the file; says what is
    wrong with the answer, if anything is."""
    rows = judge.read(judge.path(options.folder, name, "hidden"))
    given = {column: _value(rows[column]) for column in rows}
    try:
        with serving.Server(Run(zoo_runs.workdir(options, name)).export) as server:
            models = httpx.get(f"{server.url}/v1/models").json()
            return {"models": models, "given": given}
    except Exception as error:  # of any kind: it is a result
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _value(column: pd.Series) -> str | float | None:
    value = column.iloc[0]
    if column.dtype == object:
        return value or ""
    return None if pd.isna(value) else float(value)
