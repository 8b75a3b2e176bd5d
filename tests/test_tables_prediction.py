"""Tables in, tables out: a file keeps its columns, its cells and its form, and only what the model says is new."""

import csv
import datetime
import decimal
import gzip
import io
import json
import pathlib

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import zoo
from training.__main__ import main
from training.data import inference, table_files, table_writers
from training.data.batches import MISSING
from training.data.written import Column, texts, typed
from zoo.number_columns import MORE
from zoo.schema import Feature

ROWS, K = 60, 3
HEAD = ("id", " size ", "price, EUR", "n", "kind", "grade", "day", "note", "ok")
KEPT = ("size", "price, EUR", "n", "kind", "grade", "day", "ok")
WORDS = {"size": "NA", "price, EUR": "?", "n": "NaN"}  # that stand for missing numbers


def _row(number: int) -> list[str]:
    """A row as texts. Some of the numbers are written with fewer digits than others; some cells are missing."""
    random = np.random.default_rng(number)
    row = {
        "id": f"k{number:03d}",
        "size": f"{random.normal(40, 5):.2f}".rstrip("0"),
        "price, EUR": f"{random.lognormal(3, 1):.1f}",
        "n": str(random.poisson(2)),
        "kind": ("a b", 'say "b"', "c;d,é")[number % 3],
        "grade": ("low", "medium", "high")[number % 7 % 3],
        "day": f"{1 + number % 28:02d}.{1 + number % 12:02d}.{1960 + number}",
        "note": f'the long words of row {number}, and "more"\nof them',
        "ok": str(number % 2 == 0),
    }
    gap = (*KEPT, "")[number % (len(KEPT) + 1)]
    return [WORDS.get(name, "") if name == gap else cell for name, cell in row.items()]


TABLE = [_row(number) for number in range(ROWS)]


def _csv(rows: list, **form) -> str:
    file = io.StringIO()
    csv.writer(file, **{"lineterminator": "\n", **form}).writerows(rows)
    return file.getvalue()


def _read(text: str, **form) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), **form))


def _are_missing(rows: list[list[str]]) -> np.ndarray:
    return np.array([[cell in MISSING for cell in row] for row in rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A preset of a model of this table, untrained, and the table as `new.csv`."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "new.csv").write_text(_csv([HEAD, *TABLE]), encoding="utf-8")
    _save_model(folder / "new.csv", folder / "preset", len(KEPT))
    return folder


def _save_model(table: pathlib.Path, folder: pathlib.Path, columns: int) -> None:
    schema = inference.infer(table_files.open_table(table).batches())
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((columns,)), zoo.ColumnInputs(schema), keras.layers.Dense(8)])
    decoder = keras.Sequential([keras.Input((K,)), keras.layers.Dense(8, "relu")])
    model = zoo.TableAutoencoder(encoder, zoo.Deterministic(K), decoder, zoo.Mixed(schema), overcomplete=True)
    zoo.save_preset(model, folder)


@pytest.fixture(scope="module")
def model(folder) -> zoo.TableAutoencoder:
    return zoo.load(folder / "preset")


@pytest.fixture
def ask(folder, tmp_path):
    """A function that asks the model for a verb of a file, on the command line, and returns the path of the answers."""

    def ask(verb: str, data: str | pathlib.Path = "new.csv", output: str = "out.csv") -> pathlib.Path:
        arguments = [str(folder / "preset"), f"--input={folder / data}", f"--verb={verb}", f"--output={tmp_path / output}"]
        assert main(["predict", *arguments]) == 0
        return tmp_path / output

    return ask


def test_only_missing_cells_are_written_anew(ask, model):
    rows = _read(ask("reconstruct").read_text(encoding="utf-8"))
    assert rows[0] == list(HEAD)
    missing, filled = _are_missing(TABLE), np.array(rows[1:], object)
    np.testing.assert_array_equal(filled[~missing], np.array(TABLE, object)[~missing])
    expected = model.reconstruct(_raw())
    for place, name in enumerate(KEPT, 1):
        place += name == "ok"
        new = missing[:, place]
        assert new.any() and not _are_missing(rows[1:])[:, place].any()
        decimals, written = {"size": 2, "price, EUR": 1, "n": 0}.get(name), filled[new, place].tolist()
        if decimals is None:
            assert written == expected[name][new].tolist()
            continue
        np.testing.assert_allclose([*map(float, written)], expected[name][new], atol=0.51 * 10.0 ** -(decimals + MORE))
        for digits in (text.partition(".")[2] for text in written):
            assert decimals <= len(digits) <= decimals + MORE and not digits[decimals:].endswith("0")


def _raw() -> dict[str, np.ndarray]:
    columns = dict(zip([name.strip() for name in HEAD], zip(*TABLE, strict=True), strict=True))
    numbers = {name: np.array([float("nan" if cell in MISSING else cell) for cell in columns[name]]) for name in WORDS}
    return {name: numbers.get(name, np.array(columns[name], object)) for name in KEPT}


@pytest.mark.parametrize(
    ("encoding", "form", "decimal"),
    [
        ("utf-8", {"delimiter": ";", "lineterminator": "\r\n"}, ","),
        ("utf-8-sig", {"delimiter": "\t"}, "."),
        ("utf-16", {"delimiter": "|", "lineterminator": "\r\n"}, ","),
    ],
    ids=["semicolons", "tabs", "utf-16"],
)
def test_a_csv_file_keeps_its_form(encoding, form, decimal, ask, tmp_path):
    numeric = [HEAD.index(name) for name in HEAD if name.strip() in WORDS]

    def written(rows):
        numbers = [[cell.replace(".", decimal) if place in numeric else cell for place, cell in enumerate(row)] for row in rows]
        return _csv([HEAD, *numbers], **form).encode(encoding)

    (tmp_path / "new.csv").write_bytes(written(TABLE))
    usual = _read(ask("reconstruct", output="usual.csv").read_text(encoding="utf-8"))
    assert ask("reconstruct", tmp_path / "new.csv").read_bytes() == written(usual[1:])


@pytest.mark.parametrize("ending", ["csv.gz", "parquet", "feather", "jsonl", "jsonl.gz"])
def test_every_form_gives_the_same_rows(ending, ask, folder, tmp_path):
    """From CSV to another form, and from there to the same and to CSV."""
    usual = _read(ask("reconstruct").read_text(encoding="utf-8"))
    frame = _frame()
    if "json" in ending:  # which has no dates of its own
        frame["day"] = frame["day"].dt.strftime("%d.%m.%Y")
    path = tmp_path / f"new.{ending}"
    write = {
        "csv.gz": lambda: path.write_bytes(gzip.compress((folder / "new.csv").read_bytes())),
        "parquet": lambda: frame.to_parquet(path),
        "feather": lambda: frame.to_feather(path),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "jsonl.gz": lambda: frame.to_json(path, orient="records", lines=True),
    }
    write[ending]()
    assert _numbers(_read(ask("reconstruct", path, "back.csv").read_text(encoding="utf-8"))) == _numbers(usual)
    same = ask("reconstruct", path, f"same.{ending}")
    if ending == "csv.gz":
        assert _read(gzip.decompress(same.read_bytes()).decode()) == usual
        return
    read = {"parquet": pd.read_parquet, "feather": pd.read_feather}.get(ending, lambda path: pd.read_json(path, lines=True))
    found = read(same)
    assert list(found) == list(HEAD)
    there = frame.notna().to_numpy() & (frame != "").to_numpy()
    for name in set(HEAD) - {"day"}:
        np.testing.assert_array_equal(found[name][there[:, HEAD.index(name)]], frame[name][there[:, HEAD.index(name)]])
        assert not found[name].isna().any()
    if "json" not in ending:
        assert found.dtypes["day"].kind == "M" and found.dtypes["n"].kind == "i"
        assert [f"{day:%d.%m.%Y}" for day in found["day"]] == [row[6] for row in usual[1:]]


def _frame() -> pd.DataFrame:
    """The table with types: numbers, whole numbers that may be missing, a category, times and truth values."""
    frame = pd.DataFrame(np.array(TABLE, object), columns=list(HEAD)).replace(["NA", "?", "NaN"], None)
    frame[" size "], frame["price, EUR"] = frame[" size "].astype(float), frame["price, EUR"].astype(float)
    frame["n"] = frame["n"].astype(float).astype("Int64")
    frame["kind"] = frame["kind"].replace("", None).astype("category")
    frame["day"] = pd.to_datetime(frame["day"].replace("", None), format="%d.%m.%Y")
    frame["ok"] = frame["ok"].map({"True": True, "False": False}).astype("boolean")
    return frame


def _numbers(rows: list[list[str]]) -> list[list[str]]:
    """Rows without what is in the type of a table alone: how digits are written, how dates and truth values are."""
    return [[row[0], *map(_number, row[1:4]), *row[4:6], row[7]] for row in rows]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_objects_keep_what_else_they_hold(ask, tmp_path):
    rows = [dict(zip(HEAD, row, strict=True)) | {"more": {"a": [1, number]}, "big": 2**70} for number, row in enumerate(TABLE)]
    for row in rows:
        row["n"] = None if row["n"] == "NaN" else int(row["n"])
    rows[0].pop(" size ")
    (tmp_path / "new.jsonl").write_text("".join(f"{json.dumps(row)}\n\n" for row in rows))
    found = [json.loads(line) for line in ask("reconstruct", tmp_path / "new.jsonl", "out.jsonl").read_text().splitlines()]
    assert len(found) == ROWS
    for before, after in zip(rows, found, strict=True):
        there = {name: value for name, value in before.items() if value not in (None, *MISSING)}
        assert after == after | there and set(after) == set(HEAD) | {"more", "big"}
        assert isinstance(after["n"], float if before["n"] is None else int) and isinstance(
            after[" size "], str if " size " in there else float
        )


def test_other_verbs(ask, model, tmp_path):
    raw = _raw()
    codes = np.loadtxt(ask("encode", output="codes.csv"), delimiter=",", skiprows=1)
    np.testing.assert_allclose(codes, model.encode(raw), rtol=1e-6)
    assert (tmp_path / "codes.csv").read_text().startswith("code_0,code_1,code_2\n")
    np.testing.assert_array_equal(np.load(ask("encode", output="codes.npy")), np.asarray(model.encode(raw)))
    decoded = _read(ask("decode", tmp_path / "codes.csv").read_text(encoding="utf-8"))
    everything = _read(ask("reconstruct_all").read_text(encoding="utf-8"))
    assert decoded[0] == list(KEPT) and [row[1:7] + row[8:] for row in everything[1:]] == decoded[1:]
    assert [row[0] for row in everything[1:]] == [row[0] for row in TABLE]
    scores = pd.read_csv(ask("score_cells"))
    assert list(scores) == list(HEAD)
    for name, column in model.score_cells(raw).items():
        np.testing.assert_allclose(scores[" size " if name == "size" else name], column, rtol=1e-5, atol=1e-6)
    drawn = _read(ask("generate_given").read_text(encoding="utf-8"))
    seeded = model.generate_given(raw, np.arange(ROWS, dtype="int32"))
    assert [row[4] for row in drawn[1:]] == seeded["kind"].tolist()
    arrays = np.load(ask("reconstruct", output="rows.npz"))
    assert arrays["kind"].dtype.kind == "U" and arrays["size"].shape == (ROWS,)


def test_generated_rows(folder, model, tmp_path, capsys):
    assert main(["generate", str(folder / "preset"), "--count=7", f"--output={tmp_path / 'rows.csv'}"]) == 0
    rows = _read((tmp_path / "rows.csv").read_text(encoding="utf-8"))
    wanted = model.generate(np.arange(7, dtype="int32"))
    assert rows[0] == list(KEPT) and [row[3] for row in rows[1:]] == wanted["kind"].tolist()
    assert [row[0] for row in rows[1:]] == [f"{each:.2f}" for each in wanted["size"]]
    assert main(["generate", str(folder / "preset"), f"--output={tmp_path / 'rows.png'}"]) == 2
    assert "ending in .csv" in capsys.readouterr().err and not (tmp_path / "rows.png").exists()


def test_columns_of_a_table(ask, folder, tmp_path, capsys):
    """One too many is given back, in any order; one that is missing is an error, which leaves the output as it was."""
    frame = pd.DataFrame(TABLE, columns=list(HEAD))
    frame = frame[["kind", "note", "ok", "n", "day", "grade", "price, EUR", " size "]].assign(colour="red")
    frame.to_csv(tmp_path / "more.csv", index=False)
    usual = pd.read_csv(ask("reconstruct"), dtype=str)
    found = pd.read_csv(ask("reconstruct", tmp_path / "more.csv", "more_out.csv"), dtype=str)
    assert list(found) == list(frame) and (found["colour"] == "red").all()
    pd.testing.assert_frame_equal(found.drop(columns="colour"), usual[list(found)[:-1]])
    frame.drop(columns="grade").to_csv(tmp_path / "less.csv", index=False)
    (tmp_path / "out.csv").write_text("mine")
    arguments = ["predict", str(folder / "preset"), "--verb=reconstruct", f"--output={tmp_path / 'out.csv'}"]
    assert main([*arguments, f"--input={tmp_path / 'less.csv'}"]) == 2
    assert "without grade. Try adding 'grade'" in capsys.readouterr().err
    (tmp_path / "torn.csv").write_text(_csv([HEAD, *TABLE, *TABLE * 300, ["a", "b"]]))
    assert main([*arguments, f"--input={tmp_path / 'torn.csv'}"]) == 2
    assert "2 in line" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "mine" and not list(tmp_path.glob(".zoo*"))


def test_cells_that_are_no_numbers_are_told(ask, tmp_path, capsys):
    rows = [list(row) for row in TABLE]
    rows[8][1], rows[9][6], rows[10][4] = "wide", "31.02.1999", "never seen"
    (tmp_path / "new.csv").write_text(_csv([HEAD, *rows]), encoding="utf-8")
    found = _read(ask("reconstruct", tmp_path / "new.csv").read_text(encoding="utf-8"))
    assert "size: cells that are no numbers count as missing: 1" in capsys.readouterr().err
    assert float(found[9][1]) > 0 and found[10][6] == "31.02.1999" and found[11][4] == "never seen"


def test_a_file_without_names_stays_one(tmp_path):
    """And one of a single column keeps its rows, of which the empty ones are written as quotes."""
    cells = ["low", "high", "", "medium"] * 20
    (tmp_path / "new.csv").write_text("".join(f"{cell},{place % 7}.5\n" for place, cell in enumerate(cells)))
    _save_model(tmp_path / "new.csv", tmp_path / "preset", 2)
    arguments = ["predict", str(tmp_path / "preset"), f"--input={tmp_path / 'new.csv'}", f"--output={tmp_path / 'out.csv'}"]
    assert main([*arguments, "--verb=reconstruct"]) == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 80 and lines[:2] == ["low,0.5", "high,1.5"] and lines[2].split(",")[0] in ("low", "medium", "high")
    with table_writers.opened(tmp_path / "single.csv", ["a"], ["a"]) as writer:
        writer.write({}, {"a": Column(np.array(["x", "", "y"], object))})
    assert (tmp_path / "single.csv").read_text() == 'a\nx\n""\ny\n'
    assert [len(batch) for batch in table_files.open_table(tmp_path / "single.csv").batches()] == [3]


def test_columns_of_any_name(tmp_path):
    """Of those that other inputs and outputs have, too."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 4)), columns=["seed", "score", "code", "code_0"]).round(3)
    frame.mask(random.random(frame.shape) < 0.1).to_csv(tmp_path / "new.csv", index=False)
    _save_model(tmp_path / "new.csv", tmp_path / "preset", 4)
    arguments = ["predict", str(tmp_path / "preset"), f"--input={tmp_path / 'new.csv'}", f"--output={tmp_path / 'out.csv'}"]
    columns = {"score": ["score"], "encode": [f"code_{place}" for place in range(K)]}
    for verb in ("reconstruct", "generate_given", "score", "encode", "score_cells"):
        assert main([*arguments, f"--verb={verb}"]) == 0
        assert list(pd.read_csv(tmp_path / "out.csv")) == columns.get(verb, list(frame))
    assert main(["generate", str(tmp_path / "preset"), "--count=3", f"--output={tmp_path / 'rows.csv'}"]) == 0
    assert pd.read_csv(tmp_path / "rows.csv").shape == (3, 4)


def test_a_table_without_rows_is_refused(folder, tmp_path, capsys):
    _frame()[:0].to_parquet(tmp_path / "none.parquet")
    arguments = ["predict", str(folder / "preset"), f"--input={tmp_path / 'none.parquet'}", "--verb=reconstruct"]
    for output in ("out.parquet", "out.csv", "out.npz"):
        assert main([*arguments, f"--output={tmp_path / output}"]) == 2
        assert "Expected at least one row" in capsys.readouterr().err and not (tmp_path / output).exists()


DATE, TIME = datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 0, 0, tzinfo=datetime.UTC)
NUMBER, DAY, TRUTH = (
    Feature("continuous", decimals=1),
    Feature("datetime", format="%d.%m.%Y"),
    Feature("binary", classes=("F", "T")),
)


@pytest.mark.parametrize(
    ("cells", "feature", "written"),
    [
        (pa.array([None, 2], pa.int8()), NUMBER, [1, 2]),
        (pa.array([None, 2], pa.float32()), NUMBER, [np.float32(1.26), 2.0]),
        (pa.array([None, 2], pa.decimal128(10, 2)), NUMBER, [decimal.Decimal("1.26"), 2]),
        (
            pa.array([None, 2_000_000], pa.duration("us")),
            NUMBER,
            [datetime.timedelta(seconds=1.2604), datetime.timedelta(seconds=2)],
        ),
        (pa.array([None, "2"]), NUMBER, [1.26, 2.0]),
        (pa.nulls(2), NUMBER, ["1.26", ""]),
        (pa.array([None, DATE], pa.date32()), DAY, [datetime.date(1960, 2, 29), DATE]),
        (pa.array([None, TIME], pa.timestamp("ns", "UTC")), DAY, None),
        (pa.array([None, "T"], pa.string_view()), TRUTH, ["F", "T"]),
        (pa.array([None, "T"]).dictionary_encode(), TRUTH, ["F", "T"]),
        (pa.array([None, 5]), TRUTH, ["F", "5"]),
        (pa.array([None, [5]]), TRUTH, ["F", "[5]"]),
    ],
    ids=lambda each: str(each.type) if isinstance(each, pa.Array) else "",
)
def test_cells_of_every_type(cells, feature, written):
    """A new cell beside one that was read."""
    values = {NUMBER: np.array([1.2604, 2.0]), DAY: np.array(["29.02.1960", "x"], object), TRUTH: np.array(["F", "T"], object)}
    column = Column(values[feature], feature, np.array([True, False]))
    found = typed(cells, column)
    if written is None:
        assert found.type == cells.type and [f"{each:%d.%m.%Y}" for each in found.to_pylist()] == ["29.02.1960", "31.01.2024"]
    else:
        assert found.to_pylist() == written
    kept = "31.01.2024" if feature is DAY else texts(cells, None)[1].as_py()
    assert texts(cells, column).to_pylist() == [{NUMBER: "1.26", DAY: "29.02.1960", TRUTH: "F"}[feature], kept]
