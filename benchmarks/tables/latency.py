"""The time of filling in one new row: the exported model, served, against `transform` of scikit-learn's imputers.

The zoo's is that of `reconstruct`, raw row in, raw row out, once over REST from a client in Python that keeps its connection,
and once in the process that runs the export. Of the imputers it is that of a pipeline's `transform`, raw row in, numbers out:
scikit-learn's own encoders, the encoding that was better in `peers`, and then the imputer; and, under "alone", that of the
imputer's `transform` without the encoding. Medians of CALLS rows, one after another, each of which has a cell that is missing.
"""

import argparse
import functools
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import encoding
import judge
import numpy as np
import pandas as pd
import peers
import selection
import served
import zoo_columns
import zoo_runs
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from training.run import Run

TABLES = ("CPS1985", "Hitters", "Wage", "credit_data", "CPS1988")
CALLS, WARM = 100, 10


def main(arguments: list[str] | None = None) -> None:
    options = zoo_runs.parser("latency", __doc__, ",".join(TABLES)).parse_args(arguments)
    selection.write(options.folder)
    measured = zoo_runs.Store(options.folder / f"latency-{options.name}.json")
    for name in [] if options.summary else options.tables.split(","):
        judge.split(options.folder, name)
        measured.measure(name, functools.partial(measure, options, name), options.again)
    print(table(measured.rows))


def measure(options: argparse.Namespace, name: str) -> dict[str, float]:
    """Medians in ms."""
    run = zoo_runs.trained(options, name)
    rows = [row for row in served.rows(options, name) if any(map(served.is_missing, row.values()))][: CALLS + WARM]
    with served.asking(run) as ask:
        found = {"REST": _median(ask, rows)}
    found["in process"] = _median(_in_process(run), rows)
    return found | of_peers(options.folder, name)


def of_peers(folder: pathlib.Path, name: str) -> dict[str, float]:
    """Medians in ms of the imputers."""
    columns = zoo_columns.inferred(folder, name)
    judged = judge.Judge(folder, name, columns.dates)
    train, hidden = judged.train[columns.kept], judged.hidden[columns.kept]
    hidden, found = hidden[hidden.isna().any(axis=1)], {}
    for peer, make in peers.PEERS.items():
        measured = peers.read(folder).get(name, {}).get(peer, {})
        kind = min(measured, key=lambda kind: judge.score(measured[kind]["errors"])) if measured else encoding.KINDS[1]
        encoded, imputer = encoding.Encoding(train, kind), make(len(train))
        rows = encoded.encode(train)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of iterations that have not converged
            chosen = np.random.default_rng(0).permutation(len(rows))[: peers.ROWS]
            imputer.fit(rows[chosen])
            found[f"{peer} alone"] = _median(imputer.transform, encoded.encode(hidden)[: CALLS + WARM, None])
            pipeline = _pipeline(train, kind, make(len(train))).fit(train.iloc[chosen])
            found[peer] = _median(pipeline.transform, [hidden.iloc[[place]] for place in range(min(len(hidden), CALLS + WARM))])
    return found


def _pipeline(train: pd.DataFrame, kind: str, imputer: BaseEstimator) -> Pipeline:
    """An imputer behind the encoders of scikit-learn: rows in, numbers out."""
    texts = [name for name in train if train[name].dtype == object]
    encoder = {
        "one-hot": OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=encoding.MOST_CLASSES),
        "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    }[kind]
    return make_pipeline(ColumnTransformer([("texts", encoder, texts)], remainder=StandardScaler()), imputer)


def _in_process(run: pathlib.Path) -> Callable:
    """`reconstruct` of the export of a run, for one row, as the embedded server runs it."""
    from serving.models.batcher import Limits
    from serving.models.servable import Servable

    (folder,) = Run(run).export.iterdir()
    endpoint = Servable(folder / "1", ThreadPoolExecutor(1), Limits()).endpoints["reconstruct"]

    def column(name: str, value: str | float) -> np.ndarray:
        return np.array([value.encode()], object) if endpoint.inputs[name].dtype == object else np.array([value], "float64")

    def ask(row: served.Row) -> dict[str, np.ndarray]:
        return endpoint.run({name: column(name, row[name]) for name in endpoint.inputs})

    return ask


def _median(call: Callable, rows: list | np.ndarray) -> float:
    seconds = []
    for row in rows:
        began = time.perf_counter()
        call(row)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds[WARM:])


def table(rows: dict[str, dict[str, float]]) -> str:
    """A line for each table."""
    names = ("REST", "in process", *(name for peer in peers.PEERS for name in (peer, f"{peer} alone")))
    lines = [f"| one row, ms | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[each]:.2f}' for each in names)} |")
    for peer in peers.PEERS if rows else ():
        ratios = [row[peer] / row["REST"] for row in rows.values()]
        lines.append(f"{peer} takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the zoo over REST")
    return "\n".join(lines)
