"""Tables from any program: what is recognised, what is refused in one line, and which types columns are taken to be of."""

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import tensorflow_datasets as tfds
from conftest import is_progress

from training import chooser
from training.__main__ import main
from training.data import inference, schema_files, table_files, tables

HEAD = ("x", "y", "city", "n")
CITIES = ("Zürich", "Genève", "Bern")


def _rows(count: int = 200) -> list[list[str]]:
    random = np.random.default_rng(0)
    values = zip(random.normal(size=count), random.lognormal(2, 1, count), random.poisson(1, count), strict=True)
    return [[f"{x:.3f}", f"{y:.2f}", CITIES[number % 3], str(n)] for number, (x, y, n) in enumerate(values)]


ROWS = _rows()


def _csv(rows: list, separator: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end).writerows(rows)
    return file.getvalue()


def _with_commas(rows: list) -> list:
    return [[cell.replace(".", ",") for cell in row] for row in rows]


def _grouped(rows: list) -> list:
    return [[x, f"{1e4 * float(y):,.2f}", city, n] for x, y, city, n in rows]


ALL = _csv([HEAD, *ROWS])
UNNAMED = ("column_1", "column_2", "column_3", "column_4")


def _recognised(path, names=HEAD, factor: float = 1.0) -> tables.Tables:
    """Opens a file, which must hold the rows of this module."""
    data = tables.load(str(path))
    assert [(name, each.type) for name, each in data.schema.items()][: len(names)] == list(
        zip(names, ("continuous", "positive", "categorical", "count"), strict=True)
    )
    assert data.schema[names[2]].classes == tuple(sorted(CITIES))
    x, y = (np.array([float(row[place]) for row in ROWS]) for place in (0, 1))
    train = tables.parts(np.arange(len(ROWS)), 0.2) == 0
    assert data.schema[names[0]].mean == pytest.approx(x[train].mean()) and data.schema[names[0]].decimals == 3
    assert data.schema[names[1]].mean == pytest.approx(factor * y[train].mean()) and data.train.size == train.sum()
    return data


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (ALL, "utf-8"),
        (ALL, "utf-8-sig"),
        (ALL, "latin-1"),
        (ALL, "utf-16"),
        (ALL, "utf-32"),
        (_csv([HEAD, *ROWS], "\t"), "utf-8"),
        (_csv([HEAD, *ROWS], "|"), "utf-8"),
        (_csv([HEAD, *_with_commas(ROWS)], ";"), "latin-1"),
        (_csv([HEAD, *_with_commas(ROWS)]), "utf-8"),
        (_csv([HEAD, *ROWS], end="\r\n"), "utf-8"),
        (_csv([HEAD, *ROWS], end="\r"), "utf-8"),
        (ALL.replace("\n", "\n\n"), "utf-8"),
        (ALL.removesuffix("\n"), "utf-8"),
        ("".join(f"{line},\n" for line in ALL.splitlines()), "utf-8"),
    ],
    ids=[
        *("utf-8", "utf-8 with a mark", "latin-1", "utf-16", "utf-32", "tabs", "bars", "semicolons and commas"),
        *("commas in quotes", "crlf", "cr", "empty lines", "no last end", "a separator at the ends"),
    ],
)
def test_forms_of_csv(data, encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes(data.encode(encoding))
    _recognised(tmp_path / "a.csv")


def test_a_file_without_names_and_numbers_with_grouped_thousands(tmp_path):
    (tmp_path / "a.csv").write_text(_csv(ROWS), encoding="utf-8")
    _recognised(tmp_path / "a.csv", UNNAMED)
    (tmp_path / "b.csv").write_text(_csv([HEAD, *_grouped(ROWS)]), encoding="utf-8")
    _recognised(tmp_path / "b.csv", factor=1e4)


@pytest.mark.parametrize("ending", ["csv.gz", "parquet", "pq", "feather", "arrow", "arrows", "jsonl", "jsonl.gz", "categories"])
def test_every_kind_of_file_gives_the_same_splits(ending, tmp_path):
    (tmp_path / "a.csv").write_text(ALL, encoding="utf-8")
    frame = pd.read_csv(tmp_path / "a.csv")
    path, table = tmp_path / f"b.{ending}", pa.Table.from_pandas(frame)
    if ending == "csv.gz":
        path.write_bytes(gzip.compress(ALL.encode()))
    elif ending.startswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    elif ending in ("parquet", "pq"):
        pyarrow.parquet.write_table(table, path, row_group_size=30)
    elif ending == "arrows":
        path = tmp_path / "b.arrow"
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        frame = frame.astype({"city": "category"} if ending == "categories" else {})
        path = path.with_suffix(".feather") if ending == "categories" else path
        pyarrow.feather.write_feather(frame, path)
    expected, found = _recognised(tmp_path / "a.csv"), _recognised(path)
    assert found.schema == expected.schema
    for name, split in expected.splits.items():
        for column in ("x", "id"):
            np.testing.assert_array_equal(found.splits[name].arrays[column], split.arrays[column])


def test_tables_in_memory_and_streams_give_the_same_splits(tmp_path):
    (tmp_path / "a.csv").write_text(ALL, encoding="utf-8")
    frame, expected = pd.read_csv(tmp_path / "a.csv"), _recognised(tmp_path / "a.csv")
    for source in (frame, pa.Table.from_pandas(frame), {name: frame[name].to_numpy() for name in frame}):
        found = tables.opened(table_files.open_table(source), "frame")
        assert found.schema == expected.schema
        np.testing.assert_array_equal(found.test.arrays["x"], expected.test.arrays["x"])
    streamed = tables.load(str(tmp_path / "a.csv"), memory_gib=1e-9)
    assert streamed.train.stream is not None
    for name, split in expected.splits.items():
        blocks = list(streamed.splits[name].batches(7))
        for column in ("x", "id"):
            np.testing.assert_array_equal(np.concatenate([block[column] for block in blocks]), split.arrays[column])


REFUSED = {
    "empty": ("", "an empty file"),
    "head": (",".join(HEAD), "only line 1"),
    "blank": ("\n \n\n", "only line 1"),
    "short": (_csv([HEAD, *ROWS[:50], ["1", "2"], *ROWS[50:]]), "Expected 4 cells in every line"),
    "long": (_csv([HEAD, *ROWS[:50], ["1", "2", "a", "3", "5"], *ROWS[50:]]), "5 in line 52"),
    "equal names": (_csv([["x", "y", " x", "n"], *ROWS]), "'x' as columns 1 and 3"),
    "open quote": (f'{_csv([HEAD, *ROWS[:50]])}1,2,"a,3\n{_csv(ROWS)}', "a row that starts in line 52"),
    "open quote at the start": (f'x,"y,city,n\n{_csv(ROWS)}', "a row that starts in line 1"),
    "open quote of many rows": (f'x,"y,city,n\n{_csv(_rows(10_000))}', "a row that starts in line 1"),
    "open quote at the end": (f'{ALL}1,2,"a', "a row that starts in line 202"),
    "no mark": (ALL.encode("utf-16-le"), "iconv -f utf-16"),
    "zero byte": (ALL.replace("Bern", "Be\0rn"), "a zero byte in line 4"),
    "two encodings": (ALL.encode() + _csv(ROWS).encode("latin-1"), "the byte 0xfc in line 202"),
    "title": (f"# Made by hand.\n{ALL}", "line 1"),
    "beyond": (_csv([HEAD, *ROWS[:1], ["1e300", "1", "Bern", "2"], *ROWS]), "numbers whose squares are numbers in the column"),
    "wide": (_csv([[f"c{number}" for number in range(10_000)], *[["1.5"] * 10_000] * 20]), "10,000 in"),
    "one row": (_csv([HEAD, *ROWS[:1]]), "1 row in"),
    "nothing": (_csv([["a", "b"], *[["", "NA"]] * 50]), "no column that could be kept"),
    "identifiers": ("".join(f"v{number}\n" for number in range(100)), "no column that could be kept"),
    "bytes": (np.random.default_rng(0).integers(0, 256, 5000, "uint8").tobytes(), "Expected text"),
    "cut.csv.gz": (gzip.compress(ALL.encode())[:500], "Expected a complete table"),
    "a.xlsx": (b"PK\x03\x04" + bytes(100), "Try saving it as CSV"),
    "other.parquet": (ALL, "no parquet file"),
    "cut.parquet": (b"PAR1" + bytes(100), "Expected a complete table"),
    "list.json": ('[{"a": 1}]', "list in line 1"),
    "cut.jsonl": ('{"a": 1}\n{"a":', "line 2"),
    "new.jsonl": ('{"a": 1}\n' * 10_000 + '{"a": 1, "b": 2}\n', "'b' in line 10001"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(name, tmp_path, capsys):
    data, words = REFUSED[name]
    path = tmp_path / (name if "." in name else f"{name}.csv")
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    assert main(["train", f"--dataset=tables:{path}", f"--workdir={tmp_path / 'run'}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not is_progress(line)]
    assert len(lines) == 1 and words in lines[0]
    assert all(part in lines[0] for part in ("Expected ", " Received: ", " Try ", str(path) if name != "beyond" else ""))
    assert not (tmp_path / "run").exists()


def test_what_is_odd_but_can_be_read(tmp_path, capsys):
    """Numbers beyond the largest one, a million different texts, one column, and a column of missing cells."""
    rows = [["1e400", *ROWS[0][1:]], *ROWS[1:]]
    assert np.isnan(_values(tables.load(_file(tmp_path, [HEAD, *rows])))[:, 0]).sum() == 1
    assert "x: cells that are no numbers, such as '1e400', count as missing: 1" in capsys.readouterr().err
    many = tables.load(_file(tmp_path, [("name", "x"), *((f"v{number}", number % 7 + 0.5) for number in range(1_000_000))]))
    assert {name: each.type for name, each in many.schema.items()} == {"name": "identifier", "x": "continuous"}
    assert many.train.size + many.validation.size + many.test.size == 1_000_000
    single = tables.load(_file(tmp_path, [["x"], *([row[0]] for row in ROWS[:100]), [""], *([row[0]] for row in ROWS[100:])]))
    assert single.shape == (1,) and np.isnan(_values(single)).sum() == 1
    empty = tables.load(_file(tmp_path, [(*HEAD, "z"), *([*row, "NA"] for row in ROWS)]))
    assert empty.schema["z"].type == "constant" and empty.schema["z"].missing == 1 and empty.shape == (4,)


def _file(folder, rows) -> str:
    (folder / "odd.csv").write_text("".join(f"{','.join(map(str, row))}\n" for row in rows), encoding="utf-8")
    return str(folder / "odd.csv")


def _values(data: tables.Tables) -> np.ndarray:
    return np.concatenate([split.arrays["x"] for split in data.splits.values()])


RANDOM = np.random.default_rng(0)
COUNT = 400
COLUMNS = {  # by the type that each must be of, columns of COUNT cells
    "identifier": {
        "row": range(1, COUNT + 1),
        "key": [f"A-{number:x}" for number in RANDOM.permutation(COUNT)],
        "shuffled": RANDOM.permutation(COUNT) + 1,
        "user_id": RANDOM.permutation(10**6)[:COUNT],
    },
    "constant": {"same": ["yes"] * COUNT, "none": [""] * COUNT},
    "text": {"remark": [f"some words {number} of many" for number in range(COUNT)]},
    "continuous": {
        "weight": np.round(RANDOM.normal(70, 10, COUNT), 1),
        "signed": np.round(RANDOM.standard_t(3, COUNT), 3),
        "year": RANDOM.integers(1990, 2020, COUNT),
        "percent": [*["n.a."] * 5, *np.round(RANDOM.uniform(0, 100, COUNT - 5), 2)],
    },
    "positive": {"income": np.round(RANDOM.lognormal(10, 1, COUNT), 2)},
    "count": {"children": RANDOM.poisson(1.3, COUNT), "visits": RANDOM.negative_binomial(1, 0.05, COUNT)},
    "binary": {"sex": RANDOM.choice(["male", "female", ""], COUNT), "flag": RANDOM.integers(0, 2, COUNT)},
    "categorical": {"town": RANDOM.choice(["Rome", "Paris", "Bonn"], COUNT), "code": RANDOM.choice(["01", "02", "10"], COUNT)},
    "ordinal": {
        "stars": RANDOM.integers(1, 6, COUNT),
        "size": RANDOM.choice(["S", "M", "L", "XL"], COUNT),
        "age": RANDOM.choice(["<18", "18-29", "30+"], COUNT),
        "opinion": RANDOM.choice(["agree", "disagree", "neutral"], COUNT),
    },
    "datetime": {
        "iso": pd.date_range("1965-01-30", periods=COUNT, freq="37D").strftime("%Y-%m-%d"),
        "german": pd.date_range("2001-01-30", periods=COUNT, freq="D").strftime("%d.%m.%Y"),
        "american": pd.date_range("2001-01-30", periods=COUNT, freq="D").strftime("%m/%d/%Y"),
        "moment": pd.date_range("2024-02-28", periods=COUNT, freq="97min").strftime("%Y-%m-%dT%H:%M:%SZ"),
        "digits": pd.date_range("2001-01-30", periods=COUNT, freq="D").strftime("%Y%m%d"),
    },
}
TABLE = pd.DataFrame({name: column for columns in COLUMNS.values() for name, column in columns.items()})
ORDERS = {
    "stars": (1.0, 2.0, 3.0, 4.0, 5.0),
    "size": ("S", "M", "L", "XL"),
    "age": ("<18", "18-29", "30+"),
    "opinion": ("disagree", "neutral", "agree"),
}


def test_types_of_columns(tmp_path):
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    schema = inference.infer(table_files.open_table(tmp_path / "a.csv").batches())
    assert {name: each.type for name, each in schema.items()} == {
        name: kind for kind, columns in COLUMNS.items() for name in columns
    }
    assert {name: schema[name].classes for name in ORDERS} == ORDERS
    assert schema["american"].format == "%m/%d/%Y" and schema["moment"].format == "%Y-%m-%dT%H:%M:%SZ"
    assert schema["sex"].missing == pytest.approx((TABLE["sex"] == "").mean())
    assert schema["percent"].missing == pytest.approx(5 / COUNT)
    assert [schema[name].decimals for name in ("weight", "signed", "income", "children")] == [1, 3, 2, 0]
    for name in ("weight", "income", "visits"):
        values = TABLE[name].to_numpy("float64")
        assert schema[name].range == (values.min(), values.max())
        np.testing.assert_allclose([schema[name].mean, schema[name].scale], [values.mean(), values.std()], rtol=1e-12)
    logarithms = np.log1p(TABLE["visits"].to_numpy("float64"))
    assert schema["visits"].log_mean == pytest.approx(logarithms.mean()) and schema["visits"].log_scale == logarithms.std()


def test_statistics_are_those_of_one_pass_in_parts(tmp_path, monkeypatch):
    """Whatever the size of the parts."""
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    whole = inference.infer(table_files.open_table(tmp_path / "a.csv").batches())
    monkeypatch.setattr(table_files, "ROWS", 7)
    parts = inference.infer(table_files.open_table(tmp_path / "a.csv").batches())
    for name, feature in whole.items():
        numbers = {key: value for key, value in feature._asdict().items() if isinstance(value, float)}
        assert {key: getattr(parts[name], key) for key in numbers} == pytest.approx(numbers, rel=1e-9)
        assert parts[name]._replace(**numbers) == feature


def test_a_schema_is_edited_and_given_back(tmp_path, capsys):
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    path, inferred = tmp_path / "a.schema.yaml", tables.load(str(tmp_path / "a.csv")).schema
    schema_files.write_schema(inferred, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == len(inferred)
    assert tables.load(str(tmp_path / "a.csv"), schema=str(path)).schema == inferred
    changes = {
        "weight: continuous": "weight: positive",
        "town: categorical": "town: {type: ordinal, classes: [Bonn, Paris, Rome]}",
        "sex: binary": "sex: text",
        "year: continuous": "year: categorical",
        "shuffled: identifier  # left out: it tells rows apart": "shuffled: continuous",
    }
    for old, new in changes.items():
        assert old in lines
        lines[lines.index(old)] = new
    path.write_text("\n".join(lines), encoding="utf-8")
    edited = tables.load(str(tmp_path / "a.csv"), schema=str(path))
    expected = {"weight": "positive", "town": "ordinal", "sex": "text", "year": "categorical", "shuffled": "continuous"}
    assert {name: edited.schema[name].type for name in expected} == expected
    assert edited.schema["town"].classes == ("Bonn", "Paris", "Rome") and edited.schema["income"] == inferred["income"]
    assert edited.shape == (tables.load(str(tmp_path / "a.csv")).shape[0],)  # one column less, and one more
    for line, words in (
        ("weigth: positive", "Try weight"),
        ("weight: positiv", "Try positive"),
        ("town: count", "Expected numbers in the column 'town'"),
        ("town: {type: ordinal}", "Expected classes whose order is known"),
        ("iso: {type: datetime, format: '%d/%m/%Y'}", "Expected dates in the form %d/%m/%Y"),
        ("signed: positive", "Expected numbers above 0"),
        ("- weight", "Expected a schema"),
    ):
        path.write_text(line, encoding="utf-8")
        assert main(["train", f"--dataset={tmp_path / 'a.csv'}", f"--schema={path}", f"--workdir={tmp_path / 'run'}"]) == 2
        assert words in capsys.readouterr().err


class Stones(tfds.core.GeneratorBasedBuilder):
    """Scalars in a dict within the rows, two of one name."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        cut = tfds.features.ClassLabel(names=["fair", "good", "ideal"])
        features = {"price": np.float32, "features": {"carat": np.float64, "cut": cut, "price": np.int64, "name": np.str_}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {"train": self._generate_examples(0), "test": self._generate_examples(40)}

    def _generate_examples(self, start: int):
        for number in range(start, start + 40):
            inner = {"carat": np.sqrt(number), "cut": number % 3, "price": number % 7, "name": f"stone {number}"}
            yield number, {"price": number / 8, "features": inner}


def test_data_sets_of_scalars_are_tables(monkeypatch):
    monkeypatch.setattr(tables, "prepared", lambda name, *_: _prepared(name))
    kinds = {name: chooser._kind(name) for name in ("penguins", "digits", "cmudict", "no_such_data", "a.npy")}
    assert kinds == dict.fromkeys(kinds, "arrays") | {"penguins": "tables"}
    stones = tables.load("stones")
    assert chooser._kind("stones") == "tables"
    types = {name: each.type for name, each in stones.schema.items()}
    assert types == {
        "carat": "continuous",
        "cut": "ordinal",
        "name": "identifier",
        "features/price": "count",
        "price": "continuous",
    }
    assert sum(split.size for split in stones.splits.values()) == 80


def _prepared(name: str) -> tfds.core.DatasetBuilder:
    builder = tfds.builder(name)
    builder.download_and_prepare()
    return builder


def test_penguins(tmp_path):
    data = tables.load("penguins")
    types = {name: each.type for name, each in data.schema.items()}
    assert types["species"] == types["island"] == "categorical" and types["sex"] == "binary"
    assert types["bill_length_mm"] == types["body_mass_g"] == "continuous" and data.shape == (8,)
    assert sum(split.size for split in data.splits.values()) == 344 and data.test.size == 69
    assert data.schema["sex"].missing == pytest.approx(11 / 344, abs=0.02)
