"""Fitting a model to data: by gradient descent, or in closed form."""

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

import keras
import tensorflow as tf

import zoo
from training.data.splits import Data, pipeline_errors
from training.experiments.experiment import Experiment
from training.fitting import adam, blocks, spanning, strategies
from training.fitting.callbacks import Best, Board, Checkpoint, Progress
from training.run import Run, trained
from zoo.arguments import require_amount, require_positive, require_whole
from zoo.registry import register

SECONDS_BETWEEN = 0.5  # checkpoints, and event files
WRITING = 0.01  # most of the time that checkpoints take
EXECUTION_STEPS = 32  # most steps in one call of the compiled loop
ADVICE = "the same command with a lower --learning_rate, which resumes after the last good epoch"


@register("training", "epochs")
class Epochs:
    """Number of epochs, batch size and precision of training.

    Args:
        epochs: number of passes over the training split.
        batch_size: number of examples in a batch.
        precision: number format for the computations of training; weights and the finished model are always float32. `auto`:
            mixed_bfloat16 for convolutions and transformers if the hardware supports it, otherwise float32.
        keep: weights that training ends with: those of the `last` epoch, or of the `best`, the one with the lowest loss on the
            validation split, the start included; a KL divergence counts there with its weight in training.
        patience: with keep=best, epochs without a lower loss after which training ends; 0: it does not end early.
        xla: whether XLA compiles the steps. `auto`: on a processor, for dense networks that draw nothing in training, without
            parts of your own, in 1,000 steps or more; with JAX, always.
    """

    def __init__(
        self,
        epochs: int = 100,
        batch_size: int = 64,
        precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto",
        keep: Literal["last", "best"] = "last",
        patience: int = 0,
        xla: Literal["auto", "on", "off"] = "auto",
    ):
        require_whole(1, epochs=epochs, batch_size=batch_size)
        require_whole(0, patience=patience)
        self.epochs, self.batch_size, self.precision = epochs, batch_size, precision
        self.keep, self.patience, self.xla = keep, patience, xla


@register("optimizer", "adamw", slots={"training": "epochs"}, fixed=["training"])
class AdamW:
    """Gradient descent by Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Args:
        learning_rate: peak learning rate, from which it falls to zero along a cosine.
        warmup: share of all steps during which the learning rate rises linearly from zero to its peak, in [0, 1).
        weight_decay: λ ≥ 0; every step multiplies each weight by 1 − λ · learning rate.
    """

    def __init__(self, learning_rate: float = 1e-3, warmup: float = 0.02, weight_decay: float = 0.0):
        require_positive(learning_rate=learning_rate)
        require_amount(below=1, warmup=warmup)
        require_amount(weight_decay=weight_decay)
        self.learning_rate, self.warmup, self.weight_decay = learning_rate, warmup, weight_decay

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """The Keras optimizer for this number of training steps."""
        rising = int(self.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if rising else self.learning_rate,
            decay_steps=max(1, steps - rising),
            warmup_target=self.learning_rate if rising else None,
            warmup_steps=rising,
        )
        if not self.weight_decay:
            return keras.optimizers.Adam(rate)  # AdamW would multiply all weights by 1
        return keras.optimizers.AdamW(rate, weight_decay=self.weight_decay)

    def fit(self, model: keras.Model, data: Data, experiment: Experiment, run: Run) -> tuple[list[dict[str, float]], float]:
        """As the function `fit`; resumes from the run's checkpoint if there is one."""
        compile(model, data, experiment)
        shown = spanning.writes()
        checkpoint = Checkpoint(run.checkpoint, SECONDS_BETWEEN, WRITING, writes=shown)
        epochs = range(checkpoint.restore(model), experiment["training.epochs"])
        progress, best = Progress(epochs), _best(model, data, experiment, run, epochs)
        callbacks = [checkpoint, *([progress, Board(run.tensorboard, SECONDS_BETWEEN)] if shown else [])]
        if best:
            checkpoint.best = best
            callbacks.insert(0, best)  # before the checkpoint, after which an epoch is done
        if epochs and not (best and best.exhausted(epochs.start)):
            with contextlib.closing(progress):
                fit_epochs(model, data, experiment, epochs, callbacks)
        if best:
            best.write()
            best.restore(model)
        return checkpoint.history, checkpoint.seconds


@register("optimizer", "closed_form")
class ClosedForm:
    """Principal component analysis: the weights of the linear autoencoder are computed in one pass over the data."""

    def fit(self, model: keras.Model, data: Data, experiment: Experiment, run: Run) -> tuple[list[dict[str, float]], float]:
        """As the function `fit`."""
        with pipeline_errors():
            begun = time.perf_counter()
            model.solve(batch["x"] for batch in data.train.batches())
        return [], time.perf_counter() - begun


@register("optimizer", "pretrained")
class Pretrained:
    """The weights of a trained autoencoder of the same parts, to which only a prior is fitted, and what else is fitted after
    training.

    Args:
        pretrained: the autoencoder: name of a preset, or folder of a preset or of a run.
    """

    def __init__(self, pretrained: str):
        self.pretrained = pretrained

    def fit(self, model: keras.Model, data: Data, experiment: Experiment, run: Run) -> tuple[list[dict[str, float]], float]:
        """As the function `fit`.

        Raises:
            ValueError: no such autoencoder, or one of other parts.
        """
        begun, source = time.perf_counter(), trained(self.pretrained)
        if not isinstance(source, zoo.Autoencoder):
            raise ValueError(
                f"Expected an autoencoder. Received: {self.pretrained}, a {type(source).__name__}. Try another --pretrained."
            )
        for part in ("encoder", "bottleneck", "decoder", "head"):
            own, others = _kept(getattr(model, part)), _kept(getattr(source, part))
            if [each.shape for each in own] != [each.shape for each in others]:
                raise ValueError(
                    f"Expected an autoencoder of the same parts. Received: {self.pretrained}, with another {part}. "
                    "Try the settings that it was trained with."
                )
            for variable, value in zip(own, others, strict=True):
                variable.assign(value)
        return [], time.perf_counter() - begun


def _kept(part: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a part, but for those that count the steps of training, which a model that is not trained lacks."""
    return [weight for weight in part.weights if weight.name != "step"]


def fit(model: keras.Model, data: Data, experiment: Experiment, run: Run) -> tuple[list[dict[str, float]], float]:
    """Fits a model with the experiment's optimizer.

    Returns:
        The metrics of each epoch (none for the closed form), and the training time in seconds.

    Raises:
        ValueError: a batch of a stream that is not valid for the model; an epoch that ends with a loss that is not finite.
    """
    return experiment.make("optimizer").fit(model, data, experiment, run)


def compile(model: keras.Model, data: Data, experiment: Experiment) -> None:
    """Compiles a model with the experiment's optimizer, whose schedule covers all steps of training."""
    steps = total_steps(data, experiment)
    optimizer = experiment.make("optimizer").optimizer(steps)
    optimizer.build(model.trainable_variables)
    _, _, loop = _schedule(data, experiment)
    compiled = strategies.compiles(model, experiment, steps)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1 or _block(model, data, experiment) > 1:
        loop = 1  # Keras's loop over a distributed iterator fails (placeholder not fed), and blocks have one of their own
    if not compiled and keras.backend.backend() == "tensorflow":
        adam.fuse(optimizer)
    model.compile(optimizer, steps_per_execution=loop, jit_compile=compiled)


def fit_epochs(
    model: keras.Model, data: Data, experiment: Experiment, epochs: range, callbacks: list
) -> keras.callbacks.History:
    """Trains a compiled model for some of the experiment's epochs; returns Keras's history."""
    batch_size, steps, _ = _schedule(data, experiment)
    check, block = getattr(model, "check", None), _block(model, data, experiment)
    if block > 1:
        training = blocks.blocks(data.train, block, batch_size, steps, epochs, experiment.seed, check)
    else:
        training = data.train.training(batch_size, steps, epochs, experiment.seed, check)
    validation = data.validation and data.validation.inputs(block * batch_size, _needs_static_shapes(), check)
    with pipeline_errors(), blocks.stepping(model) if block > 1 else contextlib.nullcontext():
        return spanning.fit(
            model,
            training,
            batch_size,
            validation,
            data.validation.size if validation else 0,
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            steps_per_epoch=steps // block,
            callbacks=[zoo.Finite(ADVICE), *callbacks],
            verbose=0,
        )


def _best(model: keras.Model, data: Data, experiment: Experiment, run: Run, epochs: range) -> Best | None:
    """The keeper of the best weights, where they are to be kept; before the first epoch it has those of the start."""
    training = experiment.make("training")
    if training.keep == "last":
        return None
    if data.validation is None:
        raise ValueError("Expected a validation split to find the best weights by. Received: none. Try --validation=0.1.")
    best = Best(run.best, training.patience)
    if not epochs.start:
        inputs = data.validation.inputs(training.batch_size, _needs_static_shapes(), getattr(model, "check", None))
        with pipeline_errors():
            best.offer(model, 0, spanning.evaluate(model, inputs, training.batch_size, data.validation.size))
    return best


def total_steps(data: Data, experiment: Experiment) -> int:
    """The number of steps of all epochs; 0 if training has no epochs."""
    if experiment.part("training") is None:
        return 0
    _, steps, _ = _schedule(data, experiment)
    return steps * experiment["training.epochs"]


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """A context in which new layers compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _block(model: keras.Model, data: Data, experiment: Experiment) -> int:
    """The batches of a block, all of which one call of a compiled function takes; 1: there are no blocks."""
    batch_size, steps, loop = _schedule(data, experiment)
    compiled = strategies.compiles(model, experiment, steps * experiment["training.epochs"])
    return loop if compiled and keras.backend.backend() == "tensorflow" and blocks.fits(data, loop, batch_size) else 1


def _needs_static_shapes() -> bool:
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def _schedule(data: Data, experiment: Experiment) -> tuple[int, int, int]:
    """The batch size, the steps of an epoch, and the steps of one call of the compiled loop, which divide them evenly.

    Up to a hundredth of the batches of an epoch is left out to make the loop longer.
    """
    batch_size = min(experiment.make("training").batch_size, data.train.size)
    batches = data.train.size // batch_size
    loop = next(m for m in range(min(EXECUTION_STEPS, batches), 0, -1) if batches % m <= batches / 100)
    return batch_size, batches - batches % loop, loop
