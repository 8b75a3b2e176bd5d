"""Fills in a table by a run's model, through Python: `python -m benchmarks.tables.fill RUN INPUT OUTPUT`."""

import sys

import numpy as np
import pandas as pd

from training import run
from training.data import batches
from training.data.table_files import open_table


def main(folder: str, given: str, output: str) -> None:
    model = run.trained(folder)
    parts = [batches.read(batch, model.schema) for batch in open_table(given).batches()]
    filled = model.reconstruct({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    pd.DataFrame(filled).to_csv(output, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
