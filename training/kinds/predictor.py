"""Arrays with a target to each: classes or numbers, and the predictors that are trained on them."""

import dataclasses
from collections.abc import Iterator

import keras

import zoo
from training.data.splits import Data, Split
from training.evaluation import predictor as evaluation
from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind
from training.reporting import predictor as reporting
from training.reporting.page import Entry
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
    """A classifier or a regressor of arrays: a head on an encoder, which may be an autoencoder's."""

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
        # The codes of an autoencoder have scales of their own, which a normalization takes out.
        layers = [keras.layers.BatchNormalization(momentum=0.9, name="scale"), keras.layers.Dense(outputs, name="answer")]
        head = keras.Sequential(layers, name="head")
        model = zoo.Predictor(encoder, head, loss, frozen=experiment.get("encoder.frozen", False))
        model.schema = data.schema
        return model

    def prepare(self, model: zoo.Predictor, data: Data) -> None:
        for split in data.splits.values():
            model.check(split.arrays["x"])

    def evaluate(self, model: zoo.Predictor, data: Data, experiment: Experiment) -> Evaluation:
        return Evaluation(*evaluation.evaluate(model, data))

    def held_out_error(self, model: zoo.Predictor, split: Split, data: Data) -> float:
        metrics, _ = evaluation.evaluate(model, dataclasses.replace(data, train=None, validation=split, test=None))
        return metrics["validation/error" if model.classifier else "validation/rmse"]

    def figures(self, run: Run, model: zoo.Predictor, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
        return reporting.figures(run, model, data, metrics)

    def limits(self, experiment: Experiment) -> str:
        return "The answer to an input outside the training classes is one of them all the same."


@register("encoder", "scratch", slots={"body": "dense"})
def scratch(shape: tuple[int, ...], body: tuple[keras.Model, keras.Model], k: int = 8) -> keras.Model:
    """A new encoder: a body and a projection.

    Args:
        shape: of one example.
        body: encoder and decoder, of which the first is taken.
        k: numbers that the head sees.
    """
    require_whole(1, k=k)
    projection = keras.layers.Dense(k, name="projection")
    return keras.Sequential([keras.Input(shape), body[0], projection], name="coder")


@register("encoder", "pretrained")
def pretrained(shape: tuple[int, ...], pretrained: str, frozen: bool = False) -> keras.Model:
    """The encoder of an autoencoder that is trained already.

    Args:
        shape: of one example.
        pretrained: preset, or folder of a run, whose encoder is taken over.
        frozen: keep that encoder as it is; otherwise it is fine-tuned.

    Raises:
        ValueError: no such model, or one without codes of such data.
    """
    model = trained(pretrained)
    if not hasattr(model, "bottleneck"):
        raise ValueError(
            f"Expected an autoencoder to take the encoder of. Received: {pretrained}, a {type(model).__name__}. Try another."
        )
    if model.shape != shape:
        raise ValueError(
            f"Expected an encoder of data of shape {shape}. Received: {pretrained} of shape {model.shape}. "
            "Try another --pretrained."
        )
    return zoo.coder(model)
