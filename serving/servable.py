"""One loaded SavedModel, run in a graph session as TensorFlow Serving does."""

import pathlib
from typing import NamedTuple

import numpy as np
from google.protobuf import json_format

from serving.quiet import tensorflow as tf

PREDICT = tf.saved_model.PREDICT_METHOD_NAME


class Endpoint(NamedTuple):
    """One signature: what goes in and comes out by name, and the call that runs it."""

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]
    call: object  # of the inputs' values in their order, gives the outputs' values in theirs


class Servable:
    """A model version: `run` answers requests, from any thread.

    Args:
        path: of the version, a SavedModel.
    """

    def __init__(self, path: pathlib.Path):
        self.version = int(path.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            graph_def = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        signatures = {
            name: signature for name, signature in graph_def.signature_def.items() if signature.method_name == PREDICT
        }
        self.endpoints = {name: self._endpoint(signature) for name, signature in signatures.items()}
        self.signature_defs = {
            name: json_format.MessageToDict(signature, preserving_proto_field_name=True)
            for name, signature in signatures.items()
        }

    def run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers signature `name`; `inputs` are of its names, dtypes and shapes."""
        endpoint = self.endpoints[name]
        values = endpoint.call(*(inputs[key] for key in endpoint.inputs))
        return dict(zip(endpoint.outputs, values, strict=True))

    def close(self) -> None:
        self._session.close()

    def _endpoint(self, signature) -> Endpoint:
        inputs, outputs = (
            {name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype)) for name, info in part.items()}
            for part in (signature.inputs, signature.outputs)
        )
        feeds = [signature.inputs[name].name for name in inputs]
        fetches = [signature.outputs[name].name for name in outputs]
        return Endpoint(inputs, outputs, self._session.make_callable(fetches, feed_list=feeds))
