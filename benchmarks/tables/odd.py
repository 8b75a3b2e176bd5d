"""Which rows have a cell of another row: the zoo's lowest `score_cells` of each row against detectors of PyOD.

Half of the test rows are paired at random; the two rows of a pair exchange one cell, of a column drawn at random among those in
which they differ. Half of the rows are thus odd, and each column as a whole is as it was. The figure is the area under the ROC
curve, of at least ROWS rows: small tables are taken several times, with other pairs. PyOD's detectors have their defaults and
learn from the same rows as the zoo, encoded in both ways of `encoding`, of which the better one by this figure counts; missing
cells are means. They live in an environment of their own. The results are kept beside the tables.
"""

import argparse
import functools
import pathlib
import time

import encoding
import environments
import judge
import numpy as np
import pandas as pd
import selection
import zoo_columns
import zoo_runs
from sklearn.metrics import roc_auc_score

from training import files

TABLES = ("diamonds", "CPS1985", "Hitters", "Wage", "credit_data", "penguins")
ROWS, SEED = 2_000, 0


def main(arguments: list[str] | None = None) -> None:
    options = zoo_runs.parser("odd", __doc__, ",".join(TABLES)).parse_args(arguments)
    selection.write(options.folder)
    measured = zoo_runs.Store(options.folder / f"odd-{options.name}.json")
    for name in options.tables.split(","):
        judge.split(options.folder, name)
        if not options.summary:
            measured.measure(name, functools.partial(measure, options, name), options.again)
    print(table(measured.rows))


def measure(options: argparse.Namespace, name: str) -> dict[str, float]:
    """The figures of the zoo and of the detectors for one table."""
    columns = zoo_columns.inferred(options.folder, name)
    rows = judge.texts(judge.path(options.folder, name, "test"))
    found = [swapped(rows, columns.kept, SEED + number) for number in range(-(-ROWS // len(rows)))]
    rows, odd = pd.concat([rows for rows, _ in found]), np.concatenate([odd for _, odd in found])
    path = options.folder / f"{name}.odd.csv"
    rows.to_csv(path, index=False)
    run = zoo_runs.trained(options, name)
    began = time.perf_counter()
    scores = zoo_runs.asked(run, "score_cells", path)
    found = {"zoo": roc_auc_score(odd, -np.nanmin(scores.to_numpy("float64"), axis=1))}
    found["seconds"] = time.perf_counter() - began
    found["zoo, score"] = roc_auc_score(odd, -zoo_runs.asked(run, "score", path)["score"])
    return found | of_peers(options.folder, name, columns, odd)


def swapped(rows: pd.DataFrame, columns: list[str], seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of which half have changed one cell for that of another row, and which have, bool `(n,)`."""
    random, values = np.random.default_rng(seed), rows[columns].to_numpy(object)
    pairs = random.permutation(len(rows))[: len(rows) // 4 * 2].reshape(-1, 2)
    odd = np.zeros(len(rows), bool)
    for first, second in pairs:
        both = (values[first] != "") & (values[second] != "") & (values[first] != values[second])
        if both.any():
            place = random.choice(np.flatnonzero(both))
            values[[first, second], place] = values[[second, first], place]
            odd[[first, second]] = True
    return rows.assign(**dict(zip(columns, values.T, strict=True))), odd


def of_peers(folder: pathlib.Path, name: str, columns: zoo_columns.Columns, odd: np.ndarray) -> dict[str, float]:
    """The figures of the detectors, of each with the better encoding."""
    judged = judge.Judge(folder, name, columns.dates)
    train = judged.train[columns.kept]
    test = judge.read_as(folder / f"{name}.odd.csv", train, columns.dates)[columns.kept]
    arrays = {}
    for kind in encoding.KINDS:
        encoded = encoding.Encoding(train, kind)
        parts = {"train": train, "test": test}
        arrays |= {f"{kind} {part}": np.nan_to_num(encoded.encode(each)).astype("float32") for part, each in parts.items()}
    rows, answers = folder / f"{name}.odd.npz", folder / f"{name}.odd.json"
    np.savez(rows, **arrays)
    environments.run("pyod", folder / "environments", "pyod_scores.py", rows, answers)
    found = {}
    for detector, kinds in files.read_json(answers).items():
        found[detector] = max(roc_auc_score(odd, each["scores"]) for each in kinds.values())
    return found


def table(rows: dict[str, dict[str, float]]) -> str:
    """A line for each table."""
    others = ("zoo", "zoo, score", "AutoEncoder", "ECOD", "IForest")
    lines = [f"| AUROC | {' | '.join(others)} |", "|---|" + "---|" * len(others)]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[other]:.3f}' for other in others)} |")
    best = sum(row["zoo"] >= max(row[other] for other in others[2:]) for row in rows.values())
    return "\n".join([*lines, "", f"the zoo is best on {best} of {len(rows)}"])
