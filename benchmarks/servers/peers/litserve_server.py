"""A dense SavedModel behind LitServe with its batching.

python litserve_server.py MODEL PORT
"""

import signal
import sys

import litserve
import numpy as np


class Dense(litserve.LitAPI):
    """LitServe stacks the decoded rows of waiting requests and splits the answer again."""

    def setup(self, device: str) -> None:
        """TensorFlow loads here, in the worker, not in the process that answers HTTP."""
        import tensorflow as tf

        self.model = tf.saved_model.load(sys.argv[1])
        self.signature = self.model.signatures["serving_default"]

    def decode_request(self, request) -> np.ndarray:
        """No type on `request`: with one, pydantic would check the body first, which costs time."""
        return np.asarray(request["input"], np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Rows of a batch in, rows out."""
        return self.signature(x=x)["x"].numpy()

    def encode_response(self, output: np.ndarray) -> dict[str, list[float]]:
        """One row as JSON."""
        return {"output": output.tolist()}


def main(port: int) -> None:
    """Batches are what waits, up to 64: with 32 connections a time limit above 0 answered fewer requests."""
    api = Dense(max_batch_size=64, batch_timeout=0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    # LitServe ends its workers on Ctrl+C only.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(int(sys.argv[2]))
