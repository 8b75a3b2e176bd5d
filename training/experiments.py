"""Experiments: flat, typed descriptions of a training run, and the ones that come with the project."""

import dataclasses
import difflib
import math
from collections.abc import Iterable

ACTIVATIONS = ("linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid")
CHOICES = {
    "binarize": ("none", "static", "dynamic"),
    "body": ("dense", "conv", "transformer"),
    "bottleneck": ("deterministic", "gaussian", "vector_quantized"),
    "activation": ACTIVATIONS,
    "code_activation": ACTIVATIONS,
    "output_activation": ACTIVATIONS,
    "likelihood": ("squared_error", "bernoulli", "discretized_gaussian"),
    "precision": ("auto", "float32", "mixed_bfloat16"),
    "target": ("none", "label", "slant"),
    "solver": ("gradient", "closed_form"),
}
OTHER_NAMES = {  # of settings, in other projects
    "bs": "batch_size",
    "code_size": "k",
    "data": "dataset",
    "dtype": "precision",
    "latent_dim": "k",
    "layers": "depth",
    "loss": "likelihood",
    "lr": "learning_rate",
    "model": "body",
    "random_state": "seed",
    "units": "width",
}
LIKE = 0.75  # likeness of names from which on one may have been meant for the other
POSITIVE = ("k", "width", "epochs", "batch_size", "learning_rate", "memory_gib", "samples", "token_width", "entries", "heads")
POSITIVE += ("decoder_depth",)
NOT_NEGATIVE = ("depth", "hidden", "image_size", "shift", "weight_decay", "seed", "sparsity", "beta", "free_bits")
NOT_NEGATIVE += ("mixture", "noise", "affine", "nll_samples", "labels", "levels")
FRACTIONS = ("validation", "warmup", "kl_warmup", "dropout", "label_smoothing")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One model on one data set. Every field can be overridden on the command line as --field=value.

    A dense encoder has `depth` layers of `width`, width/2, width/4 … units; depth 0 is the single-layer network, which is
    linear when both activations are. A convolutional one has `width` channels where the image is halved first, twice as many
    at every further level, `depth` residual blocks at each, and a layer of `hidden` units at the end. The decoder is the
    encoder's mirror image. A transformer, for pairs of texts, has states of `width` numbers, `depth` blocks in the encoder and
    `decoder_depth` in the decoder; of the settings below it takes those under Transformer and Training, and the data set.
    """

    name: str
    about: str = ""

    # Data
    dataset: str = "digits"  # a TFDS name, folder:DIR, npz:FILE or npy:FILE; of texts a TFDS name or pairs:FILE.tsv
    validation: float = 0.1  # share of the training split that is watched, not trained on
    memory_gib: float = 2.0  # a split up to this size is held in memory, a larger one is streamed
    image_size: int = 0  # images of a folder are cropped and resized to this height and width; 0: as they are
    shift: int = 0  # augmentation: batches of images moved by up to this many pixels either way
    binarize: str = "none"  # static: grey levels drawn to 0 or 1 once; dynamic: anew in every epoch of training
    left_out: int = -1  # number of a class that is trained without, for anomaly detection; -1: none

    # Model
    body: str = "dense"
    k: int = 8
    width: int = 512
    depth: int = 2
    hidden: int = 0  # conv: units of a fully connected layer next to the bottleneck; 0: none
    activation: str = "gelu"
    bottleneck: str = "deterministic"
    code_activation: str = "linear"  # f₁ of deterministic
    sparsity: float = 0.0  # deterministic: nats for each unit of |code|
    beta: float = 1.0  # gaussian: weight of the KL divergence
    free_bits: float = 0.0  # gaussian: nats that each dimension may use for nothing
    kl_warmup: float = 0.0  # gaussian: share of the steps on which the weight of the KL divergence rises from nothing
    samples: int = 1  # gaussian: codes for an input; above 1 the importance-weighted bound
    entries: int = 256  # vector_quantized: size of the codebook
    token_width: int = 4  # vector_quantized: numbers in a vector; a code has k / token_width vectors
    noise: float = 0.0  # denoising: the input gets Gaussian noise of up to this standard deviation
    affine: float = 0.0  # denoising: the input is moved, turned, scaled and slanted; 1: by ±2 pixels, 15°, 15 %, 0.3
    likelihood: str = "squared_error"
    levels: int = 0  # discretized_gaussian: grey levels of a value; 0: those of the training data, 256 where it has no grid
    output_activation: str = "linear"  # f₂ of squared_error; bernoulli has its own
    mixture: int = 10  # Gaussians in the density over the codes, for each class where there are labels; 0: standard normal
    overcomplete: bool = False

    # Transformer: width, depth, and
    decoder_depth: int = 1
    heads: int = 4
    dropout: float = 0.1  # share of the numbers that a block adds
    label_smoothing: float = 0.1  # share of the probability that is wanted spread over the tokens that may be written

    # Predictor: with a target, an encoder with a head takes the autoencoder's place
    target: str = "none"  # label: a classifier; slant: a regressor of how far images lean, pixels to the right per pixel up
    pretrained: str = ""  # preset, or folder of a run, whose encoder is taken over; without one it starts from scratch
    frozen: bool = False  # keep that encoder as it is
    labels: int = 0  # targets that are known, as many of each class; 0: all

    # Training
    solver: str = "gradient"  # closed_form: PCA, for the linear network
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3  # the highest; it decays to nothing along a cosine
    warmup: float = 0.02  # share of the steps on which the rate rises from nothing
    weight_decay: float = 0.0
    # Of the arithmetic in training; the weights are float32, and so is the finished model. auto: mixed_bfloat16 for
    # convolutions and transformers where the device has it in hardware, else float32.
    precision: str = "auto"
    seed: int = 0

    # Evaluation
    nll_samples: int = 0  # codes for each test example in the estimate of log p(x), for a model with a prior; 0: none

    def __post_init__(self):
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                hint = near(str(getattr(self, key)), allowed)
                raise ValueError(f"Expected {key} to be one of {', '.join(allowed)}. {_received(key, self)} {hint}")
        linear = {"body": "dense", "depth": 0, "likelihood": "squared_error", "bottleneck": "deterministic", "target": "none"}
        other = {key: getattr(self, key) for key, value in linear.items() if getattr(self, key) != value}
        if self.solver == "closed_form" and other:
            wanted, received = (", ".join(f"{key}={value}" for key, value in part.items()) for part in (linear, other))
            raise ValueError(
                f"Expected the linear network for solver=closed_form: {wanted}. Received: {received}. Try --solver=gradient."
            )
        if self.body == "transformer" and (self.target != "none" or self.width % (2 * self.heads)):
            raise ValueError(
                "Expected a transformer of a width that is an even multiple of heads, and without a target. Received: "
                f"width={self.width}, heads={self.heads}, target={self.target}. Try --width={32 * self.heads} --target=none."
            )
        if self.target == "none" and (self.pretrained or self.frozen or self.labels):
            raise ValueError(
                f"Expected a target beside pretrained, frozen or labels. Received: pretrained={self.pretrained!r}, "
                f"frozen={self.frozen}, labels={self.labels}. Try --target=label."
            )
        if self.bottleneck == "vector_quantized" and self.k % self.token_width:
            raise ValueError(
                f"Expected k to be a multiple of token_width. Received: k={self.k}, token_width={self.token_width}. "
                f"Try --k={self.token_width * max(1, self.k // self.token_width)}."
            )
        if self.levels == 1:
            raise ValueError("Expected at least two levels, or 0 for those of the data. Received: levels=1. Try --levels=0.")
        for key in POSITIVE:
            if not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"Expected {key} above 0. {_received(key, self)}")
        for key in NOT_NEGATIVE:
            if not 0 <= getattr(self, key) < math.inf:
                raise ValueError(f"Expected {key} of at least 0. {_received(key, self)}")
        for key in FRACTIONS:
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"Expected {key} in [0, 1). {_received(key, self)}")

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(max(1, self.width >> layer) for layer in range(self.depth))

    def changes(self, other: "Experiment") -> dict[str, object]:
        """The settings in which this one differs from another, with its values."""
        return {key: getattr(self, key) for key in FIELDS if getattr(self, key) != getattr(other, key)}

    @property
    def command(self) -> str:
        """The command line that trains this experiment."""
        base = EXPERIMENTS.get(self.name)
        words = [f"--{key}={value}" for key, value in self.changes(base).items()] if base else []
        return " ".join(["python -m training train", self.name, *words])

    def override(self, texts: dict[str, str]) -> "Experiment":
        """This experiment with fields replaced by what their texts say.

        Raises:
            ValueError: an unknown field, with the near names; a text that is not of the field's type.
        """
        return dataclasses.replace(self, **{key: parse(key, text) for key, text in texts.items()})


FIELDS = {field.name: field for field in dataclasses.fields(Experiment) if field.name not in ("name", "about")}


def parse(key: str, text: str) -> int | float | bool | str:
    """The value of a field from its text on the command line."""
    if key not in FIELDS:
        hint = near(OTHER_NAMES.get(key, key), FIELDS, ("python -m training list",))
        raise ValueError(f"Expected the name of a setting. Received: --{key}. {hint}")
    kind = FIELDS[key].type
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = "true or false" if kind is bool else f"a value of type {kind.__name__}"
        example = str(FIELDS[key].default).lower()
        raise ValueError(f"Expected {wanted} for {key}. Received: {text!r}. Try --{key}={example}.") from None


def find(name: str) -> Experiment:
    """The project's experiment of this name; an unknown one raises ValueError with the near names."""
    if name not in EXPERIMENTS:
        raise ValueError(f"Expected the name of an experiment. Received: {name!r}. {near(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


def near(name: str, names: Iterable[str], otherwise: Iterable[str] | None = None) -> str:
    """A hint with up to three names that look like `name`, as a whole or in one of their words; where none does, with
    `otherwise` or all of them."""

    def likeness(candidate: str) -> tuple[float, float]:
        whole, *words = (_likeness(name, part) for part in (candidate, *candidate.split("_")))
        return max(whole, *words), whole

    found = sorted((each for each in names if likeness(each)[0] >= LIKE), key=likeness, reverse=True)[:3]
    return f"Try {' or '.join(found or otherwise or sorted(names))}."


def _likeness(name: str, other: str) -> float:
    """From 0 to 1: the share of characters that two names have in common, in order, whatever their case."""
    return difflib.SequenceMatcher(None, name.lower().replace("-", "_"), other.lower()).ratio()


def _received(key: str, experiment: Experiment) -> str:
    return f"Received: {key}={getattr(experiment, key)!r}."


CONV_MNIST = {
    "dataset": "mnist",
    "body": "conv",
    "width": 32,
    "depth": 1,
    "hidden": 256,
    "activation": "relu",
    "batch_size": 128,
}

TRANSFORMER = {
    "body": "transformer",
    "width": 128,
    "depth": 4,
    "batch_size": 256,
}

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="dense_digits_k8",
            about="Eight numbers for a digit of 8×8: the experiment of `make demo`. "
            "Two cores with AMX, 12 s: test squared error 0.68, 45 % of PCA's.",
            k=8,
            depth=3,
        ),
        Experiment(
            name="dense_digits_k2",
            about="Two numbers for a digit, for looking at: every example has its place in the plane. "
            "Two cores with AMX, 15 s: test squared error 1.65, 49 % of PCA's.",
            k=2,
            depth=3,
            output_activation="sigmoid",
            learning_rate=2e-3,
        ),
        Experiment(
            name="dense_mnist_k30",
            about="Hinton and Salakhutdinov's (2006) setting, 784 pixels to 30 numbers, without their pretraining. "
            "Two cores with AMX, 14 min: test squared error 2.39 (theirs 3.00, PCA 13.87).",
            dataset="mnist",
            validation=0.0,
            shift=1,
            k=30,
            output_activation="sigmoid",
            width=1024,
            epochs=45,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        Experiment(
            name="conv_mnist_k16",
            about="784 pixels to 16 numbers, through residual convolutions. "
            "Two cores with AMX, 15 min: test squared error 3.94, 0.0050 a pixel (PCA 21.06).",
            validation=0.0,
            k=16,
            **CONV_MNIST,
            shift=1,
            output_activation="sigmoid",
            epochs=25,
        ),
        Experiment(
            name="vae_mnist",
            about="The variational autoencoder with the best likelihood, on pixels drawn to 0 or 1 anew in every epoch. "
            "Two cores with AMX, 23 min: −log p(x) 83.7 nats by 200 samples.",
            validation=0.0,
            k=32,
            **CONV_MNIST,
            bottleneck="gaussian",
            likelihood="bernoulli",
            binarize="dynamic",
            kl_warmup=0.05,
            epochs=50,
            nll_samples=200,
        ),
        Experiment(
            name="vae_mnist_k2",
            about="Two numbers for looking at, which leave out how a digit is placed, turned and slanted. "
            "Two cores with AMX, 4 min: 1-nearest-neighbour error on the codes 14.7 % (PCA 61.0 %).",
            dataset="mnist",
            validation=0.0,
            k=2,
            width=512,
            depth=3,
            activation="relu",
            bottleneck="gaussian",
            beta=0.1,
            affine=1.0,
            output_activation="sigmoid",
            epochs=40,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        Experiment(
            name="vqvae_mnist",
            about="A vector-quantized autoencoder: a digit in 16 entries of a codebook of 256, 128 bits. "
            "Two cores with AMX, 10 min: test squared error 3.13, perplexity of the codebook 230.",
            validation=0.0,
            k=64,
            **CONV_MNIST,
            bottleneck="vector_quantized",
            token_width=4,
            entries=256,
            shift=1,
            output_activation="sigmoid",
            epochs=15,
        ),
        Experiment(
            name="affine_mnist_k16",
            about="16 numbers that leave out how a digit is placed, turned and slanted: made for few labels. "
            "Two cores with AMX, 2 min: 13.4 % error with 100 labels and a linear head (24.1 % from scratch).",
            dataset="mnist",
            validation=0.0,
            k=16,
            width=768,
            depth=3,
            activation="relu",
            affine=1.0,
            output_activation="sigmoid",
            epochs=20,
            batch_size=200,
        ),
        Experiment(
            name="denoising_mnist_k64",
            about="An autoencoder that takes Gaussian noise of any strength up to 0.5 away. "
            "Two cores with AMX, 4 min: 21.2 dB at noise 0.3 (plain autoencoder 17.6, Gaussian blur 16.9).",
            dataset="mnist",
            validation=0.0,
            k=64,
            width=1024,
            activation="relu",
            noise=0.5,
            shift=1,
            output_activation="sigmoid",
            epochs=15,
            batch_size=200,
        ),
        Experiment(
            name="anomaly_mnist",
            about="A variational autoencoder of all digits but one, which it is to tell from them; --left_out=DIGIT. "
            "Two cores with AMX, 1 min: mean AUROC over the ten digits 0.81 by `score`, 0.89 by `score_code`.",
            dataset="mnist",
            validation=0.0,
            left_out=9,
            k=32,
            activation="relu",
            bottleneck="gaussian",
            output_activation="sigmoid",
            mixture=5,
            epochs=8,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        Experiment(
            name="classifier_mnist",
            about="A convolutional classifier on all labels, whose features judge generated digits. "
            "Two cores with AMX, 5 min: test error 0.42 %.",
            validation=0.0,
            k=64,
            **CONV_MNIST,
            shift=2,
            target="label",
            epochs=12,
        ),
        Experiment(
            name="slant_mnist",
            about="How far a digit leans, from 1,000 examples, on the encoder of `conv_mnist_k16`. "
            "Two cores with AMX, 14 s: R² 0.89 on the test digits.",
            dataset="mnist",
            validation=0.0,
            target="slant",
            pretrained="conv_mnist_k16",
            frozen=True,
            labels=1000,
            epochs=40,
            learning_rate=2e-2,
        ),
        Experiment(
            name="linear_mnist_k16",
            about="The linear autoencoder by gradient descent, which ends where PCA starts. "
            "Two cores with AMX, 14 s: test squared error 21.0586 (PCA 21.0585).",
            dataset="mnist",
            validation=0.0,
            k=16,
            depth=0,
            epochs=20,
            batch_size=200,
            learning_rate=3e-3,
            warmup=0.05,
        ),
        Experiment(
            name="pca_mnist_k30",
            about="The linear autoencoder in closed form: 30 principal components of MNIST. "
            "Two cores with AMX, 1 s: test squared error 13.87.",
            dataset="mnist",
            validation=0.0,
            k=30,
            depth=0,
            solver="closed_form",
        ),
        Experiment(
            name="pca_digits_k8",
            about="The linear autoencoder in closed form: eight principal components of the digits. "
            "Two cores with AVX2, less than a second: test squared error 1.53.",
            k=8,
            depth=0,
            solver="closed_form",
        ),
        Experiment(
            name="single_layer_digits_k3",
            about="x̃ = f₂(V f₁(W x + b) + c) with k = 3, f₁ = tanh, f₂ = sigmoid: what two non-linearities add to PCA. "
            "Two cores with AMX, 10 s: test squared error 2.69 (PCA 2.81).",
            k=3,
            depth=0,
            code_activation="tanh",
            output_activation="sigmoid",
            epochs=400,
            learning_rate=1e-2,
        ),
        Experiment(
            name="g2p_cmudict",
            about="English spelling to pronunciation, by a transformer of 0.9 million weights. "
            "Two cores with AMX, 55 min: word error rate without stress 26.3 %, phone error rate 6.3 %, with a beam of five.",
            dataset="cmudict/random",
            **TRANSFORMER,
            epochs=45,
            learning_rate=2e-3,
        ),
        Experiment(
            name="denoising_words",
            about="A denoising autoencoder of English words: letters that were dropped, doubled or swapped are put right. "
            "Two cores with AMX, 19 min beside other work: 39.7 % of the unseen test words found again, 64.0 % among five.",
            dataset="misspellings",
            **TRANSFORMER | {"width": 96, "depth": 3},
            epochs=8,
            learning_rate=2e-3,
        ),
    )
}
