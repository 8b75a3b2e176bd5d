"""Tables: the schema that is printed, kept and given back, the figures and pictures of a run, a column that is predicted."""

import contextlib
import csv
import html.parser
import io

import keras
import numpy as np
import pytest
from PIL import Image

import training
import zoo
from training import cards, commands, kinds
from training.data.schema_files import read_schema
from training.data.tables import parts
from training.evaluation import measures, tables, targets
from training.evaluation.trends import trends
from training.experiments.experiment import Experiment
from training.fitting import loop
from training.fitting.cooldown import cool_down
from training.fitting.interpolation import interpolate
from training.reporting import schemas
from zoo.columns import kept
from zoo.schema import Feature

ROWS = 240
ODD = next(row for row in range(100, ROWS) if parts(np.arange(ROWS), 0.2)[row] == 2)  # a row of the test split
PICTURES = {"imputation", "target", "codes", "marginals", "trends", "learning_curve"}
COLUMNS = ("size", "price $", "n", "file", "grade", "day")  # `file` is also the name of an argument of np.savez
WAYS = ("baseline", "codes", "scratch")


def _row(number: int) -> dict[str, object]:
    random, kind = np.random.default_rng(number), number % 3
    return {
        "id": f"k{number:03d}",
        "size": f"{900 if number == ODD else random.normal(10 * kind, 2):.2f}",
        "price $": "" if number % 10 == 3 else f"{np.exp(random.normal(kind, 0.3)):.2f}",
        "n": random.poisson(3 * kind),
        "file": ("a", "b", "<c> & d")[kind],
        "grade": ("low", "medium", "high")[random.integers(3)],
        "day": f"2020-{1 + number % 12:02d}-{1 + number % 28:02d}",
        "same": "x",
        "churn": ("no", "yes")[int(kind == 1)],
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path, rows = tmp_path_factory.mktemp("table") / "shop.csv", [_row(number) for number in range(ROWS)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def finished(table):
    """A run of one epoch, and what it printed."""
    settings, folder = {"target": "churn", "epochs": 1, "width": 16, "depth": 1}, table.parent / "run"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(targets, "STEPS", 150)
        patch.setattr(targets, "DRAWS", 1)
        run = training.train(training.automatic(str(table), settings, workdir=folder), folder)
    return run, printed.getvalue()


def _opened(table, **settings):
    return kinds.open_data(Experiment("shop", "", {"kind": "tables", "data.dataset": str(table)}).override(k=2, **settings))


class _Tables(html.parser.HTMLParser):
    """The texts of the cells of a page's tables, row by row."""

    def __init__(self, page: str):
        super().__init__()
        self.tables, self._inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self._inside = tag in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self._inside = False


# The schema


def test_the_schema_is_printed_in_aligned_columns(finished):
    first, head, *lines = finished[1].splitlines()[:11]
    assert first == "shop: a table of 9 columns, 2 of them left out; 156 for train, 36 for validation, 48 for test"
    starts = [head.index(word) for word in schemas.HEAD]
    assert all(line[start - 2 : start].isspace() for line in lines for start in starts[1:3])
    shown = {line[: starts[1]].strip(): [line[start:].split("  ")[0].strip() for start in starts[1:]] for line in lines}
    assert shown["churn"] == ["binary", "to be predicted: no, yes", ""]
    assert shown["id"] == ["identifier", "left out: tells rows apart", ""]
    assert shown["same"] == ["constant", "left out: is the same in every row", ""]
    assert shown["file"] == ["categorical", "<c> & d, a, b", ""] and shown["grade"][1] == "low < medium < high"
    assert shown["day"] == ["datetime", "2020-01-01 to 2020-12-24", ""]
    assert shown["price $"][2].endswith(" %") and float(shown["price $"][2][:-2]) == pytest.approx(10, abs=3)


def test_very_many_columns_and_classes_are_counted():
    schema = {f"{place}" * 30: Feature("categorical", classes=tuple(map(str, range(100)))) for place in range(100)}
    lines = schemas.lines(schema)
    assert lines[-1] == "… and 40 more columns" and len(lines) == 62 and max(map(len, lines)) < 128
    assert lines[1].endswith("0, 1, 2, 3, … (100 classes)")


def test_the_schema_is_kept_and_can_be_edited_and_given_back(finished, table, tmp_path):
    run, _ = finished
    kept_types = {name: feature.type for name, feature in read_schema(run.schema).items()}
    inferred = _opened(table)
    assert kept_types == {name: feature.type for name, feature in inferred.schema.items()} and kept_types["churn"] == "binary"
    assert _opened(table, schema=str(run.schema)).schema == inferred.schema
    edited = tmp_path / "schema.yaml"
    edited.write_text(
        run.schema.read_text()
        .replace("n: count", "n: continuous")
        .replace("grade: {type: ordinal", "grade: {type: categorical")
    )
    schema = kept(_opened(table, schema=str(edited)).schema)
    assert schema["n"].type == "continuous" and schema["grade"].type == "categorical"


# The figures


def test_the_figures_are_named_and_the_main_one_comes_first(finished):
    run, printed = finished
    metrics = training.files.read_json(run.metrics)
    columns = {f"columns/{name}/{key}" for name in COLUMNS for key in ("imputation", "baseline")}
    target = {f"target/{way}/accuracy" for way in WAYS} | {f"target/{way}/accuracy_5_percent" for way in WAYS[1:]}
    rest = {"imputation/score", "imputation/baseline", "pca/imputation", "test/score"}
    assert set(metrics) == columns | target | rest and metrics["imputation/baseline"] == 1
    names = [measures.measure(key).name for key in metrics]
    assert len(set(names)) == len(names) and not set(names) & set(metrics)
    table = commands.table(run).splitlines()
    assert table[1].split() == ["shop", f"{metrics['imputation/score']:.4g}"] and "\n".join(table) not in printed
    assert table[2].split() == [*["PCA", "of", "equal", "k"], f"{metrics['pca/imputation']:.4g}"]
    assert f"error of hidden cells {metrics['imputation/score']:.3f}" in commands.figures([run])


def test_the_codes_tell_of_a_column_that_the_model_has_not_seen(finished):
    """Whether churn is yes follows from three other columns, and is no in two thirds of the rows."""
    run, _ = finished
    metrics = training.files.read_json(run.metrics)
    assert metrics["target/baseline/accuracy"] == pytest.approx(2 / 3, abs=0.1)
    for way in ("codes", "scratch"):
        assert metrics[f"target/{way}/accuracy"] > 0.85 > metrics["target/baseline/accuracy"]
    assert run.load_model().columns == COLUMNS


@pytest.mark.parametrize("target", ["chrun", "same", "id"])
def test_a_target_that_is_no_column_is_refused_with_those_that_are(target, table):
    with pytest.raises(ValueError, match=rf"Received: target={target} of size, .*churn\. Try --target="):
        _opened(table, target=target)


def test_a_target_is_set_apart_in_streams_as_in_memory(table):
    whole, apart = _opened(table), _opened(table, target="n")
    streamed = _opened(table, target="n", memory_gib=1e-9)
    place = [*kept(whole.schema)].index("n")
    for name, split in apart.splits.items():
        cells = whole.splits[name].arrays["x"]
        np.testing.assert_array_equal(split.arrays["x"], np.delete(cells, place, axis=1))
        np.testing.assert_array_equal(split.arrays["answer"], cells[:, place])
        rows = next(streamed.splits[name].batches(ROWS))
        for key in ("x", "answer"):
            np.testing.assert_allclose(rows[key], split.arrays[key], rtol=1e-6)


# The report


def test_the_pictures_show_something(finished):
    run, _ = finished
    assert {path.stem for path in run.report.parent.glob("*.png")} == PICTURES
    for path in run.report.parent.glob("*.png"):
        picture = Image.open(path).convert("RGB")
        assert min(picture.size) > 300 and len(picture.getcolors(picture.width * picture.height)) > 30, path


def test_the_page_has_the_schema_and_the_oddest_cells(finished):
    run, _ = finished
    metrics, (figures, schema, oddest, _) = training.files.read_json(run.metrics), _Tables(run.report.read_text()).tables
    assert not any("hidden cells of" in row[0] for row in figures)  # those of columns are in the schema
    assert [row[0] for row in schema[1:]] == ["churn", "id", *COLUMNS, "same"]
    error, baseline = (metrics[f"columns/file/{key}"] for key in ("imputation", "baseline"))
    assert next(row for row in schema if row[0] == "file")[2:] == [
        "<c> & d, a, b", "", f"{100 * error:.1f} %", f"{100 * baseline:.1f} %",
    ]  # fmt: skip
    assert len(oddest) == 11 and oddest[1][:3] == [str(ODD), "size", "900"] and -60 < float(oddest[1][3]) < 60
    scores = [float(row[-1].replace("−", "-")) for row in oddest[1:]]
    assert scores == sorted(scores) and scores[0] < -4.5


def test_trends_are_what_is_known_of_them():
    random, n = np.random.default_rng(0), 4_000
    a, b, c = random.normal(size=(3, n))
    twice = {"a": a, "b": 0.6 * a + 0.8 * b, "class": (a > 0).astype(float), "copy": (a <= 0).astype(float), "noise": c}
    twice["rare"] = random.integers(0, 60, n).astype(float)
    cells = np.stack([*twice.values()], axis=1).astype("float32")
    cells[random.random(cells.shape) < 0.1] = np.nan
    types = dict.fromkeys(("class", "copy", "rare"), "categorical")
    found = trends({name: Feature(types.get(name, "continuous")) for name in twice}, cells)
    expected = {(0, 1): 0.6, (0, 2): np.sqrt(2 / np.pi), (2, 3): 1.0, (0, 4): 0.0, (0, 5): 0.0, (2, 5): 0.0}
    for (row, column), strength in expected.items():
        assert found[row, column] == found[column, row] == pytest.approx(strength, abs=0.05), (row, column)
    assert np.isnan(trends({"a": Feature("continuous"), "b": Feature("binary")}, np.zeros((9, 2), "float32"))).all()


# The preset


def test_a_preset_holds_raw_rows_and_the_map(finished, table, tmp_path):
    run, _ = finished
    folder = cards.write_preset(run.folder, tmp_path)
    rows, model, card = zoo.sample(folder), zoo.load(folder), zoo.card(folder)
    tested = [row for row, part in zip(map(_row, range(ROWS)), parts(np.arange(ROWS), 0.2), strict=True) if part == 2]
    assert tuple(rows) == COLUMNS and rows["file"].tolist() == [row["file"] for row in tested[: cards.SAMPLE]]
    assert rows["n"].tolist() == [row["n"] for row in tested[: cards.SAMPLE]]
    filled = model.reconstruct(rows)
    assert np.isnan(rows["price $"]).any() and not np.isnan(filled["price $"]).any()
    assert (
        "![codes](codes.png)" in card and (folder / "codes.png").read_bytes() == (run.report.parent / "codes.png").read_bytes()
    )


@pytest.mark.parametrize(("target", "share"), [(4.0, 0.5), (9.0, 1.0), (1.0, 0.25)])
def test_of_the_weights_between_start_and_end_the_best_are_kept(target, share):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.full((1, 1), 8.0)])
    loss = lambda: abs(float(model.get_weights()[0][0, 0]) - target)  # noqa: E731
    assert interpolate(model, [np.zeros((1, 1))], loss) == share
    assert model.get_weights()[0][0, 0] == 8.0 * share


@pytest.mark.parametrize("rates", [[], [1e-4, 1e-3, 1e-3, 1e-4] * 2])
def test_training_ends_with_all_rows_that_are_not_for_testing(table, rates):
    data = _opened(table, validation=0.2)
    experiment = Experiment("shop", "", {"kind": "tables", "data.dataset": str(table)}).override(
        k=2, width=8, depth=1, epochs=20
    )
    model = kinds.build(experiment, data)
    loop.compile(model, data, experiment)
    before, iterations = model.get_weights(), int(model.optimizer.iterations)
    cool_down(model, data, experiment, rates)
    if not rates:
        assert int(model.optimizer.iterations) == iterations
        assert all(map(np.array_equal, before, model.get_weights()))
        return
    rows = data.train.size + data.validation.size
    assert data.joined().train.size == rows and data.joined().validation is None
    assert int(model.optimizer.iterations) == len(rates) // 4 * (rows // experiment["training.batch_size"])
    held_out = data.validation.arrays["x"]
    assert tables.loss(model, held_out) < tables.loss(kinds.build(experiment, data), held_out)  # which were learned from
