"""The pictures of a report on an autoencoder of arrays: in which order, and with which words."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from training import files
from training.data.splits import Data
from training.evaluation import arrays as evaluation
from training.evaluation import latents
from training.reporting import pictures
from training.reporting.page import Entry
from training.run import Run

MOST_ROWS = 4_000  # test examples in the pictures of the codes
SHOWN = 12  # examples in a row
WAYS = 3  # pairs of examples that are interpolated between
CLUSTERS = 10  # where no classes tell their number
MOST_DIMENSIONS = 16  # of the code whose traversals are shown
STILL = 0.01  # of the farthest movement, below which a dimension hardly moves what is decoded
FINE = 9  # steps of a way for each that is shown, so that its length is measured around its corners


def figures(run: Run, model, data: Data, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the page's order."""
    experiment = run.experiment()
    rows = next(data.test.batches(MOST_ROWS))
    x, labels = rows["x"], rows.get("label") if data.classes else None
    shades = shades_of(x)
    with np.load(run.codes) as saved:
        train, codes = saved["train_codes"], saved["test_codes"][: len(x)]
    yield Entry(
        "codes",
        "The data at their codes",
        "Every test example at its place in the code space"
        + (
            f", seen along the two leading components of its {model.k} dimensions."
            if model.k > 2
            else ", all of which is seen."
        ),
        pictures.codes_in_the_plane(shades(x), codes, labels, data.classes),
    )
    chosen = x[_one_of_each(labels, len(x))]
    judged = {experiment.name: model}
    if run.pca.exists():
        judged[f"PCA, k = {model.k}"] = keras.saving.load_model(run.pca)
    made = {name: shades(evaluation.numpy(judge.reconstruct(chosen))) for name, judge in judged.items()}
    yield Entry(
        "reconstructions",
        "Inputs and reconstructions",
        f"Test examples through {model.k} numbers and back, by {' and by '.join(judged)}.",
        pictures.reconstructions(shades(chosen), made),
    )
    history = files.read_json(run.history)
    if history:
        yield Entry(
            "learning_curve",
            "Learning curve",
            "Squared error per example, Σᵢ (xᵢ − x̃ᵢ)², after every epoch.",
            pictures.learning_curve(history, "squared_error", metrics["test/squared_error"], metrics.get("pca/squared_error")),
        )
    yield _clusters(experiment.seed, model, data, shades, train, codes, labels)
    yield _traversals(model, shades, train)
    if model.k == 2:
        lines = "the standard normal prior" if model.bottleneck.prior else "each dimension of the codes"
        yield Entry(
            "manifold",
            "The plane of codes, decoded",
            f"A grid of codes at quantiles of {lines}.",
            pictures.mosaic(shades(latents.manifold(model, train))),
        )
    yield _between(model, shades, train, codes, labels)
    yield _neighbours(data, shades, x, train, codes, labels)
    if model.bottleneck.prior:
        yield Entry(
            "active_units",
            "Active units",
            "Variance of each dimension's posterior mean over the test data, the largest first; "
            f"{metrics['active_units']:.0f} of {model.k} are above {evaluation.ACTIVE}.",
            pictures.active_units(codes.var(axis=0), evaluation.ACTIVE),
        )
    yield from _samples(model, data, shades, x)
    yield _architecture(model)


def _traversals(model, shades, train) -> Entry:
    """The code dimensions, those that move the decoded example farthest first."""
    decoded = latents.traverse(model, train)
    lengths = latents.length(decoded)
    shown = np.argsort(-lengths, kind="stable")[:MOST_DIMENSIONS]
    still = int(np.sum(lengths < STILL * lengths.max()))
    return Entry(
        "traversals",
        "Traversals",
        "One code dimension moved from its 1st to its 99th percentile, the others held at their mean: the dimensions that "
        "move the decoded example farthest first"
        + (f", {len(shown)} of {model.k}" if model.k > len(shown) else "")
        + (f"; {still} move it less than a hundredth as far as the first." if still else "."),
        pictures.traversals(shades(decoded[shown]), [pictures.dimension(j) for j in shown]),
    )


def _between(model, shades, train, codes, labels) -> Entry:
    """Pairs of test examples of different classes, and the ways from one to the other."""
    chosen = _one_of_each(labels, len(codes))
    ways, fine = [], FINE * (SHOWN - 1) + 1
    for i in range(min(WAYS, len(chosen) // 2)):
        start, end = codes[chosen[2 * i]], codes[chosen[2 * i + 1]]
        ways += [latents.straight_line(start, end, fine), latents.geodesic(model, train, start, end, fine)]
    decoded = latents.decode(model, np.stack(ways))
    names = ["straight line", "geodesic"] * (len(ways) // 2)
    captions = [f"{name}, {length:.1f}" for name, length in zip(names, latents.length(decoded), strict=True)]
    return Entry(
        "interpolation",
        "From one example to another",
        "For each pair of test examples the straight line between their codes, and below it the geodesic: of the ways through "
        "codes of training examples the one on which the decoded example changes least. The number says how much it changes "
        "along the way, in Euclidean distance.",
        pictures.mosaic(shades(decoded[:, ::FINE]), captions),
    )


def _neighbours(data: Data, shades, x, train, codes, labels) -> Entry:
    """Test examples, and the training examples whose codes are nearest to theirs."""
    chosen = _one_of_each(labels, len(codes))[: SHOWN // 2]
    pool = next(data.train.batches(MOST_ROWS))["x"]
    rows = latents.nearest(train[: len(pool)], codes[chosen], min(SHOWN - 1, len(pool)))
    grid = np.stack([np.concatenate([x[i][None], pool[near]]) for i, near in zip(chosen, rows, strict=True)])
    return Entry(
        "neighbours",
        "Nearest neighbours",
        f"A test example on the left of each row, then the nearest by code of {len(pool):,} training examples.",
        pictures.mosaic(shades(grid)),
    )


def _samples(model, data: Data, shades, x) -> Iterator[Entry]:
    seeds = np.arange(5 * SHOWN, dtype="int32")
    yield Entry(
        "samples",
        "Generated examples",
        f"Decoded draws from the mixture of Gaussians over the codes, seeds 0 to {len(seeds) - 1}.",
        pictures.samples(shades(evaluation.numpy(model.generate(seeds)))),
    )
    if model.density.classes:
        shown = model.density.fitted[: 2 * SHOWN]
        label = np.repeat(shown, SHOWN)
        made = evaluation.numpy(model.generate_class(label, np.arange(len(label), dtype="int32")))
        yield Entry(
            "samples_by_class",
            "Generated examples of each class",
            "Decoded draws from the mixture of a class.",
            pictures.mosaic(shades(made.reshape(-1, SHOWN, *made.shape[1:])), [data.classes[label] for label in shown]),
        )
    if model.bottleneck.prior:
        rows = np.repeat(x[: SHOWN // 2], SHOWN - 1, axis=0)
        varied = evaluation.numpy(model.vary(rows, np.arange(len(rows), dtype="int32")))
        varied = varied.reshape(-1, SHOWN - 1, *x.shape[1:])
        yield Entry(
            "variations",
            "Variations",
            "A test example on the left of each row, then decoded draws from its posterior.",
            pictures.mosaic(shades(np.concatenate([x[: SHOWN // 2, None], varied], axis=1))),
        )


def shades_of(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What brings images of any range into [0, 1] for drawing; other data stay as they are."""
    low, high = min(0.0, float(x.min())), max(1.0, float(x.max()))
    if not pictures.is_image(x.shape[1:]) or (low, high) == (0.0, 1.0):
        return lambda values: values
    return lambda values: (values - low) / (high - low)


def _clusters(seed: int, model, data: Data, shades, train, codes, labels):
    found = evaluation.kmeans(train, len(data.classes) if data.classes else CLUSTERS, seed)
    count, assigned = found.n_clusters, found.predict(codes)
    captions, colours = [f"{np.sum(assigned == c):,} rows" for c in range(count)], [*map(pictures.colour, range(count))]
    if labels is not None:
        shares = [np.bincount(labels[assigned == c], minlength=1) for c in range(count)]
        captions = [
            f"{100 * share.max() / share.sum():.0f} % “{data.classes[share.argmax()]}”" if share.sum() else "empty"
            for share in shares
        ]
        colours = [pictures.colour(int(share.argmax())) if share.sum() else pictures.QUIET for share in shares]
    centres = shades(evaluation.numpy(model.decode(found.cluster_centers_.astype("float32"))))
    return Entry(
        "clusters",
        "Clusters",
        f"k-means with {count} clusters, found in the training codes without labels; the test codes are shown"
        + (", in the colour of the class that most of a cluster belong to." if labels is not None else "."),
        pictures.clusters(codes, assigned, centres, captions, colours),
    )


def _architecture(model) -> Entry:
    return Entry(
        "architecture",
        "Architecture",
        "Width of every layer, the code between encoder and decoder.",
        pictures.architecture(_stages(model), model.count_params()),
    )


def _stages(model) -> list[tuple[str, int, str]]:
    """Caption, units and colour of input, layers, code, layers and output."""

    def layers(body):
        weighted = [layer for layer in body.layers if layer.weights]
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


def _one_of_each(labels, count: int) -> np.ndarray:
    """Row numbers of SHOWN examples, of every class in turn where there are classes."""
    if labels is None:
        return np.arange(min(SHOWN, count))
    turns = np.concatenate([np.arange(np.sum(labels == label)) for label in np.unique(labels)])
    order = np.argsort(labels, kind="stable")  # rows by class, in their order within it
    return order[np.lexsort((labels[order], turns))][:SHOWN]
