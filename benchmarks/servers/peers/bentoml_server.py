"""A dense SavedModel as a BentoML service with adaptive batching.

MODEL_PATH=MODEL bentoml serve bentoml_server:Dense --host 127.0.0.1 --port PORT
"""

import os
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType, Shape

Rows = Annotated[np.ndarray, DType("float32"), Shape((-1, 784))]


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Dense:
    """One worker that owns the model. No other peer writes a line per request, so neither does this one."""

    def __init__(self) -> None:
        import tensorflow as tf

        self.model = tf.saved_model.load(os.environ["MODEL_PATH"])
        self.signature = self.model.signatures["serving_default"]

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, x: Rows) -> Rows:
        """Rows of waiting requests come stacked. The latency is where BentoML refuses requests; its batches wait far less."""
        return self.signature(x=x)["x"].numpy()
