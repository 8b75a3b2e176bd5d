"""Which model a file was written with."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.model import Model

CODING = ("encoder", "bottleneck", "decoder", "likelihood", "prior", "scaling")  # parts that decide what a file holds
ROUNDING = ("encoder", "bottleneck", "decoder", "likelihood", "scaling", "entropy")  # the same, of rounded codes
HEAD = "head"
# Of a configuration, what has no part in what a trained model computes, or is written otherwise by other versions of Keras
IGNORED = ("initializer", "regularizer", "constraint", "name", "module", "dtype", "trainable", "config", "seed", "schema")


def fingerprint(model: Model, parts: Sequence[str] = CODING) -> str:
    """SHA-256 of the configuration and the weights of these parts, on which coding depends, in hexadecimal digits."""
    parts = {name: part for name in parts if (part := getattr(model, name, None)) is not None}
    hashed = hashlib.sha256()
    for name, part in parts.items():
        described = _plain(keras.saving.serialize_keras_object(part))
        hashed.update(json.dumps([name, described], sort_keys=True).encode())
    for part in (*parts.values(), getattr(model, HEAD, None)):
        for layer in part if isinstance(part, list) else [part]:
            for weight in getattr(layer, "weights", ()):
                value = np.asarray(ops.convert_to_numpy(weight), "<f4")
                hashed.update(repr(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return hashed.hexdigest()


def _plain(value: Any) -> Any:
    """A configuration without what is ignored; that of an object is its class and its settings."""
    if isinstance(value, dict):
        if "class_name" in value:
            return [value["class_name"], _plain(value.get("config"))]
        return {key: _plain(each) for key, each in value.items() if each is not None and not key.endswith(IGNORED)}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
