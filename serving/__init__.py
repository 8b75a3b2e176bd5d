"""Serving: export to SavedModels, the embedded server and its client.

What is imported here needs neither TensorFlow nor Keras; `serving.export` and `serving.server` do.
"""

from serving.client import Client, ServerError
from serving.process import Server

__all__ = ["Client", "Server", "ServerError"]
