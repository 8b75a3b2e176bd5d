"""Training on several devices with JAX: they share batches, in one process or in more (`keras.distribution.DataParallel`), or
the weights of a model that is too large for each of them (`ModelParallel`).

Keras trains there on batches that the devices share evenly, and on no others: an uneven one over processes silently gives other
weights. So a training batch has to be a multiple of the number of devices; the last batch of a validation split is filled with
rows that have no weight.
"""

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from training.fitting.cluster import Cluster

LARGE = 1 << 16  # numbers in the smallest of the weights that are divided
HEARTBEAT = 10  # seconds after which a worker that gives no sign of life is taken to be dead


def connect(cluster: Cluster, seconds: int) -> None:
    """Connects this process to the others, which have met, within some seconds; nothing may have been computed before."""
    import jax

    limits = {"initialization_timeout": seconds, "heartbeat_timeout_seconds": HEARTBEAT}
    jax.distributed.initialize(cluster.addresses[0], len(cluster.addresses), cluster.index, **limits)


def disconnect() -> None:
    """Parts from the other processes, all of which have to call this, so that each may go on or end."""
    import jax

    jax.distributed.shutdown()


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """A context in which models are made and trained on all devices of all processes that are connected."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((len(devices),), ["batch"], devices)
    with keras.distribution.DataParallel(mesh, auto_shard_dataset=False).scope():
        yield


@contextlib.contextmanager
def dividing() -> Iterator[None]:
    """A context in which the large weights of models, and what an optimizer keeps of them, are divided among all devices.

    Raises:
        ValueError: a single device.
    """
    devices = keras.distribution.list_devices()
    if len(devices) < 2:
        raise ValueError(f"Expected several devices for strategy 'model'. Received: {devices[0]}. Try --strategy=auto.")
    mesh = keras.distribution.DeviceMesh((1, len(devices)), ["batch", "model"], devices)
    with Divided(layout_map=keras.distribution.LayoutMap(mesh), auto_shard_dataset=False).scope():
        yield


class Divided(keras.distribution.ModelParallel):
    """Each large weight is divided along the longest of its axes that the devices can share evenly; others are on all of them.

    By their shapes, and not by their names as in Keras's layout maps, the moments of Adam are divided as their weights are.
    """

    def get_variable_layout(self, variable: keras.Variable) -> keras.distribution.TensorLayout:
        shape, count = variable.shape, self.device_mesh.devices.size
        axes: list[str | None] = [None] * len(shape)
        even = [axis for axis, size in enumerate(shape) if size % count == 0]
        if even and math.prod(shape) >= LARGE:
            axes[max(even, key=shape.__getitem__)] = "model"
        return keras.distribution.TensorLayout(axes, self.device_mesh)


def replicas() -> int:
    """The number of copies of a model, each with a part of a batch, in scope; 0 if there is no such scope."""
    found = keras.distribution.distribution()
    if found is None:
        return 0
    return 1 if isinstance(found, Divided) else found.device_mesh.devices.size


def processes() -> int:
    """The number of processes in scope."""
    found = keras.distribution.distribution()
    return 1 if found is None else found.num_processes


def process() -> int:
    """The number of this process in scope."""
    import jax

    return jax.process_index()


def require_even(rows: int) -> None:
    """Raises ValueError unless the devices can share batches of so many rows evenly."""
    if rows % replicas():
        raise ValueError(
            f"Expected a batch size that is a multiple of the {replicas()} devices. Received: {rows}. "
            f"Try --batch_size={max(1, rows // replicas()) * replicas()}, or KERAS_BACKEND=tensorflow."
        )


def whole(batches: tf.data.Dataset, rows: int, size: int) -> tf.data.Dataset:
    """Batches of `size` rows in all, of which the last may be smaller, as batches of `rows` rows, with targets and weights.

    The rows that are added weigh nothing. The others weigh so much that averages over all rows, which Keras divides by their
    number, are those without the added ones.
    """
    weight = -(-size // rows) * rows / size

    def filled(*batch):
        x, target = batch if len(batch) > 1 else (batch[0], None)
        count = tf.shape(tf.nest.flatten(x)[0])[0]
        places = tf.ensure_shape(tf.range(rows) % count, (rows,))
        x = tf.nest.map_structure(lambda column: tf.gather(column, places), x)
        target = tf.zeros((rows,)) if target is None else tf.gather(target, places)  # without targets, Keras drops the weights
        return x, target, tf.where(tf.range(rows) < count, weight, 0.0)

    return batches.map(filled)
