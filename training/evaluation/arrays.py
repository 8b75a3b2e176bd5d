"""What a representation is worth: its error beside PCA's, and what can be done with the codes."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zoo
from training.data.splits import Data, Split
from training.evaluation import generation
from training.experiments.experiment import Experiment
from zoo.arguments import require_whole
from zoo.registry import register

BATCH = 1000
DECODED = 10_000  # most examples that are decoded at once for a likelihood
MADE = 10_000  # most generated examples that are judged
ACTIVE = 0.01


def encode(model: zoo.Autoencoder, split: Split) -> dict[str, np.ndarray]:
    """`codes` `(n, k)`, `ids` `(n,)` and, where there are labels, `labels` `(n,)` of a whole split, in its order."""
    parts = {"codes": [], "ids": [], "labels": []}
    for rows in split.batches(BATCH):
        model.check(rows["x"])  # which a stream has not been before
        parts["codes"].append(numpy(model.encode(rows["x"])))
        parts["ids"].append(rows["id"])
        if "label" in rows:
            parts["labels"].append(rows["label"])
    return {name: np.concatenate(column) for name, column in parts.items() if column}


def baseline(data: Data, k: int) -> zoo.LinearAutoencoder | None:
    """PCA of equal k, fitted on the training split; None where k ≥ d leaves no error or d² entries are too many."""
    d = int(np.prod(data.shape))
    if k >= d or d > zoo.LARGEST_COVARIANCE:
        return None
    return zoo.pca((batch["x"] for batch in data.train.batches()), k, data.shape)


def evaluate(
    model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data, experiment: Experiment
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Judges a fitted model on the test split, beside PCA where `baseline` gives one.

    Returns:
        The metrics, and the arrays of `codes.npz`: for each split `SPLIT_codes`, `SPLIT_ids` and `SPLIT_labels`.

    Metrics: `squared_error` is Σᵢ (xᵢ − x̃ᵢ)² averaged over examples, `mse` the same divided by d; `pca/…` is PCA's. With
    labels: `knn/error`, 1-nearest-neighbour on the codes; `probe/accuracy`, logistic regression on the standardized codes;
    `kmeans/purity` and `kmeans/ari`, as many clusters as classes; neighbours and probe learn from the training split, clusters
    are found in it, all are judged on the test split. The rest are those of `anomaly`, `likelihood`, `codebook` and
    `generated`, each where the model or the data have what it needs.
    """
    seed = experiment.seed
    encoded = {name: encode(model, split) for name, split in data.splits.items()}
    metrics = {}
    for name, judged in {"test": model, **({"pca": pca} if pca else {})}.items():
        metrics[f"{name}/squared_error"] = squared_error(judged, data.test)
        metrics[f"{name}/mse"] = metrics[f"{name}/squared_error"] / np.prod(data.shape)
    metrics["test/score"] = _average(data.test, model.score)
    metrics["train/squared_error"] = squared_error(model, data.train)
    if data.classes is not None:
        train, test = encoded["train"], encoded["test"]
        metrics |= judge_codes(train["codes"], train["labels"], test["codes"], test["labels"], seed)
        if pca:
            left, right = (encode(pca, split)["codes"] for split in (data.train, data.test))
            metrics["pca/knn_error"] = _knn_error(left, train["labels"], right, test["labels"])
    left_out = experiment.get("data.left_out", -1)
    if left_out >= 0:
        metrics |= anomaly(model, data.test, left_out)
    metrics |= likelihood(model, data, experiment) | codebook(model, encoded["test"]["codes"])
    metrics |= generated(model, pca, data, encoded["train"]["codes"])
    arrays = {f"{split}_{name}": column for split, part in encoded.items() for name, column in part.items()}
    return {name: float(value) for name, value in metrics.items()}, arrays


def anomaly(model: zoo.Autoencoder, split: Split, left_out: int) -> dict[str, float]:
    """`anomaly/VERB_auroc`: how well a low `score` or `score_code` tells the class `left_out` from the others of a split."""
    metrics, unknown = {}, np.concatenate([rows["label"] for rows in split.batches(BATCH)]) == left_out
    for verb in ("score", "score_code"):
        metrics[f"anomaly/{verb}_auroc"] = roc_auc_score(unknown, -answers(getattr(model, verb), split))
    return metrics


@register("evaluation", "likelihood")
class Bound:
    """The likelihood of the test split under a model with a prior.

    Args:
        nll_samples: codes for each test example in the estimate of log p(x); 0: no estimate beside the bound.
    """

    def __init__(self, nll_samples: int = 0):
        require_whole(0, nll_samples=nll_samples)
        self.nll_samples = nll_samples


def likelihood(model: zoo.Autoencoder, data: Data, experiment: Experiment) -> dict[str, float]:
    """What a model with a prior says of the test split, in nats per example.

    The figures of `elbo`; `nll/NUMBER_samples_BINARIZATION`, −log p(x) by importance sampling, an upper bound in expectation
    (where `nll_samples` > 0), and `nll/bits_per_dimension…` beside it where grey levels are modelled.
    """
    if not model.bottleneck.prior:
        return {}
    metrics, samples = elbo(model, data, experiment), experiment.get("evaluation.nll_samples", 0)
    if samples:
        key = f"{samples}_samples_{_binarization(experiment)}"
        metrics[f"nll/{key}"] = nll(model, data.test, samples)
        if hasattr(model.likelihood, "levels"):  # a probability of the data, not a density
            metrics[f"nll/bits_per_dimension_{key}"] = metrics[f"nll/{key}"] / (np.prod(data.shape) * np.log(2))
    return metrics


def elbo(model: zoo.Autoencoder, data: Data, experiment: Experiment) -> dict[str, float]:
    """`negative_elbo/BINARIZATION` of the test split in nats, one draw of the code for each example, its Kullback–Leibler part
    `kl` and reconstruction part. `active_units`: dimensions whose mean varies over the data by more than 0.01 (Burda et al.,
    2016).
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
    """−log p(x) in nats, averaged over a split, by importance sampling with so many codes for each example."""
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
    """Which dimensions of the posterior means `(n, k)` tell examples apart: variance above 0.01, `(k,)` of booleans."""
    return codes.var(axis=0) > ACTIVE


def codebook(model: zoo.Autoencoder, codes: np.ndarray) -> dict[str, float]:
    """Of a vector-quantized model: bits of a code, and exp(entropy) of how often codes `(n, k)` use each entry."""
    if not hasattr(model.bottleneck, "indices"):
        return {}
    used = np.bincount(numpy(model.bottleneck.indices(codes)).ravel(), minlength=model.bottleneck.entries)
    return {"codebook/perplexity": float(np.exp(entropy(used))), "codebook/bits": model.bottleneck.bits}


def generated(model: zoo.Autoencoder, pca: zoo.Autoencoder | None, data: Data, codes: np.ndarray) -> dict[str, float]:
    """Generated examples beside the test split, in the features of the data set's own classifier; nothing without one.

    `frechet_CLASSIFIER/…`: the distance for `generate`; for the same decoder with a standard normal (`prior`) or, without a
    prior, one Gaussian fitted to the codes (`gaussian`); for PCA of equal k with one Gaussian. `precision` and `recall`.
    `copying/…`: distance to the nearest training example. `generate_class/agreement`: how often the classifier sees the class
    that was asked for.
    """
    classifier = generation.judge(data.name, data.shape)
    if classifier is None or any(split.arrays is None for split in data.splits.values()):
        return {}
    test, train = (split.arrays.get("grey", split.arrays["x"]) for split in (data.test, data.train))
    count = min(len(test), MADE)
    seeds = np.arange(count, dtype="int32")
    made = {"generate": _made(model.generate, seeds)}
    if model.bottleneck.prior:
        made["prior"] = _made(model.generate_prior, seeds)
    else:
        made["gaussian"] = _made(model.decode, _gaussian(codes, count))
    if pca:
        made["pca_gaussian"] = _made(pca.decode, _gaussian(encode(pca, data.train)["codes"], count))
    real, *others = (_made(classifier.encode, x).astype("float64") for x in (test, *made.values()))  # (n, f) features
    seen = dict(zip(made, others, strict=True))
    metrics = {f"frechet_classifier_{data.name}/{name}": generation.frechet_distance(real, x) for name, x in seen.items()}
    metrics["generate/precision"], metrics["generate/recall"] = generation.precision_recall(real[:count], seen["generate"])
    held_out, nearest = generation.copying(train, test, made["generate"])
    metrics |= {"copying/held_out": held_out, "copying/generated": nearest}
    if model.density.classes:
        labels = model.density.fitted[seeds % len(model.density.fitted)]
        answers = _made(classifier.classify, _made(model.generate_class, labels, seeds))
        metrics["generate_class/agreement"] = np.mean(answers.argmax(axis=1) == labels)
    return metrics


def squared_error(model: zoo.Autoencoder, split: Split) -> float:
    """L_SE of the reconstructions, averaged over the examples of a split."""

    def error(x):
        difference = x - numpy(model.reconstruct(x))
        return np.sum(np.square(difference).reshape(len(x), -1), axis=1, dtype="float64")

    return _average(split, error)


def judge_codes(train, train_labels, test, test_labels, seed: int = 0) -> dict[str, float]:
    """What codes `(n, k)` know of labels `(n,)` that the model never saw; nothing where training rows have one label."""
    if len(np.unique(train_labels)) < 2:
        return {}
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    clusters = kmeans(train, len(np.unique(train_labels)), seed).predict(test)
    return {
        "knn/error": _knn_error(train, train_labels, test, test_labels),
        "probe/accuracy": probe.fit(train, train_labels).score(test, test_labels),
        "kmeans/purity": purity(test_labels, clusters),
        "kmeans/ari": adjusted_rand_score(test_labels, clusters),
    }


def kmeans(codes: np.ndarray, clusters: int, seed: int = 0) -> KMeans:
    """Clusters found in codes `(n, k)`, no more than distinct codes: the best of four starts."""
    clusters = min(clusters, len(np.unique(codes, axis=0)))
    return KMeans(clusters, n_init=4, random_state=seed).fit(codes)


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of the rows whose label is the commonest of their cluster."""
    counts = [np.unique(labels[clusters == cluster], return_counts=True)[1].max() for cluster in np.unique(clusters)]
    return sum(counts) / len(labels)


def _knn_error(train, train_labels, test, test_labels) -> float:
    neighbours = KNeighborsClassifier(1, algorithm="brute").fit(train, train_labels)
    return 1 - neighbours.score(test, test_labels)


def _average(split: Split, values: Callable[[np.ndarray], Iterator[float]]) -> float:
    total = sum(float(np.sum(numpy(values(rows["x"])))) for rows in split.batches(BATCH))
    return total / split.size


def _made(verb: Callable, *columns: np.ndarray) -> np.ndarray:
    """What a verb answers to columns of any length."""
    starts = range(0, len(columns[0]), BATCH)
    return np.concatenate([numpy(verb(*(column[i : i + BATCH] for column in columns))) for i in starts])


def answers(verb: Callable, split: Split) -> np.ndarray:
    """What a verb answers to the data of a split."""
    return np.concatenate([numpy(verb(rows["x"])) for rows in split.batches(BATCH)])


def _gaussian(codes: np.ndarray, count: int) -> np.ndarray:
    """Draws `(count, k)` from one Gaussian with the moments of codes `(n, k)`."""
    drawn = np.random.default_rng(0).multivariate_normal(codes.mean(axis=0), np.cov(codes, rowvar=False), count)
    return drawn.astype("float32")


def numpy(tensor: keras.KerasTensor) -> np.ndarray:
    """A tensor of any backend as an array."""
    return keras.ops.convert_to_numpy(tensor)
