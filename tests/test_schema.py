"""The schema of the data: read with them, kept by the model and the export, told by the server and its client."""

import json

import httpx
import keras
import numpy as np
import pytest
from models import MODELS

import serving
import training
import zoo
from serving.export import export
from zoo.schema import Feature, described, restored

DIGITS = {"type": "image", "shape": [8, 8, 1], "range": [0.0, 1.0]}
LABELS = {"type": "class", "classes": list("0123456789")}


def test_data_bring_their_schema(digits, tmp_path):
    assert described(training.load("digits").schema) == {"x": DIGITS, "label": LABELS}
    np.save(tmp_path / "a.npy", 3 * digits.reshape(-1, 64) - 1)
    for memory_gib, found in ((2.0, (-1.0, 2.0)), (1e-9, None)):  # a stream has not been read
        schema = training.load(f"npy:{tmp_path}/a.npy", memory_gib=memory_gib).schema
        assert schema == {"x": Feature("array", (64,), found)}
    few = training.kinds.open_data(training.EXPERIMENTS["dense_digits_k8"].override(kind="predictor", target="slant"))
    assert few.schema["target"] == Feature("number") and few.schema["x"].shape == (8, 8, 1)


@pytest.mark.parametrize("name", ["vae", "vectors"])
def test_a_model_keeps_its_schema(name, tmp_path):
    model = MODELS[name]()
    assert model.schema["x"].shape == model.shape
    model.schema = {"x": Feature.of(model.shape, (0.0, 3.5)), "label": Feature("class", classes=("ä", "b"))}
    model.save(tmp_path / "model.keras")
    zoo.save_preset(model, tmp_path / "preset")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), zoo.load(tmp_path / "preset")):
        assert again.schema == model.schema == restored(described(model.schema))


def test_texts_have_their_vocabularies():
    schema = zoo.load("g2p_cmudict").schema
    assert schema["source"].type == "text" and "a" in schema["source"].vocabulary.tokens
    assert described(schema)["target"]["vocabulary"] == {"tokens": 73, "length": 28}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model = MODELS["vae"]()
    model.schema = {"x": Feature.of((8, 8, 1), (0.0, 1.0)), "label": Feature("class", classes=tuple("0123456789"))}
    for name, text in {
        "whole": None,
        "damaged": '{"x": {"type": 3, "range": [1], "classes": "ab", "shape": [8]}, "y": 1}',
    }.items():
        version = export(model, folder, name)
        if text:
            (version / "assets.extra" / "schema.json").write_text(text)
    with serving.Server(folder) as server:
        yield server


def test_the_client_and_the_page_tell_the_schema(server):
    with serving.Client(server.url, "whole") as client:
        assert client.schema == {"x": DIGITS, "label": LABELS}
    with serving.Client(server.url, "damaged") as client:
        assert client.schema == {"x": {"shape": [8]}, "y": {}}
    document = httpx.get(f"{server.url}/openapi.json").json()
    content = document["paths"]["/v1/models/whole:predict"]["post"]["requestBody"]["content"]["application/json"]
    columns = {each["title"]: each["properties"]["inputs"]["properties"] for each in content["schema"]["oneOf"]}
    assert columns["encode"]["x"]["description"] == "image, values from 0 to 1 in training"
    assert columns["generate_class"]["label"]["description"] == "class, 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert "description" not in columns["generate_class"]["seed"]
    with pytest.raises(serving.ServerError, match="404"), serving.Client(server.url, "none") as client:
        client.schema  # noqa: B018 - it asks the server


def test_an_export_has_the_schema_beside_it(run):
    (path,) = run.export.glob("*/1/assets.extra/schema.json")
    assert json.loads(path.read_text()) == {"x": DIGITS, "label": LABELS}
