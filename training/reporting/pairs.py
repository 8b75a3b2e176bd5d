"""The pictures of a report on a transformer of pairs of texts."""

from collections.abc import Iterator

import numpy as np

from training import files
from training.data.pairs import Pairs
from training.evaluation.arrays import numpy
from training.reporting import pictures
from training.reporting.page import Entry
from training.run import Run

FEWEST = 20  # sources of a length whose errors are shown


def figures(run: Run, model, data: Pairs, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the page's order."""
    yield Entry(
        "learning_curve",
        "Learning curve",
        "Share of the targets of which some token is not the likeliest one, after every epoch.",
        pictures.learning_curve(files.read_json(run.history), "sequence_error", metrics["greedy/sequence_error_rate"]),
    )
    listed = data.test.references()
    with np.load(run.codes) as saved:
        sources, answers = saved["test_ids"].tolist(), saved["test_answers"]
    forms = {"": lambda text: text} | ({"without stress": data.reduced} if data.reduced else {})
    lengths = np.array([len(model.source_vocabulary.split(source)) for source in sources])
    common = [length for length in np.unique(lengths) if np.sum(lengths == length) >= FEWEST]
    by_length, coverage = {}, {}
    for form, reduced in forms.items():
        right = np.array(
            [
                [reduced(text) in map(reduced, listed[source]) for text in row]
                for source, row in zip(sources, answers, strict=True)
            ]
        )
        errors = [100 * (1 - right[lengths == length, 0].mean()) for length in common]
        by_length[f"beam search {form}".strip()] = (common, errors)
        found = 100 * np.logical_or.accumulate(right, axis=1).mean(axis=0)
        coverage[f"beam search {form}".strip()] = (np.arange(1, len(found) + 1), found)
    yield Entry(
        "error_by_length",
        "Errors by length",
        f"Sources of the test split whose best target is not listed, by their length; lengths of {FEWEST} sources or more.",
        pictures.lines(by_length, "tokens of the source", "wrong, %"),
    )
    yield Entry(
        "coverage",
        "Coverage of the n best",
        "Sources of the test split of which a listed target is among the n best that beam search finds.",
        pictures.lines(coverage, "n", "found, %"),
    )
    shown = [i for i in range(0, len(sources), max(1, len(sources) // 7)) if 5 <= lengths[i] <= 12][:6] or [len(sources) // 2]
    words, written = [sources[i] for i in shown], answers[shown, 0].tolist()
    maps = numpy(model.attend(words, written)).mean(axis=1)
    read, wrote = (
        [[*vocabulary.split(text), "end"] for text in texts]
        for vocabulary, texts in ((model.source_vocabulary, words), (model.target_vocabulary, written))
    )
    yield Entry(
        "attention",
        "Attention",
        "What the decoder looks at: source tokens from left to right, written tokens from top to bottom, the average of the "
        "heads.",
        pictures.attention([m[: len(w), : len(r)] for m, w, r in zip(maps, wrote, read, strict=True)], wrote, read),
    )
