"""The experiments that come with the project."""

import shlex

from training.experiments.experiment import Experiment
from training.experiments.names import near
from training.experiments.values import text


def find(name: str) -> Experiment:
    """The project's experiment of this name.

    Raises:
        ValueError: there is none; the message has similar names.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"Expected the name of an experiment. Received: {name!r}. {near(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


def command(experiment: Experiment) -> str:
    """The command that trains an experiment; of one that follows from its data, the command that lets it follow again."""
    base, words = EXPERIMENTS.get(experiment.name), ["python -m training train"]
    if base:
        words.append(experiment.name)
        changes = experiment.changes(base)
    else:
        defaults = {key: setting.default for key, setting in experiment.schema.items()}
        own = [key for key, value in experiment.settings.items() if key not in experiment.reasons and value != defaults[key]]
        own.sort(key=lambda key: key != "data.dataset")
        changes = {key: experiment.settings[key] for key in own if key != "kind"}
    words += [f"--import={module}" for module in experiment.imports]
    return " ".join([*words, *(f"--{experiment.short(key)}={shlex.quote(text(value))}" for key, value in changes.items())])


def _named(name: str, about: str, **settings: object) -> Experiment:
    return Experiment(name, about).override(settings)


DIGITS = {"dataset": "digits", "validation": 0.1}
CONV_MNIST = {"dataset": "mnist", "body": "conv", "hidden": 256, "batch_size": 128}

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        _named(
            name="dense_digits_k8",
            about="A digit of 8×8 pixels as eight numbers: the experiment of `make demo`. "
            "Two cores with AMX, 12 s: test squared error 0.68, 45 % of PCA's.",
            **DIGITS,
            k=8,
            depth=3,
        ),
        _named(
            name="dense_digits_k2",
            about="A digit as two numbers, so that the code space can be drawn. "
            "Two cores with AMX, 15 s: test squared error 1.65, 49 % of PCA's.",
            **DIGITS,
            k=2,
            depth=3,
            output_activation="sigmoid",
            learning_rate=2e-3,
        ),
        _named(
            name="dense_mnist_k30",
            about="784 pixels to 30 numbers, as in Hinton and Salakhutdinov (2006), without their pretraining. "
            "Two cores with AMX, 14 min: test squared error 2.39 (theirs 3.00, PCA 13.87).",
            dataset="mnist",
            shift=1,
            k=30,
            output_activation="sigmoid",
            width=1024,
            epochs=45,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        _named(
            name="conv_mnist_k16",
            about="784 pixels to 16 numbers, through residual convolutions. "
            "Two cores with AMX, 15 min: test squared error 3.94, 0.0050 a pixel (PCA 21.06).",
            k=16,
            **CONV_MNIST,
            shift=1,
            output_activation="sigmoid",
            epochs=25,
        ),
        _named(
            name="vae_mnist",
            about="The variational autoencoder with the best likelihood, on pixels binarized at random, again in every epoch. "
            "Two cores with AMX, 23 min: −log p(x) 81.6 nats with 200 samples.",
            k=32,
            **CONV_MNIST,
            bottleneck="gaussian",
            likelihood="bernoulli",
            binarize="dynamic",
            kl_warmup=0.05,
            epochs=50,
            nll_samples=200,
        ),
        _named(
            name="vae_mnist_8bit",
            about="A variational autoencoder of the 256 grey levels of raw digits, each a mixture of logistic distributions. "
            "Two cores with AMX, 25 min: −log p(x) below 645.2 nats, 1.19 bits a pixel.",
            **{**CONV_MNIST, "hidden": 128},
            k=40,
            bottleneck="gaussian",
            likelihood="logistic_mixture",
            kl_warmup=0.15,
            epochs=36,
        ),
        _named(
            name="vae_mnist_k2",
            about="A digit as two numbers, invariant to its position, rotation and slant. "
            "Two cores with AMX, 4 min: 1-nearest-neighbour error on the codes 14.7 % (PCA 61.0 %).",
            dataset="mnist",
            k=2,
            width=512,
            depth=3,
            activation="relu",
            bottleneck="gaussian",
            beta=0.1,
            corruption="affine",
            output_activation="sigmoid",
            epochs=40,
            batch_size=200,
            learning_rate=1.5e-3,
        ),
        _named(
            name="vqvae_mnist",
            about="A vector-quantized autoencoder: a digit as 16 entries of a codebook of 256, 128 bits. "
            "Two cores with AMX, 10 min: test squared error 3.13, perplexity of the codebook 230.",
            **CONV_MNIST,
            bottleneck="vector_quantized",
            tokens=16,
            shift=1,
            output_activation="sigmoid",
            epochs=15,
        ),
        _named(
            name="rounded_mnist",
            about="A digit as whole numbers in few bits, for lossy compression; --rate=λ weighs bits against errors.",
            **{**CONV_MNIST, "hidden": 0},
            k=96,
            bottleneck="rounded",
            rate=0.1,
            entropy="histograms",
            shift=1,
            output_activation="sigmoid",
            epochs=15,
        ),
        _named(
            name="affine_mnist_k16",
            about="A digit as 16 numbers, invariant to its position, rotation and slant, for learning from few labels. "
            "Two cores with AMX, 2 min: 13.4 % error with 100 labels and a linear head (24.1 % from scratch).",
            dataset="mnist",
            k=16,
            width=768,
            depth=3,
            activation="relu",
            corruption="affine",
            output_activation="sigmoid",
            epochs=20,
            batch_size=200,
        ),
        _named(
            name="denoising_mnist_k64",
            about="An autoencoder that removes Gaussian noise of any strength up to 0.5. "
            "Two cores with AMX, 4 min: 21.2 dB at noise 0.3 (without noise in training 17.6, Gaussian blur 16.9).",
            dataset="mnist",
            k=64,
            width=1024,
            activation="relu",
            corruption="noise",
            noise=0.5,
            shift=1,
            output_activation="sigmoid",
            epochs=15,
            batch_size=200,
        ),
        _named(
            name="anomaly_mnist",
            about="A variational autoencoder of all digits but one, which it then detects as an anomaly; --left_out=DIGIT. "
            "Two cores with AMX, 1 min: mean AUROC over the ten digits 0.81 by `score`, 0.89 by `score_code`.",
            dataset="mnist",
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
        _named(
            name="classifier_mnist",
            about="A convolutional classifier trained on all labels; its features are used to judge generated digits. "
            "Two cores with AMX, 5 min: test error 0.42 %.",
            kind="predictor",
            k=64,
            **CONV_MNIST,
            shift=2,
            epochs=12,
        ),
        _named(
            name="slant_mnist",
            about="How far a digit leans, learned from 1,000 examples with the encoder of `conv_mnist_k16`. "
            "Two cores with AMX, 14 s: R² 0.89 on the test digits.",
            kind="predictor",
            dataset="mnist",
            target="slant",
            encoder="pretrained",
            pretrained="conv_mnist_k16",
            frozen=True,
            labels=1000,
            epochs=40,
            learning_rate=2e-2,
        ),
        _named(
            name="linear_mnist_k16",
            about="The linear autoencoder by gradient descent, which reaches the error of PCA. "
            "Two cores with AMX, 14 s: test squared error 21.0586 (PCA 21.0585).",
            dataset="mnist",
            k=16,
            body="linear",
            epochs=20,
            batch_size=200,
            learning_rate=3e-3,
            warmup=0.05,
        ),
        _named(
            name="pca_mnist_k30",
            about="The linear autoencoder in closed form: 30 principal components of MNIST. "
            "Two cores with AMX, 1 s: test squared error 13.87.",
            dataset="mnist",
            k=30,
            body="linear",
            optimizer="closed_form",
        ),
        _named(
            name="pca_digits_k8",
            about="The linear autoencoder in closed form: eight principal components of the digits. "
            "Two cores with AVX2, less than a second: test squared error 1.53.",
            **DIGITS,
            k=8,
            body="linear",
            optimizer="closed_form",
        ),
        _named(
            name="single_layer_digits_k3",
            about="x̃ = f₂(V f₁(W x + b) + c) with k = 3, f₁ = tanh, f₂ = sigmoid: what two non-linearities add to PCA. "
            "Two cores with AMX, 10 s: test squared error 2.69 (PCA 2.81).",
            **DIGITS,
            k=3,
            body="linear",
            code_activation="tanh",
            output_activation="sigmoid",
            epochs=400,
            learning_rate=1e-2,
        ),
        _named(
            name="g2p_cmudict",
            about="English spelling to pronunciation, by a transformer with 0.9 million weights. "
            "Two cores with AMX, 55 min: word error rate without stress 26.3 %, phone error rate 6.3 %, with a beam of five.",
            dataset="cmudict/random",
            kind="pairs",
            batch_size=256,
            epochs=45,
            learning_rate=2e-3,
        ),
        _named(
            name="penguins_mixed_k2",
            about="A penguin, of species, island, sex, year and four measures, as two numbers. What is missing is filled in. "
            "Two cores with AMX, 17 s: error of hidden cells 0.51, in units of that of mean and mode (PCA 0.69).",
            kind="tables",
            dataset="penguins",
            k=2,
            width=64,
            frequencies=0,
            epochs=300,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=0.1,
            keep="best",
        ),
        _named(
            name="denoising_words",
            about="A denoising autoencoder of English words, which corrects dropped, doubled and swapped letters. "
            "Two cores with AMX, 19 min, with other programs running: 39.7 % of unseen words restored, 64.0 % among five.",
            dataset="misspellings",
            kind="pairs",
            width=96,
            depth=3,
            batch_size=256,
            epochs=8,
            learning_rate=2e-3,
        ),
    )
}
