"""Serving: export to SavedModels, the embedded server and its client.

What this package exports needs neither TensorFlow nor Keras; `serving.export` needs both, and the server TensorFlow.
`serving.models` runs models, `serving.rest` and `serving.rpc` answer over HTTP and gRPC, and `serving.server` starts them.
"""

from serving.client import Client, ServerError
from serving.process import Server

__all__ = ["Client", "Server", "ServerError"]
