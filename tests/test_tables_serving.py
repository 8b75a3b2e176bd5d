"""Tables as TensorFlow Serving and the embedded server run them: raw columns in, raw columns out, of any names."""

import datetime
import json

import grpc
import httpx
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

import serving
import zoo
from serving.check import ask
from serving.export import export, load, names, tables
from serving.models import sessions
from serving.process import Server
from zoo import dates, rows
from zoo.coding.fingerprint import fingerprint
from zoo.columns import kept
from zoo.schema import Feature

NUMBER = {"mean": 44.0, "scale": 5.5, "range": (30.0, 60.0), "missing": 0.1}
SKEWED = {**NUMBER, "log_mean": 3.7, "log_scale": 0.3}
DATE = {"mean": 1.25e9, "scale": 2.9e7, "range": (1.2e9, 1.3e9), "missing": 0.0}
SCHEMA = {  # a column of every type, by names that are no names of arguments, or no two of them
    "bill length (mm)": Feature("continuous", decimals=2, **NUMBER),
    "größe": Feature("positive", **SKEWED),
    "": Feature("count", **SKEWED),
    "a/b": Feature("binary", classes=("false", "true"), shares=(0.6, 0.3), missing=0.1),
    "A b": Feature("binary", classes=(0.0, 1.0), shares=(0.7, 0.3)),
    "class": Feature("categorical", classes=("Biscoe", "größte", " x", "<y>"), shares=(0.4, 0.3, 0.2, 0.1)),
    "1st": Feature("categorical", classes=(4.0, 6.0, 8.5), shares=(0.5, 0.3, 0.2)),
    "seed": Feature("ordinal", classes=(1.0, 2.0, 4.0, 5.0), shares=(0.1, 0.4, 0.3, 0.2)),
    "a_b": Feature("ordinal", classes=("S", "M", "L"), shares=(0.4, 0.3, 0.3)),
    "file": Feature("datetime", format="%Y-%m-%d", **DATE),
    "a b": Feature("datetime", format="am %d.%m.%Y (%H:%M)", **DATE),
    "self": Feature("continuous", mean=1.7e18, scale=1e15, range=(1.6e18, 1.8e18), missing=0.0),
    "id": Feature("identifier"),
}
NAN, OTHER = np.nan, "purple"
ROWS = {  # missing cells, classes that are not known, values out of range, dates that are none
    "bill length (mm)": np.array([39.1, NAN, 44.000000000000007, -1e300, 1e300, np.inf]),
    "größe": np.array([1e-310, 40.0, NAN, 0.0, -3.0, 1e17 / 3]),
    "": np.array([3.0, 0.0, 0.4, NAN, -1.0, 1e6]),
    "a/b": np.array(["true", "false", "", OTHER, "True", ""], object),
    "A b": np.array([0.0, 1.0, NAN, 0.5, 7.0, 1.0]),
    "class": np.array(["größte", " x", "purple x", "", "<y>", "\tBiscoe "], object),
    "1st": np.array([8.5, 8.0, NAN, 4.0, 6.0, 6.0000001]),
    "seed": np.array([1.0, 3.0, NAN, 3.1, -7.0, 99.0]),
    "a_b": np.array(["S", " ", "XL", "L", "M", "s"], object),
    "file": np.array(["2009-05-06", "", "2009-02-30", "1850-1-2", "2009-05-06 ", "9999-12-31"], object),
    "a b": np.array(["am 06.05.2009 (12:34)", "", "06.05.2009", "am 29.02.2008 (00:00)", "am 1.3.2008 (24:00)", "?"], object),
    "self": np.array([1.7e18 + 256, NAN, 1.7e18, 2.0**60, 1.65e18, 1.0]),
}
COUNT = 6
SEED, CODE = np.array([0, 1, -7, 2**31 - 1, 5, 6], "int32"), np.random.default_rng(0).normal(size=(COUNT, 3)).astype("float32")


@pytest.fixture(scope="module")
def model() -> zoo.TableAutoencoder:
    return _model(SCHEMA, 3)


def _model(schema, k: int) -> zoo.TableAutoencoder:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((len(kept(schema)),)), zoo.ColumnInputs(schema), keras.layers.Dense(16, activation="gelu")]
    decoder = keras.Sequential([keras.layers.Dense(16, activation="gelu")])
    model = zoo.TableAutoencoder(keras.Sequential(layers), zoo.Gaussian(k), decoder, zoo.Mixed(schema), True, ranks=zoo.Ranks())
    model.ranks.fit(np.linspace(-100.0, 0.0, 50))
    return model


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tables")
    export(model, directory, "table", sample={"x": model.cells(ROWS)[:2]})
    return directory


@pytest.fixture(scope="module")
def server(directory):
    with Server(directory) as server:
        yield server


def test_an_export_gives_the_model_back(model, directory):
    again = load(directory / "table" / "1")
    assert fingerprint(again) == fingerprint(model) and again.schema == model.schema
    np.testing.assert_array_equal(again.ranks.weights[0], model.ranks.weights[0])


@pytest.fixture(scope="module")
def expected(model) -> dict[str, dict[str, np.ndarray]]:
    """What every verb answers in Python, by the name of its output."""
    arguments = {"decode": [CODE], "generate": [SEED], "generate_given": [ROWS, SEED]}
    answers = {verb: getattr(model, verb)(*arguments.get(verb, [ROWS])) for verb in model.signatures()}
    return {
        verb: answer if isinstance(answer, dict) else dict.fromkeys(model.signatures()[verb].outputs, np.asarray(answer))
        for verb, answer in answers.items()
    }


def _assert_same(received: dict, expected: dict[str, np.ndarray], verb: str, exact: bool = True) -> None:
    """Dates may differ by rounding where the graph has been optimized, which changes the last digit of a float32."""
    assert set(received) == set(expected)
    for name, values in expected.items():
        found, format = np.asarray(received[name]), SCHEMA[name].format if name in SCHEMA else None
        message = f"{verb} {name}"
        if values.dtype != object:
            np.testing.assert_allclose(found.astype("float64"), values, rtol=1e-5, atol=1e-5, err_msg=message)
        elif exact or not format:
            assert found.tolist() == values.tolist(), message
        else:
            assert (found == values)[np.isnan(dates.seconds(values, format))].all(), message
            np.testing.assert_allclose(dates.seconds(found, format), dates.seconds(values, format), atol=600, err_msg=message)


def _values(inputs: int) -> dict[str, np.ndarray]:
    """A value for every input; where there is but one, `seed` is no column."""
    return {"code": CODE, "seed_": SEED, **({"seed": SEED} if inputs == 1 else ROWS)}


def _decoded(answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: np.char.decode(each.astype("S"), "utf-8") if each.dtype == object else each for key, each in answers.items()}


@pytest.mark.parametrize("settings", [None, sessions.config()], ids=["TensorFlow Serving", "the embedded server"])
def test_every_signature_answers_in_a_session_as_in_python(model, directory, expected, settings):
    session = tf.compat.v1.Session(graph=tf.Graph(), config=settings)
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory / "table" / "1"))
    served = {name: part for name, part in graph.signature_def.items() if part.inputs}
    declared = {"serving_default": model.signatures()[model.serving_default], **model.signatures()}
    assert set(served) == set(declared)
    for name, signature in served.items():
        for ours, theirs in zip(declared[name], (signature.inputs, signature.outputs), strict=True):
            assert {key: tf.as_dtype(tensor.dtype).name for key, tensor in theirs.items()} == {
                key: tensor.dtype for key, tensor in ours.items()
            }
    feeds = {
        signature.inputs[key].name: _values(len(declared[name].inputs))[key]
        for name, signature in served.items()
        for key in declared[name].inputs
    }
    fetches = {name: {key: info.name for key, info in signature.outputs.items()} for name, signature in served.items()}
    for name, received in session.run(fetches, feeds).items():  # together: the graph is optimized once
        verb = model.serving_default if name == "serving_default" else name
        _assert_same(_decoded(received), expected[verb], verb, exact=settings is not None)
    session.close()


def test_the_graph_reads_columns_as_python_does():
    """Several columns of every type, of unequal numbers of classes, so that none stands alone in its group."""
    more = {f"{name} {extra}": feature for name, feature in SCHEMA.items() for extra in ("one", "two")}
    more |= {"wide": Feature("categorical", classes=tuple("abcdefghijk"), shares=(0.09,) * 11)}
    values = {**{f"{name} {extra}": ROWS.get(name) for name in SCHEMA for extra in ("one", "two")}, "wide": ROWS["a_b"]}
    raw = {name: np.roll(values[name], len(name)) for name in kept(more)}
    table, cells = tables.Table(kept(more)), rows.cells(more, raw)
    stacks = table.stacks({name: tf.constant(column) for name, column in raw.items()})
    np.testing.assert_array_equal(table.cells(stacks), cells)
    chosen = np.where(np.isinf(cells) | (np.abs(cells) > 1e6), 0.5, cells)
    back = {name: column.numpy() for name, column in table.columns(table.stacks_of(tf.constant(chosen))).items()}
    for name, column in rows.raw_of(more, chosen).items():
        found = np.char.decode(back[name].astype("S"), "utf-8") if column.dtype == object else back[name]
        np.testing.assert_array_equal(found, column, err_msg=name)


@pytest.mark.parametrize("name", ["score", "seed", "x"])
def test_a_table_of_one_column_by_the_name_of_another_tensor(name):
    one = _model({name: SCHEMA["bill length (mm)"]}, 1)
    raw = {name: ROWS["bill length (mm)"]}
    for verb, (_, call, *_) in tables.verbs(one).items():
        if verb in ("reconstruct", "score", "score_cells", "generate"):
            seeded = verb == "generate"
            found, answer = call(tf.constant(SEED if seeded else raw[name])), getattr(one, verb)(SEED if seeded else raw)
            found = found if isinstance(found, dict) else {"score": found}
            _assert_same(found, answer if isinstance(answer, dict) else {"score": np.asarray(answer)}, verb)


def test_cells_of_wide_tables_are_scored_in_blocks(model, expected, monkeypatch):
    """All copies of a row of 2,000 columns, each without one of its cells, would take the memory of a server."""
    monkeypatch.setattr(zoo.tables, "COPIES", 5)
    _assert_same(model.score_cells(ROWS), expected["score_cells"], "score_cells")


def _post(server, body: dict | str) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return httpx.post(f"{server.url}/v1/models/table:predict", content=text, timeout=60)


def _rows(null: bool) -> list[dict]:
    """The rows as JSON has them: missing is NaN and "", or null."""
    made = pd.DataFrame(ROWS).to_dict("records")
    return [{name: None if null and (value == "" or value != value) else value for name, value in row.items()} for row in made]


@pytest.mark.parametrize("null", [False, True])
def test_rows_and_columns_over_rest(server, expected, null):
    sent = [{**row, "id": number} for number, row in enumerate(_rows(null))]  # a column that the model does not have
    answer = _post(server, {"instances": sent}).json()["predictions"]
    _assert_same({name: [row[name] for row in answer] for name in answer[0]}, expected["reconstruct"], "reconstruct")
    columns = {name: [row[name] for row in sent] for name in sent[0]}
    for verb, more in (("score_cells", {}), ("generate_given", {"seed_": SEED.tolist()}), ("score", {})):
        answer = _post(server, {"signature_name": verb, "inputs": columns | more})
        assert ("NaN" in answer.text) == (verb == "score_cells"), verb
        answers = json.loads(answer.text)["outputs"]
        _assert_same(answers if verb != "score" else {"score": answers}, expected[verb], verb)


def test_cells_that_are_there_are_given_back_as_they_are(server, expected):
    answer = _post(server, {"inputs": {name: column.tolist() for name, column in ROWS.items()}})
    for name, sent in ROWS.items():
        there = ~rows.missing(sent)
        for received in (json.loads(answer.text)["outputs"][name], expected["reconstruct"][name]):
            received = np.array(received, sent.dtype)
            np.testing.assert_array_equal(received[there], sent[there])
            assert not (received[~there] == "").any() and (sent.dtype == object or not np.isnan(received).any())


@pytest.mark.parametrize("binary", [False, True])
def test_the_client_answers_as_the_model_does(server, expected, binary):
    with serving.Client(server.url, "table", binary=binary) as client:
        answers = list(ask(client, {"rows": ROWS, "seed": SEED, "seed_": SEED}))
        assert {verb for verb, _, _ in answers} == set(expected)
        for verb, _, received in answers:
            if verb != "decode":  # which `ask` gives the codes of the rows
                _assert_same(received, expected[verb], verb)
        assert list(client.generate([1])) == list(kept(SCHEMA))


def test_the_client_takes_rows_in_every_form(server, expected):
    with serving.Client(server.url, "table") as client:
        frame = pd.DataFrame(ROWS).assign(id=range(COUNT))
        frame["file"] = [datetime.date(2009, 5, 6), pd.NaT, None, datetime.date(1850, 1, 2), None, datetime.date(9999, 12, 31)]
        frame["A b"] = frame["A b"].astype("Int64", errors="ignore")
        as_read = {**ROWS, "file": np.array(["2009-05-06", "", "", "1850-01-02", "", "9999-12-31"], object)}
        for each in (frame, frame.to_dict("records"), as_read):
            np.testing.assert_array_equal(client.encode(each), client.encode(as_read))
            assert client.reconstruct(each)["file"].tolist()[3] == "1850-01-02"
        assert (
            client.encode({**as_read, "a/b": [True, False, None, OTHER, "True", None]})[0].tolist()
            == client.encode(as_read)[0].tolist()
        )
        assert {name: (len(column), column.dtype.kind) for name, column in client.reconstruct(frame[:0]).items()} == {
            name: (0, "U" if column.dtype == object else "f") for name, column in ROWS.items()
        }
        with pytest.raises(ValueError, match=r"without class\. Try adding 'class'"):
            client.score(frame.drop(columns="class"))
        with pytest.raises(ValueError, match=r"Expected numbers in the column größe. Received: 'much' in row 1"):
            client.score({**ROWS, "größe": [1.0, "much"]})
        with pytest.raises(ValueError, match=r"Expected rows of a table: .* Received: ndarray"):
            client.score(CODE)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"größe": "much"}, "key: größe of 'instances' list. Error: JSON Value: \"much\" Type: String"),
        ({"class": 3}, "key: class of 'instances' list. Error: JSON Value: 3 Type: Number is not of expected type: string"),
        ({"A b": True}, "key: A b of 'instances' list. Error: JSON Value: true Type: True is not of expected type: double"),
        ({"": [1.0]}, "Expected shape (None,) for input . Received: (1, 1)."),
        ({"class": ...}, "Missing: class."),
        ({"größe": 1e400}, "Number too big to be stored in double: 1e400"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_its_column_and_the_server_goes_on(server, change, error):
    row = {name: value for name, value in {**_rows(True)[0], **change}.items() if value is not ...}
    refused = _post(server, json.dumps({"instances": [row]}).replace("Infinity", "1e400"))
    assert refused.status_code == 400 and error in refused.json()["error"]
    columns = {name: [value] for name, value in row.items()}
    refused = _post(server, json.dumps({"inputs": columns}).replace("Infinity", "1e400"))
    assert refused.status_code == 400 and (next(iter(change)) in refused.json()["error"] or "1e400" in refused.text)
    assert _post(server, {"instances": [_rows(True)[0]]}).status_code == 200


def test_columns_of_several_lengths_are_refused(server):
    columns = {name: column.tolist() for name, column in ROWS.items()}
    for value, received in (([1.0], "1 of größe"), (1.0, "a single value of größe")):
        refused = _post(server, {"inputs": {**columns, "größe": value}})
        assert refused.status_code == 400 and received in refused.json()["error"]


def test_the_schema_and_an_example_for_every_signature_are_told(server, model):
    told = httpx.get(f"{server.url}/v1/models/table/schema").json()["schema"]
    assert list(told) == list(SCHEMA) and told["1st"]["classes"] == [4.0, 6.0, 8.5] and told["file"]["format"] == "%Y-%m-%d"
    post = httpx.get(f"{server.url}/openapi.json").json()["paths"]["/v1/models/table:predict"]["post"]
    body = post["requestBody"]["content"]["application/json"]
    assert set(body["examples"]) == {"serving_default", *model.signatures()}
    for verb, example in body["examples"].items():
        answer = _post(server, example["value"])
        assert answer.status_code == 200, (verb, answer.text)


def test_the_sample_is_of_raw_rows(directory):
    with np.load(directory / "table" / "1" / "assets.extra" / "sample.npz") as sample:
        assert sample["bill length (mm)"].tolist()[0] == 39.1 and np.isnan(sample["self"][1])  # with the digits of the table
        assert sample["file"].tolist() == ["2009-05-06", ""] and set(sample.files) == set(ROWS)
    assert tables.sample(SCHEMA)["bill length (mm)"] == [44.0]  # without data, a row of means
    np.testing.assert_array_equal(tables.sample(SCHEMA, ROWS)["file"], ROWS["file"])


def test_columns_over_grpc(server, expected):
    request = PredictRequest()
    request.model_spec.name = "table"
    for name, column in ROWS.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(column))
    with grpc.insecure_channel(server.grpc) as channel:
        response = PredictionServiceStub(channel).Predict(request)
    answers = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    _assert_same(_decoded(answers), expected["reconstruct"], "reconstruct")


def test_names_of_arguments():
    given = ["a", "A", "a.b", "a_b", "a b", "", "1", "_", "größe", "class", "self", "x" * 300, "\n", "a_b_2", "column", "名"]
    found = names.arguments(given)
    assert found["a"] == "a" and found["a_b_2"] != found["a b"] and [*found] == given
    assert len({name.lower() for name in found.values()}) == len(given)
    assert all(name.isidentifier() and name.isascii() and name not in ("class", "self") for name in found.values())
