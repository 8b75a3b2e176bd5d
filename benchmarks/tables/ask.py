"""Asks a run's model about a table, through Python: `python -m benchmarks.tables.ask RUN VERB INPUT OUTPUT`."""

import sys

import numpy as np
import pandas as pd

from training import run
from training.data import batches
from training.data.table_files import open_table

BATCH = 1000


def main(folder: str, verb: str, given: str, output: str) -> None:
    model = run.trained(folder)
    rows = _rows(model, verb, given)
    answers = [getattr(model, verb)(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    answers = [answer if isinstance(answer, dict) else {verb: np.asarray(answer)} for answer in answers]
    pd.concat(map(pd.DataFrame, answers)).to_csv(output, index=False)


def _rows(model, verb: str, given: str) -> pd.DataFrame | np.ndarray:
    if verb == "generate":
        return pd.read_csv(given)["seed"].to_numpy("int32")
    parts = [batches.read(batch, model.schema) for batch in open_table(given).batches()]
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


if __name__ == "__main__":
    main(*sys.argv[1:])
