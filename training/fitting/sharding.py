"""Training on several devices, of one process or of more, with JAX: `keras.distribution.DataParallel`.

Keras trains there on batches that the devices share evenly, and on no others: an uneven one over processes silently gives other
weights. So a training batch has to be a multiple of the number of devices; the last batch of a validation split is filled with
rows that have no weight.
"""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from training.fitting.cluster import Cluster

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


def devices() -> int:
    """The number of devices in scope; 0 if there is no such scope."""
    found = keras.distribution.distribution()
    return 0 if found is None else found.device_mesh.devices.size


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
    if rows % devices():
        raise ValueError(
            f"Expected a batch size that is a multiple of the {devices()} devices. Received: {rows}. "
            f"Try --batch_size={max(1, rows // devices()) * devices()}, or KERAS_BACKEND=tensorflow."
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
