"""`ModelSpec`: which model, version and signature a message is about."""

from google.protobuf.message import Message
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.models.servable import Servable
from serving.status import invalid


def wanted(message: Message) -> dict:
    """Name, version and label that a message with a `model_spec` asks for, the arguments of `Models.get`.

    Raises:
        RequestError: it has no `model_spec`.
    """
    if not message.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = message.model_spec
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return {"name": spec.name, "version": version, "label": spec.version_label if choice == "version_label" else None}


def answered(asked: ModelSpec, servable: Servable) -> ModelSpec:
    """What has answered: the version, and the signature that an empty name stands for."""
    spec = ModelSpec(name=asked.name, signature_name=asked.signature_name or "serving_default")
    spec.version.value = servable.version
    return spec


def model_of(message: Message) -> str:
    """The name of the model that a message asks for, or an empty one."""
    tasks = getattr(message, "tasks", None)
    asking = tasks[0] if tasks else message
    return getattr(getattr(asking, "model_spec", None), "name", "")
