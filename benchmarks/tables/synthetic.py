"""Synthetic diamonds: the zoo's `generate` against TVAE (Xu et al., 2019) of the package `ctgan`, with codes of equal size.

As many rows are drawn as there were to learn from. They are judged beside the test rows: by the quality report of SDMetrics
(shapes of columns, and trends of pairs), and by the accuracy on real test rows of a classifier that has learned the quality of
the cut from synthetic ones. The time is that of everything from the file to the model, the start of Python left out of TVAE's.
The zoo has nothing given but the file and the minutes; TVAE has its defaults but for the size of the code, and the epochs.

Training, in rows a second, is that of the epochs alone, with two layers of WIDTH either side, the default of TVAE; each has the
size of its batches that it has by itself. TVAE has no validation, and the zoo none here.

The results are kept beside the tables. TVAE and SDMetrics live in an environment of their own.
"""

import argparse
import functools
import pathlib

import environments
import judge
import numpy as np
import pandas as pd
import selection
import zoo_runs
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder

from training import files
from training.run import Run

TABLE, CLASS, WIDTH, SPEED_EPOCHS = "diamonds", "cut", 128, (1, 9)
SHARES = ("quality", "column shapes", "column pair trends", "accuracy")


def main(arguments: list[str] | None = None) -> None:
    parser = zoo_runs.parser("synthetic", __doc__, TABLE)
    parser.add_argument("--epochs", default="30", help="of TVAE, by commas; its default is 300 (default: 30)")
    options = parser.parse_args(arguments)
    selection.write(options.folder)
    judge.split(options.folder, TABLE)
    measured = zoo_runs.Store(options.folder / f"synthetic-{options.name}.json")
    if not options.summary:
        measured.measure("real rows", functools.partial(judged, options, judge.path(options.folder, TABLE, "train")))
        measured.measure("zoo", functools.partial(of_zoo, options), options.again)
        measured.measure("zoo, speed", functools.partial(zoo_speed, options), options.again)
        measured.measure("TVAE, speed", functools.partial(tvae_speed, options))
        for epochs in options.epochs.split(","):
            measured.measure(f"TVAE, {epochs} epochs", functools.partial(of_tvae, options, int(epochs)))
    print(table(measured.rows))


def of_zoo(options: argparse.Namespace) -> dict[str, float]:
    """The figures of the zoo's rows."""
    run = zoo_runs.workdir(options, TABLE)
    seconds = zoo_runs.train(options, TABLE)["seconds"]
    rows = zoo_runs.generated(run, len(pd.read_csv(judge.path(options.folder, TABLE, "train"))))
    return judged(options, rows) | {"seconds": seconds, "k": Run(run).experiment()["bottleneck.k"]}


def of_tvae(options: argparse.Namespace, epochs: int) -> dict[str, float]:
    """The figures of TVAE's rows, with codes of the size that the zoo has chosen."""
    k = Run(zoo_runs.workdir(options, TABLE)).experiment()["bottleneck.k"]
    count = len(pd.read_csv(judge.path(options.folder, TABLE, "train")))
    rows, figures = tvae(options, k, epochs, count)
    return judged(options, rows) | {"seconds": figures["seconds"], "k": k}


def tvae(options: argparse.Namespace, k: int, epochs: int, count: int) -> tuple[pathlib.Path, dict[str, float]]:
    """Rows of TVAE, and what `others/tvae.py` has measured."""
    rows, figures = (options.folder / f"{TABLE}.tvae-{epochs}.{ending}" for ending in ("csv", "json"))
    train = judge.path(options.folder, TABLE, "train")
    environments.run("sdv", options.folder / "environments", "tvae.py", train, rows, figures, k, WIDTH, epochs, count)
    return rows, files.read_json(figures)


def judged(options: argparse.Namespace, rows: pathlib.Path) -> dict[str, float]:
    """The quality of rows, and the accuracy of a classifier that has learned from them."""
    test, figures = judge.path(options.folder, TABLE, "test"), rows.with_suffix(".quality.json")
    environments.run("sdv", options.folder / "environments", "quality.py", test, rows, figures)
    return files.read_json(figures) | {"accuracy": accuracy(pd.read_csv(rows), pd.read_csv(test))}


def accuracy(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """The share of test rows whose class a classifier tells that has learned from other rows."""
    inputs = [name for name in test if name != CLASS]
    texts = test[inputs].select_dtypes(exclude="number").columns
    encoder = (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).set_output(transform="pandas").fit(test[texts])
    )
    train_inputs, test_inputs = (each[inputs].assign(**encoder.transform(each[texts])) for each in (train, test))
    classifier = HistGradientBoostingClassifier(categorical_features=list(texts), random_state=0)
    return float(np.mean(classifier.fit(train_inputs, train[CLASS]).predict(test_inputs) == test[CLASS]))


def zoo_speed(options: argparse.Namespace) -> dict[str, float]:
    """Rows a second that the zoo trains on."""
    seconds = []
    for epochs in SPEED_EPOCHS:
        name = f"{TABLE}-{epochs}-epochs"
        settings = (f"--epochs={epochs}", f"--width={WIDTH}", "--depth=2", "--keep=last", "--validation=0")
        zoo_runs.train(options, TABLE, name, settings)
        run = Run(options.folder / options.name / name)
        seconds.append(files.read_json(run.costs)["seconds"])
    rows = len(np.load(run.codes)["train_codes"])
    return {"rows a second": rows * (SPEED_EPOCHS[1] - SPEED_EPOCHS[0]) / (seconds[1] - seconds[0])}


def tvae_speed(options: argparse.Namespace) -> dict[str, float]:
    """Rows a second that TVAE trains on."""
    figures = [tvae(options, WIDTH, epochs, 0)[1] for epochs in SPEED_EPOCHS]
    seconds = [each["seconds"] - each["preparing"] for each in figures]
    return {"rows a second": figures[0]["rows"] * (SPEED_EPOCHS[1] - SPEED_EPOCHS[0]) / (seconds[1] - seconds[0])}


def table(rows: dict[str, dict[str, float]]) -> str:
    """A line for each, and the speeds."""
    lines = [f"| {TABLE} | {' | '.join(SHARES)} | k | seconds |", "|---|" + "---|" * (len(SHARES) + 2)]
    for name, row in rows.items():
        if "quality" in row:
            cells = [f"{row[share]:.4f}" for share in SHARES]
            lines.append(f"| {name} | {' | '.join(cells)} | {row.get('k', '')} | {row.get('seconds', 0):.0f} |")
    speeds = [f"{name} {row['rows a second']:,.0f} rows/s" for name, row in rows.items() if "rows a second" in row]
    return "\n".join([*lines, "", *speeds])
