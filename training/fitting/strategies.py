"""Where a model is trained: one device, all GPUs of the machine, or a TPU; and what that computes fastest in."""

import contextlib
import functools
import os
from collections.abc import Collection
from typing import NamedTuple

import keras
import tensorflow as tf

from training.experiments.experiment import Experiment
from training.experiments.names import near
from training.fitting import processors

STRATEGIES = ("auto", "one", "mirrored", "tpu")
AMPERE = (8, 0)  # compute capability of the first GPUs that multiply in bfloat16


class Accelerator(NamedTuple):
    kind: str  # TPU or GPU
    name: str
    capability: tuple[int, int] = (0, 0)  # compute capability of NVIDIA's


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
        return _mirrored().scope()
    return contextlib.nullcontext()


def device() -> str:
    """What training runs on, for people: `2 CPU cores`, or the accelerators' names."""
    found = _accelerators()
    if found:
        return f"{len(found)} × {found[0].name}"
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"


def precision(experiment: Experiment) -> str:
    """What the arithmetic of an experiment's training is done in: `float32` or `mixed_bfloat16`.

    `auto` takes bfloat16 where a part is known to train as well in it, as convolutions and transformers do, and the device to
    gain by it. Dense networks stay in float32, which their figures were measured in: a linear one that is to end at PCA's error
    has no bits to spare.
    """
    asked = experiment.get("training.precision", "float32")
    if asked != "auto":
        return asked
    parts = [part for part in map(experiment.part, experiment.composition.filled) if part]
    if not any(part.bfloat16 for part in parts):
        return "float32"
    gains = gains_by_bfloat16(_accelerators(), keras.backend.backend(), processors.flags(), os.environ)
    return "mixed_bfloat16" if gains else "float32"


def gains_by_bfloat16(accelerators: Collection[Accelerator], backend: str, flags: Collection[str], environment) -> bool:
    """Whether bfloat16 is known to be faster than float32 on these accelerators, or without any on a processor of these flags.

    Flags, not a measurement: one taken beside other work could differ from run to run, and with it what a seed gives. What is
    not known is False, as bfloat16 in software takes 7 times as long as float32 (a convolutional autoencoder, AVX2): an Arm
    processor, or one with AVX-512's bfloat16 alone; XLA on any; TensorFlow without oneDNN, whose kernels alone use AMX.
    """
    if accelerators:
        return all(each.kind == "TPU" or each.capability >= AMPERE for each in accelerators)
    with_onednn = environment.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    return backend == "tensorflow" and with_onednn and "amx_bf16" in flags


def _accelerators() -> list[Accelerator]:
    if keras.backend.backend() != "tensorflow":
        import jax  # the only other backend that is tested

        found = [device for device in jax.devices() if device.platform != "cpu"]
        kinds = ["TPU" if device.platform == "tpu" else "GPU" for device in found]
        capabilities = [_capability(getattr(device, "compute_capability", "")) for device in found]
        return [Accelerator(kind, device.device_kind, c) for kind, device, c in zip(kinds, found, capabilities, strict=True)]
    if tpus := tf.config.list_logical_devices("TPU"):  # those of another host have no physical device here
        return [Accelerator("TPU", "TPU")] * len(tpus)
    details = [tf.config.experimental.get_device_details(device) for device in tf.config.list_physical_devices("GPU")]
    return [Accelerator("GPU", each.get("device_name", "GPU"), each.get("compute_capability", (0, 0))) for each in details]


def _capability(text: str) -> tuple[int, int]:
    """`(8, 0)` of NVIDIA's "8.0"; others, AMD's "gfx90a" say, are not known."""
    major, _, minor = str(text).partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _best() -> str:
    if keras.backend.backend() != "tensorflow":
        return "one"
    if tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


# One strategy serves a whole process: the collectives of two get in each other's way, and a TPU is emptied when it is found.


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"Expected a TPU. Received: none ({str(error).splitlines()[0]}). Try --strategy=auto.") from None
    return tf.distribute.TPUStrategy(resolver)
