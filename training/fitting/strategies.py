"""Devices for training: one, all GPUs of a machine or of several, or a TPU; and the precision that suits them."""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from training.experiments.experiment import Experiment
from training.experiments.names import near
from training.fitting import cluster, processors, sharding
from training.fitting.deadline import deadline

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu", "model")
BACKENDS = {"tensorflow": STRATEGIES[:-1], "jax": ("auto", "one", "mirrored", "multiworker", "model")}  # that have them
START = 45  # seconds in which workers that have met are connected: TensorFlow would wait without end for one that has died
GONE = (
    f"Expected all workers to start. Received: no connection to one of them within {START} seconds after they had met. "
    "Try the same command on all of them."
)
AMPERE = (8, 0)  # compute capability of the first GPUs with bfloat16 arithmetic
MANY = 1000  # steps, which take longer than XLA needs to compile one


class Accelerator(NamedTuple):
    """A GPU or TPU."""

    kind: str  # TPU or GPU
    name: str
    capability: tuple[int, int] = (0, 0)  # compute capability of NVIDIA GPUs


def scope(name: str = "auto") -> contextlib.AbstractContextManager:
    """The scope in which a model is built and trained; batches are split over its replicas.

    Args:
        name: `one`, a single device; `mirrored`, all GPUs or, without any, all logical CPU devices; `multiworker`, those of all
            workers in `TF_CONFIG`, which have met (`training.workers`); `tpu`; `model`, all devices, which share the weights,
            not the batches; `auto`, the best of the others that there is, but with JAX never `mirrored`.

    Raises:
        ValueError: an unknown name, or a strategy that this backend or machine does not have.
    """
    name = chosen(name)
    if name == "one":
        return contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        return _parallel(name)
    return {"mirrored": _mirrored, "multiworker": _multiworker, "tpu": _tpu}[name]().scope()


def chosen(name: str = "auto") -> str:
    """The strategy that a name, which may be `auto`, means here. It starts nothing.

    Raises:
        ValueError: as `scope`; a `TF_CONFIG` that describes no cluster, or only this process, for `multiworker`.
    """
    if name not in STRATEGIES:
        raise ValueError(f"Expected a strategy of {', '.join(STRATEGIES)}. Received: {name!r}. {near(name, STRATEGIES)}")
    backend = keras.backend.backend()
    if name not in BACKENDS.get(backend, ("auto", "one")):
        others = next(other for other, names in BACKENDS.items() if name in names)
        raise ValueError(
            f"Expected the {'TensorFlow' if others == 'tensorflow' else 'JAX'} backend for strategy {name!r}. "
            f"Received: {backend!r}. Try KERAS_BACKEND={others}, or --strategy=auto."
        )
    if name == "multiworker" and cluster.described() is None:
        raise ValueError(
            f"Expected at least two workers in {cluster.VARIABLE}. Received: {os.environ.get(cluster.VARIABLE, 'none')}. "
            "Try python -m training launch --workers=2 train …, or --strategy=auto."
        )
    return _best() if name == "auto" else name


def local() -> str:
    """The best strategy for the devices of this process alone, which may be one of several."""
    several = keras.backend.backend() == "tensorflow" and len(tf.config.list_physical_devices("GPU")) > 1
    return "mirrored" if several else "one"


def connected() -> bool:
    """Whether this process is connected to other workers."""
    return _multiworker.cache_info().currsize + _connect.cache_info().currsize > 0


def part() -> None:
    """Parts from the other workers, each of which has to call this, so that they may end before the chief does."""
    if keras.backend.backend() == "jax":
        sharding.disconnect()


def device() -> str:
    """What training runs on, in words: the accelerators, or `2 CPU cores`."""
    accelerators = _accelerators()
    if accelerators:
        return f"{len(accelerators)} × {accelerators[0].name}"
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"


def precision(experiment: Experiment) -> str:
    """The precision in which an experiment is trained: `float32` or `mixed_bfloat16`.

    `auto` selects bfloat16 if the experiment has parts that are known to train equally well in it, such as convolutions and
    transformers, and if the device is faster in it. Dense networks are trained in float32, as their published figures were: a
    linear one needs this precision to reach the error of PCA.
    """
    setting = experiment.get("training.precision", "float32")
    if setting != "auto":
        return setting
    if not _has_large_parts(experiment):
        return "float32"
    gains = gains_by_bfloat16(_accelerators(), keras.backend.backend(), processors.flags(), os.environ)
    return "mixed_bfloat16" if gains else "float32"


def compiles(model: keras.Model, experiment: Experiment, steps: int) -> bool:
    """Whether XLA compiles the steps of a model's training, of which there are so many.

    `auto` was chosen by examples/s on a processor (`benchmarks/training`): XLA doubles those of dense networks, but takes many
    times as long to draw random numbers, and longer for convolutions; and texts are of many lengths, each of which it would
    compile. The user's own parts may hold what it cannot compile. Few steps take less time than compiling them.
    """
    if keras.backend.backend() == "jax":
        return True
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return False
    setting = experiment.get("training.xla", "auto")
    if setting != "auto":
        return setting == "on"
    if steps < MANY or experiment.imports or _has_large_parts(experiment) or _accelerators():
        return False
    return all(layer.supports_jit and not layer._seed_generators for layer in model._flatten_layers())


def _has_large_parts(experiment: Experiment) -> bool:
    """Whether an experiment has convolutions or a transformer."""
    parts = [part for part in map(experiment.part, experiment.composition.filled) if part]
    return any(part.bfloat16 for part in parts)


def gains_by_bfloat16(
    accelerators: Collection[Accelerator], backend: str, flags: Collection[str], environment: Mapping[str, str]
) -> bool:
    """Whether bfloat16 is known to be faster than float32 on the accelerators or, without any, on a processor with the flags.

    Flags decide, not a measurement, which could differ from run to run, so that the same seed would give different results.
    Unknown cases are False, because bfloat16 in software takes 7 times as long as float32 (convolutional autoencoder, AVX2):
    Arm processors; processors that have bfloat16 only in AVX-512; XLA on any processor; TensorFlow without oneDNN, because only
    its kernels use AMX.
    """
    if accelerators:
        return all(each.kind == "TPU" or each.capability >= AMPERE for each in accelerators)
    with_onednn = environment.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    return backend == "tensorflow" and with_onednn and "amx_bf16" in flags


def _accelerators() -> list[Accelerator]:
    if keras.backend.backend() != "tensorflow":
        import jax  # the only other backend that is tested

        devices = [device for device in jax.devices() if device.platform != "cpu"]
        kinds = ["TPU" if device.platform == "tpu" else "GPU" for device in devices]
        capabilities = [_capability(getattr(device, "compute_capability", "")) for device in devices]
        return [Accelerator(kind, device.device_kind, c) for kind, device, c in zip(kinds, devices, capabilities, strict=True)]
    # TPUs of another host are not among the physical devices; but after a look at logical ones, workers can no longer connect
    if cluster.described() is None and (tpus := tf.config.list_logical_devices("TPU")):
        return [Accelerator("TPU", "TPU")] * len(tpus)
    details = [tf.config.experimental.get_device_details(device) for device in tf.config.list_physical_devices("GPU")]
    return [Accelerator("GPU", each.get("device_name", "GPU"), each.get("compute_capability", (0, 0))) for each in details]


def _capability(text: str) -> tuple[int, int]:
    """`(8, 0)` for NVIDIA's "8.0"; `(0, 0)` for others, such as AMD's "gfx90a"."""
    major, _, minor = str(text).partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _best() -> str:
    if keras.backend.backend() != "tensorflow":
        return "multiworker" if keras.backend.backend() == "jax" and cluster.described() else "one"
    if tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "multiworker" if cluster.described() else local()


# A process has only one strategy: the collectives of two would interfere, and connecting to a TPU clears it.


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _parallel(name: str) -> contextlib.AbstractContextManager:
    if name == "model":
        return sharding.dividing()
    if name == "multiworker":
        _connect()
    return sharding.scope()


@functools.cache
def _connect() -> None:
    with deadline(START, GONE), _heeding():
        sharding.connect(cluster.described(), 2 * START)  # at the end of its own time JAX would only abort


@functools.cache
def _multiworker() -> tf.distribute.Strategy:
    try:
        with deadline(START, GONE), _heeding():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.UnknownError as error:  # another program has taken the port since it was looked at
        port = cluster.described().port
        raise ValueError(
            f"Expected port {port} to be free. Received: {error.message}. Try another in {cluster.VARIABLE}."
        ) from None


@contextlib.contextmanager
def _heeding() -> Iterator[None]:
    """A context after which SIGTERM does what it did before: TensorFlow and JAX, when connected, would swallow it."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"Expected a TPU. Received: none ({str(error).splitlines()[0]}). Try --strategy=auto.") from None
    return tf.distribute.TPUStrategy(resolver)
