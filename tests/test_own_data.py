"""Data of one's own: any scale, nothing named, never worse than PCA, and clear words for what cannot be learnt from."""

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sklearn.datasets import load_breast_cancer

import training
import zoo
from training import chooser, files, kinds
from training.__main__ import main
from training.data import folders
from training.experiments.named import command
from training.run import Run
from zoo.scaling import moments


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """569 rows of 30 columns, from 0.01 to 4,000, in a random order."""
    x = load_breast_cancer().data
    return x[np.random.default_rng(0).permutation(len(x))]


def _model(d: int, k: int, **more) -> zoo.Autoencoder:
    encoder, decoder = zoo.bodies.dense_body((d,), 32, 1, start="pca")
    return zoo.Autoencoder(encoder, zoo.Deterministic(k), decoder, zoo.SquaredError(), scaling=zoo.Standardize(), **more)


def test_moments_of_any_scale(table):
    x = np.concatenate([table, np.full((len(table), 1), 7.3), 1e6 + table[:, :1]], axis=1)
    mean, deviation = moments(np.array_split(x, 5), (32,))
    np.testing.assert_allclose(mean, x.astype("float32").mean(axis=0, dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(deviation[:30], x[:, :30].std(axis=0), rtol=1e-4)
    assert deviation[30] == 0 and deviation[31] == pytest.approx(x[:, 31].std(), rel=1e-2)  # float32 has 1/16 there
    with pytest.raises(ValueError, match="no rows"):
        moments([], (3,))


def test_units_change_nothing(table):
    """A model on columns times a thousand gives the same codes, the same rows in their units, and densities per unit."""
    units = 10.0 ** np.arange(-15, 15).reshape(1, 30) * np.where(np.arange(30) % 2, -1, 1)
    one, other = _model(30, 3), _model(30, 3)
    for model, x in ((one, table), (other, table * units)):
        model.scaling.fit([x])
        zoo.start_as_pca(model, zoo.pca(x, 3, scaling=model.scaling))
    signs = np.sign(np.sum(np.asarray(one.encode(table)) * np.asarray(other.encode(table * units)), axis=0))
    np.testing.assert_allclose(one.encode(table) * signs, other.encode(table * units), atol=1e-3)
    np.testing.assert_allclose(one.reconstruct(table) * units, other.reconstruct(table * units), rtol=1e-2, atol=1e-30)
    per_unit = np.log(np.abs(units)).sum()
    np.testing.assert_allclose(one.score(table), np.asarray(other.score(table * units)) + per_unit, atol=0.05)


@pytest.mark.parametrize("bottleneck", [zoo.Deterministic(4), zoo.Gaussian(4)], ids=["deterministic", "gaussian"])
def test_it_starts_as_pca(table, bottleneck, tmp_path):
    encoder, decoder = zoo.bodies.dense_body((30,), 16, 2, start="pca")
    model = zoo.Autoencoder(encoder, bottleneck, decoder, zoo.SquaredError(), scaling=zoo.Standardize())
    model.scaling.fit([table])
    pca = zoo.pca(table, 4, scaling=model.scaling)
    zoo.start_as_pca(model, pca)
    np.testing.assert_allclose(model.reconstruct(table), pca.reconstruct(table), rtol=1e-3, atol=1e-2)
    assert np.asarray(model.encode(table)).std(axis=0) == pytest.approx(np.ones(4), rel=1e-2)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras").encode(table), model.encode(table))


def test_what_cannot_start_as_pca_says_so(table):
    pca = zoo.pca(table, 3)
    for model in (
        zoo.dense_autoencoder((30,), 3, (8,)),
        zoo.Autoencoder(*_paths(), likelihood=zoo.SquaredError("sigmoid")),
    ):
        with pytest.raises(ValueError, match="to start as PCA"):
            zoo.start_as_pca(model, pca)


def _paths():
    encoder, decoder = zoo.bodies.dense_body((30,), 8, 1, start="pca")
    return encoder, zoo.Deterministic(3), decoder


@pytest.fixture(scope="module")
def own(table, tmp_path_factory):
    """The run of a table of which nothing but the path was named."""
    folder = tmp_path_factory.mktemp("own")
    np.save(folder / "My Table.npy", table)
    arguments = [f"--dataset={folder / 'My Table.npy'}", f"--workdir={folder / 'run'}", "--minutes=0.3"]
    assert main(["train", *arguments]) == 0
    return Run(folder / "run"), arguments


def test_a_path_alone_is_enough(own, capsys):
    run, arguments = own
    experiment, metrics = run.experiment(), files.read_json(run.metrics)
    assert experiment.name == "my_table" and experiment["scaling"] == "standardize" and experiment["body.start"] == "pca"
    assert metrics["test/scaled_error"] <= metrics["pca/scaled_error"] * 1.1  # the test split is not the validation split
    assert next(iter(metrics)) == "test/scaled_error" and run.exported and (run.report.parent / "typicality.png").exists()
    reasons = files.read_json(run.config)["reasons"]
    assert "95 % of the variance" in reasons["bottleneck.k"] and "minutes" in reasons["training.epochs"]
    assert main(["train", *arguments]) == 0  # the same run, whatever a step would take now
    assert "is finished" in capsys.readouterr().out
    assert main(["train", *arguments, "--k=2"]) == 2
    assert "k is" in capsys.readouterr().err
    assert command(experiment) == f"python -m training train --dataset={shlex.quote(experiment.dataset)}"
    assert main(["show", "dense_digits_k8", f"--config={run.config}"]) == 0  # its settings, on another experiment


def test_validation_error_is_never_above_that_of_pca(own):
    run, _ = own
    experiment, model = run.experiment(), run.load_model()
    data = kinds.open_data(experiment)
    pca = zoo.pca(data.train.arrays["x"], model.k, scaling=model.scaling)
    x = data.validation.arrays["x"]
    ours, theirs = (np.square(np.asarray(model.scaling(x) - model.scaling(m.reconstruct(x)))).mean() for m in (model, pca))
    assert ours <= theirs * (1 + 1e-5)


def test_typicality_is_calibrated(own):
    run, _ = own
    model, data = run.load_model(), kinds.open_data(run.experiment())
    p = np.asarray(model.typicality(data.test.arrays["x"]))
    assert p.min() >= 0 and p.max() <= 1
    for share in (0.1, 0.5, 0.9):
        assert np.mean(p < share) == pytest.approx(share, abs=0.2)  # 114 rows beside 45
    assert np.all(np.asarray(model.typicality(data.test.arrays["x"] * 5)) < 0.01)


def test_ranks_of_scores():
    ranks = zoo.Ranks(11)
    ranks.build((None,))
    ranks.fit(np.arange(1000))
    assert np.asarray(ranks(np.array([-1.0, 500.0, 5000.0], "float32"))) == pytest.approx([0, 0.5, 1], abs=0.06)
    for bad in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="Expected scores"):
            ranks.fit(bad)


def test_labels_that_are_floats_or_bytes(table, tmp_path, capsys):
    classes = np.arange(len(table)) % 3
    for labels, names in (
        (classes.astype(float), ("0", "1", "2")),
        (np.array([b"a", b"b", b"c"])[classes], ("a", "b", "c")),
        (classes + 0.5, None),
    ):
        np.savez(tmp_path / "a.npz", y=labels, features=table)
        data = training.load(str(tmp_path / "a.npz"))
        assert data.classes == names and data.shape == (30,)
    assert "are not used" in capsys.readouterr().err


def test_predict_reads_what_training_reads(digits, tmp_path, capsys):
    run = training.train(training.EXPERIMENTS["pca_digits_k8"], tmp_path / "run", report=False)
    np.save(tmp_path / "grey.npy", (255 * digits[:5, ..., 0]).astype("uint8"))
    arguments = ["predict", str(run.folder), f"--output={tmp_path / 'codes.npy'}"]
    assert main([*arguments, f"--input=npy:{tmp_path / 'grey.npy'}"]) == 0
    assert np.load(tmp_path / "codes.npy").shape == (5, 8)
    for name, rows in (("none", digits[:0]), ("other", digits[:5, :4])):
        np.save(tmp_path / f"{name}.npy", rows)
        assert main([*arguments, f"--input={tmp_path / f'{name}.npy'}"]) == 2
    assert main([*arguments, "--input=nowhere.npy"]) == 2
    (tmp_path / "words.tsv").write_text("wugs\tW AH1 G Z\nblorp\t\n")
    words = ["predict", "g2p_cmudict", f"--input={tmp_path / 'words.tsv'}", f"--output={tmp_path / 'said.npz'}"]
    assert main([*words, "--verb=generate"]) == 0
    with np.load(tmp_path / "said.npz") as said:
        assert said["target"][0] == "W AH1 G Z" and said["score"].shape == (2,)


@pytest.mark.parametrize(("verb", "width"), [("encode", None), ("reconstruct", 30), ("typicality", 0)])
def test_predict(own, table, verb, width, tmp_path, capsys):
    run, _ = own
    np.save(tmp_path / "new.npy", table[:7])
    output = tmp_path / "answers.npy"
    assert main(["predict", str(run.folder), f"--input={tmp_path / 'new.npy'}", f"--verb={verb}", f"--output={output}"]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    answers, model = np.load(output), run.load_model()
    np.testing.assert_allclose(answers, getattr(model, verb)(table[:7]), rtol=1e-4)
    assert answers.shape == ((7,) if width == 0 else (7, width or model.k))
    np.save(tmp_path / "new.npy", table[:7, :5])
    assert main(["predict", str(run.folder), f"--input={tmp_path / 'new.npy'}", f"--output={output}"]) == 2
    assert "Expected x of shape ('rows', 30). Received: (7, 5)" in capsys.readouterr().err
    assert main(["predict", str(run.folder), f"--input={tmp_path / 'new.npy'}", "--verb=encod", f"--output={output}"]) == 2
    assert "Try encode" in capsys.readouterr().err


def test_the_best_weights_are_kept_and_patience_ends(small, tmp_path):
    experiment = small.override(keep="best", patience=2, epochs=200, learning_rate=0.03, warmup=0.0)
    run = training.train(experiment, tmp_path / "run", report=False)
    history = files.read_json(run.history)
    losses = [epoch["val_loss"] for epoch in history]
    assert len(history) == int(np.argmin(losses)) + 3 < 200
    data = kinds.open_data(experiment)
    model = run.load_model()
    model.compile("sgd")
    loss = model.evaluate(data.validation.inputs(64), verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(min(losses), rel=1e-4)
    run.model.unlink()  # killed after the last epoch: nothing more is trained
    assert files.read_json(training.train(experiment, run.folder, report=False).history) == history
    with pytest.raises(ValueError, match="Expected a validation split"):
        training.train(experiment.override(validation=0), tmp_path / "other")


def _pictures(folder, sizes) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, (mode, size) in enumerate(sizes):
        colour = random.integers(0, 256, 4)
        picture = Image.new("RGBA", size, tuple(int(c) for c in colour))
        picture.convert(mode).save(folder / f"{number}.{'gif' if mode == 'P' else 'png'}")


def test_a_folder_of_any_pictures(tmp_path, capsys):
    modes = ["RGB", "L", "RGBA", "P", "1", "I;16"] if hasattr(Image, "core") else ["RGB"]
    _pictures(tmp_path / "photos", [(modes[i % 5], (20 + i % 7, 30 - i % 5)) for i in range(40)])
    experiment = training.automatic(str(tmp_path / "photos"), {"epochs": 2})
    assert experiment.name == "photos" and experiment["data.image_size"] == 16 and experiment["scaling"] == "none"
    printed = capsys.readouterr().out
    assert "--image_size" not in printed or "16" in printed
    assert "image 16 × 16 × 3" in printed
    run = training.train(experiment, tmp_path / "run", report=False)
    assert run.finished
    assert main(["predict", str(run.folder), f"--input={tmp_path / 'photos'}", f"--output={tmp_path / 'codes.npy'}"]) == 0
    assert len(np.load(tmp_path / "codes.npy")) == 40


@pytest.mark.parametrize(
    ("sizes", "suggested"),
    [
        ([(8, 8)], 0),
        ([(32, 20)], 0),
        ([(33, 20)], 16),
        ([(65, 40)], 32),
        ([(20, 30), (21, 29)], 16),
        ([(900, 700), (70, 80)], 32),
        ([(9, 10), (8, 8)], 16),
    ],
)
def test_a_size_for_pictures(sizes, suggested, tmp_path):
    _pictures(tmp_path / "pictures", [("L", sizes[i % len(sizes)]) for i in range(12)])
    assert folders.suggested_size(tmp_path / "pictures") == suggested


SAME = np.ones((30, 6))
LABELLED = {"x": np.random.default_rng(0).normal(size=(40, 6)), "y": np.zeros(40, int)}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ones((1, 6)), "at least 10 rows"),
        (np.ones((2, 6)), "at least 10 rows"),
        (np.ones((30, 1)), "two values or more"),
        (np.array([["a", "b"]] * 30, object), "without pickled objects"),
        (np.full((30, 4), np.nan), "Expected finite values"),
        (SAME, None),
        (np.random.default_rng(0).normal(size=(12, 5)), None),
        (np.random.default_rng(0).normal(size=(50, 20_000)).astype("float32"), None),
        (np.asfortranarray(np.random.default_rng(0).normal(size=(40, 6))), None),
        (np.random.default_rng(0).normal(size=(40, 6)).astype(">f8"), None),
        (np.random.default_rng(0).integers(0, 1000, (40, 6)), None),
        (LABELLED, None),
        (LABELLED | {"y": np.arange(40) == 0}, None),
    ],
    ids=[
        *("one", "two", "one column", "objects", "nan", "all equal", "twelve", "wide", "fortran", "big-endian"),
        *("integers", "one class", "a class of one"),
    ],
)
def test_odd_data_are_trained_on_or_refused_in_a_sentence(data, words, tmp_path, capsys):
    path = tmp_path / ("a.npz" if isinstance(data, dict) else "a.npy")
    if isinstance(data, dict):
        np.savez(path, **data)
    else:
        np.save(path, data, allow_pickle=True)
    arguments = ["train", f"--dataset={path}", f"--workdir={tmp_path / 'run'}", "--report=false", "--epochs=2"]
    code, printed = main(arguments), None
    printed = capsys.readouterr().err
    if words is None:
        assert code == 0 and Run(tmp_path / "run").finished
    else:
        assert code == 2 and words in printed and "Traceback" not in printed and not (tmp_path / "run").exists()


def test_an_empty_folder_and_one_huge_picture(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["train", f"--dataset={tmp_path / 'empty'}"]) == 2
    assert "at least 10 images" in capsys.readouterr().err
    _pictures(tmp_path / "one", [("L", (10_000, 5_000))])
    assert main(["train", f"--dataset={tmp_path / 'one'}"]) == 2
    assert "at least 10 images" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "one")


def test_the_fastest_precision_is_taken(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3)).astype("uint8"))
    times = {"float32": 0.2, "mixed_bfloat16": 0.1}
    monkeypatch.setattr(chooser, "_seconds_a_step", lambda experiment, data: times[experiment["training.precision"]])
    chosen = [
        chooser.automatic(f"{tmp_path}/a.npy", {"body": body, "k": 4} | more).get("training.precision")
        for body, more in (("conv", {}), ("dense", {}), ("conv", {"precision": "float32"}))
    ]
    assert chosen == ["mixed_bfloat16", "float32", "float32"]
    assert "--precision=mixed_bfloat16: 200 ms a step in float32, 100 ms a step in mixed_bfloat16" in capsys.readouterr().out


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(4000, 30)))
    with open(tmp_path / "a.npy", "r+b") as file:
        data = training.data.user_files.open_arrays(tmp_path / "a.npy")
        file.truncate(5000)
    rows = [block["x"] for block in data.train(0, data.train_size).blocks.as_numpy_iterator()]
    assert sum(map(len, rows)) == data.train_size
    assert main(["train", f"--dataset={tmp_path / 'a.npy'}"]) == 2


def test_a_full_disk_is_one_line(own, tmp_path):
    """Of files that may have 100 KiB at most, in place of a disk that is full."""
    _, arguments = own
    line = f"ulimit -f 100; exec {sys.executable} -m training train {shlex.quote(arguments[0])} --epochs=1 --report=false"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    last = done.stderr.replace("\r", "\n").strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("python -m training: Expected what the operating system allows")
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("model.keras"))


def test_pairs_of_texts_without_an_experiment(tmp_path, capsys):
    (tmp_path / "words.tsv").write_text("".join(f"{i:03d}\t{i:03d}\n" for i in range(200)))
    experiment = training.automatic(str(tmp_path / "words.tsv"), {"epochs": 1, "width": 16})
    assert experiment["kind"] == "pairs" and experiment["model.width"] == 16 and experiment["training.keep"] == "best"
    assert "200" not in experiment.name and "text" in capsys.readouterr().out


def test_data_of_few_batches_are_timed(tmp_path):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(40, 6)))
    experiment = training.automatic(str(tmp_path / "few.npy"))
    assert experiment["training.epochs"] >= 1 and "training.epochs" in experiment.reasons


def test_settings_that_are_given_are_kept(own):
    _, arguments = own
    path = arguments[0].partition("=")[2]
    experiment = training.automatic(path, {"k": "2", "bottleneck": "gaussian", "epochs": "3", "scaling": "none"})
    assert (experiment.k, experiment["bottleneck"], experiment.epochs, experiment["scaling"]) == (2, "gaussian", 3, "none")
    assert not {"bottleneck.k", "training.epochs", "scaling"} & set(experiment.reasons)
    with pytest.raises(ValueError, match="Try it with --bottleneck=gaussian"):
        training.automatic(path, {"beta": "2"})
    with pytest.raises(ValueError, match="Expected an experiment for this kind of data"):
        training.automatic("digits", {"kind": "predictor"})
    for setting in ({"output_activation": "tanh"}, {"likelihood": "laplace"}, {"use_bias": "false"}):
        experiment = training.automatic(path, {"epochs": 1, "k": 2} | setting, imports=("my_parts",))
        assert experiment["body.start"] == "random"
    assert dataclasses.replace(experiment, reasons={}) == experiment
