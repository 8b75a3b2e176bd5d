"""Signatures that take and give pictures as files, with the decoding in the graph.

A model of images, data (B, H, W, 1) or (B, H, W, 3) in [0, 1], gets two more of each verb: `VERB_bytes` takes files where
the verb takes data, and `VERB_png` gives PNG files where the verb gives data (and takes files where it takes data).
"""

from collections.abc import Callable
from typing import NamedTuple

import zoo
from zoo.signatures import Signature, Tensor

FILES = Tensor((None,), "string")


class Verb(NamedTuple):
    """A signature, the function of its tensors that answers it, and what the SavedModel has to keep for that."""

    signature: Signature
    call: Callable
    resources: tuple = ()


def verbs(model: zoo.Autoencoder | zoo.Predictor | zoo.Transformer) -> dict[str, Verb]:
    """The verbs that a model declares, and those with pictures that follow from them."""
    declared = {name: Verb(signature, getattr(model, name)) for name, signature in model.signatures().items()}
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
    """`call`, of files in the place of its first argument: PNG, JPEG, GIF or BMP, cropped around the middle and resized."""
    import tensorflow as tf

    height, width, channels = shape[1:]

    def decoded(file):
        image = tf.io.decode_image(file, channels, expand_animations=False)
        tall, wide = tf.shape(image)[0], tf.shape(image)[1]
        cut_tall, cut_wide = tf.minimum(tall, wide * height // width), tf.minimum(wide, tall * width // height)
        top, left = (tall - cut_tall) // 2, (wide - cut_wide) // 2
        image = image[top : top + cut_tall, left : left + cut_wide]
        return tf.image.resize(image, (height, width), antialias=True) / 255

    def taking(files, *others):
        return call(tf.ensure_shape(tf.map_fn(decoded, files, fn_output_signature=tf.float32), shape), *others)

    return taking


def _giving(call: Callable) -> Callable:
    """`call`, its data as PNG files."""
    import tensorflow as tf

    def giving(*inputs):
        grey = tf.round(255 * tf.clip_by_value(call(*inputs), 0, 1))
        return tf.io.encode_png(tf.cast(grey, tf.uint8))

    return giving
