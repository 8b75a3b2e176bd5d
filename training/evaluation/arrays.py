"""Evaluation of autoencoders: their error compared with PCA, their likelihood, and what they generate."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

import zoo
from training.data.splits import Data, Split
from training.experiments.experiment import Experiment
from training.progress import stage
from zoo import noise
from zoo.arguments import require_whole
from zoo.coding.rounded import Rounded
from zoo.registry import register

# What needs scikit-learn, or as large a part of SciPy, is imported when it is used: training starts without it.

BATCH = 1000
DECODED = 10_000  # most codes that are decoded at once for a likelihood
GENERATED = 10_000  # most generated examples that are evaluated
ACTIVE = 0.01  # variance above which a code dimension is active


def encode(model: zoo.Autoencoder, split: Split, verb: Callable | None = None) -> dict[str, np.ndarray]:
    """`codes` `(n, k)`, `ids` `(n,)` and, if there are labels, `labels` `(n,)` of a split, in its order; codes are those of
    `encode`, unless another verb is given."""
    parts = {"codes": [], "ids": [], "labels": []}
    for rows in split.batches(BATCH):
        model.check(rows["x"])  # a stream has not been checked before
        parts["codes"].append(numpy((verb or model.encode)(rows["x"])))
        parts["ids"].append(rows["id"])
        if "label" in rows:
            parts["labels"].append(rows["label"])
    return {name: np.concatenate(column) for name, column in parts.items() if column}


def baseline(data: Data, k: int, scaling: keras.layers.Layer | None = None) -> zoo.LinearAutoencoder | None:
    """PCA of equal k in the units of a scaling, fitted to the training split; None if k ≥ d, which leaves no error, or if there
    are too many dimensions."""
    d = int(np.prod(data.shape))
    if k >= d or d > zoo.LARGEST_COVARIANCE:
        return None
    return zoo.pca((batch["x"] for batch in data.train.batches()), k, data.shape, scaling)


def evaluate(
    model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data, experiment: Experiment
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Evaluates a trained model on the test split, and PCA as the baseline, if there is one.

    Returns:
        The metrics, and the arrays of `codes.npz`: for each split `SPLIT_codes`, `SPLIT_ids` and `SPLIT_labels`.

    Metrics: `squared_error` is Σᵢ (xᵢ − x̃ᵢ)² averaged over examples, `mse` the same divided by d, both in the units of the
    data; `scaled_error`, of a model that standardizes, is that of `scaled_error`; `pca/…` are the same of PCA.
    With labels: `knn/error`, 1-nearest-neighbour on the codes; `probe/accuracy`, logistic regression on the standardized codes;
    `kmeans/purity` and `kmeans/ari`, with as many clusters as classes. All three are fitted to the training split and evaluated
    on the test split. The other metrics are those of `anomaly`, `likelihood`, `codebook` and `generated`, if the model and the
    data have what these need.
    """
    with stage("encoding"):
        encoded = {name: encode(model, split) for name, split in data.splits.items()}
    with stage("evaluating: errors"):
        metrics = _errors(model, pca, data)
    if data.classes is not None:
        with stage("evaluating: what the codes know of the labels"):
            metrics |= _labels(pca, data, encoded, experiment.seed)
    left_out = experiment.get("data.left_out", -1)
    if left_out >= 0:
        metrics |= anomaly(model, data.test, left_out)
    with stage("evaluating: likelihood"):
        metrics |= likelihood(model, data, experiment) | codebook(model, encoded["test"]["codes"])
    if model.entropy is not None:
        with stage("evaluating: rounded codes"):
            metrics |= rounded(model, data.test)
    with stage("evaluating: generated examples"):
        metrics |= generated(model, pca, data, encoded["train"]["codes"])
    arrays = {f"{split}_{name}": column for split, part in encoded.items() for name, column in part.items()}
    return {name: float(value) for name, value in metrics.items()}, arrays


def _errors(model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data) -> dict[str, float]:
    """Errors of the model and of PCA on the test split, and those that tell how well the training data are learnt."""
    metrics = {}
    for name, evaluated in {"test": model, **({"pca": pca} if pca else {})}.items():
        if model.scaling is not None:
            metrics[f"{name}/scaled_error"] = scaled_error(evaluated, data.test)
        metrics[f"{name}/squared_error"] = squared_error(evaluated, data.test)
        metrics[f"{name}/mse"] = metrics[f"{name}/squared_error"] / np.prod(data.shape)
    metrics["test/score"] = average(data.test, model.score)
    metrics["train/squared_error"] = squared_error(model, data.train)
    return metrics


def _labels(pca: zoo.Autoencoder | None, data: Data, encoded: dict[str, dict[str, np.ndarray]], seed: int) -> dict[str, float]:
    """The metrics of `codes.judge`, and the error of the nearest neighbour on PCA's codes."""
    from training.evaluation import codes

    train, test = encoded["train"], encoded["test"]
    metrics = codes.judge(train["codes"], train["labels"], test["codes"], test["labels"], seed)
    if pca:
        train_codes, test_codes = (encode(pca, split)["codes"] for split in (data.train, data.test))
        metrics["pca/knn_error"] = codes.knn_error(train_codes, train["labels"], test_codes, test["labels"])
    return metrics


def anomaly(model: zoo.Autoencoder, split: Split, left_out: int) -> dict[str, float]:
    """`anomaly/VERB_auroc`: how well a low `score` or `score_code` separates the class `left_out` from the other classes."""
    from sklearn.metrics import roc_auc_score

    metrics, unknown = {}, np.concatenate([rows["label"] for rows in split.batches(BATCH)]) == left_out
    for verb in ("score", "score_code"):
        metrics[f"anomaly/{verb}_auroc"] = roc_auc_score(unknown, -answers(getattr(model, verb), split))
    return metrics


@register("evaluation", "likelihood")
class Bound:
    """The likelihood of the test split, for models whose codes are drawn.

    Args:
        nll_samples: number of codes per test example in the estimate of log p(x); 0: only the bound is computed.
    """

    def __init__(self, nll_samples: int = 0):
        require_whole(0, nll_samples=nll_samples)
        self.nll_samples = nll_samples


def likelihood(model: zoo.Autoencoder, data: Data, experiment: Experiment) -> dict[str, float]:
    """The likelihood of the test split under a model whose codes are drawn, in nats per example; empty for other models.

    These are the metrics of `elbo` and, if `nll_samples` > 0, `nll/NUMBER_samples_BINARIZATION`: −log p(x) by importance
    sampling, an upper bound in expectation; and `nll/bits_per_dimension…`, the same in bits, if values are levels.
    """
    if not model.bottleneck.drawn:
        return {}
    metrics, samples = elbo(model, data, experiment), experiment.get("evaluation.nll_samples", 0)
    if samples:
        key = f"{samples}_samples_{_binarization(experiment)}"
        metrics[f"nll/{key}"] = nll(model, data.test, samples)
        if hasattr(model.likelihood, "levels"):  # a probability of the data, not a density
            metrics[f"nll/bits_per_dimension_{key}"] = metrics[f"nll/{key}"] / (np.prod(data.shape) * np.log(2))
    return metrics


def elbo(model: zoo.Autoencoder, data: Data, experiment: Experiment) -> dict[str, float]:
    """`negative_elbo/BINARIZATION` of the test split in nats, with one draw of the code per example, and its two parts: the
    Kullback–Leibler divergence `kl` and the `reconstruction`. `active_units`: the number of code dimensions whose mean has a
    variance above 0.01 over the data (Burda et al., 2016).
    """
    outputs = [model.predict_on_batch(rows["x"]) for rows in data.test.batches(BATCH)]
    kl, reconstruction = (float(np.concatenate([row[name] for row in outputs]).mean()) for name in ("kl", "reconstruction"))
    return {
        f"negative_elbo/{_binarization(experiment)}": kl + reconstruction,
        "negative_elbo/kl": kl,
        "negative_elbo/reconstruction": reconstruction,
        "active_units": int(np.sum(active_units(np.concatenate([row["code"] for row in outputs])))),
    }


def _binarization(experiment: Experiment) -> str:
    binarize = experiment.get("data.binarize", "none")
    return "as_is" if binarize == "none" else f"{binarize}_binarization"


def nll(model: zoo.Autoencoder, split: Split, samples: int) -> float:
    """−log p(x) in nats, averaged over a split, by importance sampling with this number of codes per example."""
    rows = max(1, DECODED // samples)
    if keras.backend.backend() == "tensorflow":
        estimate = tf.function(model.log_likelihood, autograph=False, reduce_retracing=True)
    else:
        estimate = model.log_likelihood
    total, done = 0.0, 0
    for batch in split.batches(rows):
        seeds = np.arange(done, done + len(batch["x"]), dtype="int32")
        total -= float(np.sum(numpy(estimate(batch["x"], keras.ops.convert_to_tensor(seeds), samples)), dtype="float64"))
        done += len(seeds)
    return total / split.size


def active_units(codes: np.ndarray) -> np.ndarray:
    """Which dimensions of the posterior means `(n, k)` are active, with a variance above 0.01: booleans `(k,)`."""
    return codes.var(axis=0) > ACTIVE


def codebook(model: zoo.Autoencoder, codes: np.ndarray) -> dict[str, float]:
    """For a vector-quantized model: the bits of a code, at most and under the prior, −log₂ p(indices), and the perplexity
    exp(entropy) of the entries in codes `(n, k)`."""
    if not model.bottleneck.discrete:
        return {}
    from scipy.stats import entropy

    indices = numpy(model.bottleneck.symbols(codes))
    counts = np.bincount(indices.ravel(), minlength=model.bottleneck.entries)
    return {
        "codebook/perplexity": float(np.exp(entropy(counts))),
        "codebook/bits": model.bottleneck.bits,
        "codebook/prior_bits": -float(np.mean(_batched(model.prior.log_prob, indices), dtype="float64") / np.log(2)),
    }


def rounded(model: zoo.Autoencoder, split: Split) -> dict[str, float]:
    """What lossy compression of a split comes to: `lossy/bits` of a rounded code, averaged over examples, and the same divided
    by d, `lossy/bits_per_value`; `lossy/squared_error` of what is decoded of it; and `lossy/psnr`, −10 log₁₀ of the same
    divided by d, in dB of the peak 1."""
    mode, bits, error = Rounded(model, {"dtype": "float32"}), 0.0, 0.0
    for rows in split.batches(BATCH):
        integers = mode.integers(rows["x"])
        bits += float(np.sum(mode.bits(integers)))
        error += float(np.sum(np.square(rows["x"] - mode.values(integers)), dtype="float64"))
    d = np.prod(model.shape)
    return {
        "lossy/bits": bits / split.size,
        "lossy/bits_per_value": bits / split.size / d,
        "lossy/squared_error": error / split.size,
        "lossy/psnr": -10 * np.log10(max(error / split.size / d, 1e-30)),
    }


def generated(model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data, codes: np.ndarray) -> dict[str, float]:
    """Compares generated examples with the test split, in the features of the data set's classifier; empty without one.

    `frechet_CLASSIFIER/…`: the Fréchet distance of examples from `generate`; from a standard normal distribution of codes
    (`normal`), if codes are drawn, or else a single Gaussian fitted to them (`gaussian`); and from PCA of equal k with a single
    Gaussian.
    `generate/precision` and `generate/recall`. `copying/…`: the distance to the nearest training example.
    `generate_class/agreement`: how often the classifier finds the requested class.
    """
    from training.evaluation import generation

    classifier = generation.judge(data.name, data.shape)
    if classifier is None or any(split.arrays is None for split in data.splits.values()):
        return {}
    test, train = (split.arrays.get("grey", split.arrays["x"]) for split in (data.test, data.train))
    count = min(len(test), GENERATED)
    seeds = np.arange(count, dtype="int32")
    examples = {"generate": _batched(model.generate, seeds)}
    if model.bottleneck.drawn:
        examples["normal"] = _batched(lambda seeds: model.decode(noise.normal(seeds, model.k)), seeds)
    else:
        examples["gaussian"] = _batched(model.decode, _gaussian(codes, count))
    if pca:
        examples["pca_gaussian"] = _batched(pca.decode, _gaussian(encode(pca, data.train)["codes"], count))
    real, *others = (_batched(classifier.encode, x).astype("float64") for x in (test, *examples.values()))  # (n, f) features
    features = dict(zip(examples, others, strict=True))
    metrics = {f"frechet_classifier_{data.name}/{name}": generation.frechet_distance(real, x) for name, x in features.items()}
    metrics["generate/precision"], metrics["generate/recall"] = generation.precision_recall(real[:count], features["generate"])
    held_out, nearest = generation.copying(train, test, examples["generate"])
    metrics |= {"copying/held_out": held_out, "copying/generated": nearest}
    if model.prior.classes:
        labels = model.prior.fitted[seeds % len(model.prior.fitted)]
        answers = _batched(classifier.classify, _batched(model.generate_class, labels, seeds))
        metrics["generate_class/agreement"] = np.mean(answers.argmax(axis=1) == labels)
    return metrics


def squared_error(model: zoo.Autoencoder, split: Split) -> float:
    """L_SE = Σᵢ (xᵢ − x̃ᵢ)² of the reconstructions, averaged over the examples of a split."""

    def error(x):
        difference = x - numpy(model.reconstruct(x))
        return np.sum(np.square(difference).reshape(len(x), -1), axis=1, dtype="float64")

    return average(split, error)


def scaled_error(model: zoo.Autoencoder, split: Split) -> float:
    """(xᵢ − x̃ᵢ)² divided by the variance of its dimension in the training split, averaged over dimensions and examples: 1 − R².
    Constant dimensions count as they are."""
    scale = numpy(model.scaling.scale)

    def error(x):
        return np.mean(np.square((x - numpy(model.reconstruct(x))) / scale).reshape(len(x), -1), axis=1, dtype="float64")

    return average(split, error)


def average(split: Split, values: Callable[[np.ndarray], Iterator[float]]) -> float:
    """The average over the examples of a split of values `(B,)` of batches."""
    total = sum(float(np.sum(numpy(values(rows["x"])))) for rows in split.batches(BATCH))
    return total / split.size


def _batched(verb: Callable, *columns: np.ndarray) -> np.ndarray:
    """The outputs of a verb for columns of any length, computed in batches."""
    starts = range(0, len(columns[0]), BATCH)
    return np.concatenate([numpy(verb(*(column[i : i + BATCH] for column in columns))) for i in starts])


def answers(verb: Callable, split: Split) -> np.ndarray:
    """The outputs of a verb for the data of a split."""
    return np.concatenate([numpy(verb(rows["x"])) for rows in split.batches(BATCH)])


def _gaussian(codes: np.ndarray, count: int) -> np.ndarray:
    """Draws `(count, k)` from one Gaussian with the moments of codes `(n, k)`."""
    drawn = np.random.default_rng(0).multivariate_normal(codes.mean(axis=0), np.cov(codes, rowvar=False), count)
    return drawn.astype("float32")


def numpy(tensor: keras.KerasTensor) -> np.ndarray:
    """A tensor of any backend as a NumPy array."""
    return keras.ops.convert_to_numpy(tensor)
