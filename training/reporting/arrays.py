"""The pictures of a report on an autoencoder of arrays, with their captions."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

import zoo
from training import files
from training.data.splits import Data
from training.evaluation import arrays as evaluation
from training.evaluation import codes as clusters
from training.evaluation import latents
from training.reporting import pictures, plane
from training.reporting.entries import Entry
from training.run import Run

MOST_ROWS = 4_000  # most test examples in the pictures of the codes
SHOWN = 12  # examples in a row
MOST_PAIRS = 3  # most pairs of examples with interpolations between them
CLUSTERS = 10  # number of clusters for data without classes
MOST_DIMENSIONS = 16  # most code dimensions with a traversal
NEGLIGIBLE = 0.01  # share of the longest traversal below which another one counts as negligible
FINE = 9  # computed steps of a path per step that is shown, for an accurate length

Shades = Callable[[np.ndarray], np.ndarray]
Labels = np.ndarray | None


def figures(run: Run, model: zoo.Autoencoder, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    rows = next(data.test.batches(MOST_ROWS))
    x, labels = rows["x"], rows.get("label") if data.classes else None
    shades = shades_of(x) if model.scaling is None else lambda values: evaluation.numpy(model.scaling(values))
    with np.load(run.codes) as saved:
        train, codes = saved["train_codes"], saved["test_codes"][: len(x)]
    yield _codes(model, data, shades, x, codes, labels)
    yield _reconstructions(run, model, shades, x[_one_of_each(labels, len(x))])
    history = files.read_json(run.history)
    if history:
        yield _learning_curve(history, metrics)
    yield _clusters(run.experiment().seed, model, data, shades, train, codes, labels)
    yield _traversals(model, shades, train)
    if model.k == 2:
        yield _manifold(model, shades, train)
    yield _between(model, shades, train, codes, labels)
    yield _neighbours(data, shades, x, train, codes, labels)
    if model.bottleneck.drawn:
        yield Entry(
            "active_units",
            "Active units",
            "Variance of each dimension's posterior mean over the test data, the largest first; "
            f"{metrics['active_units']:.0f} of {model.k} are above {evaluation.ACTIVE}.",
            pictures.active_units(codes.var(axis=0), evaluation.ACTIVE),
        )
    if model.ranks is not None:
        yield _typicality(evaluation.numpy(model.typicality(x)))
    yield from _samples(model, data, shades, x)
    yield _architecture(model)


def _typicality(ranks: np.ndarray) -> Entry:
    """How the typicality of test examples is distributed, beside how it would be if they were drawn as the held-out ones."""
    percent = np.linspace(0, 100, 21)
    below = [100 * np.mean(ranks <= each / 100) for each in percent]
    series = {"test examples": (percent, below), "held-out examples": (percent, percent)}
    return Entry(
        "typicality",
        "Typicality",
        "Share of the test examples whose typicality, the share of held-out examples that score lower, is at most this: as a "
        "threshold, the share of false alarms. Above the diagonal there are more than the held-out examples would give.",
        pictures.lines(series, "typicality, %", "test examples, %"),
    )


def _learning_curve(history: list[dict[str, float]], metrics: dict[str, float]) -> Entry:
    """Of the error that the model is judged by."""
    scaled = "scaled_error" in history[0]
    error = "scaled_error" if scaled else "squared_error"
    words = (
        "Squared error divided by the variance, averaged over dimensions"
        if scaled
        else "Squared error per example, Σᵢ (xᵢ − x̃ᵢ)²"
    )
    picture = pictures.learning_curve(history, error, metrics[f"test/{error}"], metrics.get(f"pca/{error}"))
    return Entry("learning_curve", "Learning curve", f"{words}, after every epoch.", picture)


def _codes(model: zoo.Autoencoder, data: Data, shades: Shades, x: np.ndarray, codes: np.ndarray, labels: Labels) -> Entry:
    space = f"the two leading principal components of its {model.k} dimensions" if model.k > 2 else "the code space"
    return Entry(
        "codes",
        "The codes of the data",
        f"Every test example at the position of its code in {space}.",
        plane.embedding(shades(x), codes, labels, data.classes),
    )


def _reconstructions(run: Run, model: zoo.Autoencoder, shades: Shades, x: np.ndarray) -> Entry:
    models = {run.experiment().name: model}
    if run.pca.exists():
        models[f"PCA, k = {model.k}"] = keras.saving.load_model(run.pca)
    rows = {name: shades(evaluation.numpy(each.reconstruct(x))) for name, each in models.items()}
    return Entry(
        "reconstructions",
        "Inputs and reconstructions",
        f"Test examples, and their reconstructions from {model.k} numbers by {' and by '.join(models)}.",
        pictures.reconstructions(shades(x), rows),
    )


def _manifold(model: zoo.Autoencoder, shades: Shades, train: np.ndarray) -> Entry:
    source = "a standard normal distribution" if model.bottleneck.drawn else "each dimension of the codes"
    return Entry(
        "manifold",
        "The plane of codes, decoded",
        f"A decoded grid of codes, at quantiles of {source}.",
        pictures.mosaic(shades(latents.manifold(model, train))),
    )


def _traversals(model: zoo.Autoencoder, shades: Shades, train: np.ndarray) -> Entry:
    """Traversals of the code dimensions, the longest first."""
    decoded = latents.traverse(model, train)
    lengths = latents.length(decoded)
    shown = np.argsort(-lengths, kind="stable")[:MOST_DIMENSIONS]
    negligible = int(np.sum(lengths < NEGLIGIBLE * lengths.max()))
    return Entry(
        "traversals",
        "Traversals",
        "In each row one code dimension moves from its 1st to its 99th percentile, and the others stay at their means. The "
        "dimensions that change the decoded example most come first"
        + (f"; {len(shown)} of {model.k} are shown" if model.k > len(shown) else "")
        + (f"; {negligible} change it less than a hundredth as much as the first." if negligible else "."),
        pictures.traversals(shades(decoded[shown]), [pictures.dimension(j) for j in shown]),
    )


def _between(model: zoo.Autoencoder, shades: Shades, train: np.ndarray, codes: np.ndarray, labels: Labels) -> Entry:
    """Interpolations between pairs of test examples of different classes."""
    chosen = _one_of_each(labels, len(codes))
    paths, fine = [], FINE * (SHOWN - 1) + 1
    for i in range(min(MOST_PAIRS, len(chosen) // 2)):
        start, end = codes[chosen[2 * i]], codes[chosen[2 * i + 1]]
        paths += [latents.straight_line(start, end, fine), latents.geodesic(model, train, start, end, fine)]
    decoded = latents.decode(model, np.stack(paths))
    names = ["straight line", "geodesic"] * (len(paths) // 2)
    captions = [f"{name}, {length:.1f}" for name, length in zip(names, latents.length(decoded), strict=True)]
    return Entry(
        "interpolation",
        "From one example to another",
        "For each pair of test examples, the straight line between their codes, and below it the geodesic: the path through "
        "codes of training examples on which the decoded example changes least. The number is the length of the path, measured "
        "as the Euclidean distance that the decoded example covers.",
        pictures.mosaic(shades(decoded[:, ::FINE]), captions),
    )


def _neighbours(data: Data, shades: Shades, x: np.ndarray, train: np.ndarray, codes: np.ndarray, labels: Labels) -> Entry:
    """Test examples, and the training examples with the nearest codes."""
    chosen = _one_of_each(labels, len(codes))[: SHOWN // 2]
    pool = next(data.train.batches(MOST_ROWS))["x"]
    rows = latents.nearest(train[: len(pool)], codes[chosen], min(SHOWN - 1, len(pool)))
    grid = np.stack([np.concatenate([x[i][None], pool[nearest]]) for i, nearest in zip(chosen, rows, strict=True)])
    return Entry(
        "neighbours",
        "Nearest neighbours",
        f"In each row a test example on the left, then the training examples, of {len(pool):,}, with the nearest codes.",
        pictures.mosaic(shades(grid)),
    )


def _samples(model: zoo.Autoencoder, data: Data, shades: Shades, x: np.ndarray) -> Iterator[Entry]:
    seeds = np.arange(5 * SHOWN, dtype="int32")
    yield Entry(
        "samples",
        "Generated examples",
        f"Decoded draws from the prior, with seeds 0 to {len(seeds) - 1}.",
        pictures.samples(shades(evaluation.numpy(model.generate(seeds)))),
    )
    if model.prior.classes:
        shown = model.prior.fitted[: 2 * SHOWN]
        label = np.repeat(shown, SHOWN)
        made = evaluation.numpy(model.generate_class(label, np.arange(len(label), dtype="int32")))
        yield Entry(
            "samples_by_class",
            "Generated examples of each class",
            "Decoded draws from the prior of each class.",
            pictures.mosaic(shades(made.reshape(-1, SHOWN, *made.shape[1:])), [data.classes[label] for label in shown]),
        )
    if model.bottleneck.drawn:
        rows = np.repeat(x[: SHOWN // 2], SHOWN - 1, axis=0)
        varied = evaluation.numpy(model.vary(rows, np.arange(len(rows), dtype="int32")))
        varied = varied.reshape(-1, SHOWN - 1, *x.shape[1:])
        yield Entry(
            "variations",
            "Variations",
            "In each row a test example on the left, then decoded draws from its posterior.",
            pictures.mosaic(shades(np.concatenate([x[: SHOWN // 2, None], varied], axis=1))),
        )


def shades_of(x: np.ndarray) -> Shades:
    """A function that scales images like x to [0, 1] for drawing; other data stay as they are."""
    low, high = min(0.0, float(x.min())), max(1.0, float(x.max()))
    if not pictures.is_image(x.shape[1:]) or (low, high) == (0.0, 1.0):
        return lambda values: values
    return lambda values: (values - low) / (high - low)


def _clusters(
    seed: int, model: zoo.Autoencoder, data: Data, shades: Shades, train: np.ndarray, codes: np.ndarray, labels: Labels
) -> Entry:
    kmeans = clusters.kmeans(train, len(data.classes) if data.classes else CLUSTERS, seed)
    count, assigned = kmeans.n_clusters, kmeans.predict(codes)
    captions, colours = [f"{np.sum(assigned == c):,} rows" for c in range(count)], [*map(pictures.colour, range(count))]
    if labels is not None:
        shares = [np.bincount(labels[assigned == c], minlength=1) for c in range(count)]
        captions = [
            f"{100 * share.max() / share.sum():.0f} % “{data.classes[share.argmax()]}”" if share.sum() else "empty"
            for share in shares
        ]
        colours = [pictures.colour(int(share.argmax())) if share.sum() else pictures.QUIET for share in shares]
    centres = shades(evaluation.numpy(model.decode(kmeans.cluster_centers_.astype("float32"))))
    return Entry(
        "clusters",
        "Clusters",
        f"k-means with {count} clusters, fitted to the training codes without labels; the test codes are shown"
        + (", in the colour of the most common class of their cluster." if labels is not None else "."),
        plane.clusters(codes, assigned, centres, captions, colours),
    )


def _architecture(model: zoo.Autoencoder) -> Entry:
    return Entry(
        "architecture",
        "Architecture",
        "The width of every layer; the code is between the encoder and the decoder."
        + (" Beside the layers of each, a path passes what they are given on unchanged." if model.has_linear_path else ""),
        pictures.architecture(_stages(model), model.count_params()),
    )


def _stages(model: zoo.Autoencoder) -> list[tuple[str, int, str]]:
    """Caption, units and colour of the input, the layers, the code and the output."""

    def layers(body):
        inner = [each for layer in body.layers for each in getattr(layer, "body", body).layers if layer.weights]
        weighted = [layer for layer in (inner if model.has_linear_path else body.layers) if layer.weights]
        return [(_caption(layer), int(np.prod(layer.output.shape[1:])), pictures.MODEL) for layer in weighted]

    d = int(np.prod(model.shape))
    size = " × ".join(str(length) for length in model.shape)
    return [
        (f"input\n{size}", d, pictures.DATA),
        *layers(model.encoder),
        (f"code\n{type(model.bottleneck).__name__}", model.k, pictures.PCA),
        *layers(model.decoder),
        (f"output\n{type(model.likelihood).__name__}", d, pictures.DATA),
    ]


def _caption(layer: keras.layers.Layer) -> str:
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return f"{type(layer).__name__.lower()}\n{activation}"


def _one_of_each(labels: Labels, count: int) -> np.ndarray:
    """The numbers of SHOWN rows; if there are labels, every class in turn."""
    if labels is None:
        return np.arange(min(SHOWN, count))
    turns = np.concatenate([np.arange(np.sum(labels == label)) for label in np.unique(labels)])
    order = np.argsort(labels, kind="stable")  # rows by class, in their original order within it
    return order[np.lexsort((labels[order], turns))][:SHOWN]
