"""Serialized examples (`tf.Example`), the one input of signatures that classify or regress."""

import numpy as np
from tensorflow_serving.apis.input_pb2 import Input

from serving.status import invalid

INPUT = "inputs"  # its name in these signatures


def serialized(sent: Input) -> np.ndarray:
    """The serialized examples `(B,)` of a request; what they have in common comes before what each of them says itself.

    Raises:
        RequestError: there are none.
    """
    kind = sent.WhichOneof("kind")
    given = getattr(sent, kind) if kind else None
    context = given.context.SerializeToString() if kind == "example_list_with_context" else b""
    rows = [context + example.SerializeToString() for example in given.examples] if kind else []
    if not rows:
        raise invalid("Input is empty.")
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
