"""A transformer as TensorFlow Serving and the embedded server run it: strings in, strings out."""

import random
import unicodedata

import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf

import serving
import zoo
from serving.check import ask
from serving.export import export, images, load, texts
from serving.export.texts import Reader
from serving.models import sessions
from serving.process import Server
from zoo.coding.fingerprint import fingerprint
from zoo.coding.pairs import Pairs

WORDS = ["hedge", "Ǆab", "b", "Zoé&co", "a" * 12]
TARGETS = ["B", "", "AH0 B", "EY1 ZZZ", "B B B B B"]


@pytest.fixture(scope="module")
def model() -> zoo.Transformer:
    keras.utils.set_random_seed(0)
    letters, sounds = zoo.Vocabulary("abcdefghijklmnopqrstuvwxyz'", 12), zoo.Vocabulary(["AH0", "B", "EY1"], 5, " ")
    return zoo.Transformer(letters, sounds, width=16, depth=1, heads=2, beams=3, choices=4)


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("texts")
    export(model, directory, "sounds")
    return directory


@pytest.fixture(scope="module")
def server(directory):
    with Server(directory) as server:
        yield server


def test_an_export_gives_the_model_back(model, directory):
    again = load(directory / "sounds")
    assert fingerprint(again, Pairs.parts) == fingerprint(model, Pairs.parts)
    np.testing.assert_array_equal(again.score(WORDS[:3], TARGETS[:3]), model.score(WORDS[:3], TARGETS[:3]))


def _python(model, verb, values) -> dict[str, np.ndarray]:
    answer = getattr(model, verb)(*(value.tolist() if value.dtype.kind == "U" else value for value in values))
    answers = answer if isinstance(answer, dict) else dict.fromkeys(model.signatures()[verb].outputs, answer)
    return {name: np.asarray(value) for name, value in answers.items()}


def _assert_same(received, expected, name):
    if expected.dtype.kind == "U":
        assert np.asarray(received).tolist() == expected.tolist(), name
    else:
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("settings", [None, sessions.config()], ids=["TensorFlow Serving", "the embedded server"])
def test_every_signature_answers_in_a_session_as_in_python(model, directory, settings):
    batch = 5 if settings else 1
    values = {
        "source": WORDS, "target": TARGETS, "length_penalty": [0.0, 1, 0, 1, 0], "seed": [*range(5)],
        "temperature": [1.0, 0, 2, 1, 1], "top_k": [0, 1, 2, 3, 0], "top_p": [1.0, 1, 1, 0.5, 0.9],
    }  # fmt: skip
    session = tf.compat.v1.Session(graph=tf.Graph(), config=settings)
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory / "sounds" / "1"))
    served = {name: part for name, part in graph.signature_def.items() if part.inputs}
    assert set(served) == {"serving_default", *model.signatures()}
    for name, signature in served.items():
        verb = model.serving_default if name == "serving_default" else name
        inputs, outputs = model.signatures()[verb]
        columns = {key: np.array(values[key][:batch], None if t.vocabulary else t.dtype) for key, t in inputs.items()}
        feeds = {signature.inputs[key].name: column for key, column in columns.items()}
        received = session.run({key: signature.outputs[key].name for key in outputs}, feeds)
        expected = _python(model, verb, columns.values())
        for key, tensor in outputs.items():
            assert tf.TensorShape(signature.outputs[key].tensor_shape).as_list() == list(tensor.shape)
            texts = np.char.decode(received[key].astype("S"), "utf-8") if tensor.vocabulary else received[key]
            _assert_same(texts, expected[key], verb)
    session.close()


@pytest.mark.parametrize("tokens", ["abcdefghijklmnopqrstuvwxyz'", "ABCé½ß̈ ", "あかが한ﬁ", "eéêệ≠="])
def test_the_graph_reads_characters_as_python_does(tokens):
    vocabulary = zoo.Vocabulary(dict.fromkeys(tokens), 60)
    chance = random.Random(0)
    known = [chr(code) for code in range(32, 0x30000) if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")]
    texts = ["".join(chance.choices(known, k=8)) for _ in range(2000)]
    texts += ["e\u0301a", "e\u0301\u0308", "e\u0323\u0302", "e\u0302\u0323", "か\u3099", "ê\u0323"]
    texts += ["é", "é", "ﬁne", "ẞ", "CAFÉ", "½", "👩‍🚀", "ǆ", "Å", "が", "한", tokens]
    texts = [text for text in texts if len(vocabulary.split(text)) <= 60]
    np.testing.assert_array_equal(Reader(vocabulary)(tf.constant(texts), "target"), vocabulary.numbers(texts))


@pytest.mark.parametrize("binary", [False, True])
def test_the_client_answers_as_the_model_does(server, model, binary):
    with serving.Client(server.url, "sounds", binary=binary) as client:
        answers = list(ask(client, {"source": np.array(WORDS), "target": np.array(TARGETS)}))
        assert {verb for verb, _, _ in answers} == set(model.signatures())
        for verb, sent, outputs in answers:
            expected = _python(model, verb, sent)
            assert set(outputs) == set(expected)
            for name, received in outputs.items():
                _assert_same(received, expected[name], verb)
        one, each = client.generate_beam(WORDS, 0.5), client.generate_beam(WORDS, [0.5] * len(WORDS))
        np.testing.assert_array_equal(one["target"], each["target"])  # one number is that of every row


def test_plain_json_needs_nothing_but_strings(server, model):
    answer = httpx.post(f"{server.url}/v1/models/sounds:predict", json={"instances": ["hedge", "Zoé&co"]}).json()["predictions"]
    expected = model.generate(["hedge", "Zoé&co"])
    assert [row["target"] for row in answer] == list(expected["target"])
    assert [row["unknown"] for row in answer] == [0, 1]
    np.testing.assert_allclose([row["score"] for row in answer], expected["score"], rtol=1e-4)


@pytest.mark.parametrize(
    ("verb", "name", "bad"),
    [
        ("generate_beam", "length_penalty", [-0.1, np.nan, np.inf]),
        ("generate_sample", "temperature", [-1.0, np.nan, np.inf]),
        ("generate_sample", "top_p", [-0.1, 1.1, np.nan, np.inf]),
        ("generate_sample", "top_k", [-1]),
    ],
)
def test_numbers_out_of_range_are_refused_and_the_server_goes_on(server, model, verb, name, bad):
    values = {"seed": [1, 2], "temperature": [1.0, 0.5], "top_k": [0, 2], "top_p": [1.0, 0.0], "length_penalty": [0.0, 1.0]}
    given = {key: np.array(values.get(key), t.dtype) for key, t in model.signatures()[verb].inputs.items() if key in values}
    with serving.Client(server.url, "sounds", binary=True) as client:
        inputs = {"source": np.array(["ab", "c"]), **given}
        for value in bad:
            wrong = inputs[name].copy()
            wrong[1] = value
            with pytest.raises(RuntimeError, match=rf"Expected .* as {name}(?s:.*)HTTP 400"):
                getattr(client, verb)(*(inputs | {name: wrong}).values())
        getattr(client, verb)(*inputs.values())


def test_beams_beyond_the_possible_targets_in_the_graph():
    vocabulary = zoo.Vocabulary("ab", 1)
    narrow = zoo.Transformer(vocabulary, vocabulary, width=16, depth=1, heads=2, beams=5)
    verb = texts.verbs(images.verbs(narrow))["generate_beam"]
    made = tf.function(verb.call)(tf.constant(["a", "b"]), tf.constant([0.0, 1e30]))
    rows = np.char.decode(made["target"].numpy().astype("S")).tolist()
    assert [sorted(row[:3]) for row in rows] == [["", "a", "b"]] * 2 and [row[3:] for row in rows] == [["", ""]] * 2
    assert (made["score"].numpy()[:, 3:] == np.float32(-1e30)).all() and (made["score"].numpy()[:, :3] > -100).all()


def test_a_text_that_cannot_be_read_is_refused_and_the_server_goes_on(server):
    url = f"{server.url}/v1/models/sounds:predict"
    for bad in ("", "a" * 13, "\u0301"):  # a combining mark alone
        answer = httpx.post(url, json={"instances": ["ab", bad]})
        assert answer.status_code == 400
        assert "Expected 1 to 12 tokens in every text of input source. Received, text by text:" in answer.json()["error"]
    refused = httpx.post(url, json={"signature_name": "score", "inputs": {"source": ["ab"], "target": ["B B B B B B"]}})
    assert refused.status_code == 400 and "Expected 0 to 5 tokens" in refused.json()["error"]
    assert httpx.post(url, json={"instances": ["ab"]}).status_code == 200


def test_every_signature_of_texts_has_an_example_that_is_answered(server):
    """Without a sample beside the model: a text that it was warmed up with."""
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    body = paths["/v1/models/sounds:predict"]["post"]["requestBody"]["content"]["application/json"]
    assert list(body["examples"]) == [schema["title"] for schema in body["schema"]["oneOf"]]
    for verb, example in body["examples"].items():
        answer = httpx.post(f"{server.url}/v1/models/sounds:predict", json=example["value"], timeout=60)
        assert answer.status_code == 200, (verb, answer.text)
