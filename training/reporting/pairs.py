"""The pictures of a report on a transformer of pairs of texts."""

from collections.abc import Iterator

import numpy as np

import zoo
from training import files
from training.data.pairs import Pairs
from training.evaluation.arrays import numpy
from training.reporting import pictures
from training.reporting.entries import Entry
from training.run import Run

FEWEST = 20  # sources of one length for which an error is shown


def figures(run: Run, model: zoo.Transformer, data: Pairs, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    yield Entry(
        "learning_curve",
        "Learning curve",
        "Share of targets in which some token is not the likeliest one, after every epoch.",
        pictures.learning_curve(files.read_json(run.history), "sequence_error", metrics["greedy/sequence_error_rate"]),
    )
    with np.load(run.codes) as saved:
        sources, answers = saved["test_ids"].tolist(), saved["test_answers"]
    lengths = np.array([len(model.source_vocabulary.split(source)) for source in sources])
    right = _right(data, sources, answers)
    yield _errors_by_length(lengths, right)
    yield _coverage(right)
    yield _attention(model, sources, answers, lengths)


def _right(data: Pairs, sources: list[str], answers: np.ndarray) -> dict[str, np.ndarray]:
    """Whether answers `(n, beams)` are listed for their sources, `(n, beams)`, by the names of the curves: one for the targets
    and one for their reduced form, if they have one."""
    listed = data.test.references()
    forms = {"beam search": lambda text: text}
    if data.reduced:
        forms["beam search without stress"] = data.reduced

    def row(source, texts, form):
        targets = {form(text) for text in listed[source]}
        return [form(text) in targets for text in texts]

    return {
        name: np.array([row(source, texts, form) for source, texts in zip(sources, answers, strict=True)])
        for name, form in forms.items()
    }


def _errors_by_length(lengths: np.ndarray, right: dict[str, np.ndarray]) -> Entry:
    common = [length for length in np.unique(lengths) if np.sum(lengths == length) >= FEWEST]
    errors = {
        name: (common, [100 * (1 - table[lengths == length, 0].mean()) for length in common]) for name, table in right.items()
    }
    return Entry(
        "error_by_length",
        "Errors by length",
        f"Share of test sources whose best target is not listed, by length; only lengths with at least {FEWEST} sources.",
        pictures.lines(errors, "tokens of the source", "wrong, %"),
    )


def _coverage(right: dict[str, np.ndarray]) -> Entry:
    shares = {name: 100 * np.logical_or.accumulate(table, axis=1).mean(axis=0) for name, table in right.items()}
    return Entry(
        "coverage",
        "Coverage of the n best",
        "Share of test sources with a listed target among the n best targets of beam search.",
        pictures.lines({name: (np.arange(1, len(share) + 1), share) for name, share in shares.items()}, "n", "found, %"),
    )


def _attention(model: zoo.Transformer, sources: list[str], answers: np.ndarray, lengths: np.ndarray) -> Entry:
    """Attention maps of up to six sources of medium length."""
    step = max(1, len(sources) // 7)
    shown = [i for i in range(0, len(sources), step) if 5 <= lengths[i] <= 12][:6] or [len(sources) // 2]
    read, written = [sources[i] for i in shown], answers[shown, 0].tolist()
    maps = numpy(model.attend(read, written)).mean(axis=1)
    columns, rows = (
        [[*vocabulary.split(text), "end"] for text in texts]
        for vocabulary, texts in ((model.source_vocabulary, read), (model.target_vocabulary, written))
    )
    weights = [each[: len(row), : len(column)] for each, row, column in zip(maps, rows, columns, strict=True)]
    return Entry(
        "attention",
        "Attention",
        "What the decoder attends to: source tokens from left to right, written tokens from top to bottom; averages over the "
        "heads.",
        pictures.attention(weights, rows, columns),
    )
