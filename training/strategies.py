"""Where a model is trained: one device, all GPUs of the machine, or a TPU."""

import contextlib
import os

import keras
import tensorflow as tf

from training.experiments import near

STRATEGIES = ("auto", "one", "mirrored", "tpu")


def scope(name: str = "auto") -> contextlib.AbstractContextManager:
    """The scope in which to build and fit; batches are split over its replicas.

    Args:
        name: `one` device; `mirrored` over the GPUs (or, without GPUs, the logical CPU devices); `tpu`; `auto`, the most that
            the machine has. On other backends than TensorFlow only `auto` and `one`, the backend's default device.

    Raises:
        ValueError: an unknown name, or a strategy that this backend or machine has not.
    """
    if name not in STRATEGIES:
        raise ValueError(f"Expected a strategy of {', '.join(STRATEGIES)}. Received: {name!r}. {near(name, STRATEGIES)}")
    if keras.backend.backend() != "tensorflow" and name in ("mirrored", "tpu"):
        raise ValueError(
            f"Expected the TensorFlow backend for strategy {name!r}. Received: {keras.backend.backend()!r}. "
            "Try KERAS_BACKEND=tensorflow, or --strategy=one."
        )
    if name == "auto":
        name = _best()
    if name == "tpu":
        return _tpu().scope()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    return contextlib.nullcontext()


def device() -> str:
    """What training runs on, for people: `2 CPU cores`, or the accelerators' names."""
    if keras.backend.backend() != "tensorflow":
        import jax  # the only other backend that is tested

        return f"{jax.device_count()} × {jax.devices()[0].device_kind}"
    found = tf.config.list_physical_devices("TPU") or tf.config.list_physical_devices("GPU")
    if not found:
        return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"
    return f"{len(found)} × {tf.config.experimental.get_device_details(found[0]).get('device_name', found[0].device_type)}"


def _best() -> str:
    if keras.backend.backend() != "tensorflow":
        return "one"
    if tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"Expected a TPU. Received: none ({str(error).splitlines()[0]}). Try --strategy=auto.") from None
    return tf.distribute.TPUStrategy(resolver)
