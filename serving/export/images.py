"""Signatures for picture files, which are decoded and encoded in the graph.

For a model of images, data (B, H, W, 1) or (B, H, W, 3) in [0, 1], up to two signatures are added for each verb: `VERB_bytes`
takes files instead of data, and `VERB_png` returns PNG files instead of data (and takes files instead of data).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import picture_files
from zoo.model import Model
from zoo.signatures import Signature, Tensor

FILES = Tensor((None,), "string")


class Verb(NamedTuple):
    """A signature, the function of tensors that computes it, the resources that the SavedModel must keep for it, and a row of
    its inputs by name, where those that nothing is known of would not do."""

    signature: Signature
    call: Callable
    resources: tuple = ()
    example: Mapping[str, np.ndarray] = MappingProxyType({})


def verbs(model: Model) -> dict[str, Verb]:
    """The verbs that a model declares, and those for picture files that are derived from them."""
    # Each function is traced once; those derived from it call it.
    declared = {
        name: Verb(signature, tf.function(getattr(model, name), autograph=False))
        for name, signature in model.signatures().items()
    }
    more = {}
    for name, verb in declared.items():
        inputs, outputs = verb.signature
        renamed = {"image_bytes" if key == "x" and _is_image(tensor) else key: tensor for key, tensor in inputs.items()}
        taking = {key: FILES if key == "image_bytes" else tensor for key, tensor in renamed.items()}
        if "image_bytes" in taking:
            more[f"{name}_bytes"] = Verb(Signature(taking, outputs), _from_files(verb.call, inputs["x"].shape))
        if "x" in outputs and _is_image(outputs["x"]):
            call = _from_files(verb.call, inputs["x"].shape) if "image_bytes" in taking else verb.call
            more[f"{name}_png"] = Verb(Signature(taking, {"png_bytes": FILES}), _to_png(call))
    return {**declared, **more}


def _is_image(tensor: Tensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3)


def _from_files(call: Callable, shape: tuple) -> Callable:
    """`call` with files as its first argument, read by `serving.picture_files`."""
    height, width, channels = shape[1:]

    def taking(files, *others):
        read = picture_files.reader(channels, (height, width))
        pixels, problems = tf.map_fn(read, files, fn_output_signature=(tf.uint8, tf.string))
        rows = tf.strings.join(["row ", tf.strings.as_string(tf.range(tf.size(files)))])
        tf.debugging.Assert(tf.reduce_all(problems == ""), [picture_files.refusal(problems, rows)])
        return call(tf.ensure_shape(tf.cast(pixels, tf.float32) / 255, shape), *others)

    return taking


def _to_png(call: Callable) -> Callable:
    """`call` with its data encoded as PNG files."""

    def giving(*inputs):
        grey = tf.round(255 * tf.clip_by_value(call(*inputs), 0, 1))
        return tf.io.encode_png(tf.cast(grey, tf.uint8))

    return giving
