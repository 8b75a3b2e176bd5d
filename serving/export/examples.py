"""Signatures for serialized examples (`tf.Example`), for Classify and Regress: `classify_examples` and `regress_examples`.

An example has the data of one row as the floats of its feature `x`.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from serving.export.images import Verb
from zoo.model import Model
from zoo.signatures import Signature, Tensor

METHODS = {"classify_examples": "tensorflow/serving/classify", "regress_examples": "tensorflow/serving/regress"}
EXAMPLES = Tensor((None,), "string")


def verbs(model: Model, served: dict[str, Verb]) -> dict[str, Verb]:
    """The signatures for examples of a predictor; none of another model.

    Args:
        served: the model's other signatures.
    """
    verb = model.serving_default
    if f"{verb}_examples" not in METHODS:
        return {}
    inputs, outputs = served[verb].signature
    (x,), (answer,) = inputs.values(), outputs.values()
    given = {"classes": Tensor(answer.shape, "string"), "scores": answer} if verb == "classify" else {"outputs": answer}
    call = _from_examples(served[verb].call, x.shape[1:], given)
    row = tf.train.Example()
    row.features.feature["x"].float_list.value.extend(np.zeros(x.shape[1:]).ravel())
    example = {"inputs": np.array([row.SerializeToString()], object)}
    return {f"{verb}_examples": Verb(Signature({"inputs": EXAMPLES}, given), call, (), example)}


def _from_examples(call: Callable, shape: tuple[int, ...], outputs: dict[str, Tensor]) -> Callable:
    def taking(examples):
        answer = call(tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature(shape, tf.float32)})["x"])  # (B, *shape)
        if "outputs" in outputs:
            return {"outputs": answer}
        labels = tf.constant([[str(label) for label in range(answer.shape[1])]])  # (1, C)
        return {"classes": tf.repeat(labels, tf.shape(answer)[0], axis=0), "scores": answer}

    return taking
