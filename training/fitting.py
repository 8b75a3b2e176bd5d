"""From an experiment and its data to a fitted model."""

import contextlib
import dataclasses
import os
import time
import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import zoo
from training import levels, strategies
from training.callbacks import Checkpoint, Progress
from training.data import Data, clear_errors
from training.experiments import Experiment
from training.pairs import Pairs
from training.run import Run
from training.seeds import derived
from zoo import inputs

LARGEST_DENSITY = 2**24  # numbers in the covariances of a mixture for each class; above, all classes share one
MOST_CODES = 20_000  # rows that a mixture is fitted to
EXECUTION_STEPS = 32  # most steps in one call of the compiled loop
ADVICE = "the same command with a lower --learning_rate, which goes on after the last good epoch"
Model = zoo.Autoencoder | zoo.Predictor | zoo.Transformer


def build(experiment: Experiment, data: Data | Pairs) -> Model:
    """The model of an experiment for its data, freshly initialized from the experiment's seed.

    Raises:
        ValueError: an encoder of other data; data in memory that the model's likelihood cannot take; those of a stream are
            looked at batch by batch.
    """
    with _precision(strategies.precision(experiment.precision, experiment.body)):
        model = _model(experiment, data)
    if isinstance(data, Pairs):
        return model
    for split in data.splits.values():
        if split.arrays is not None:
            model.check(split.arrays["x"])
    if experiment.body == "conv" and experiment.target == "none":
        model.center(next(data.train.batches())["x"])
    return model


def settled(experiment: Experiment, data: Data | Pairs) -> Experiment:
    """The experiment with the number of grey levels of its data, where it leaves that open; told in a line."""
    if experiment.likelihood != "discretized_gaussian" or experiment.levels or isinstance(data, Pairs):
        return experiment
    found = levels.of(data.train)
    where = "on which the training data lie" if found else "since the training data lie on no grid of fewer"
    print(f"levels={found or levels.MOST}, {where}")
    return dataclasses.replace(experiment, levels=found or levels.MOST)


def plain(model: Model, experiment: Experiment, data: Data | Pairs) -> Model:
    """The model computing in float32, whatever it was trained in."""
    if strategies.precision(experiment.precision, experiment.body) == "float32":
        return model
    copy = _model(experiment, data)
    copy.set_weights(model.get_weights())
    return copy


def _model(experiment: Experiment, data: Data | Pairs) -> Model:
    keras.utils.set_random_seed(experiment.seed)
    if isinstance(data, Pairs):
        sizes = {name: getattr(experiment, name) for name in ("width", "depth", "decoder_depth", "heads")}
        rates = {name: getattr(experiment, name) for name in ("dropout", "label_smoothing")}
        rest = {"hidden": experiment.hidden or None, "seed": derived(experiment.seed, "dropout")}
        return zoo.Transformer(data.source_vocabulary, data.target_vocabulary, **sizes, **rates, **rest)
    if experiment.target != "none":
        return _predictor(experiment, data)
    classes = len(data.classes or ())
    if classes * experiment.mixture * experiment.k**2 > LARGEST_DENSITY:
        classes = 0
    extras = {
        "density": zoo.Mixture(max(experiment.mixture, 1), classes),
        "overcomplete": experiment.overcomplete,
    }
    if experiment.solver == "closed_form":
        return zoo.linear_autoencoder(data.shape, experiment.k, **extras)
    encoder, decoder = _bodies(experiment, data.shape)
    _, steps, _ = _schedule(data, experiment)
    bottleneck = _bottleneck(experiment, steps * experiment.epochs)
    return zoo.Autoencoder(
        encoder, bottleneck, decoder, _likelihood(experiment, data), corruption=_corruption(experiment), **extras
    )


def _predictor(experiment: Experiment, data: Data) -> zoo.Predictor:
    """A linear head on the pretrained encoder, or on the experiment's own: body and projection to k numbers."""
    if experiment.pretrained:
        encoder = zoo.coder(_pretrained(experiment.pretrained))
        if tuple(encoder.input_shape[1:]) != data.shape:
            raise ValueError(
                f"Expected an encoder of data of shape {data.shape}. Received: {experiment.pretrained} "
                f"of shape {tuple(encoder.input_shape[1:])}. Try another --pretrained."
            )
    else:
        body, _ = _bodies(experiment, data.shape)
        projection = keras.layers.Dense(experiment.k, name="projection")
        encoder = keras.Sequential([keras.Input(data.shape), body, projection], name="coder")
    if experiment.target == "label":
        loss, outputs = keras.losses.SparseCategoricalCrossentropy(from_logits=True), len(data.classes)
    else:
        loss, outputs = keras.losses.MeanSquaredError(), 1
    # The codes of an autoencoder have scales of their own, which a normalization takes out.
    head = keras.Sequential(
        [keras.layers.BatchNormalization(momentum=0.9, name="scale"), keras.layers.Dense(outputs, name="answer")], name="head"
    )
    return zoo.Predictor(encoder, head, loss, frozen=experiment.frozen)


def trained(name: str | os.PathLike) -> Model:
    """The model of a run's folder, or a preset."""
    return Run(name).load_model() if Run(name).config.exists() else zoo.load(name)


def _pretrained(name: str) -> zoo.Autoencoder:
    model = trained(name)
    if not isinstance(model, zoo.Autoencoder):
        raise ValueError(
            f"Expected an autoencoder to take the encoder of. Received: {name}, a {type(model).__name__}. Try another."
        )
    return model


def _bodies(experiment: Experiment, shape: tuple[int, ...]) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder, without their projections."""
    if experiment.body == "dense":
        widths, activation = experiment.widths, experiment.activation
        return zoo.dense(widths, activation, shape, "encoder"), zoo.dense(widths[::-1], activation, name="decoder")
    settings = {
        "shape": shape,
        "width": experiment.width,
        "blocks": experiment.depth,
        "hidden": (experiment.hidden,) if experiment.hidden else (),
        "activation": experiment.activation,
    }
    return zoo.conv(**settings, name="encoder"), zoo.conv_decoder(**settings, name="decoder")


def _bottleneck(experiment: Experiment, steps: int) -> zoo.Bottleneck:
    seed = derived(experiment.seed, "bottleneck")
    if experiment.bottleneck == "gaussian":
        warmup = int(experiment.kl_warmup * steps)
        return zoo.Gaussian(experiment.k, experiment.beta, experiment.free_bits, warmup, experiment.samples, seed=seed)
    if experiment.bottleneck == "vector_quantized":
        tokens = experiment.k // experiment.token_width
        return zoo.VectorQuantized(tokens, experiment.entries, experiment.token_width, seed=seed)
    return zoo.Deterministic(experiment.k, experiment.code_activation, sparsity=experiment.sparsity)


def _likelihood(experiment: Experiment, data: Data) -> zoo.Likelihood:
    if experiment.likelihood == "squared_error":
        return zoo.SquaredError(experiment.output_activation)
    if experiment.likelihood == "bernoulli":
        return zoo.Bernoulli()
    return zoo.DiscretizedGaussian(experiment.levels or levels.of(data.train) or levels.MOST)


def _corruption(experiment: Experiment) -> keras.layers.Layer | None:
    layers = []
    if experiment.affine:
        strength = experiment.affine
        seed = derived(experiment.seed, "affine")
        layers.append(zoo.RandomAffine(2 * strength, 15 * strength, 0.15 * strength, 0.3 * strength, seed))
    if experiment.noise:
        layers.append(zoo.RandomNoise(experiment.noise, derived(experiment.seed, "noise")))
    return keras.Sequential(layers, name="corruption") if len(layers) > 1 else next(iter(layers), None)


@contextlib.contextmanager
def _precision(name: str):
    """Layers made within it compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(model: Model, data: Data | Pairs, experiment: Experiment, run: Run) -> tuple[list[dict[str, float]], float]:
    """Trains `model` as the experiment says, going on from the run's checkpoint where there is one.

    Returns:
        The metrics of each epoch, none for the closed form; the seconds that training took.

    Raises:
        ValueError: a batch of a stream that the model's likelihood cannot take; an epoch that is not finite.
    """
    if experiment.solver == "closed_form":
        with clear_errors():
            begun = time.perf_counter()
            model.solve(batch["x"] for batch in data.train.batches())
        return [], time.perf_counter() - begun
    compile(model, data, experiment)
    checkpoint = Checkpoint(run.checkpoint)
    epochs = range(checkpoint.restore(model), experiment.epochs)
    if epochs:
        board = keras.callbacks.TensorBoard(run.tensorboard, write_graph=False)
        fit_epochs(model, data, experiment, epochs, [checkpoint, Progress(epochs), board])
    return checkpoint.history, checkpoint.seconds


def compile(model: Model, data: Data | Pairs, experiment: Experiment) -> None:
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
    model: Model, data: Data | Pairs, experiment: Experiment, epochs: range, callbacks: list
) -> keras.callbacks.History:
    """Some of the experiment's epochs on a compiled model; returns what Keras does."""
    batch_size, steps, _ = _schedule(data, experiment)
    if isinstance(data, Pairs):  # their texts were checked when they became numbers, and are taken as they are
        check, changes = {}, {}
    else:
        check, changes = {"check": model.check}, {"shift": experiment.shift}
    callbacks = [zoo.Finite(ADVICE), *callbacks]
    training = data.train.training(batch_size, steps, epochs, experiment.seed, **changes, **check)
    watched = data.validation and data.validation.inputs(batch_size, drop_remainder=_needs_static_shapes(), **check)
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


def _schedule(data: Data | Pairs, experiment: Experiment) -> tuple[int, int, int]:
    """Batch size, steps of an epoch, and steps of one call of the compiled loop, which divides them.

    An epoch gives up to a hundredth of its batches for a longer loop.
    """
    batch_size = min(experiment.batch_size, data.train.size)
    batches = data.train.size // batch_size
    loop = next(m for m in range(min(EXECUTION_STEPS, batches), 0, -1) if batches % m <= batches / 100)
    return batch_size, batches - batches % loop, loop


def fit_density(model: zoo.Autoencoder, x: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """Fits the Gaussian mixture that `generate` draws from to the codes of data `(n, *shape)`.

    `train` does it for a run. A model that `fit` or `solve` trained on its own needs it before `generate` means anything.

    Args:
        labels: `(n,)`, whole numbers in [0, C), where the model's density has C classes: each gets a mixture of its own.

    Raises:
        ValueError: data that the model cannot take; labels that are missing, or no numbers of classes.
    """
    x = inputs.rows(x, model.shape)
    model.check(x)
    fit_mixture(model, model.predict(x, batch_size=1000, verbose=0)["code"], labels, seed)


def fit_mixture(model: zoo.Autoencoder, codes: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
    """As `fit_density`, from codes `(n, k)`, by expectation maximization.

    Few rows get fewer components than the model has room for; the rest keep the proportion 0, and so does a class without
    rows, which `generate_class` then refuses. The Gaussian of a single row is as wide as classes are on average.

    Raises:
        ValueError: no codes, or NaN or Inf among them; labels as in `fit_density`. The density stays as it was.
    """
    density = model.density
    inputs.require_some(codes)
    if not np.isfinite(codes).all():
        raise ValueError("Expected finite codes. Received: NaN or Inf. Try a model whose training did not diverge.")
    if density.classes:
        if labels is None:
            raise ValueError(
                f"Expected labels for a density of {density.classes} classes. Received: labels=None. Try labels=…."
            )
        labels = inputs.labels(labels, density.classes, len(codes))
        groups = [codes[labels == label] for label in range(density.classes)]
    else:
        groups = [codes]
    spread = _spread(groups)
    parts = [_mixture(group, density.components, seed, spread) for group in groups]
    shares = np.array([len(group) for group in groups]) / len(codes)
    proportions, means, covariances = (np.stack(column) for column in zip(*parts, strict=True))
    density.assign(shares[:, None] * proportions, means, covariances)


def _spread(groups: list[np.ndarray]) -> np.ndarray:
    """Covariance `(k, k)` of codes around the means of their groups, over all groups."""
    centred = np.concatenate([group - group.mean(axis=0) for group in groups if len(group)]).astype("float64")
    free = len(centred) - sum(1 for group in groups if len(group))
    return centred.T @ centred / max(free, 1) + 1e-6 * np.eye(centred.shape[1])


def _mixture(codes: np.ndarray, room: int, seed: int, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proportions `(M,)`, means `(M, k)` and covariances `(M, k, k)` of at most `room` = M Gaussians; `spread` is the
    covariance of a single row's."""
    k = codes.shape[1]
    proportions, means, covariances = np.zeros(room), np.zeros((room, k)), np.tile(np.eye(k), (room, 1, 1))
    used = int(np.clip(len(codes) // (5 * (k + 1)), 1, room))
    if len(codes) == 1:
        proportions[0], means[0], covariances[0] = 1.0, codes[0], spread
    elif len(codes):
        codes = np.random.default_rng(seed).permutation(codes)[:MOST_CODES].astype("float64")
        mixture = GaussianMixture(used, random_state=seed, reg_covar=1e-6 + 1e-4 * codes.var())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture near its optimum serves as well
            mixture.fit(codes)
        proportions[:used], means[:used], covariances[:used] = mixture.weights_, mixture.means_, mixture.covariances_
    return proportions, means, covariances
