"""Signatures that take and give pictures as files, with the decoding in the graph.

A model of images, data (B, H, W, 1) or (B, H, W, 3) in [0, 1], gets two more of each verb: `VERB_bytes` takes files where
the verb takes data, and `VERB_png` gives PNG files where the verb gives data (and takes files where it takes data).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from serving import picture_files
from zoo.model import Model
from zoo.signatures import Signature, Tensor

FILES = Tensor((None,), "string")


class Verb(NamedTuple):
    """A signature, the function of its tensors that answers it, and what the SavedModel has to keep for that."""

    signature: Signature
    call: Callable
    resources: tuple = ()


def verbs(model: Model) -> dict[str, Verb]:
    """The verbs that a model declares, and those with pictures that follow from them."""
    # A function is traced once, and what follows from it calls it.
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
            more[f"{name}_bytes"] = Verb(Signature(taking, outputs), _taking(verb.call, inputs["x"].shape))
        if "x" in outputs and _is_image(outputs["x"]):
            call = _taking(verb.call, inputs["x"].shape) if "image_bytes" in taking else verb.call
            more[f"{name}_png"] = Verb(Signature(taking, {"png_bytes": FILES}), _giving(call))
    return {**declared, **more}


def _is_image(tensor: Tensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3)


def _taking(call: Callable, shape: tuple) -> Callable:
    """`call`, of files in the place of its first argument, read as `serving.picture_files` says."""
    height, width, channels = shape[1:]

    def taking(files, *others):
        read = picture_files.reader(channels, (height, width))
        pixels, problems = tf.map_fn(read, files, fn_output_signature=(tf.uint8, tf.string))
        rows = tf.strings.join(["row ", tf.strings.as_string(tf.range(tf.size(files)))])
        tf.debugging.Assert(tf.reduce_all(problems == ""), [picture_files.refusal(problems, rows)])
        return call(tf.ensure_shape(tf.cast(pixels, tf.float32) / 255, shape), *others)

    return taking


def _giving(call: Callable) -> Callable:
    """`call`, its data as PNG files."""

    def giving(*inputs):
        grey = tf.round(255 * tf.clip_by_value(call(*inputs), 0, 1))
        return tf.io.encode_png(tf.cast(grey, tf.uint8))

    return giving
