"""Arrays with targets, classes or numbers, and the predictors that are trained on them."""

import dataclasses
from collections.abc import Iterator

import keras

import zoo
from training import evaluation, reporting
from training.data.splits import Data, Split
from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind
from training.reporting.entries import Entry
from training.run import Run, trained
from zoo.arguments import require_whole
from zoo.registry import register


@register(
    "kind",
    "predictor",
    slots={"data": "arrays", "task": "labels", "encoder": "scratch", "optimizer": "adamw"},
    fixed=["data", "task", "optimizer"],
)
class Predictor(Kind):
    """A classifier or regressor of arrays: a head on an encoder, which may be that of an autoencoder."""

    objective = "error"

    def open(self, experiment: Experiment) -> Data:
        return experiment.make("task", data=experiment.make("data"), seed=experiment.seed)

    def model(self, experiment: Experiment, data: Data) -> zoo.Predictor:
        body = experiment.part("body") and experiment.make("body", shape=data.shape)
        encoder = experiment.make("encoder", shape=data.shape, body=body)
        classes = data.schema["target"].classes
        if classes:
            loss, outputs = keras.losses.SparseCategoricalCrossentropy(from_logits=True), len(classes)
        else:
            loss, outputs = keras.losses.MeanSquaredError(), 1
        # The codes of an autoencoder have any scale; the normalization removes it.
        layers = [keras.layers.BatchNormalization(momentum=0.9, name="scale"), keras.layers.Dense(outputs, name="answer")]
        head = keras.Sequential(layers, name="head")
        model = zoo.Predictor(encoder, head, loss, frozen=experiment.get("encoder.frozen", False))
        model.schema = data.schema
        return model

    def prepare(self, model: zoo.Predictor, data: Data) -> None:
        for split in data.splits.values():
            model.check(split.arrays["x"])

    def evaluate(self, model: zoo.Predictor, data: Data, experiment: Experiment) -> Evaluation:
        return Evaluation(*evaluation.predictor.evaluate(model, data))

    def held_out_error(self, model: zoo.Predictor, split: Split, data: Data) -> float:
        metrics, _ = evaluation.predictor.evaluate(model, dataclasses.replace(data, train=None, validation=split, test=None))
        return metrics["validation/error" if model.classifier else "validation/rmse"]

    def figures(self, run: Run, model: zoo.Predictor, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
        return reporting.predictor.figures(run, model, data, metrics)

    def limits(self, experiment: Experiment) -> str:
        return "The model answers with one of the training classes even if the input belongs to none of them."


@register("encoder", "scratch", slots={"body": "dense"})
def scratch(shape: tuple[int, ...], body: tuple[keras.Model, keras.Model], k: int = 8) -> keras.Model:
    """A new encoder, with random initial weights: a body and a projection.

    Args:
        shape: of one example.
        body: an encoder and a decoder, of which only the encoder is used.
        k: dimensions of the code that the encoder passes to the head.
    """
    require_whole(1, k=k)
    projection = keras.layers.Dense(k, name="projection")
    return keras.Sequential([keras.Input(shape), body[0], projection], name="coder")


@register("encoder", "pretrained")
def pretrained(shape: tuple[int, ...], pretrained: str, frozen: bool = False) -> keras.Model:
    """The encoder of a trained autoencoder.

    Args:
        shape: of one example.
        pretrained: the autoencoder: name of a preset, or folder of a preset or of a run.
        frozen: whether the encoder stays as it is; otherwise it is fine-tuned.

    Raises:
        ValueError: no such model; not an autoencoder, or one of data of another shape.
    """
    model = trained(pretrained)
    if not hasattr(model, "bottleneck"):
        raise ValueError(
            f"Expected an autoencoder with an encoder to reuse. Received: {pretrained}, a {type(model).__name__}. "
            "Try another --pretrained."
        )
    if model.shape != shape:
        raise ValueError(
            f"Expected an encoder of data of shape {shape}. Received: {pretrained} of shape {model.shape}. "
            "Try another --pretrained."
        )
    return zoo.coder(model)
