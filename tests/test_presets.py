"""Trained models that come with the package, and folders of the user."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from models import MODELS

import training
import zoo
from training import kinds
from training.__main__ import main
from training.experiments.named import command
from zoo import files

NAMES = ("dense_mnist_k30", "conv_mnist_k16", "vae_mnist_k2", "vae_mnist", "vae_mnist_8bit", "vqvae_mnist", "pca_mnist_k30")
MIB = 2**20


def test_the_presets_of_the_package():
    assert set(NAMES) <= set(zoo.list())
    sizes = {name: sum(file.stat().st_size for file in (zoo.presets.FOLDER / name).iterdir()) for name in zoo.list()}
    assert max(sizes.values()) <= 6 * MIB and sum(sizes.values()) <= 25 * MIB
    assert not [file for file in zoo.presets.FOLDER.rglob("*") if file.suffix in (".pkl", ".pickle")]


@pytest.mark.parametrize("name", zoo.list())
def test_a_preset_is_trained_and_has_a_card(name):
    model, rows, card = zoo.load(name), zoo.sample(name), zoo.card(name)
    if isinstance(model, zoo.TableAutoencoder):
        filled = model.reconstruct({**rows, "species": [""] * len(rows["species"])})
        assert np.mean(filled["species"] == rows["species"]) > 0.8  # fewer than half are of the most common species
    elif isinstance(model, zoo.Autoencoder):
        error = np.square(rows["x"] - np.asarray(model.reconstruct(rows["x"]))).reshape(len(rows["x"]), -1).sum(axis=1).mean()
        assert error < 45  # the mean image's is 52.7, two principal components' 43.6
        made = np.asarray(model.generate([1, 2]))
        assert made.shape == (2, *model.shape) and np.abs(made[0] - made[1]).max() > 0.1
    elif isinstance(model, zoo.Transformer):
        best = model.generate_beam(rows["source"].tolist())["target"]
        assert np.mean([target in row for target, row in zip(rows["target"], best, strict=True)]) > 0.75
    else:
        assert np.mean(np.asarray(model.classify(rows["x"])).argmax(axis=1) == rows["label"]) > 0.9
    for part in ("Licence", "Made by", "Figures", "Limits", f"python -m training train {name}"):
        assert part in card


@pytest.mark.parametrize("name", ["vae", "conv", "vector_quantized", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_saved_and_loaded(name, dtype, digits, tmp_path):
    model = MODELS[name]()
    folder = zoo.save_preset(model, tmp_path / "mine", dtype)
    assert {path.name for path in folder.iterdir()} == {"preset.json", "weights.npz"}
    loaded = zoo.load(folder)
    assert type(loaded) is type(model)
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(loaded.reconstruct(digits[:4]), model.reconstruct(digits[:4]), atol=tolerance)
    np.testing.assert_allclose(loaded.generate([1, 2]), model.generate([1, 2]), atol=tolerance)


def test_a_preset_is_replaced_completely_or_not_at_all(tmp_path, monkeypatch):
    folder = zoo.save_preset(MODELS["vae"](), tmp_path / "mine")
    (folder / "card.md").write_text("of the first")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Killed(BaseException):
        pass

    def failing(function, turn, error):
        calls = iter(range(turn + 1))

        def call(*arguments, **settings):
            if next(calls, 0) == turn:
                raise error
            return function(*arguments, **settings)

        return call

    steps = [(json, "dumps", 0), (np, "savez_compressed", 0), (os, "fsync", 0), (os, "rename", 0), (os, "rename", 1)]
    for module, name, turn in steps:  # the last two put the old preset aside and the new one in its place
        for error in (Killed(), OSError(5, "Input/output error")):
            with monkeypatch.context() as patch:
                patch.setattr(module, name, failing(getattr(module, name), turn, error))
                with pytest.raises(type(error)):
                    zoo.save_preset(MODELS["linear"](), folder)
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, (name, turn)
            assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    zoo.save_preset(MODELS["linear"](), folder)
    assert isinstance(zoo.load(folder), zoo.LinearAutoencoder)
    assert {path.name for path in folder.iterdir()} == {"preset.json", "weights.npz"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_preset_that_a_kill_left_aside_is_found(tmp_path):
    folder = zoo.save_preset(MODELS["linear"](), tmp_path / "mine")
    (tmp_path / f"{files.REPLACED}x").mkdir()
    folder.rename(tmp_path / f"{files.REPLACED}x" / "mine")  # as between the two steps of a replacement
    assert isinstance(zoo.load(folder), zoo.LinearAutoencoder)
    zoo.save_preset(MODELS["vae"](), folder)
    assert zoo.load(folder).bottleneck.__class__ is zoo.Gaussian and [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_links_and_the_current_folder_are_places_for_a_preset(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    zoo.save_preset(MODELS["linear"](), f"{tmp_path / 'link'}/")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "preset.json").exists()
    monkeypatch.chdir(tmp_path / "there")
    zoo.save_preset(MODELS["linear"](), ".")
    assert isinstance(zoo.load("."), zoo.LinearAutoencoder)
    with pytest.raises(ValueError, match="which is a file"):
        zoo.save_preset(MODELS["linear"](), "preset.json")


def _without_config(folder):
    (folder / "preset.json").unlink()


def _cut_weights(folder):
    weights = folder / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-200])


def _pickled_weights(folder):
    with np.load(folder / "weights.npz") as arrays:
        changed = dict(arrays)
    first = next(iter(changed))
    changed[first] = np.array([{"a": 1}], dtype=object)
    np.savez(folder / "weights.npz", **changed)


def _other_shapes(folder):
    zoo.save_preset(zoo.linear_autoencoder((5,), 2), folder / "other")
    (folder / "other" / "weights.npz").replace(folder / "weights.npz")


def _not_json(folder):
    (folder / "preset.json").write_text("weights")


def _another_format(folder):
    (folder / "preset.json").write_text(json.dumps({"format": 99, "model": {}}))


def _foreign_class(folder):
    config = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
    (folder / "preset.json").write_text(json.dumps({"format": 1, "model": config}))


def _code(folder):
    config = {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None}
    (folder / "preset.json").write_text(json.dumps({"format": 1, "model": config}))


DAMAGES = (
    _without_config, _cut_weights, _pickled_weights, _other_shapes, _not_json, _another_format, _foreign_class, _code,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_folder_is_refused(damage, tmp_path):
    folder = zoo.save_preset(MODELS["linear"](), tmp_path / "mine")
    damage(folder)
    with pytest.raises(ValueError, match="Expected the folder of a preset"):
        zoo.load(folder)


def test_what_is_not_a_preset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected a preset or a folder"):
        zoo.load("vae_mnits")
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="other files"):
        zoo.save_preset(MODELS["linear"](), tmp_path)
    with pytest.raises(ValueError, match="float32, float16"):
        zoo.save_preset(MODELS["linear"](), tmp_path / "a", "int8")
    model = MODELS["linear"]()
    model.bottleneck.projection.bias.assign(np.full(model.k, 1e6))
    with pytest.raises(ValueError, match="can hold"):
        zoo.save_preset(model, tmp_path / "b", "float16")


def test_the_dtype_is_chosen_without_the_test_split(run):
    data = kinds.open_data(run.experiment())
    for validation in (data.validation, None):
        without = dataclasses.replace(data, validation=validation, test=None)
        assert without.held_out is validation or without.held_out.size == data.train.size // 10
    ids = data.train.arrays["id"][-data.train.size // 10 + 1 :]
    assert data.train.tail(0.1).arrays["id"].tolist() == ids.tolist()
    streamed = training.load("digits", 0.1, memory_gib=1e-9).train.tail(0.1)
    assert np.concatenate([rows["id"] for rows in streamed.batches()]).tolist() == ids.tolist()


def test_a_run_becomes_a_preset_with_its_figures(run, tmp_path, capsys):
    assert main(["preset", str(run.folder), "--output", str(tmp_path)]) == 0
    folder = pathlib.Path(capsys.readouterr().out.strip())
    metrics = training.files.read_json(run.metrics)
    card = zoo.card(folder)
    assert f"| `test/squared_error` | {metrics['test/squared_error']:.5g} |" in card
    assert command(run.experiment()) in card
    x = zoo.sample(folder)["x"]
    np.testing.assert_allclose(zoo.load(folder).encode(x), run.load_model().encode(x), atol=0.05)
