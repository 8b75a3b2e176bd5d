"""Files that run exported models in TensorFlow Serving: with Docker Compose, on Kubernetes, or in KServe."""

from serving.tfserving.deployment import Target, deploy

__all__ = ["Target", "deploy"]
