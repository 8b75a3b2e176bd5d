"""The parts of benchmarks/tables that decide who wins: the judge, the encodings of the peers, the odd rows."""

import pathlib
import sys

import numpy as np
import pandas as pd
import pytest

TABLES = pathlib.Path(__file__).parents[1] / "benchmarks" / "tables"


@pytest.fixture
def parts(monkeypatch):
    """The modules by name; they are not left behind, for their names are common ones."""
    monkeypatch.syspath_prepend(TABLES)
    before = set(sys.modules)
    import encoding
    import judge
    import odd

    yield {"encoding": encoding, "judge": judge, "odd": odd}
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(TABLES)):
            del sys.modules[name]


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    x = random.normal(size=500)
    table = pd.DataFrame({"x": x, "twice": 2 * x, "sign": np.where(x > 0, "plus", "minus"), "day": "2024-01-01"})
    table["day"] = (pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 90, 500), "D")).strftime("%Y-%m-%d")
    return table.mask(random.random(table.shape) < 0.1)


def test_mean_and_mode_score_one_and_the_truth_nothing(parts, table, tmp_path):
    judge = parts["judge"]
    table.to_csv(tmp_path / "t.csv", index=False)
    judge.split(tmp_path, "t")
    judged = judge.Judge(tmp_path, "t", ["day"])
    assert len(judged.train) == 400 and len(judged.test) == 100
    hidden = judged.hidden.isna() & judged.test.notna()
    assert 0.1 < hidden.to_numpy().mean() < 0.25
    plain = {name: judged.train[name].mode()[0] if name == "sign" else judged.train[name].mean() for name in table}
    assert judged.errors(judged.hidden.fillna(plain), table) == pytest.approx(dict.fromkeys(table, 1.0))
    assert judged.errors(judged.test, table) == dict.fromkeys(table, 0.0)
    halfway = judged.test.assign(x=(judged.test["x"] + plain["x"]) / 2)
    assert judged.errors(halfway, ["x"]) == {"x": pytest.approx(0.5)}
    with pytest.raises(ValueError, match="still missing"):
        judged.errors(judged.hidden, ["x"])


@pytest.mark.parametrize("kind", ["one-hot", "ordinal"])
def test_encodings_come_back(parts, table, kind):
    table = table[["x", "sign"]].astype({"sign": object}).where(table[["x", "sign"]].notna(), None)
    encoding = parts["encoding"].Encoding(table, kind)
    encoded = encoding.encode(table)
    assert encoded.shape == (500, 3 if kind == "one-hot" else 2)
    assert (np.isnan(encoded[:, -1]) == table["sign"].isna()).all()
    there = table.notna().all(axis=1)
    back = encoding.decode(encoded[there])
    assert (back["sign"].to_numpy() == table["sign"][there].to_numpy()).all()
    np.testing.assert_allclose(back["x"], table["x"][there].astype(float))


def test_odd_rows_have_one_cell_of_another(parts, table):
    texts = table.astype({"x": str, "twice": str}).replace("nan", "").fillna("")
    swapped, odd = parts["odd"].swapped(texts, [*table], seed=0)
    changed = (swapped != texts).sum(axis=1)
    assert (changed == odd).all() and 200 < odd.sum() <= 250
    for name in table:
        assert sorted(swapped[name]) == sorted(texts[name])
    assert ((swapped == "") == (texts == "")).all(axis=None)
