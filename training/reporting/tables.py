"""The pictures of a report on an autoencoder of tables, with their captions."""

from collections.abc import Iterator

import numpy as np

import zoo
from training import files
from training.data.splits import Split
from training.data.tables import Tables
from training.evaluation import tables as evaluation
from training.evaluation.arrays import numpy
from training.evaluation.targets import SHARES
from training.evaluation.trends import trends
from training.reporting import columns, pictures, schemas
from training.reporting.page import Entry, Table
from training.run import Run
from zoo import dates
from zoo.columns import dtype, kept
from zoo.rows import raw_of
from zoo.schema import Feature

MOST_ROWS = 4_000  # rows by which distributions and trends are judged, and dots on a map
MOST_CELLS = 40_000  # cells among which the oddest ones are looked for
BATCH = 1000
ODDEST = 10
MOST_COLUMNS = 40  # columns with a picture of their own
MOST_TRENDS = 30  # columns with pair trends
MAPS, MOST_COLOURS = 4, 10


def figures(run: Run, model: zoo.TableAutoencoder, data: Tables, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    yield _schema(data, metrics)
    yield _errors(run.experiment().name, model, metrics)
    real = _sample(data.train)
    seeds = np.arange(len(real), dtype="int32")
    generated = np.concatenate([numpy(model.tensors("generate")(part)) for part in _parts(seeds)])
    yield _marginals(model, real, generated)
    if len(model.columns) > 1:
        yield _trends(model, real, generated)
    yield _map(run, model, data)
    yield _oddest(model, data)
    if any(key.startswith("target/") for key in metrics):
        yield _target(data, metrics)
    history = files.read_json(run.history)
    if history:
        yield Entry(
            "learning_curve",
            "Learning curve",
            "The average loss of cells that were hidden, after every epoch; 1 is that of the best constant.",
            pictures.learning_curve(history, "imputation", ylabel="loss of hidden cells"),
        )


def _schema(data: Tables, metrics: dict[str, float]) -> Entry:
    """The schema, and the errors of hidden cells, where they were judged."""
    rows, places = [], list({**data.target, **data.schema}.items())
    for (name, feature), row in zip(places, schemas.rows(data.schema, data.target), strict=True):
        keys = [f"columns/{name}/{key}" for key in ("imputation", "baseline")]
        errors = [_error(metrics[key], feature) if key in metrics else "" for key in keys]
        rows.append((*row, *errors))
    caption = "What the training split holds, and how the model fills in cells of the test split that were hidden from it: the "
    caption += "root of the mean squared error of numbers in standard deviations, the share of wrong classes; beside it the same "
    caption += "of the mean or the mode."
    head = (*schemas.HEAD, "error, hidden cells", "mean or mode")
    return Entry("schema", "Schema", caption, Table(head, rows, (3, 4, 5)))


def _error(value: float, feature: Feature) -> str:
    return f"{value:.3f}" if _is_number(feature) else f"{100 * value:.1f} %"


def _errors(name: str, model: zoo.TableAutoencoder, metrics: dict[str, float]) -> Entry:
    schema = kept(model.likelihood.columns)
    judged = [each for each in schema if f"columns/{each}/imputation" in metrics]
    errors, baselines = (np.array([metrics[f"columns/{each}/{key}"] for each in judged]) for key in ("imputation", "baseline"))
    first = np.argsort(-columns.gains(errors, baselines), kind="stable")
    chosen = np.sort(np.unique(np.concatenate([first[: MOST_COLUMNS // 2], first[-MOST_COLUMNS // 2 :]])))
    numbers = np.array([_is_number(schema[judged[place]]) for place in chosen], bool)
    caption = "The error with which hidden cells of the test split are filled in, from the largest gain over the mean or mode to "
    caption += "the smallest; on average over the columns "
    caption += f"{metrics['imputation/score']:.3f} of it (PCA of equal k: {metrics['pca/imputation']:.3f})."
    if len(chosen) < len(judged):
        caption += f" Of {len(judged):,} columns, those with the largest and the smallest gains are shown."
    names = [judged[place] for place in chosen]
    picture = columns.errors(names, errors[chosen], baselines[chosen], numbers, name)
    return Entry("imputation", "How well hidden cells are filled in", caption, picture)


def _marginals(model: zoo.TableAutoencoder, real: np.ndarray, generated: np.ndarray) -> Entry:
    schema = kept(model.likelihood.columns)
    shown = list(schema)[:MOST_COLUMNS]
    caption = f"{len(real):,} rows of the training split, and as many generated ones. The outermost hundredth of numbers is left "
    caption += "out."
    if len(shown) < len(schema):
        caption += f" Of {len(schema):,} columns, the first {len(shown)} are shown."
    values = [_raw_numbers(model, cells) for cells in (real, generated)]
    pictured = [
        columns.Column(
            name,
            values[0][:, place],
            values[1][:, place],
            _class_names(schema[name]),
            schema[name].format,
            _is_logarithmic(schema[name]),
        )
        for place, name in enumerate(shown)
    ]
    return Entry("marginals", "Columns of real and of generated rows", caption, columns.marginals(pictured))


def _trends(model: zoo.TableAutoencoder, real: np.ndarray, generated: np.ndarray) -> Entry:
    strengths = [trends(model.likelihood.columns, cells) for cells in (real, generated)]
    names, off = np.array(model.columns, object), ~np.eye(len(real[0]), dtype=bool)
    gap = float(np.nanmean(np.abs(strengths[1] - strengths[0])[off])) if np.isfinite(strengths[0][off]).any() else 0.0
    shown = np.arange(len(names))
    caption = "How strongly two columns depend on each other, from 0 to 1: |correlation| of numbers, of numbers and classes the "
    caption += "correlation ratio (Fisher, 1925; Kelley, 1935), of classes Cramér’s V (Bergsma, 2013). The average difference "
    caption += f"between real and generated rows is {gap:.3f}."
    if len(names) > MOST_TRENDS:
        total = np.nansum(strengths[0] * off, axis=1)
        shown = np.sort(np.argsort(-total, kind="stable")[:MOST_TRENDS])
        caption += f" Of {len(names):,} columns, the {MOST_TRENDS} with the strongest trends are shown."
    matrices = [matrix[np.ix_(shown, shown)] for matrix in strengths]
    return Entry("trends", "Trends of pairs of columns", caption, columns.trends(names[shown], *matrices))


def _map(run: Run, model: zoo.TableAutoencoder, data: Tables) -> Entry:
    """Rows at their codes, those of the test split and, where it is small, of the others."""
    cells, codes = [], []
    with np.load(run.codes) as saved:
        for name in ("test", "validation", "train"):
            left = MOST_ROWS - sum(map(len, codes))
            if f"{name}_codes" in saved and left > 0:
                codes.append(saved[f"{name}_codes"][:left])
                cells.append(evaluation.cells(data.splits[name], len(codes[-1])))
    cells, codes = np.concatenate(cells), np.concatenate(codes)
    positions = pictures.plane(codes)
    colourings = _colourings(model, cells, positions)
    plane = f"the two leading principal components of its {model.k} dimensions" if model.k > 2 else "the code space"
    words = ("first principal component", "second principal component")
    axes = words if model.k > 2 else ("first code dimension", "second code dimension")
    caption = f"{len(codes):,} rows, each at the position of its code in {plane}, coloured by the columns that say most about it."
    return Entry("codes", "The codes of the data", caption, columns.maps(positions, colourings, axes))


def _colourings(model: zoo.TableAutoencoder, cells: np.ndarray, positions: np.ndarray) -> list[columns.Colouring]:
    """The columns by which a map is coloured: of few classes first, those that the positions tell most of."""
    schema = kept(model.likelihood.columns)
    plain = {f"{place}": Feature("continuous") for place in range(2)}
    strengths = trends({**plain, **schema}, np.concatenate([positions, cells], axis=1).astype("float32"))[:2, 2:]
    strengths = np.nan_to_num(np.square(strengths)).sum(axis=0)
    few = np.array([0 < len(feature.classes or ()) <= MOST_COLOURS for feature in schema.values()])
    colourable = few | ~np.array([bool(feature.classes) for feature in schema.values()])
    order = [place for place in np.lexsort((-strengths, ~few)) if colourable[place]]
    values, names = _raw_numbers(model, cells), list(schema)
    found = []
    for place in order[:MAPS] or [0]:
        feature = schema[names[place]]
        classes = _class_names(feature) if few[place] else None
        column = cells[:, place] if classes else values[:, place]
        if classes:
            column = np.where(column < len(classes), column, np.nan)  # a class that is not known has no colour
        found.append(columns.Colouring(names[place], column, classes, feature.type == "ordinal"))
    return found


def _oddest(model: zoo.TableAutoencoder, data: Tables) -> Entry:
    """The cells of the test split that fit the others of their row least, and what would be expected."""
    schema = kept(model.likelihood.columns)
    most = max(1, MOST_CELLS // len(schema))
    rows = next(data.test.batches(most))
    cells, judge = rows["x"], model.tensors("score_cells")
    scores = np.concatenate([numpy(judge(part)) for part in _parts(cells, max(1, 20_000 // len(schema)))])
    flat = np.argsort(np.where(np.isnan(scores), np.inf, scores), axis=None)[:ODDEST]
    found = np.stack(np.unravel_index(flat, scores.shape), axis=1)
    found = found[~np.isnan(scores[tuple(found.T)])]
    hidden = cells[found[:, 0]].copy()
    hidden[np.arange(len(found)), found[:, 1]] = np.nan
    expected, true = (raw_of(schema, part) for part in (numpy(model.tensors("reconstruct")(hidden)), cells[found[:, 0]]))
    names = list(schema)
    listed = []
    for place, (row, column) in enumerate(found):
        name = names[column]
        shown = [_shown(values[name][place], schema[name]) for values in (true, expected)]
        listed.append((str(rows["id"][row]), schemas.shortened(name), *shown, f"{scores[row, column]:.1f}"))
    caption = f"Of {len(cells):,} rows of the test split, the cells that fit the others of their row least, by `score_cells`: "
    caption += "log p of the value less that of the most probable one, in nats; −4.5 are three standard deviations. Rows are "
    caption += "counted from 0."
    head = ("row", "column", "value", "to be expected", "score")
    return Entry("oddest", "The oddest cells", caption, Table(head, listed, (0, 4)))


def _target(data: Tables, metrics: dict[str, float]) -> Entry:
    ((name, _),) = data.target.items()
    figure = "accuracy" if "target/baseline/accuracy" in metrics else "r2"
    suffixes = ["" if share == 1 else f"_{100 * share:g}_percent" for share in SHARES]
    codes, scratch = (
        np.array([100 * metrics[f"target/{way}/{figure}{suffix}"] for suffix in suffixes]) for way in ("codes", "scratch")
    )
    ylabel = f"{'right' if figure == 'accuracy' else 'explained variance of'} {columns.short(name, columns.NAME)}, %"
    picture = columns.few_labels(SHARES, codes, scratch, 100 * metrics[f"target/baseline/{figure}"], ylabel)
    caption = f"{name}, which the autoencoder has not seen, predicted for the test split by a head on the codes, and by the same "
    caption += "network, encoder and head, trained from scratch on the same rows."
    return Entry("target", f"What the codes tell of {name}", caption, picture)


# Helpers


def _sample(split: Split) -> np.ndarray:
    """Cells `(n, C)` from all over a split in memory, or the first ones of a stream."""
    if split.arrays is None:
        return evaluation.cells(split, MOST_ROWS)
    chosen = np.random.default_rng(0).permutation(split.size)[:MOST_ROWS]
    return split.arrays["x"][np.sort(chosen)]


def _parts(rows: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _raw_numbers(model: zoo.TableAutoencoder, cells: np.ndarray) -> np.ndarray:
    """Raw values `(n, C)` of cells: numbers, dates in seconds, and the places of classes."""
    found = cells.astype("float64")
    schema = kept(model.likelihood.columns)
    for place, (name, values) in enumerate(raw_of(schema, cells).items()):
        feature = schema[name]
        if feature.type == "datetime":
            found[:, place] = dates.seconds(values, feature.format)
        elif not feature.classes:
            found[:, place] = values
    return found


def _class_names(feature: Feature) -> list[str] | None:
    if not feature.classes:
        return None
    return [each if isinstance(each, str) else schemas.number(each) for each in feature.classes]


def _is_number(feature: Feature) -> bool:
    return dtype(feature) == "float64" or feature.type == "datetime"


def _is_logarithmic(feature: Feature) -> bool:
    low, high = feature.range or (0.0, 0.0)
    return feature.type == "positive" and high > columns.WIDE * max(low, 1e-300) and low > 0


def _shown(value: object, feature: Feature) -> str:
    """A raw value, a number with as many decimals as the column has."""
    if isinstance(value, str):
        return schemas.shortened(value)
    return schemas.number(round(float(value), 6 if feature.decimals is None else feature.decimals) + 0.0)
