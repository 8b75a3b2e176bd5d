"""A dense SavedModel in Triton's Python backend: one model call for all requests of a dynamic batch."""

import os

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as pb


class TritonPythonModel:
    """The class that the backend looks for by name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Called once, before the model counts as ready."""
        self.model = tf.saved_model.load(os.environ["MODEL_PATH"])
        self.signature = self.model.signatures["serving_default"]

    def execute(self, requests: list) -> list:
        """The scheduler hands over a batch as a list of requests: their rows are joined here, and the answer is cut again."""
        rows = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        answer = self.signature(x=np.concatenate(rows))["x"].numpy()
        cuts = np.cumsum([len(part) for part in rows])[:-1]
        return [pb.InferenceResponse([pb.Tensor("x", part)]) for part in np.split(answer, cuts)]
