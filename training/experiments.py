"""Experiments: flat, typed descriptions of a training run, and the ones that come with the project."""

import dataclasses
import difflib
import math
from collections.abc import Iterable

ACTIVATIONS = ("linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid")
CHOICES = {
    "activation": ACTIVATIONS,
    "code_activation": ACTIVATIONS,
    "output_activation": ACTIVATIONS,
    "likelihood": ("squared_error", "bernoulli"),
    "solver": ("gradient", "closed_form"),
}
POSITIVE = ("k", "width", "epochs", "batch_size", "learning_rate", "memory_gib", "mixture")
NOT_NEGATIVE = ("depth", "image_size", "shift", "weight_decay", "seed")
FRACTIONS = ("validation", "warmup")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One autoencoder on one data set. Every field can be overridden on the command line as --field=value.

    The encoder has `depth` layers of `width`, width/2, width/4 … units, the decoder is its mirror image; depth 0 is the
    single-layer network, which is linear when both activations are.
    """

    name: str
    about: str = ""

    # Data
    dataset: str = "digits"  # a TFDS name, folder:DIR, npz:FILE or npy:FILE
    validation: float = 0.1  # share of the training split that is watched, not trained on
    memory_gib: float = 2.0  # a split up to this size is held in memory, a larger one is streamed
    image_size: int = 0  # images of a folder are cropped and resized to this height and width; 0: as they are
    shift: int = 0  # augmentation: batches of images moved by up to this many pixels either way

    # Model
    k: int = 8
    width: int = 512
    depth: int = 2
    activation: str = "gelu"
    code_activation: str = "linear"  # f₁
    likelihood: str = "squared_error"
    output_activation: str = "linear"  # f₂ of squared_error; bernoulli has its own
    mixture: int = 10  # Gaussians in the density over the codes
    overcomplete: bool = False

    # Training
    solver: str = "gradient"  # closed_form: PCA, for the linear network
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3  # the highest; it decays to nothing along a cosine
    warmup: float = 0.02  # share of the steps on which the rate rises from nothing
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                hint = near(str(getattr(self, key)), allowed)
                raise ValueError(f"Expected {key} to be one of {', '.join(allowed)}. {_received(key, self)} {hint}")
        if self.solver == "closed_form" and (self.depth, self.likelihood) != (0, "squared_error"):
            raise ValueError(
                "Expected the linear network for solver=closed_form: depth=0 and likelihood=squared_error. "
                f"Received: depth={self.depth}, likelihood={self.likelihood}. Try --solver=gradient."
            )
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
        raise ValueError(f"Expected the name of a setting. Received: --{key}. {near(key, FIELDS)}")
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
    """A hint with the names that look like `name`; where none does, with `otherwise` or all of them."""
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Try {' or '.join(matches or otherwise or sorted(names))}."


def _received(key: str, experiment: Experiment) -> str:
    return f"Received: {key}={getattr(experiment, key)!r}."


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="dense_digits_k8",
            about="Eight numbers for a digit of 8×8: the experiment of `make demo`. "
            "Two cores, 22 s: test squared error 0.68, 45 % of PCA's.",
            k=8,
            depth=3,
        ),
        Experiment(
            name="dense_digits_k2",
            about="Two numbers for a digit, for looking at: every example has its place in the plane. "
            "Two cores, 21 s: test squared error 1.62, 48 % of PCA's.",
            k=2,
            depth=3,
            output_activation="sigmoid",
            learning_rate=2e-3,
        ),
        Experiment(
            name="dense_mnist_k30",
            about="Hinton and Salakhutdinov's (2006) setting, 784 pixels to 30 numbers, without their pretraining. "
            "Two cores, 9 min: test squared error 2.25 (theirs 3.00, PCA 13.87).",
            dataset="mnist",
            validation=0.0,
            shift=1,
            k=30,
            output_activation="sigmoid",
            width=1024,
            epochs=60,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        Experiment(
            name="linear_mnist_k16",
            about="The linear autoencoder by gradient descent, which ends where PCA starts. "
            "Two cores, 32 s: test squared error 21.0586 (PCA 21.0585).",
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
            "Two cores, 27 s, most of them for the evaluation: test squared error 13.87.",
            dataset="mnist",
            validation=0.0,
            k=30,
            depth=0,
            solver="closed_form",
        ),
        Experiment(
            name="pca_digits_k8",
            about="The linear autoencoder in closed form: eight principal components of the digits. "
            "Two cores, 8 s: test squared error 1.53.",
            k=8,
            depth=0,
            solver="closed_form",
        ),
        Experiment(
            name="single_layer_digits_k3",
            about="x̃ = f₂(V f₁(W x + b) + c) with k = 3, f₁ = tanh, f₂ = sigmoid: what two non-linearities add to PCA. "
            "Two cores, 19 s: test squared error 2.69 (PCA 2.81).",
            k=3,
            depth=0,
            code_activation="tanh",
            output_activation="sigmoid",
            epochs=400,
            learning_rate=1e-2,
        ),
    )
}
