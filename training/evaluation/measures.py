"""What the numbers in `metrics.json` are: their names for people, their units, and which way is better."""

import re
from typing import NamedTuple

LOWER, HIGHER = "lower", "higher"
SHARE = "%"  # kept as a fraction, shown as a percentage


class Measure(NamedTuple):
    """A metric's `name`, its `unit` (empty for a plain number), and which is `better`: lower, higher, or neither (empty)."""

    name: str
    unit: str
    better: str

    def shown(self, value: float) -> str:
        """The value in the unit, to four digits."""
        if self.unit == SHARE:
            return f"{100 * value:.4g}"
        return f"{value:,.0f}" if self.unit == "dimensions" else f"{value:.4g}"


_WORDS = {  # what the parts of a key are called, by the names that they have in the patterns below
    "split": {"train": ", training split", "validation": ", validation split", "test": ""},
    "method": {
        "greedy": "greedy search",
        "beam": "beam search",
        "unchanged": "sources as they are",
        "nearest": "nearest target",
    },
    "stress": {"": "", "_without_stress": ", without stress"},
    "data": {"as_is": "as it is"} | {f"{kind}_binarization": f"{kind} binarization" for kind in ("static", "dynamic")},
    "drawn": {
        "generate": "generated examples",
        "prior": "draws from the standard normal prior",
        "gaussian": "draws from one Gaussian over the codes",
        "pca_gaussian": "PCA with one Gaussian over the codes",
    },
}
_SPLIT, _METHOD, _STRESS = "(?P<split>train|validation|test)", "(?P<method>[a-z]+)", "(?P<stress>(_without_stress)?)"
_DRAWS = r"(?P<samples>\d+)_samples_(?P<data>.+)"
_MEASURES = {
    f"{_SPLIT}/squared_error": Measure("squared error{split}", "", LOWER),
    f"{_SPLIT}/mse": Measure("squared error per dimension{split}", "", LOWER),
    f"{_SPLIT}/error": Measure("wrong classes{split}", SHARE, LOWER),
    f"{_SPLIT}/rmse": Measure("root of the mean squared error{split}", "of the target", LOWER),
    f"{_SPLIT}/r2": Measure("R², variance of the target explained{split}", SHARE, HIGHER),
    f"{_SPLIT}/score": Measure("score, the log-probability or its bound{split}", "nats", HIGHER),
    "pca/squared_error": Measure("squared error of PCA", "", LOWER),
    "pca/mse": Measure("squared error per dimension of PCA", "", LOWER),
    "pca/knn_error": Measure("1-nearest-neighbour error on the codes of PCA", SHARE, LOWER),
    "knn/error": Measure("1-nearest-neighbour error on the codes", SHARE, LOWER),
    "probe/accuracy": Measure("linear probe on the codes, accuracy", SHARE, HIGHER),
    "kmeans/purity": Measure("k-means on the codes, purity", SHARE, HIGHER),
    "kmeans/ari": Measure("k-means on the codes, adjusted Rand index, 1 at most", "", HIGHER),
    "anomaly/(?P<verb>.+)_auroc": Measure("{verb} tells the left-out class, AUROC, 1 at most", "", HIGHER),
    "negative_elbo/kl": Measure("KL divergence, a part of the −ELBO", "nats", ""),
    "negative_elbo/reconstruction": Measure("reconstruction, a part of the −ELBO", "nats", ""),
    "negative_elbo/(?P<data>.+)": Measure("−ELBO, {data}", "nats", LOWER),
    f"nll/bits_per_dimension_{_DRAWS}": Measure("−log p(x), {samples} samples, {data}", "bits per dimension", LOWER),
    f"nll/{_DRAWS}": Measure("−log p(x), {samples} samples, {data}", "nats", LOWER),
    "active_units": Measure("active units", "dimensions", ""),
    "codebook/perplexity": Measure("entries of the codebook in use, perplexity", "entries", HIGHER),
    "codebook/bits": Measure("size of a code", "bits", ""),
    "frechet_(?P<judge>.+)/(?P<drawn>[a-z_]+)": Measure("Fréchet distance in features of {judge}, {drawn}", "", LOWER),
    "generate/precision": Measure("generated examples among the real, precision", SHARE, HIGHER),
    "generate/recall": Measure("real examples among the generated, recall", SHARE, HIGHER),
    "copying/held_out": Measure("distance to the nearest training example, test examples", "", ""),
    "copying/generated": Measure("distance to the nearest training example, generated ones", "", ""),
    "generate_class/agreement": Measure("classifier sees the class that was asked for", SHARE, HIGHER),
    f"{_METHOD}/sequence_error_rate{_STRESS}": Measure("wrong targets, {method}{stress}", SHARE, LOWER),
    f"{_METHOD}/token_error_rate{_STRESS}": Measure("wrong tokens, {method}{stress}", SHARE, LOWER),
    rf"{_METHOD}/coverage_(?P<best>\d+){_STRESS}": Measure("right among the {best} best, {method}{stress}", SHARE, HIGHER),
}


def measure(key: str) -> Measure:
    """What the metric `key` is; one that nothing is known of keeps its key for a name."""
    for pattern, told in _MEASURES.items():
        match = re.fullmatch(pattern, key)
        if match:
            parts = match.groupdict()
            words = {part: _WORDS.get(part, {}).get(value, value) for part, value in parts.items()}
            return told._replace(name=told.name.format(**words))
    return Measure(key, "", "")
