"""From an experiment and its data to a fitted model."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import zoo
from training.callbacks import Checkpoint, Progress
from training.data import Data, clear_errors
from training.experiments import Experiment
from training.run import Run

MOST_CODES = 20_000  # rows that the mixture is fitted to
EXECUTION_STEPS = 32  # most steps in one call of the compiled loop


def build(experiment: Experiment, data: Data) -> zoo.Autoencoder:
    """The model of an experiment for its data, freshly initialized from the experiment's seed.

    Raises:
        ValueError: data in memory that the model's likelihood cannot take; those of a stream are looked at batch by batch.
    """
    model = _model(experiment, data.shape)
    for split in data.splits.values():
        if split.arrays is not None:
            model.check(split.arrays["x"])
    return model


def _model(experiment: Experiment, shape: tuple[int, ...]) -> zoo.Autoencoder:
    keras.utils.set_random_seed(experiment.seed)
    extras = {"density": zoo.Mixture(experiment.mixture), "overcomplete": experiment.overcomplete}
    if experiment.solver == "closed_form":
        return zoo.linear_autoencoder(shape, experiment.k, **extras)
    likelihood = zoo.Bernoulli()
    if experiment.likelihood == "squared_error":
        likelihood = zoo.SquaredError(experiment.output_activation)
    return zoo.dense_autoencoder(
        shape,
        experiment.k,
        experiment.widths,
        experiment.activation,
        experiment.code_activation,
        likelihood,
        **extras,
    )


def fit(model: zoo.Autoencoder, data: Data, experiment: Experiment, run: Run) -> list[dict[str, float]]:
    """Trains `model` as the experiment says, going on from the run's checkpoint where there is one.

    Returns:
        The metrics of each epoch; none for the closed form.

    Raises:
        ValueError: a batch of a stream that the model's likelihood cannot take.
    """
    if experiment.solver == "closed_form":
        with clear_errors():
            model.solve(batch["x"] for batch in data.train.batches())
        return []
    compile(model, data, experiment)
    checkpoint = Checkpoint(run.checkpoint)
    epochs = range(checkpoint.restore(model), experiment.epochs)
    if not epochs:
        return checkpoint.history
    board = keras.callbacks.TensorBoard(run.tensorboard, write_graph=False)
    fit_epochs(model, data, experiment, epochs, [checkpoint, Progress(epochs), board])
    return checkpoint.history


def compile(model: zoo.Autoencoder, data: Data, experiment: Experiment) -> None:
    """Adam with decoupled weight decay; the rate rises in a line, then falls to nothing along a cosine."""
    _, steps, loop = _schedule(data, experiment)
    total = steps * experiment.epochs
    rising = int(experiment.warmup * total)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if rising else experiment.learning_rate,
        decay_steps=max(1, total - rising),
        warmup_target=experiment.learning_rate if rising else None,
        warmup_steps=rising,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=experiment.weight_decay)
    optimizer.build(model.trainable_variables)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        loop = 1  # Keras's loop over a distributed iterator fails (a placeholder is not fed)
    model.compile(optimizer, steps_per_execution=loop, jit_compile=keras.backend.backend() == "jax")


def fit_epochs(
    model: zoo.Autoencoder, data: Data, experiment: Experiment, epochs: range, callbacks: list
) -> keras.callbacks.History:
    """Some of the experiment's epochs on a compiled model; returns what Keras does."""
    batch_size, steps, _ = _schedule(data, experiment)
    training = data.train.training(batch_size, steps, epochs, experiment.seed, experiment.shift, model.check)
    watched = data.validation and data.validation.inputs(batch_size, drop_remainder=_needs_static_shapes(), check=model.check)
    with clear_errors():
        return model.fit(
            training,
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            steps_per_epoch=steps,
            validation_data=watched,
            callbacks=callbacks,
            verbose=0,
        )


def _needs_static_shapes() -> bool:
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def _schedule(data: Data, experiment: Experiment) -> tuple[int, int, int]:
    """Batch size, steps of an epoch, and steps of one call of the compiled loop, which divides them.

    An epoch gives up to a hundredth of its batches for a longer loop.
    """
    batch_size = min(experiment.batch_size, data.train.size)
    batches = data.train.size // batch_size
    loop = next(m for m in range(min(EXECUTION_STEPS, batches), 0, -1) if batches % m <= batches / 100)
    return batch_size, batches - batches % loop, loop


def fit_density(model: zoo.Autoencoder, x: np.ndarray, seed: int = 0) -> None:
    """Fits the Gaussian mixture that `generate` draws from to the codes of data `(n, *shape)`.

    `train` does it for a run. A model that `fit` or `solve` trained on its own needs it before `generate` means anything.

    Raises:
        ValueError: data that the model cannot take.
    """
    model.check(x)
    fit_mixture(model, model.predict(x, batch_size=1000, verbose=0)["code"], seed)


def fit_mixture(model: zoo.Autoencoder, codes: np.ndarray, seed: int = 0) -> None:
    """As `fit_density`, from codes `(n, k)`, by expectation maximization.

    Few rows get fewer components than the model has room for; the rest keep the proportion 0.
    """
    room, k = model.density.components, model.k
    codes = np.random.default_rng(seed).permutation(codes)[:MOST_CODES].astype("float64")
    used = int(np.clip(len(codes) // (2 * (k + 1)), 1, room))
    mixture = GaussianMixture(used, random_state=seed, reg_covar=1e-6 + 1e-4 * codes.var())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture near its optimum serves as well
        mixture.fit(codes)
    proportions, means = np.zeros(room), np.zeros((room, k))
    covariances = np.tile(np.eye(k), (room, 1, 1))
    proportions[:used], means[:used], covariances[:used] = mixture.weights_, mixture.means_, mixture.covariances_
    model.density.assign(proportions, means, covariances)
