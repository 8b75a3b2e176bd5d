"""A run's report: one self-contained HTML page and its pictures as PNG files beside it."""

import base64
import html
import io
from collections.abc import Callable, Iterator

import keras
import numpy as np
from matplotlib.figure import Figure

from training import evaluation, files, pictures
from training.data import Data
from training.run import Run

MOST_ROWS = 4_000  # test examples in the pictures of the codes
SHOWN = 12  # examples in a row
STEPS = 11  # of a traversal
CLUSTERS = 10  # where no classes tell their number


def write(run: Run, model: keras.Model, data: Data) -> None:
    """Draws the run's pictures and writes the page. Needs the run's history, metrics and codes."""
    metrics = files.read_json(run.metrics)
    figures = list(_figures(run, model, data, metrics))
    sections = []
    for name, title, caption, figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        picture = buffer.getvalue()
        files.write(run.report.parent / f"{name}.png", lambda path, picture=picture: path.write_bytes(picture))
        sections.append(_section(title, caption, picture))
    page = _page(run, metrics, sections)
    files.write(run.report, lambda path: path.write_text(page, encoding="utf-8"))


def _figures(run: Run, model, data: Data, metrics) -> Iterator[tuple[str, str, str, Figure]]:
    """Name, title, caption and figure of each picture, in the page's order."""
    experiment = run.experiment()
    rows = next(data.test.batches(MOST_ROWS))
    x, labels = rows["x"], rows.get("label") if data.classes else None
    shades = _shades(x)
    with np.load(run.codes) as saved:
        train, codes = saved["train_codes"], saved["test_codes"][: len(x)]
    yield (
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
    made = {name: shades(_numpy(judge.reconstruct(chosen))) for name, judge in judged.items()}
    yield (
        "reconstructions",
        "Inputs and reconstructions",
        f"Test examples through {model.k} numbers and back, by {' and by '.join(judged)}.",
        pictures.reconstructions(shades(chosen), made),
    )
    history = files.read_json(run.history)
    if history:
        yield (
            "learning_curve",
            "Learning curve",
            "Squared error per example, Σᵢ (xᵢ − x̃ᵢ)², after every epoch.",
            pictures.learning_curve(history, metrics["test/squared_error"], metrics.get("pca/squared_error")),
        )
    yield _clusters(experiment.seed, model, data, shades, train, codes, labels)
    yield (
        "traversals",
        "Traversals",
        "One code dimension moved from its 1st to its 99th percentile, the others held at the most central training example.",
        pictures.traversals(shades(_traverse(model, train))),
    )
    yield (
        "samples",
        "Generated examples",
        f"Decoded draws from the mixture of Gaussians over the codes, seeds 0 to {5 * SHOWN - 1}.",
        pictures.samples(shades(_numpy(model.generate(np.arange(5 * SHOWN, dtype="int32"))))),
    )
    yield (
        "architecture",
        "Architecture",
        "Width of every layer, the code between encoder and decoder.",
        pictures.architecture(_stages(model), sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)),
    )


def _shades(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What brings images of any range into [0, 1] for drawing; other data stay as they are."""
    low, high = min(0.0, float(x.min())), max(1.0, float(x.max()))
    if not pictures.is_image(x.shape[1:]) or (low, high) == (0.0, 1.0):
        return lambda values: values
    return lambda values: (values - low) / (high - low)


def _clusters(seed: int, model, data: Data, shades, train, codes, labels):
    found = evaluation.kmeans(train, len(data.classes) if data.classes else CLUSTERS, seed)
    count, assigned = found.n_clusters, found.predict(codes)
    captions = [f"{np.sum(assigned == c):,} rows" for c in range(count)]
    if labels is not None:
        shares = [np.bincount(labels[assigned == c], minlength=1) for c in range(count)]
        captions = [
            f"{100 * share.max() / share.sum():.0f} % “{data.classes[share.argmax()]}”" if share.sum() else "empty"
            for share in shares
        ]
    centres = shades(_numpy(model.decode(found.cluster_centers_.astype("float32"))))
    return (
        "clusters",
        "Clusters",
        f"k-means with {count} clusters, found in the training codes without labels; the test codes are shown.",
        pictures.clusters(codes, assigned, centres, captions),
    )


def _traverse(model, codes: np.ndarray) -> np.ndarray:
    """What every dimension, moved through STEPS quantiles of its own, decodes to: `(k, STEPS, *shape)`."""
    values = np.quantile(codes, np.linspace(0.01, 0.99, STEPS), axis=0).T  # (k, STEPS)
    base = codes[np.square((codes - codes.mean(axis=0)) / (codes.std(axis=0) + 1e-9)).sum(axis=1).argmin()]
    moved = np.tile(base, (model.k, STEPS, 1))  # (k, STEPS, k)
    for j in range(model.k):
        moved[j, :, j] = values[j]
    decoded = _numpy(model.decode(moved.reshape(-1, model.k).astype("float32")))
    return decoded.reshape(model.k, STEPS, *decoded.shape[1:])


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


def _numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


# The page

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #20242b; max-width: 1040px; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .3rem 0 1rem; color: #555c68; } img { max-width: 100%; display: block; margin: 0 auto; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; } th { text-align: left; font-weight: 600; }
td, th { padding: .28rem 1.2rem .28rem 0; border-bottom: 1px solid #e3e6ec; } td.number { text-align: right; }
code { background: #f2f4f8; padding: .1rem .35rem; border-radius: 4px; } details { margin: 2.4rem 0; }
"""


def _page(run: Run, metrics: dict[str, float], sections: list[str]) -> str:
    experiment = run.experiment()
    settings = files.read_json(run.config) | files.read_json(run.versions)
    title = html.escape(experiment.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{html.escape(experiment.about)} <code>{html.escape(experiment.command)}</code></p>"
        f"{_errors(experiment.name, experiment.k, metrics)}{_rest(metrics)}{''.join(sections)}"
        f"<details><summary>Settings and versions</summary>{_table(settings)}</details></body></html>\n"
    )


def _errors(name: str, k: int, metrics: dict[str, float]) -> str:
    labels = {"test": name, "pca": f"PCA, k = {k}"}
    rows = "".join(
        f'<tr><td>{html.escape(label)}</td><td class="number">{metrics[f"{key}/squared_error"]:.4g}</td>'
        f'<td class="number">{metrics[f"{key}/mse"]:.4g}</td></tr>'
        for key, label in labels.items()
        if f"{key}/mse" in metrics
    )
    return f"<table><tr><th>On the test split</th><th>squared error</th><th>per dimension</th></tr>{rows}</table>"


def _rest(metrics: dict[str, float]) -> str:
    shown = {key: f"{value:.4g}" for key, value in metrics.items() if not key.endswith(("squared_error", "mse"))}
    return _table(shown)


def _table(rows: dict) -> str:
    cells = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _section(title: str, caption: str, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    return (
        f"<h2>{html.escape(title)}</h2><p>{html.escape(caption)}</p>"
        f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'
    )
