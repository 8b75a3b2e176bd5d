"""Columns of tables: their likelihoods against SciPy's, and autoencoders of rows."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats
from scipy.special import expit
from sklearn.linear_model import Ridge

import zoo
from zoo import columns, number_columns, rows
from zoo.bodies import Periodic, residual_body
from zoo.schema import Feature, described, restored

RANDOM = np.random.default_rng(0)
RANGES = {"range": (0.0, 60.0), "mean": 12.0, "scale": 7.0, "log_mean": 2.0, "log_scale": 0.8}
FEATURES = {
    "continuous": Feature("continuous", **{**RANGES, "range": (-30.0, 60.0)}),
    "positive": Feature("positive", **{**RANGES, "range": (0.25, 60.0)}),
    "count": Feature("count", **RANGES),
    "binary": Feature("binary", classes=("no", "yes"), shares=(0.7, 0.3)),
    "categorical": Feature("categorical", classes=("a", "b", "c"), shares=(0.5, 0.3, 0.19)),
    "ordinal": Feature("ordinal", classes=(1.0, 2.0, 3.0, 4.0, 5.0), shares=(0.1, 0.2, 0.4, 0.2, 0.1)),
    "datetime": Feature("datetime", range=(0.0, 2e9), mean=1e9, scale=1e8, format="%Y-%m-%d"),
}


def _of(name, *others):
    (_, group), *rest = columns.groups({str(i): each for i, each in enumerate((FEATURES[name], *others))})
    assert not rest
    return group


def _normal(parameter):
    """The standard deviation that a parameter stands for."""
    return number_columns.NARROWEST + (1 - number_columns.NARROWEST) * np.logaddexp(0, parameter + np.log(np.e - 1))


@pytest.mark.parametrize("name", ["continuous", "positive", "datetime"])
def test_densities_are_those_of_scipy(name):
    group, feature = _of(name), FEATURES[name]
    raw = RANDOM.uniform(max(feature.range[0], 0.25), feature.range[1], (50, 1))
    parameters = RANDOM.normal(size=(50, group.parameters)).astype("float32")
    deviation = _normal(parameters[:, 1:2].astype("float64"))
    if name == "positive":
        location = parameters[:, :1] * feature.log_scale + feature.log_mean
        expected = stats.lognorm(deviation * feature.log_scale, scale=np.exp(location)).logpdf(raw)
    else:
        expected = stats.norm(parameters[:, :1] * feature.scale + feature.mean, deviation * feature.scale).logpdf(raw)
    received = group.log_prob(group.cells(raw, np).astype("float32"), parameters)
    np.testing.assert_allclose(received, expected, rtol=2e-4, atol=2e-4)


def test_counts_are_negative_binomial_and_tend_to_poisson():
    group = _of("count")
    n = np.arange(60.0)[:, None]
    cells = group.cells(n, np).astype("float32")
    for mean, size in ((0.3, 1.0), (12.0, 4.0), (30.0, 0.5), (12.0, 1e5)):
        parameters = np.tile(np.array([[np.log(mean / 12.0), np.log(size), 0.0]], "float32"), (60, 1))
        expected = stats.nbinom(size, size / (size + mean)).logpmf(n)
        near = {"rtol": 1e-3, "atol": 1e-3} if size < 100 else {"atol": 0.15}  # float32 has no more digits for log Γ(1e5)
        np.testing.assert_allclose(group.log_prob(cells, parameters), expected, **near)
    np.testing.assert_allclose(expected, stats.poisson(12.0).logpmf(n), atol=0.03)


def test_classes_are_softmax_and_cumulative_logits():
    group, parameters = _of("categorical"), RANDOM.normal(size=(4, 4)).astype("float32")
    expected = np.log(np.exp(parameters) / np.exp(parameters).sum(axis=1, keepdims=True))
    for place in range(4):  # the last is any other class
        received = group.log_prob(np.full((4, 1), place, "float32"), parameters)
        np.testing.assert_allclose(received[:, 0], expected[:, place], rtol=1e-4)
    group, parameters = _of("ordinal"), RANDOM.normal(size=(4, 4)).astype("float32")
    edges = np.cumsum(np.concatenate([parameters[:, :1], np.logaddexp(0, parameters[:, 1:])], axis=1), axis=1)
    below = np.concatenate([np.zeros((4, 1)), expit(edges), np.ones((4, 1))], axis=1)
    for place in range(5):
        received = group.log_prob(np.full((4, 1), place, "float32"), parameters)
        np.testing.assert_allclose(received[:, 0], np.log(below[:, place + 1] - below[:, place]), rtol=1e-3)


def test_columns_of_few_and_of_many_classes_do_not_disturb_each_other():
    longer = Feature("categorical", classes=tuple("abcdefg"), shares=(0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05))
    shorter = Feature("categorical", classes=tuple("abcde"), shares=(0.4, 0.2, 0.2, 0.1, 0.1))
    both = columns.groups({"longer": longer, "shorter": shorter})[0][1]
    alone = columns.groups({"shorter": shorter})[0][1]
    parameters = RANDOM.normal(size=(6, both.parameters)).astype("float32")
    own = parameters[:, both.most : both.most + 6]
    cells = RANDOM.integers(0, 6, (6, 1)).astype("float32")
    pairs = np.concatenate([cells, cells], axis=1)
    np.testing.assert_allclose(both.log_prob(pairs, parameters)[:, 1:], alone.log_prob(cells, own), rtol=1e-5)
    np.testing.assert_array_equal(both.point(parameters)[:, 1:], alone.point(own))
    uniform = np.full((6, 1), 0.999, "float32")
    assert np.max(both.draw(parameters, pairs, np.concatenate([uniform, uniform], axis=1))[:, 1]) <= 4


@pytest.mark.parametrize("name", FEATURES)
def test_what_is_drawn_is_distributed_as_it_is_judged(name):
    group, count = _of(name), 4000
    parameters = np.tile(RANDOM.normal(size=(1, group.parameters)).astype("float32") / 2, (count, 1))
    normal, uniform = RANDOM.normal(size=(count, 1)).astype("float32"), RANDOM.random((count, 1)).astype("float32")
    cells = np.asarray(group.draw(parameters, normal, uniform))
    values, counts = np.unique(np.round(group.raw(cells.astype("float64"), np), 3), return_counts=True)
    if len(values) < 100:  # classes and counts
        log_probs = group.log_prob(group.cells(values[:, None], np).astype("float32"), parameters[: len(values)])
        probabilities = np.exp(log_probs)[:, 0]
        assert 0.5 * np.abs(counts / count - probabilities / probabilities.sum()).sum() < 0.05
    else:
        low, high = group.bounds
        inner = cells[(cells > low) & (cells < high)]
        deviation = _normal(float(parameters[0, 1]))
        edges = (np.array([low[0], high[0]]) - parameters[0, 0]) / deviation
        expected = stats.truncnorm(*edges, loc=parameters[0, 0], scale=deviation)
        assert stats.kstest(inner, expected.cdf).pvalue > 1e-3


def test_large_counts_are_drawn_from_a_grid():
    feature = FEATURES["count"]._replace(range=(30.0, 90_000.0), mean=5e3, scale=8e3, log_mean=7.5, log_scale=1.0)
    group = columns.groups({"n": feature, "m": FEATURES["count"]})[0][1]
    parameters = np.tile(np.array([[0.0, 1.0, 0.0]], "float32"), (4000, 2))
    uniform = RANDOM.random((4000, 2)).astype("float32")
    drawn = np.round(group.raw(np.asarray(group.draw(parameters, uniform, uniform), "float64"), np))
    for column, mean in ((0, 5e3), (1, 12.0)):
        expected = stats.nbinom(np.e, np.e / (np.e + mean)).ppf((0.1, 0.5, 0.9))
        np.testing.assert_allclose(np.quantile(drawn[:, column], (0.1, 0.5, 0.9)), expected, rtol=0.1, atol=1)
    assert drawn[:, 0].min() >= 30


def test_what_is_drawn_has_the_decimals_of_the_data():
    normal = RANDOM.normal(size=(200, 1)).astype("float32")
    for name, decimals in (("continuous", 1), ("positive", 2)):
        group = columns.groups({"x": FEATURES[name]._replace(decimals=decimals)})[0][1]
        drawn = group.draw(np.zeros((200, group.parameters), "float32"), normal, normal)
        values = group.raw(np.asarray(drawn, "float64"), np) * 10**decimals
        np.testing.assert_allclose(values, np.round(values), atol=0.02)
        assert len(np.unique(values)) > 50


@pytest.mark.parametrize("name", FEATURES)
def test_no_value_is_likelier_than_the_mode_and_no_input_too_far(name):
    group = _of(name)
    feature = FEATURES[name]
    raw = np.array(feature.classes if isinstance((feature.classes or [""])[0], float) else range(3), "float64")
    raw = np.linspace(*feature.range, 40).round() if feature.range else raw[: len(feature.classes)]
    cells = group.cells(raw[:, None], np).astype("float32")
    parameters = np.tile(RANDOM.normal(size=(1, group.parameters)).astype("float32"), (len(raw), 1))
    assert np.max(group.log_ratio(cells, parameters)) <= 1e-4
    assert np.max(np.abs(group.inputs(cells * 1e6 if feature.range else cells))) <= number_columns.FARTHEST
    assert np.isfinite(group.log_prob(cells * 10 if feature.range else cells, parameters)).all()


@pytest.mark.parametrize("name", FEATURES)
def test_raw_values_and_cells_are_each_others_inverses(name):
    feature = FEATURES[name]
    raw = np.linspace(max(feature.range[0], 1.0), feature.range[1], 9).round() if feature.range else np.arange(2.0)
    if feature.classes and not isinstance(feature.classes[0], str):
        raw = np.array(feature.classes)
    group = _of(name)
    np.testing.assert_allclose(group.raw(group.cells(raw[:, None], np), np)[:, 0], raw, rtol=1e-9, atol=1e-6)


def test_numbers_have_no_more_digits_than_single_precision_knows():
    feature = Feature("continuous", range=(0.0, 9000.0), mean=3000.0, scale=1000.0, decimals=1)
    group = _of("continuous", feature, Feature("continuous", range=(0.0, 9e17), mean=3e17, scale=1e17, decimals=1))
    cells = group.cells(np.array([[1.0, 3900.2, 123456789012345678.0]]), np).astype("float32").astype("float64")
    np.testing.assert_array_equal(group.raw(cells, np)[0, 1:], [3900.2, cells[0, 2] * 1e17 + 3e17])
    group = columns.groups({"n": FEATURES["count"]._replace(decimals=0)})[0][1]
    cells = group.cells(np.arange(60.0)[:, None], np).astype("float32").astype("float64")
    np.testing.assert_array_equal(group.raw(cells, np)[:, 0], np.arange(60.0))


# Autoencoders


def _table(n=400, seed=0):
    """Rows of mixed type in which columns follow from others, and the schema."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, n))
    height = 170 + 8 * a + 2 * random.normal(size=n)
    weight = np.exp(4.2 + 0.15 * a + 0.1 * b)
    visits = random.poisson(np.exp(1 + 0.6 * b)).astype(float)
    sex = np.where(a + 0.3 * random.normal(size=n) > 0, "m", "f").astype(object)
    grade = np.clip(np.round(3 + b), 1, 5)
    data = {"height": height, "weight": weight, "visits": visits, "sex": sex, "grade": grade}
    schema = {
        "height": _numbers("continuous", height),
        "weight": _numbers("positive", weight, np.log(weight)),
        "visits": _numbers("count", visits, np.log1p(visits)),
        "note": Feature("text"),
        "sex": Feature("binary", classes=("f", "m"), shares=(float(np.mean(sex == "f")), float(np.mean(sex == "m")))),
        "grade": Feature("ordinal", classes=(1.0, 2.0, 3.0, 4.0, 5.0), shares=tuple(np.mean(grade == i) for i in range(1, 6))),
    }
    return data, schema


def _numbers(kind, values, logarithms=None):
    known = {"range": (values.min(), values.max()), "mean": values.mean(), "scale": values.std()}
    if logarithms is not None:
        known |= {"log_mean": logarithms.mean(), "log_scale": logarithms.std()}
    return Feature(kind, **{key: value if key == "range" else float(value) for key, value in known.items()})


def _model(schema, bottleneck=None, width=16, **kwargs):
    inputs = zoo.ColumnInputs(schema)
    count = len(columns.kept(schema))
    encoder, decoder = residual_body((inputs.compute_output_shape((None, count))[-1],), width)
    encoder = keras.Sequential([keras.Input((count,)), inputs, *encoder.layers])
    return zoo.TableAutoencoder(encoder, bottleneck or zoo.Deterministic(4), decoder, zoo.Mixed(schema), **kwargs)


@pytest.fixture(scope="module")
def started():
    """A model that starts as the regressions, with its rows."""
    data, schema = _table()
    keras.utils.set_random_seed(0)
    model = _model(schema, corruption=zoo.HideCells(seed=0))
    x = rows.cells(schema, rows.raw(schema, data))
    zoo.start_as_regression(model, x[:300])
    return model, data, x


def _but(data, name, value):
    return {**data, name: np.full(len(data[name]), value, object if isinstance(value, str) else float)}


def test_hidden_numbers_are_filled_in_as_by_a_regression_on_the_other_columns(started):
    model, data, _ = started
    others = np.stack([data["weight"], data["visits"], data["sex"] == "m", data["grade"]], axis=1)
    others = (others - others.mean(axis=0)) / others.std(axis=0)
    expected = Ridge(3.0).fit(others[:300], data["height"][:300]).predict(others[300:])
    filled = model.reconstruct(_but(data, "height", np.nan))["height"][300:]
    true = data["height"][300:]
    assert np.corrcoef(filled, expected)[0, 1] > 0.97
    assert np.std(filled - true) < 1.15 * np.std(expected - true) < 0.6 * np.std(true)


def test_hidden_classes_are_filled_in_better_than_by_the_mode(started):
    model, data, _ = started
    filled = model.reconstruct(_but(data, "sex", ""))["sex"]
    assert np.mean(filled[300:] == data["sex"][300:]) > 0.75


def test_cells_with_a_value_are_given_back_and_others_are_filled_in(started):
    model, data, _ = started
    holes = {name: column.copy() for name, column in data.items()}
    holes["sex"][::3], holes["weight"][::2] = "", np.nan
    for filled in (model.reconstruct(holes), model.generate_given(holes, np.arange(400))):
        assert list(filled) == ["height", "weight", "visits", "sex", "grade"]
        for name, column in filled.items():
            there = ~rows.missing(holes[name])
            np.testing.assert_array_equal(column[there], holes[name][there])
        assert np.isfinite(filled["weight"]).all()
        assert set(filled["sex"]) == {"f", "m"}
    low, high = model.schema["weight"].range
    np.testing.assert_array_less([low * (1 - 1e-6), filled["weight"].max()], [filled["weight"].min(), high * (1 + 1e-6)])


def test_missing_cells_are_not_judged(started):
    model, data, x = started
    nothing = {name: _but(data, name, np.nan if name != "sex" else "")[name] for name in data}
    assert np.all(np.asarray(model.score(nothing)) == 0)
    assert np.isfinite(model.encode(nothing)).all()
    assert all(np.isnan(column).all() for column in model.score_cells(nothing).values())
    likelihood, parameters = model.likelihood, model._parameters(model.encode(data))[None]
    holes = np.where(np.arange(5) == 1, np.nan, x)
    parts = np.asarray(likelihood.log_probs(x, parameters))[0]
    np.testing.assert_allclose(likelihood.log_prob(holes, parameters)[0], parts.sum(axis=1) - parts[:, 1], rtol=1e-4, atol=1e-4)
    objective = np.asarray(model(ops.convert_to_tensor(np.full_like(x, np.nan)), training=True)["objective"])
    assert np.all(objective == 0)


def test_the_odd_cell_is_the_one_that_does_not_fit_the_others(started):
    model, data, _ = started
    odd = {name: column.copy() for name, column in data.items()}
    swapped = np.argsort(-np.abs(data["height"] - 170))[:40]
    odd["height"][swapped] = 340 - odd["height"][swapped]
    scores = model.score_cells(odd)
    lowest = np.array([*scores])[np.argmin(np.stack([*scores.values()]), axis=0)]
    assert np.mean(np.isin(lowest[swapped], ["height", "sex", "weight"])) > 0.9
    assert np.median(scores["height"][swapped]) < -5 < np.median(np.delete(scores["height"], swapped))


def test_rows_are_answered_alone_as_among_others(started):
    model, data, _ = started
    for verb in ("encode", "score"):
        together = np.asarray(getattr(model, verb)({name: column[:4] for name, column in data.items()}))
        alone = [getattr(model, verb)({name: column[i : i + 1] for name, column in data.items()}) for i in range(4)]
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-4)
    seeds = np.arange(6)
    one, six = model.generate(seeds[3:4]), model.generate(seeds)
    assert {name: column[0] for name, column in one.items()} == {name: column[3] for name, column in six.items()}


def test_config_and_file_round_trip(started, tmp_path):
    model, data, _ = started
    assert restored(described(model.schema)) == model.schema
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.schema == model.schema
    np.testing.assert_allclose(loaded.score(data), model.score(data), rtol=1e-5)


def test_an_autoencoder_of_tables_may_be_variational():
    data, schema = _table()
    keras.utils.set_random_seed(0)
    model = _model(schema, zoo.Gaussian(4, seed=0), corruption=zoo.HideCells(seed=0))
    assert {"generate", "generate_given", "score_cells"} <= set(model.signatures())
    model.compile(keras.optimizers.Adam(5e-3))
    history = model.fit(data, epochs=12, batch_size=100, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    drawn = model.generate(np.arange(500))
    assert abs(np.mean(drawn["height"]) - 170) < 4
    assert set(drawn["grade"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}


def test_units_change_nothing():
    data, schema = _table()
    factor = {"height": 1000.0, "weight": 1000.0}
    scaled = {name: column * factor.get(name, 1) for name, column in data.items()}
    units = dict(schema)
    units["height"] = _numbers("continuous", scaled["height"])
    units["weight"] = _numbers("positive", scaled["weight"], np.log(scaled["weight"]))
    losses, filled = [], []
    for table, known in ((data, schema), (scaled, units)):
        keras.utils.set_random_seed(0)
        model = _model(known, corruption=zoo.HideCells(seed=0))
        x = rows.cells(known, rows.raw(known, table))
        zoo.start_as_regression(model, x[:300])
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
        losses.append(model.fit(x, epochs=1, batch_size=100, shuffle=False, verbose=0).history["loss"])
        filled.append(model.reconstruct_all(table))
    np.testing.assert_allclose(*losses, rtol=1e-3)
    for name in data:
        if name != "sex":
            np.testing.assert_allclose(filled[1][name] / factor.get(name, 1), filled[0][name], rtol=5e-3)


def test_no_type_drowns_the_others():
    """What the best constant costs is of one size in every column."""
    data, schema = _table()
    likelihood = zoo.Mixed(schema)
    constants = np.concatenate([group.start(np.ones(group.size)) for _, group in likelihood.groups]).astype("float32")
    x = rows.cells(schema, rows.raw(schema, data))
    costs = np.asarray(likelihood.losses(x, np.tile(constants, (1, len(x), 1)))).mean(axis=(0, 1))
    assert np.min(costs) > 0.9
    assert np.max(costs) < 3 * np.min(costs)


def test_wrong_tables_are_refused():
    data, schema = _table()
    model = _model(schema)
    with pytest.raises(ValueError, match=r"Received: weight, visits, sex, grade, without height\. Try adding 'height'"):
        model.encode({name: column for name, column in data.items() if name != "height"})
    with pytest.raises(ValueError, match=r"Expected numbers in the column visits\. Received: 'many' in row 1"):
        model.encode({**data, "visits": [1, "many"]})
    with pytest.raises(ValueError, match=r"Expected a column to learn from\. Received: note, all left out"):
        zoo.Mixed({"note": Feature("text")})
    with pytest.raises(ValueError, match=r"Expected a likelihood of columns\. Received: SquaredError\. Try zoo\.Mixed"):
        zoo.TableAutoencoder(zoo.dense((4,), shape=(5,)), zoo.Deterministic(2), zoo.dense((4,)), zoo.SquaredError())
    with pytest.raises(ValueError, match=r"Received: inf in row 0 of height\. Try leaving that cell empty"):
        model.check(np.full((1, 5), np.inf, "float32"))
    with pytest.raises(ValueError, match=r"Expected bodies with a linear path"):
        plain = keras.Sequential([keras.Input((5,)), zoo.ColumnInputs(schema), keras.layers.Dense(8)])
        model = zoo.TableAutoencoder(plain, zoo.Deterministic(2), zoo.dense((8,)), zoo.Mixed(schema))
        zoo.start_as_regression(model, np.zeros((4, 5), "float32"))


def test_the_encoder_sees_waves_of_the_numbers_and_nothing_else():
    schema = {"kind": FEATURES["categorical"], "n": FEATURES["count"], "day": FEATURES["datetime"], "x": FEATURES["continuous"]}
    inputs = zoo.ColumnInputs(schema)
    cells = np.array([[1, 0.4, -1.2, 0.7], [2, -0.3, 0.1, -0.5]], "float32")
    seen = ops.convert_to_numpy(inputs(cells))
    numbers = seen[:, inputs.numbers]
    assert numbers.shape == (2, 4)  # of a count, its logarithm and itself
    assert all(np.isclose(numbers, cells[:, [place]]).all(axis=0).any() for place in (1, 2, 3))
    waves = ops.convert_to_numpy(Periodic(inputs.numbers, 3)(seen))[:, seen.shape[1] :]
    angles = np.pi / 2 * np.concatenate([numbers, 2 * numbers, 4 * numbers], axis=1)
    np.testing.assert_allclose(waves, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-5)
