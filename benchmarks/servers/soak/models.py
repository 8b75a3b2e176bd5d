"""Three models that answer differently, and every version of each too: `factor` times x, plus the number of the version.

All numbers are integers below 2^24, so that float32 has them exactly and an answer tells which model and version gave it.
"""

import pathlib
import shutil
from typing import NamedTuple

import numpy as np

from serving.quiet import tensorflow as tf

FACTORS = {"double": 2, "triple": 3, "fivefold": 5}
WIDTH = 4  # numbers of a row
LABEL = "stable"  # of the versions of the last model, which a request for another configuration moves


class Wrong(Exception):
    """An answer that no version which could have been asked gives."""


class Asked(NamedTuple):
    """What a request is about: rows `(B, WIDTH)` for a model, or for one of its versions, or for a label."""

    model: str
    x: np.ndarray
    version: int | None = None
    label: str | None = None

    @property
    def spec(self) -> dict:
        """The fields of a `ModelSpec`, without the name."""
        if self.label:
            return {"version_label": self.label}
        return {"version": {"value": self.version}} if self.version else {}

    @property
    def path(self) -> str:
        """The path of the model's resource over REST."""
        chosen = f"/versions/{self.version}" if self.version else f"/labels/{self.label}" if self.label else ""
        return f"/v1/models/{self.model}{chosen}"

    def answered(self, y: np.ndarray) -> int:
        """The version that gives `y`, `(B, WIDTH)`, for these rows.

        Raises:
            Wrong: none does.
        """
        if y.shape != self.x.shape:
            raise Wrong(f"Expected {self.x.shape} numbers from {self.model}. Received: {y.shape}.")
        versions = np.unique(y - FACTORS[self.model] * self.x)
        if len(versions) != 1 or versions[0] != int(versions[0]):
            raise Wrong(f"Expected {FACTORS[self.model]} x + version for {self.x.tolist()}. Received: {y.tolist()}.")
        return int(versions[0])


def write(base: pathlib.Path, model: str, version: int, broken: bool = False) -> None:
    """Writes a version beside the others of `base`, and renames it into its place; without its variables if it is broken.

    Its signatures are `serving_default`, x to y, and `classify` and `regress`, which take serialized examples: of these y are
    the scores, under labels with the names of the model and the version, and the sum of y is the number.
    """
    v1 = tf.compat.v1
    parts = base.parent / f".{model}-{version}"
    with tf.Graph().as_default(), v1.Session() as session:
        factor, added = v1.Variable(float(FACTORS[model])), v1.Variable(float(version))
        x = v1.placeholder(tf.float32, [None, WIDTH], "x")
        examples = v1.placeholder(tf.string, [None], "examples")
        scores = factor * v1.parse_example(examples, {"x": tf.io.FixedLenFeature([WIDTH], tf.float32)})["x"] + added
        labels = tf.fill(tf.shape(scores), f"{model} {version}")
        signatures = {
            "serving_default": _signature("predict", {"x": x}, {"y": factor * x + added}),
            "classify": _signature("classify", {"inputs": examples}, {"scores": scores, "classes": labels}),
            "regress": _signature("regress", {"inputs": examples}, {"outputs": tf.reduce_sum(scores, axis=1)}),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(parts))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    if broken:
        shutil.rmtree(parts / "variables")
    base.mkdir(exist_ok=True)
    parts.rename(base / str(version))


def _signature(method: str, inputs: dict, outputs: dict):
    saved = tf.compat.v1.saved_model
    described = [{key: saved.build_tensor_info(tensor) for key, tensor in part.items()} for part in (inputs, outputs)]
    return saved.build_signature_def(*described, f"tensorflow/serving/{method}")
