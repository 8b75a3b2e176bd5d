"""Rows as people have them, raw columns, cells and back; and dates as Python's."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from training.data import batches, inference
from training.data.column import FORMS
from zoo import dates, rows
from zoo.columns import dtype, kept

COUNT = 50
RANDOM = np.random.default_rng(0)
DAYS = [datetime.date(1955, 12, 27) + datetime.timedelta(days=997 * number) for number in range(COUNT)]
TABLE = {
    "size": RANDOM.normal(1e6, 3, COUNT),
    "price": RANDOM.lognormal(0, 2, COUNT),
    "n": RANDOM.poisson(1.5, COUNT).astype(float),
    "flag": RANDOM.integers(0, 2, COUNT).astype(float),
    "ok": RANDOM.choice(["yes", "no"], COUNT).astype(object),
    "island": RANDOM.choice(["Biscoe", "Dream", "Torgersen"], COUNT).astype(object),
    "stars": RANDOM.integers(1, 6, COUNT).astype(float),
    "grade": RANDOM.choice(["low", "medium", "high"], COUNT).astype(object),
    "day": np.array([f"{day:%d.%m.%Y}" for day in DAYS], object),
    "moment": np.array([f"{day:%Y-%m-%d} {number % 24:02d}:30" for number, day in enumerate(DAYS)], object),
    "key": np.array([f"k{number}" for number in range(COUNT)], object),
}
TYPES = {
    **{"size": "continuous", "price": "positive", "n": "count", "flag": "binary", "ok": "binary", "island": "categorical"},
    **{"stars": "ordinal", "grade": "ordinal", "day": "datetime", "moment": "datetime", "key": "identifier"},
}


def _schema(table: dict[str, np.ndarray]):
    return inference.infer([pa.RecordBatch.from_arrays([pa.array(each) for each in table.values()], names=list(table))])


SCHEMA = _schema(TABLE)
NAMES = [name for name in TABLE if name != "key"]


def _with_gaps() -> rows.Raw:
    """The raw columns with every tenth value missing, another one in every column."""
    table = {name: TABLE[name].copy() for name in NAMES}
    for place, column in enumerate(table.values()):
        column[place::10] = "" if column.dtype == object else np.nan
    return table


def test_raw_columns_to_cells_and_back():
    assert {name: each.type for name, each in SCHEMA.items()} == TYPES
    raw = _with_gaps()
    cells = rows.cells(SCHEMA, raw)
    assert cells.shape == (COUNT, len(NAMES)) and cells.dtype == "float32"
    np.testing.assert_array_equal(np.isnan(cells), np.stack([rows.missing(raw[name]) for name in NAMES], axis=1))
    back = rows.raw_of(SCHEMA, cells)
    assert list(back) == NAMES
    for name, column in raw.items():
        if name == "moment":  # to what float32 tells apart within 130 years
            apart = dates.seconds(back[name], "%Y-%m-%d %H:%M") - dates.seconds(column, "%Y-%m-%d %H:%M")
            assert np.nanmax(np.abs(apart)) <= 120 and (back[name] == "").sum() == (column == "").sum()
        elif dtype(SCHEMA[name]) == "string":
            assert back[name].tolist() == column.tolist()
        else:
            scale = np.nanmax(np.abs(column)) if name == "price" else SCHEMA[name].scale or 1.0
            np.testing.assert_allclose(back[name], column, rtol=1e-6, atol=1e-6 * scale)
    for name in ("n", "flag", "stars"):
        np.testing.assert_allclose(back[name], raw[name], rtol=1e-5, atol=1e-5)
    filled = rows.filled(raw, {name: TABLE[name] for name in NAMES})
    assert all((filled[name] == TABLE[name]).all() for name in NAMES)


def test_units_change_no_cell():
    thousandfold = {**TABLE, "size": TABLE["size"] * 1000, "price": TABLE["price"] * 1000}
    schema = _schema(thousandfold)
    assert {name: each.type for name, each in schema.items()} == TYPES
    raw = {name: thousandfold[name] for name in NAMES}
    cells, same = rows.cells(schema, raw), rows.cells(SCHEMA, {name: TABLE[name] for name in NAMES})
    np.testing.assert_allclose(cells, same, atol=1e-6)
    np.testing.assert_allclose(rows.raw_of(schema, same)["size"] / 1000, TABLE["size"], rtol=1e-9)


def test_rows_of_every_form():
    expected = _with_gaps()
    frame = pd.DataFrame(expected)
    typed = frame.copy()
    typed["island"] = frame["island"].replace("", None).astype("category")
    typed["ok"] = frame["ok"].replace("", pd.NA).astype("string")
    typed["n"] = frame["n"].astype("Int64")
    typed["flag"] = frame["flag"].map({0.0: False, 1.0: True}).astype("boolean")
    typed["day"] = pd.to_datetime(frame["day"].replace("", None), format="%d.%m.%Y")
    typed["price"] = [None if np.isnan(each) else decimal.Decimal(each) for each in frame["price"]]
    dicts = [
        {name: None if value != value or value == "" else value for name, value in row.items()} for row in _dicts(expected)
    ]
    absent = [{name: value for name, value in row.items() if value is not None} for row in dicts]
    days = {name: [row[name] for row in dicts] for name in NAMES}
    days["day"] = [text and datetime.datetime.strptime(text, "%d.%m.%Y").date() for text in days["day"]]
    for given in (expected, frame, frame.assign(more=1)[["more", *NAMES[::-1]]], typed, dicts, absent, days):
        found = rows.raw(SCHEMA, given)
        assert list(found) == NAMES
        for name in NAMES:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def _dicts(raw: rows.Raw) -> list[dict]:
    return [dict(zip(raw, row, strict=True)) for row in zip(*(column.tolist() for column in raw.values()), strict=True)]


def test_no_rows_are_no_error():
    found = rows.raw(SCHEMA, {name: [] for name in NAMES})
    assert rows.cells(SCHEMA, found).shape == (0, len(NAMES))
    assert all(len(column) == 0 for column in rows.raw_of(SCHEMA, np.empty((0, len(NAMES)), "float32")).values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: [1, 2], "Expected rows of a table.*Received: list"),
        (lambda table: "rows.csv", "Received: str"),
        (
            lambda table: {name: column for name, column in table.items() if name != "grade"},
            "without grade. Try adding 'grade'",
        ),
        (lambda table: {**table, "size": table["size"][:3]}, "Received: 3 of size, 50 of price"),
        (lambda table: {**table, "size": np.ones((COUNT, 2))}, r"Received: shape \(50, 2\)"),
        (lambda table: {**table, "size": ["1"] * COUNT}, "Expected numbers in the column size. Received: '1' in row 0"),
        (lambda table: {**table, "n": [1, 2, "many", *[3] * 47]}, "Received: 'many' in row 2. Try a number, or None"),
        (lambda table: {**table, "island": [1] * COUNT}, "Expected texts in the column island. Received: 1 in row 0"),
        (lambda table: {**table, "day": ["", "01.01.2000", 5, *[""] * 47]}, "Received: 5 in row 2"),
    ],
    ids=[
        "list",
        "text",
        "missing column",
        "lengths",
        "two axes",
        "text for number",
        "word",
        "number for text",
        "number for date",
    ],
)
def test_errors_name_the_column_and_the_row(change, words):
    with pytest.raises(ValueError, match=words):
        rows.raw(SCHEMA, change({name: TABLE[name] for name in NAMES}))


def test_what_the_training_data_did_not_have():
    raw = {name: TABLE[name].copy() for name in NAMES}
    raw["island"][0], raw["grade"][1], raw["stars"][2], raw["flag"][3], raw["day"][4] = "Hoth", "best", 9.0, 0.5, "31.02.2000"
    raw["n"][5], raw["price"][6] = -3.0, -1.0
    back = rows.raw_of(SCHEMA, rows.cells(SCHEMA, raw))
    assert back["island"][0] == "<other>" and back["grade"][1] == "" and back["stars"][2] == 5 and back["day"][4] == ""
    assert np.isclose(back["n"][5], 0, atol=1e-6) and back["price"][6] == pytest.approx(TABLE["price"].min(), rel=1e-5)
    assert set(kept(SCHEMA)) == set(NAMES)


FORMATS = [*FORMS, "%d.%m.%Y um %H Uhr", "%Y", "[%H:%M] %d/%m/%Y"]


@pytest.mark.parametrize("format", FORMATS)
def test_dates_are_those_of_python(format):
    random = np.random.default_rng(0)
    times = [datetime.datetime(1582, 10, 15) + datetime.timedelta(seconds=int(each)) for each in random.integers(0, 2**34, 300)]
    times += [datetime.datetime(year, 2, 29, 23, 59, 59) for year in (1600, 1968, 1972, 2000, 2024)]
    times += [datetime.datetime(1969, 12, 31, 23, 59, 59), datetime.datetime(1970, 1, 1), datetime.datetime(9999, 12, 31)]
    texts = [time.strftime(format) for time in times]
    exact = [datetime.datetime.strptime(text, format) for text in texts]
    if format == "%Y":
        exact = [time.replace(month=1, day=1) for time in exact]
    expected = [(time - datetime.datetime(1970, 1, 1)).total_seconds() for time in exact]
    found = dates.seconds(texts, format)
    np.testing.assert_array_equal(found, expected)
    assert dates.texts(found, format).tolist() == texts
    assert dates.texts(found + 0.49 * dates.unit(format), format).tolist() == texts
    np.testing.assert_array_equal(batches.seconds(pa.array(texts), format), expected)


def test_what_is_no_date_is_missing():
    day = ["2023-02-29", "1900-02-29", "2024-13-01", "2024-00-10", "2024-04-31", "2024-4-0", "24-01-01", "2024-01-31x", "", "x"]
    time = ["2024-01-31 24:00:00", "2024-01-31 23:60:00", "2024-01-31 23:59:60", "2024-01-31"]
    for texts, format in ((day, "%Y-%m-%d"), (time, "%Y-%m-%d %H:%M:%S"), (["2024131", "202401311"], "%Y%m%d")):
        assert np.isnan(dates.seconds(texts, format)).all()
        assert np.isnan(batches.seconds(pa.array(texts), format)).all()
    assert dates.texts(np.array([np.nan, 0.0]), "%Y-%m-%d").tolist() == ["", "1970-01-01"]
    for format in ("%y-%m-%d", "%d %B %Y", "%Y-%Y", "year"):
        with pytest.raises(ValueError, match="Expected a format of %Y"):
            dates.expression(format)
