"""A dense SavedModel in MLServer: a custom runtime with adaptive batching.

python mlserver_server.py MODEL PORT   (also takes PORT + 1 for gRPC and PORT + 2 for metrics)
"""

import asyncio
import sys

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse


class Dense(MLModel):
    """Custom runtime around the SavedModel's signature."""

    async def load(self) -> bool:
        """Called once, before the model counts as ready."""
        import tensorflow as tf

        self.model = tf.saved_model.load(self.settings.parameters.uri)
        self.signature = self.model.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The rows of waiting requests come as one request, and MLServer splits the answer."""
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        answer = self.signature(x=rows.astype(np.float32, copy=False))["x"].numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("x", answer)])


async def main(model: str, port: int) -> None:
    """The model stays in the server's process: a worker of its own answered fewer requests, as did longer waits for a batch."""
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    settings = Settings(host="127.0.0.1", debug=False, parallel_workers=0, **ports)
    parameters = ModelParameters(uri=model)
    dense = ModelSettings(name="dense", implementation=Dense, max_batch_size=64, max_batch_time=0.001, parameters=parameters)
    await MLServer(settings).start([dense])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
