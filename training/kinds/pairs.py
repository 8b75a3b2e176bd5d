"""Pairs of texts, and the transformers that are trained on them."""

import os
import pathlib
from collections.abc import Iterator

import zoo
from training import evaluation, reporting
from training.choices import Choice
from training.choices import pairs as choices
from training.data.pairs import Pairs as PairsOfTexts
from training.data.pairs import PairSplit, write
from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind
from training.progress import stage
from training.reporting.entries import Entry
from training.run import Run
from training.seeds import derived
from zoo.registry import register


@register(
    "kind",
    "pairs",
    slots={"data": "pairs", "model": "transformer", "optimizer": "adamw"},
    fixed=["data", "model", "optimizer"],
)
class Pairs(Kind):
    """A transformer that reads the first text of a pair, the source, and writes the second, the target."""

    objective = "sequence_error"
    sampled = ("source", "target")

    def open(self, experiment: Experiment) -> PairsOfTexts:
        return experiment.make("data")

    def choose(self, data: PairsOfTexts, given: frozenset[str]) -> dict[str, Choice]:
        return choices.choose(data)

    def model(self, experiment: Experiment, data: PairsOfTexts) -> zoo.Transformer:
        vocabularies = {"source_vocabulary": data.source_vocabulary, "target_vocabulary": data.target_vocabulary}
        return experiment.make("model", **vocabularies, seed=derived(experiment.seed, "dropout"))

    def evaluate(self, model: zoo.Transformer, data: PairsOfTexts, experiment: Experiment) -> Evaluation:
        with stage("evaluating"):
            return Evaluation(*evaluation.pairs.evaluate(model, data))

    def held_out_error(self, model: zoo.Transformer, split: PairSplit, data: PairsOfTexts) -> float:
        return -evaluation.pairs.score(model, split)

    def figures(self, run: Run, model: zoo.Transformer, data: PairsOfTexts, metrics: dict[str, float]) -> Iterator[Entry]:
        return reporting.pairs.figures(run, model, data, metrics)

    def write(self, data: PairsOfTexts, folder: str | os.PathLike) -> pathlib.Path:
        return write(data, folder)

    def limits(self, experiment: Experiment) -> str:
        return (
            "The model writes a target for any source, even a meaningless one. Papers on pronunciation call "
            "`sequence_error_rate` the word error rate, and `token_error_rate` the phone error rate."
        )
