"""Classification and regression of serialized examples (`tf.Example`), with the rules and the words of TensorFlow Serving's
`classifier.cc`, `regressor.cc` and `util.cc`."""

from typing import NamedTuple

import numpy as np

from serving.models.serialized import INPUT
from serving.models.servable import Endpoint, Servable
from serving.status import invalid

CLASSES, SCORES, NUMBERS = "classes", "scores", "outputs"  # names of outputs
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_KINDS = {CLASSIFY: "classification", REGRESS: "regression"}


class Classes(NamedTuple):
    """Labels, bytes, and scores of classes `(B, C)`; None if the model does not give them."""

    labels: np.ndarray | None
    scores: np.ndarray | None


def endpoint(servable: Servable, name: str, method: str) -> Endpoint:
    """The endpoint of a signature, `serving_default` unless it has a name, that takes examples and has a method's outputs.

    Raises:
        RequestError: there is none, or it is not such.
    """
    found = servable.endpoints.get(name or "serving_default")
    if found is None:
        raise invalid(f"No signature was found with the name: {name or 'serving_default'}")
    if servable.loading.enable_signature_method_name_check and found.method != method:
        raise invalid(f"Expected {_KINDS[method]} signature method_name to be {method}. Was: {found.method}")
    if len(found.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUT not in found.inputs:
        raise invalid(f"No {_KINDS[method]} inputs found in SignatureDef: {', '.join(found.inputs)}")
    _require_outputs(found, method)
    return found


def _require_outputs(found: Endpoint, method: str) -> None:
    count, names = len(found.outputs), ", ".join(found.outputs)
    if method == REGRESS:
        if count != 1:
            raise invalid("Expected one output Tensor.")
        if NUMBERS not in found.outputs:
            raise invalid(f"No regression outputs found in SignatureDef: {names}")
        return
    if count not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {count}")
    if not {CLASSES, SCORES} & found.outputs.keys():
        raise invalid(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {names}"
        )


def classes(outputs: dict[str, np.ndarray], rows: int) -> Classes:
    """The classes of each example from the outputs of a signature.

    Raises:
        RequestError: the outputs have other shapes or types.
    """
    labels, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, values, kind, word in ((CLASSES, labels, "O", "DT_STRING"), (SCORES, scores, "f", "DT_FLOAT")):
        if values is None:
            continue
        if values.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shown(values)}")
        if values.dtype.kind != kind or (kind == "f" and values.dtype != np.float32):
            raise invalid(f"Expected {name} Tensor of {word}. Got: {values.dtype.name}")
        if len(values) != rows:
            raise invalid(f"Expected {name} output batch size of {rows}. Got: {len(values)}")
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}",
        )
    return Classes(labels, scores)


def numbers(outputs: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """The number of each example `(B,)` from the outputs of a signature.

    Raises:
        RequestError: the output has another shape or type.
    """
    values = outputs[NUMBERS]
    if values.ndim != 1 and (values.ndim != 2 or values.shape[1] != 1):
        raise invalid(f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shown(values)}")
    if len(values) != rows:
        raise invalid(f"Input batch size did not match output batch size: {rows} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype.name}")
    return values.reshape(rows)


def _shown(values: np.ndarray) -> str:
    return f"[{','.join(map(str, values.shape))}]"
