"""The pictures of a report on an autoencoder of tables, with their captions."""

from collections.abc import Iterator

import numpy as np

import zoo
from training import files
from training.data.splits import Split
from training.data.tables import Tables
from training.data.targets import ANSWER
from training.evaluation.arrays import numpy
from training.evaluation.targets import SHARES
from training.evaluation.trends import trends
from training.reporting import columns, pictures, plane, schemas
from training.reporting.entries import Entry, Table
from training.run import Run
from zoo import dates
from zoo.columns import dtype, kept
from zoo.rows import raw_of
from zoo.schema import Feature, Schema

MOST_ROWS = 4_000  # rows by which distributions and trends are judged, and dots on a map
MOST_VALUES = 1_000_000  # cells of these rows, where there are very many columns
MOST_CELLS = 40_000  # cells among which the oddest ones are looked for
BATCH = 1000
ODDEST = 10
MOST_COLUMNS = 40  # columns with a picture of their own
MOST_TRENDS = 30  # columns with pair trends
JUDGED = 200  # columns of which the strongest trends are looked for
LISTED = 500  # columns in the table of the schema
MAPS, MOST_COLOURS = 4, 10


def figures(run: Run, model: zoo.TableAutoencoder, data: Tables, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    yield _schema(data, metrics)
    yield _errors(run.experiment().name, model, metrics)
    if any(key.startswith("target/") for key in metrics):
        yield _target(data, metrics)
    yield _map(run, model, data)
    yield _oddest(model, data)
    real = _rows(data.train, int(np.clip(MOST_VALUES // len(model.columns), 100, MOST_ROWS)))["x"]
    seeds = np.arange(len(real), dtype="int32")
    generated = np.concatenate([numpy(model.tensors("generate")(part)) for part in _parts(seeds)])
    yield _marginals(model, real, generated)
    if len(model.columns) > 1:
        yield _trends(model, real, generated)
    history = files.read_json(run.history)
    if history:
        yield Entry(
            "learning_curve",
            "Learning curve",
            "The average loss of cells that were hidden, after every epoch; 1 is that of the best constant.",
            pictures.learning_curve(history, "imputation", ylabel="loss of hidden cells", scale="linear"),
        )


def _schema(data: Tables, metrics: dict[str, float]) -> Entry:
    """The schema, and the errors of hidden cells, where they were judged."""
    rows, features = [], {**data.target, **data.schema}
    for (name, feature), row in zip([*features.items()][:LISTED], schemas.rows(data.schema, data.target), strict=False):
        keys = [f"columns/{name}/{key}" for key in ("imputation", "baseline")]
        rows.append((*row, *(_error(metrics[key], feature) if key in metrics else "" for key in keys)))
    return Entry(
        "schema",
        "Schema",
        "What the training split holds, and the error with which the model fills in cells of the test split that were hidden "
        "from it, beside that of the mean or the mode: of numbers the root of the mean squared error in standard deviations, "
        "of classes the share that is wrong."
        + f" Of {len(features):,} columns, the first are listed."
        * (len(features) > LISTED),
        Table((*schemas.HEAD, "error, hidden cells", "mean or mode"), rows, (3, 4, 5)),
    )


def _errors(name: str, model: zoo.TableAutoencoder, metrics: dict[str, float]) -> Entry:
    schema = kept(model.likelihood.columns)
    judged = [each for each in schema if f"columns/{each}/imputation" in metrics]
    errors, baselines = (np.array([metrics[f"columns/{each}/{key}"] for each in judged]) for key in ("imputation", "baseline"))
    order = np.argsort(-columns.gains(errors, baselines), kind="stable")
    half = MOST_COLUMNS // 2
    chosen = order if len(order) <= MOST_COLUMNS else np.concatenate([order[:half], order[-half:]])
    some = f" Of {len(judged):,} columns, those with the largest and the smallest gains are shown." * (
        len(chosen) < len(judged)
    )
    numbers = np.array([_is_number(schema[judged[place]]) for place in chosen], bool)
    pca = f" (PCA of equal k: {metrics['pca/imputation']:.3f})" if "pca/imputation" in metrics else ""
    return Entry(
        "imputation",
        "How well hidden cells are filled in",
        "The error with which hidden cells of the test split are filled in, from the largest gain over the mean or mode to the "
        f"smallest. On average over the columns it is {metrics['imputation/score']:.3f} of theirs{pca}.{some}",
        columns.errors([judged[place] for place in chosen], errors[chosen], baselines[chosen], numbers, name),
    )


def _target(data: Tables, metrics: dict[str, float]) -> Entry:
    ((name, _),) = data.target.items()
    figure = "accuracy" if "target/baseline/accuracy" in metrics else "r2"
    suffixes = ["" if share == 1 else f"_{100 * share:g}_percent" for share in SHARES]
    codes, scratch = (
        np.array([100 * metrics[f"target/{way}/{figure}{suffix}"] for suffix in suffixes]) for way in ("codes", "scratch")
    )
    ylabel = f"{columns.short(name, columns.NAME)}, {'right' if figure == 'accuracy' else 'explained variance'}, %"
    return Entry(
        "target",
        f"What the codes tell of {name}",
        f"{name}, which the autoencoder has not seen, is predicted for the test split by a head on the codes, and by the same "
        "network, encoder and head, trained from scratch on the same rows with labels.",
        columns.few_labels(SHARES, codes, scratch, 100 * metrics[f"target/baseline/{figure}"], ylabel),
    )


def _map(run: Run, model: zoo.TableAutoencoder, data: Tables) -> Entry:
    """Rows at their codes, those of the test split and, where it is small, of the others."""
    cells, codes = [], []
    with np.load(run.codes) as saved:
        for name, split in reversed(data.splits.items()):
            left = MOST_ROWS - sum(map(len, codes))
            if left > 0:
                rows = _rows(split, left)
                codes.append(saved[f"{name}_codes"][_places(split, left)])
                cells.append(np.concatenate([rows[ANSWER][:, None], rows["x"]], axis=1) if data.target else rows["x"])
    cells, codes = np.concatenate(cells), np.concatenate(codes)
    positions = plane.positions(codes)
    components = f"the two leading principal components of its {model.k} dimensions"
    word = "principal component" if model.k > 2 else "code dimension"
    first = f" by {next(iter(data.target))}, and" if data.target else ""
    return Entry(
        "codes",
        "The codes of the data",
        f"{len(codes):,} rows, each at the position of its code in {components if model.k > 2 else 'the code space'}, coloured"
        f"{first} by the columns that it tells most of.",
        columns.maps(positions, _colourings(data, cells, positions), (f"first {word}", f"second {word}")),
    )


def _colourings(data: Tables, cells: np.ndarray, positions: np.ndarray) -> list[columns.Colouring]:
    """The columns by which a map is coloured: the target, then those of few classes, those that the positions tell most of."""
    schema = dict(list({**data.target, **kept(data.schema)}.items())[:JUDGED])
    cells = cells[:, : len(schema)]
    both = {name: Feature("continuous") for name in range(2)} | dict(enumerate(schema.values(), 2))
    told = trends(both, np.concatenate([positions, cells], axis=1).astype("float32"))[:2, 2:]
    told = np.nan_to_num(np.square(told)).sum(axis=0)
    few = np.array([1 < len(feature.classes or ()) <= MOST_COLOURS for feature in schema.values()])
    usable = few | np.array([not feature.classes for feature in schema.values()])
    first = np.array([name in data.target for name in schema])
    order = [place for place in np.lexsort((-told, ~few, ~first)) if usable[place]]
    numbers, found = _raw_numbers(schema, cells), []
    for place in order[:MAPS] or [0]:
        name, feature = [*schema.items()][place]
        names = _class_names(feature) if few[place] else None
        values = numbers[:, place]
        if names:  # a class that is not known has no colour
            values = np.where(values < len(names), values, np.nan)
        found.append(columns.Colouring(name, values, names, feature.type == "ordinal", feature.format))
    return found


def _oddest(model: zoo.TableAutoencoder, data: Tables) -> Entry:
    """The cells of the test split that fit the others of their row least, and what would be expected."""
    schema = kept(model.likelihood.columns)
    rows = _rows(data.test, max(1, MOST_CELLS // len(schema)))
    cells, names = rows["x"], [*schema]
    judge = model.tensors("score_cells")  # it takes a copy of every row for each column
    scores = np.concatenate([numpy(judge(part)) for part in _parts(cells, max(1, 20_000 // len(schema)))])
    lowest = np.argsort(scores, axis=None)[: min(ODDEST, np.sum(~np.isnan(scores)))]  # NaN is last
    found, places = np.unravel_index(lowest, scores.shape)
    hidden = cells[found].copy()
    hidden[np.arange(len(found)), places] = np.nan
    expected, true = (raw_of(schema, part) for part in (numpy(model.tensors("reconstruct")(hidden)), cells[found]))
    listed = []
    for number, (row, place) in enumerate(zip(found, places, strict=True)):
        name = names[place]
        shown = [_shown(values[name][number], schema[name]) for values in (true, expected)]
        listed.append((str(rows["id"][row]), schemas.shortened(name), *shown, f"{scores[row, place]:.1f}".replace("-", "−")))
    return Entry(
        "oddest",
        "The oddest cells",
        f"Of {len(cells):,} rows of the test split, the cells that fit the others of their row least, by `score_cells`: log p "
        "of the value less that of the most probable one, in nats; −4.5 are three standard deviations. Rows are counted from "
        "0.",
        Table(("row", "column", "value", "to be expected", "score"), listed, (0, 4)),
    )


def _marginals(model: zoo.TableAutoencoder, real: np.ndarray, generated: np.ndarray) -> Entry:
    schema = kept(model.likelihood.columns)
    shown = list(schema)[:MOST_COLUMNS]
    some = f" Of {len(schema):,} columns, the first {len(shown)} are shown." * (len(shown) < len(schema))
    values = [_raw_numbers(schema, cells) for cells in (real, generated)]

    def pictured(place: int, feature: Feature) -> columns.Column:
        names, logarithmic = _class_names(feature), _is_logarithmic(feature)
        return columns.Column(shown[place], *(each[:, place] for each in values), names, feature.format, logarithmic)

    return Entry(
        "marginals",
        "Columns of real and of generated rows",
        f"{len(real):,} rows of the training split, and as many generated ones. The outermost hundredth of numbers is left out."
        + some,
        columns.marginals([pictured(place, schema[name]) for place, name in enumerate(shown)]),
    )


def _trends(model: zoo.TableAutoencoder, real: np.ndarray, generated: np.ndarray) -> Entry:
    judged = dict(list(kept(model.likelihood.columns).items())[:JUDGED])
    strengths = [trends(judged, cells[:, : len(judged)]) for cells in (real, generated)]
    off = ~np.eye(len(strengths[0]), dtype=bool)
    gaps = np.abs(strengths[1] - strengths[0])[off]
    gap = np.nanmean(gaps) if np.isfinite(gaps).any() else 0.0
    strongest = np.argsort(-np.nansum(strengths[0] * off, axis=1), kind="stable")[:MOST_TRENDS]
    shown, count = np.sort(strongest), len(model.columns)
    first = f"the first {JUDGED} of " * (count > JUDGED)
    some = f" Of {first}{count:,} columns, the {MOST_TRENDS} with the strongest trends are shown." * (len(shown) < count)
    return Entry(
        "trends",
        "Trends of pairs of columns",
        "How strongly two columns depend on each other, from 0 to 1: of numbers |r|, the correlation; of numbers and classes "
        "the correlation ratio (Fisher, 1925; Kelley, 1935); of classes Cramér’s V (Bergsma, 2013). The average difference "
        f"between real and generated rows is {gap:.3f}.{some}",
        columns.trends([model.columns[place] for place in shown], *(matrix[np.ix_(shown, shown)] for matrix in strengths)),
    )


# Helpers


def _places(split: Split, most: int) -> slice:
    """Of at most so many rows: of all parts of a split, or, of a stream, the first ones."""
    return slice(most) if split.arrays is None else slice(None, None, max(1, -(-split.size // most)))


def _rows(split: Split, most: int) -> dict[str, np.ndarray]:
    """The rows at `_places`."""
    rows = split.arrays or next(split.batches(most))
    return {name: column[_places(split, most)] for name, column in rows.items()}


def _parts(rows: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _raw_numbers(schema: Schema, cells: np.ndarray) -> np.ndarray:
    """Raw values `(n, C)` of cells: numbers, dates in seconds, and the places of classes."""
    found = cells.astype("float64")
    for place, (name, values) in enumerate(raw_of(schema, cells).items()):
        feature = schema[name]
        if feature.type == "datetime":
            found[:, place] = dates.seconds(values, feature.format)
        elif not feature.classes:
            found[:, place] = values
    return found


def _class_names(feature: Feature) -> list[str] | None:
    return [each if isinstance(each, str) else schemas.number(each) for each in feature.classes] if feature.classes else None


def _is_number(feature: Feature) -> bool:
    return dtype(feature) == "float64" or feature.type == "datetime"


def _is_logarithmic(feature: Feature) -> bool:
    """Whether a column of numbers is drawn on a logarithmic axis."""
    return feature.type == "positive" and 0 < columns.WIDE * feature.range[0] < feature.range[1]


def _error(value: float, feature: Feature) -> str:
    return f"{value:.3f}" if _is_number(feature) else f"{100 * value:.1f} %"


def _shown(value: object, feature: Feature) -> str:
    """A raw value, a number with as many decimals as the column has."""
    if isinstance(value, str):
        return schemas.shortened(value)
    return schemas.number(round(float(value), 6 if feature.decimals is None else feature.decimals) + 0.0)
