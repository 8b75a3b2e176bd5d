"""Descriptions of the metrics in `metrics.json`: readable names, units, and whether lower or higher is better."""

import re
from typing import NamedTuple

LOWER, HIGHER = "lower", "higher"
SHARE = "%"  # stored as a fraction, shown as a percentage


class Measure(NamedTuple):
    """A metric's `name`, its `unit` (empty if it has none), and which is `better`: lower, higher, or neither (empty)."""

    name: str
    unit: str
    better: str

    def shown(self, value: float) -> str:
        """The value in this unit, to four digits."""
        if self.unit == SHARE:
            return f"{100 * value:.4g}"
        return f"{value:,.0f}" if self.unit == "dimensions" else f"{value:.4g}"


_WORDS = {  # how the parts of a key are named, by the groups of the patterns below
    "split": {"train": ", training split", "validation": ", validation split", "test": ""},
    "method": {
        "greedy": "greedy search",
        "beam": "beam search",
        "unchanged": "sources unchanged",
        "nearest": "nearest target",
    },
    "stress": {"": "", "_without_stress": ", without stress"},
    "way": {"codes": "a head on the codes", "scratch": "the same network from scratch", "baseline": "mean or mode"},
    "data": {"as_is": "not binarized"} | {f"{kind}_binarization": f"{kind} binarization" for kind in ("static", "dynamic")},
    "drawn": {
        "generate": "generated examples",
        "normal": "draws from a standard normal distribution of codes",
        "gaussian": "draws from a single Gaussian over the codes",
        "pca_gaussian": "PCA with a single Gaussian over the codes",
    },
}
_SPLIT, _METHOD, _STRESS = "(?P<split>train|validation|test)", "(?P<method>[a-z]+)", "(?P<stress>(_without_stress)?)"
_WAY, _LABELS = "(?P<way>codes|scratch|baseline)", r"(?P<labels>(_[\d.]+_percent)?)"
_DRAWS = r"(?P<samples>\d+)_samples_(?P<data>.+)"
_MEASURES = {
    f"{_SPLIT}/squared_error": Measure("squared error{split}", "", LOWER),
    f"{_SPLIT}/scaled_error": Measure("error in units of the variance, 1 − R²{split}", "", LOWER),
    "pca/scaled_error": Measure("error of PCA in units of the variance", "", LOWER),
    f"{_SPLIT}/mse": Measure("squared error per dimension{split}", "", LOWER),
    f"{_SPLIT}/error": Measure("wrong classes{split}", SHARE, LOWER),
    f"{_SPLIT}/rmse": Measure("root mean squared error{split}", "of the target", LOWER),
    f"{_SPLIT}/r2": Measure("R², explained variance of the target{split}", SHARE, HIGHER),
    f"{_SPLIT}/score": Measure("score, log-probability or a bound on it{split}", "nats", HIGHER),
    "pca/squared_error": Measure("squared error of PCA", "", LOWER),
    "pca/mse": Measure("squared error per dimension of PCA", "", LOWER),
    "pca/knn_error": Measure("1-nearest-neighbour error on the codes of PCA", SHARE, LOWER),
    "knn/error": Measure("1-nearest-neighbour error on the codes", SHARE, LOWER),
    "probe/accuracy": Measure("linear probe on the codes, accuracy", SHARE, HIGHER),
    "kmeans/purity": Measure("k-means on the codes, purity", SHARE, HIGHER),
    "kmeans/ari": Measure("k-means on the codes, adjusted Rand index, at most 1", "", HIGHER),
    "anomaly/(?P<verb>.+)_auroc": Measure("{verb} detects the left-out class, AUROC, at most 1", "", HIGHER),
    "negative_elbo/kl": Measure("KL divergence, part of −ELBO", "nats", ""),
    "negative_elbo/reconstruction": Measure("reconstruction, part of −ELBO", "nats", ""),
    "negative_elbo/(?P<data>.+)": Measure("−ELBO, {data}", "nats", LOWER),
    f"nll/bits_per_dimension_{_DRAWS}": Measure(
        "−log p(x) per dimension, {samples} samples, {data}", "bits per dimension", LOWER
    ),
    f"nll/{_DRAWS}": Measure("−log p(x), {samples} samples, {data}", "nats", LOWER),
    "imputation/score": Measure("error of hidden cells, in units of that of mean and mode", "", LOWER),
    "imputation/baseline": Measure("error of mean and mode, the unit", "", LOWER),
    "pca/imputation": Measure("error of PCA for hidden cells, in units of that of mean and mode", "", LOWER),
    "columns/(?P<column>.+)/imputation": Measure("error of hidden cells of {column}", "", LOWER),
    "columns/(?P<column>.+)/baseline": Measure("error of the mean or mode of {column}", "", LOWER),
    f"target/{_WAY}/accuracy{_LABELS}": Measure("right classes of the target, {way}{labels}", SHARE, HIGHER),
    f"target/{_WAY}/r2{_LABELS}": Measure("R², explained variance of the target, {way}{labels}", SHARE, HIGHER),
    f"target/{_WAY}/rmse{_LABELS}": Measure("root mean squared error of the target, {way}{labels}", "of the target", LOWER),
    "active_units": Measure("active units", "dimensions", ""),
    "codebook/perplexity": Measure("used entries of the codebook, perplexity", "entries", HIGHER),
    "codebook/bits": Measure("size of a code", "bits", ""),
    "codebook/prior_bits": Measure("size of a code under the prior", "bits", LOWER),
    "frechet_(?P<judge>.+)/(?P<drawn>[a-z_]+)": Measure("Fréchet distance in features of {judge}, {drawn}", "", LOWER),
    "generate/precision": Measure("generated examples that are like real ones, precision", SHARE, HIGHER),
    "generate/recall": Measure("real examples that are like generated ones, recall", SHARE, HIGHER),
    "copying/held_out": Measure("distance to the nearest training example, test examples", "", ""),
    "copying/generated": Measure("distance to the nearest training example, generated examples", "", ""),
    "generate_class/agreement": Measure("classifier finds the requested class", SHARE, HIGHER),
    f"{_METHOD}/sequence_error_rate{_STRESS}": Measure("wrong targets, {method}{stress}", SHARE, LOWER),
    f"{_METHOD}/token_error_rate{_STRESS}": Measure("wrong tokens, {method}{stress}", SHARE, LOWER),
    rf"{_METHOD}/coverage_(?P<best>\d+){_STRESS}": Measure(
        "right target among the best {best}, {method}{stress}", SHARE, HIGHER
    ),
}


def measure(key: str) -> Measure:
    """The description of a metric; the name of an unknown one is its key."""
    for pattern, template in _MEASURES.items():
        match = re.fullmatch(pattern, key, re.DOTALL)
        if match:
            parts = match.groupdict()
            words = {part: _WORDS.get(part, {}).get(value, value) for part, value in parts.items()}
            if words.get("labels"):
                words["labels"] = f", {words['labels'].split('_')[1]} % of the labels"
            return template._replace(name=template.name.format(**words))
    return Measure(key, "", "")
