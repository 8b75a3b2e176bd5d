"""`fit` and `evaluate` of models whose replicas are in several processes.

Under `tf.distribute.MultiWorkerMirroredStrategy` Keras 3 fails in two places (keras#20585): before the first step it averages a
batch, which need not be one tensor, and after each step the metrics, along an axis that numbers lack. `Spanning` comes by
neither; it stays right when Keras no longer fails, and `tests/test_workers.py` says when it is no longer needed.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from training.fitting import cluster, mixins, sharding

APART = 0x9E3779B9  # between the seeds of two replicas: 2**32 divided by the golden ratio, whose multiples are spread evenly


class Shard(NamedTuple):
    """The replicas of one worker, each of which sees a part of every batch: `count` of them from number `first` on, out of
    `total`, those of all workers."""

    first: int
    count: int
    total: int

    def of(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Its parts of batches, one after another; those of all replicas are the batch, and differ by at most one row."""
        replicas = range(self.first, self.first + self.count)
        if self.count == 1:
            return batches.map(lambda *batch: self._part(batch, self.first))

        def parts(*batch):
            return functools.reduce(
                tf.data.Dataset.concatenate, [tf.data.Dataset.from_tensors(self._part(batch, each)) for each in replicas]
            )

        return batches.flat_map(parts)

    def _part(self, batch: tuple, replica: int) -> Any:
        first = tf.nest.flatten(batch)[0]
        rows = tf.shape(first)[0] if first.shape[0] is None else first.shape[0]
        start, stop = rows * replica // self.total, rows * (replica + 1) // self.total
        parts = tf.nest.map_structure(lambda column: column[start:stop], batch)
        return parts if len(parts) > 1 else parts[0]


class Spanning:
    """The methods that differ: a mixin in front of a model's own class, for as long as it is fitted.

    Besides, data are not checked again, as they have been when they were opened, or are in the pipeline; and where batches are
    not multiples of the number of replicas, each counts by its share of the rows.
    """

    def fit(self, x: Any = None, **kwargs) -> keras.callbacks.History:
        return keras.Model.fit(self, x, shuffle=False, **kwargs)  # a data set has its own order; Keras would warn

    def evaluate(self, x: Any = None, **kwargs) -> Any:
        return keras.Model.evaluate(self, x, **kwargs)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing: models of the zoo are built when they are made."""

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """The loss alone, as `(1,)`: all metrics are read once in an epoch, instead of being averaged after every step."""
        object.__setattr__(self, "_reported", [*super().compute_metrics(x, y, y_pred, sample_weight)])
        return {"loss": ops.reshape(self._loss_tracker.result(), (1,))}

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        results = self.get_metrics_result()  # sums over all replicas: every worker has to call this
        return {name: results[name] for name in self._reported}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> keras.KerasTensor:
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        rows = tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], loss.dtype)
        if not training:
            return tf.math.multiply_no_nan(loss, tf.sign(rows))  # a part of the last batch may have no rows
        share = rows * self.distribute_strategy.num_replicas_in_sync / self._rows
        return tf.stop_gradient(loss) + share * (loss - tf.stop_gradient(loss))  # the mean, with the gradient of its share


def fit(
    model: keras.Model, training: tf.data.Dataset, rows: int, validation: tf.data.Dataset | None, size: int, **kwargs
) -> keras.callbacks.History:
    """`model.fit` on global batches of so many rows, by one process or, in the scope of their strategy, by several; `size` is
    the number of rows for validation.

    Raises:
        ValueError: with JAX, a number of rows that the devices cannot share evenly.
    """
    if sharding.replicas():
        sharding.require_even(rows)
        validation = validation and _share(sharding.whole(validation, rows, size))
        return model.fit(_share(training), validation_data=validation, **kwargs)
    if not spans():  # the model's own `fit` would read a first batch to check it
        return keras.Model.fit(model, training, validation_data=validation, shuffle=False, **kwargs)
    with _spanning(model, rows):
        steps = validation and int(validation.cardinality())
        endless = validation and _distributed(validation.repeat())  # an iterator goes on in the next epoch
        return model.fit(_distributed(training), validation_data=endless, validation_steps=steps, **kwargs)


def evaluate(model: keras.Model, inputs: tf.data.Dataset, rows: int, size: int) -> dict[str, float]:
    """The metrics of a model on global batches of up to so many rows, `size` in all, by as many processes as in `fit`."""
    if sharding.replicas():
        sharding.require_even(rows)
        inputs = _share(sharding.whole(inputs, rows, size))
    if not spans() or sharding.replicas():
        return model.evaluate(inputs, verbose=0, return_dict=True)
    with _spanning(model):
        return model.evaluate(_distributed(inputs), steps=int(inputs.cardinality()), verbose=0, return_dict=True)


def spans() -> bool:
    """Whether the strategy in scope has several processes."""
    return sharding.processes() > 1 or isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)


def writes() -> bool:
    """Whether this process writes the results: that of the chief, or the only one."""
    return not spans() or cluster.described().chief


def copy(source: keras.Model, target: keras.Model) -> None:
    """Gives a model the weights and the random seeds of another, but not its metrics, whose values are on all workers."""
    for variable, value in zip(_kept(target), _kept(source), strict=True):
        variable.assign(ops.convert_to_numpy(value))


def _kept(model: keras.Model) -> list[keras.Variable]:
    left = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in left]


@contextlib.contextmanager
def _spanning(model: keras.Model, rows: int = 0) -> Iterator[None]:
    object.__setattr__(model, "_rows", rows)
    generators = [each for layer in model._flatten_layers() for each in layer._seed_generators]
    for each in generators:
        each.next = functools.partial(_own_seed, each)
    try:
        with mixins.added(Spanning, model):
            yield
    finally:
        for each in generators:
            del each.next


def _own_seed(generator: keras.random.SeedGenerator, ordered: bool = True) -> tf.Tensor:
    """The next seed of a replica, whose draws are independent of those of the others, although they all keep the same state."""
    seed, context = type(generator).next(generator, ordered), tf.distribute.get_replica_context()
    if context is None:
        return seed
    replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
    return seed + tf.stack([replica * tf.constant(APART, seed.dtype), tf.zeros((), seed.dtype)])


def _share(batches: tf.data.Dataset) -> tf.data.Dataset:
    """This process's part of global batches, which its devices share."""
    if sharding.processes() == 1:
        return batches
    return Shard(sharding.process(), 1, sharding.processes()).of(batches).prefetch(tf.data.AUTOTUNE)


def _distributed(batches: tf.data.Dataset) -> tf.distribute.DistributedDataset:
    """A data set of this worker's parts of global batches, which is not divided once more."""

    def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_replicas_in_sync // context.num_input_pipelines
        shard = Shard(context.input_pipeline_id * count, count, context.num_replicas_in_sync)
        return shard.of(batches).prefetch(tf.data.AUTOTUNE)

    return tf.distribute.get_strategy().distribute_datasets_from_function(own)
