"""The pictures of a report on a predictor."""

from collections.abc import Iterator

import numpy as np

import zoo
from training import files
from training.data.splits import Data
from training.reporting import pictures
from training.reporting.arrays import SHOWN, shades_of
from training.reporting.entries import Entry
from training.run import Run


def figures(run: Run, model: zoo.Predictor, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    with np.load(run.codes) as saved:
        answers, targets = saved["test_answers"], saved["test_targets"]
    error = metrics["test/error"] if model.classifier else metrics["test/rmse"] ** 2
    yield Entry(
        "learning_curve",
        "Learning curve",
        "Share of wrong classes after every epoch." if model.classifier else "Mean squared error after every epoch.",
        pictures.learning_curve(files.read_json(run.history), "error", error),
    )
    if model.classifier:
        yield Entry(
            "confusion",
            "Confusion",
            "Numbers of test examples by class (rows) and answer (columns).",
            pictures.confusion(targets, answers, data.classes),
        )
        rows = np.flatnonzero(targets != answers)[: 5 * SHOWN]
        captions = [f"{data.classes[targets[i]]} as {data.classes[answers[i]]}" for i in rows]
    else:
        yield Entry(
            "answers",
            "Answers",
            "The answer for every test example, against its target.",
            pictures.scatter(targets, answers, "target", "answer"),
        )
        rows = np.argsort(targets)[:: max(1, len(targets) // SHOWN)][:SHOWN]
        captions = [f"{targets[i]:.2f} as {answers[i]:.2f}" for i in rows]
    if len(rows):
        x = data.test.arrays["x"]
        yield Entry(
            "examples",
            "Mistakes" if model.classifier else "Examples",
            "Test examples with a wrong answer: CLASS as ANSWER." if model.classifier else "Test examples: TARGET as ANSWER.",
            pictures.samples(shades_of(x)(x[rows]), captions=captions),
        )
