"""What every model of the zoo has: verbs, whose signatures it declares, and the schema of its data."""

import abc
import json
from collections.abc import Callable
from typing import ClassVar

import keras

from zoo.schema import Schema, described, restored
from zoo.signatures import Signature


class Model(keras.Model, abc.ABC):
    """A Keras model whose methods are verbs, which exports, servers and clients know by the signatures that it declares.

    `parts` are the arguments of the constructor that are objects, each with the attribute that holds it; `settings` the others.
    `serving_default` is the verb that is meant where none is named. `schema` says what the data hold that the model was trained
    on, at least the shape of an example.
    """

    parts: ClassVar[dict[str, str]] = {}
    settings: ClassVar[tuple[str, ...]] = ()
    serving_default: str

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._schema = "{}"  # in JSON: Keras would wrap a dict

    @property
    def schema(self) -> Schema:
        return restored(json.loads(self._schema))

    @schema.setter
    def schema(self, schema: Schema) -> None:
        self._schema = json.dumps(described(schema))

    @abc.abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """What this model answers, by verb."""

    def tensors(self, verb: str) -> Callable:
        """The function of tensors behind a verb, which an export computes."""
        return getattr(self, verb)

    def build(self, input_shape=None) -> None:
        """Everything is built at construction; Keras calls this when it loads a model."""

    def get_config(self) -> dict:
        parts = {name: keras.saving.serialize_keras_object(getattr(self, held)) for name, held in self.parts.items()}
        settings = {name: getattr(self, name) for name in self.settings}
        schema = json.loads(self._schema)
        return {"name": self.name, **parts, **settings, **({"schema": schema} if schema else {})}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Model":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in cls.parts if name in config
        }
        schema = config.get("schema")
        model = cls(**{**{key: value for key, value in config.items() if key != "schema"}, **parts})
        if schema:
            model._schema = json.dumps(schema)
        return model
