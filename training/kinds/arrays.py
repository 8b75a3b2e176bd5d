"""Arrays of numbers, such as vectors and images, and the autoencoders that are trained on them."""

import math
import os
import pathlib
from collections.abc import Iterator

import zoo
from training import evaluation, reporting
from training.choices import Choice
from training.choices import arrays as choices
from training.data import arrays as data_
from training.data.splits import Data, Split
from training.experiments.experiment import Experiment
from training.fitting.entropy import PROBED, fit_entropy_to_codes
from training.fitting.loop import total_steps
from training.fitting.priors import fit_to_codes
from training.kinds.kind import Evaluation, Kind
from training.progress import stage
from training.reporting.entries import Entry
from training.run import Run
from training.seeds import derived
from zoo.registry import register

LARGEST_MIXTURE = 2**24  # numbers in the covariances of one mixture per class; beyond it, all classes share one mixture


@register(
    "kind",
    "arrays",
    slots={
        "data": "arrays",
        "scaling": "none",
        "body": "dense",
        "bottleneck": "deterministic",
        "likelihood": "squared_error",
        "corruption": "none",
        "prior": "mixture",
        "typicality": "none",
        "entropy": "none",
        "model": "autoencoder",
        "optimizer": "adamw",
    },
    fixed=["data", "model"],
    optional=["scaling", "corruption", "typicality", "entropy"],
)
class Arrays(Kind):
    """An autoencoder of arrays of numbers, such as images."""

    def open(self, experiment: Experiment) -> Data:
        return experiment.make("data")

    def choose(self, data: Data, given: frozenset[str]) -> dict[str, Choice]:
        return choices.choose(data, given)

    def settled(self, experiment: Experiment, data: Data) -> Experiment:
        part = experiment.part("likelihood")
        left_open = [key for key in part.settings if experiment[f"likelihood.{key}"] is None]
        values = part.load().settings(data_.sample(data.train)) if left_open else {}
        chosen = {f"likelihood.{key}": values[key] for key in left_open if key in values}
        for key, value in chosen.items():
            print(f"{experiment.short(key)}={value}, from the training data")
        return experiment.override(chosen)

    def model(self, experiment: Experiment, data: Data) -> zoo.Autoencoder:
        settled = self.settled(experiment, data)
        encoder, decoder = experiment.make("body", shape=data.shape)
        bottleneck = experiment.make("bottleneck", total_steps(data, experiment), seed=derived(experiment.seed, "bottleneck"))
        corruption = experiment.part("corruption")
        if corruption:
            corruption = experiment.make("corruption", seed=derived(experiment.seed, corruption.name))
        kind = zoo.LinearAutoencoder if experiment["optimizer"] == "closed_form" else zoo.Autoencoder
        model = kind(
            encoder,
            bottleneck,
            decoder,
            settled.make("likelihood"),
            prior=self._prior(experiment, data, bottleneck.k),
            corruption=corruption,
            scaling=experiment.make("scaling"),
            ranks=experiment.make("typicality"),
            entropy=experiment.make("entropy"),
            overcomplete=experiment["model.overcomplete"],
        )
        model.schema = data.schema
        return model

    def _prior(self, experiment: Experiment, data: Data, k: int) -> zoo.Prior:
        """With all classes, unless a mixture for each is too large."""
        classes = len(data.classes or ())
        if classes * experiment.get("prior.components", 0) * k**2 > LARGEST_MIXTURE:
            classes = 0
        return experiment.make("prior", classes=classes, seed=derived(experiment.seed, "prior"))

    def prepare(self, model: zoo.Autoencoder, data: Data) -> None:
        if model.scaling is not None:
            model.scaling.fit(batch["x"] for batch in data.train.batches())
        for split in data.splits.values():
            if split.arrays is not None:
                model.check(split.arrays["x"])
        if model.has_linear_path:
            with stage("fitting PCA"):
                pca = evaluation.arrays.baseline(data, model.k, model.scaling)
            if pca:
                zoo.start_as_pca(model, pca)
        if model.head.weights[-1].shape[0] != math.prod(model.shape) * model.likelihood.parameters:  # it is a convolution
            model.center(next(data.train.batches())["x"])

    def after_fit(self, model: zoo.Autoencoder, data: Data, experiment: Experiment) -> None:
        self._fit_to_codes(model, data, experiment)
        self._fit_ranks(model, data)

    def _fit_to_codes(self, model: zoo.Autoencoder, data: Data, experiment: Experiment) -> None:
        train = evaluation.arrays.encode(model, data.train, model.draw)
        fit_to_codes(model, train["codes"], train.get("labels"), experiment.seed)
        if model.entropy is not None:
            fit_entropy_to_codes(model, next(data.train.batches(PROBED))["x"], train["codes"], experiment.seed)

    def _fit_ranks(self, model: zoo.Autoencoder, data: Data) -> None:
        if model.ranks is not None:
            model.ranks.fit(evaluation.arrays.answers(model.score, data.held_out))

    def evaluate(self, model: zoo.Autoencoder, data: Data, experiment: Experiment) -> Evaluation:
        with stage("fitting PCA"):
            pca = evaluation.arrays.baseline(data, model.k, model.scaling)
        return Evaluation(*evaluation.arrays.evaluate(model, pca, data, experiment), pca)

    def held_out_error(self, model: zoo.Autoencoder, split: Split, data: Data) -> float:
        error = evaluation.arrays.squared_error if model.scaling is None else evaluation.arrays.scaled_error
        return error(model, split)

    def figures(self, run: Run, model: zoo.Autoencoder, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
        return reporting.arrays.figures(run, model, data, metrics)

    def write(self, data: Data, folder: str | os.PathLike) -> pathlib.Path:
        return data_.write(data, folder)

    def limits(self, experiment: Experiment) -> str:
        if experiment["data.binarize"] != "none":
            return "Likelihoods are of binarized pixels, and can be compared only with others of the same binarization."
        if experiment["prior"] != "mixture":
            return "Generated examples are drawn from the prior of the codes, and can be blends of training examples."
        return "Generated examples are drawn from a Gaussian mixture over the codes, and can be blends of training examples."
