"""Imputers of scikit-learn: learned from the rows to learn from, with their own missing cells, and asked about the test rows.

Each of them is tried with both encodings of texts, and the better one by the score of the test rows counts, which is generous
to the peers. What is slow has limits: no one learns from more than ROWS rows, ExtraTrees has fewer trees above MANY_ROWS rows,
and the two that fit a regression for each number are not tried with more than WIDEST indicators and numbers. Each has one
thread. The results are kept in `peers.json` beside the tables.
"""

import argparse
import pathlib
import time
import warnings
from collections.abc import Callable

import encoding
import judge
import numpy as np
import pandas as pd
import selection
import zoo_columns
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it is what makes the next import possible
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge
from threadpoolctl import threadpool_limits

from training import files

ROWS, MANY_ROWS = 10_000, 5_000
WIDEST = {"BayesianRidge": 150, "ExtraTrees": 60}


def knn(rows: int) -> KNNImputer:
    """The mean of the ten nearest rows."""
    return KNNImputer(n_neighbors=10, keep_empty_features=True)


def bayesian_ridge(rows: int) -> IterativeImputer:
    """A linear regression of each column on all others, in turn."""
    return IterativeImputer(BayesianRidge(), max_iter=10, random_state=0, keep_empty_features=True)


def extra_trees(rows: int) -> IterativeImputer:
    """A forest for each column on all others, in turn, as missForest (Stekhoven and Bühlmann, 2012) has it."""
    trees = 20 if rows > MANY_ROWS else 50
    forest = ExtraTreesRegressor(trees, min_samples_leaf=2, random_state=0, n_jobs=1)
    return IterativeImputer(forest, max_iter=5, random_state=0, keep_empty_features=True)


PEERS: dict[str, Callable] = {"KNN": knn, "BayesianRidge": bayesian_ridge, "ExtraTrees": extra_trees}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python benchmarks/tables peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/tables"), help="of tables and results")
    parser.add_argument("--tables", help="names, by commas (default: all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="names, by commas (default: all)")
    options = parser.parse_args(arguments)
    names = selection.write(options.folder)
    with threadpool_limits(1):
        for peer in options.peers.split(","):
            for name in options.tables.split(",") if options.tables else names:
                judge.split(options.folder, name)
                measure(options.folder, name, peer)


def read(folder: pathlib.Path) -> dict:
    """What has been measured so far: errors by table, peer, encoding and column."""
    store = folder / "peers.json"
    return files.read_json(store) if store.exists() else {}


def measure(folder: pathlib.Path, name: str, peer: str) -> None:
    """Measures a peer on a table with both encodings, and keeps what has been found, unless it is there already."""
    if peer in read(folder).get(name, {}):
        return
    columns = zoo_columns.inferred(folder, name)
    judged = judge.Judge(folder, name, columns.dates)
    found = {}
    for kind in encoding.KINDS:
        began = time.perf_counter()
        filled = _filled(judged.train[columns.kept], judged.hidden[columns.kept], peer, kind)
        if filled is not None:
            errors = judged.errors(filled, columns.kept)
            found[kind] = {"errors": errors, "seconds": time.perf_counter() - began}
            print(f"{name} {peer} {kind}: {judge.score(errors):.3f}, {found[kind]['seconds']:.0f} s", flush=True)
    kept = read(folder)  # again: others may have been at work
    kept.setdefault(name, {})[peer] = found
    files.write_json(folder / "peers.json", kept)


def _filled(train: pd.DataFrame, hidden: pd.DataFrame, peer: str, kind: str) -> pd.DataFrame | None:
    """The test rows with their cells filled in; None where that would take too long."""
    train = train.iloc[np.random.default_rng(0).permutation(len(train))[:ROWS]]
    encoded = encoding.Encoding(train, kind)
    if encoded.width > WIDEST.get(peer, encoded.width):
        return None
    imputer = PEERS[peer](len(train))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations that have not converged
        imputer.fit(encoded.encode(train))
        filled = encoded.decode(imputer.transform(encoded.encode(hidden)))
    return hidden.reset_index(drop=True).where(hidden.notna().to_numpy(), filled)
