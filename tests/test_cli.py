"""The command line: exit code 2 and one clear message for what is wrong, the near names, and a quiet terminal."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from serving.__main__ import main as serving_main
from training import files
from training.__main__ import main
from training.experiments import EXPERIMENTS, FIELDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dens_digits_k8"], "Try dense_digits_k8"),
        (["train", "zzz"], "pca_digits_k8 or pca_mnist_k30"),
        (["train", "dense_digits_k8", "--widht=3"], "Received: --widht. Try width or token_width."),
        (["train", "dense_digits_k8", "--lr=3"], "Try learning_rate."),
        (["train", "dense_digits_k8", "--rate=3"], "Try learning_rate."),
        (["train", "dense_digits_k8", "--optimizer=adam"], "Try python -m training list."),
        (["train", "vae"], "Try vae_mnist or vae_mnist_k2 or vqvae_mnist."),
        (["train", "dense_digits_k8", "--strategy=mirored"], "Try mirrored."),
        (["train", "dense_digits_k8", "--bottleneck=gausian"], "Try gaussian."),
        (["train", "g2p_cmudict", "--dataset=npz:x.npz"], "Try cmudict/random, or pairs:FILE.tsv."),
        (["train", "g2p_cmudict", "--dataset=words.tsv"], "Try pairs:words.tsv."),
        (["tune", "dense_digits_k8", "--tuner=bayes"], "Try bayesian."),
        (["train", "dense_digits_k8", "--width=wide"], "Expected a value of type int for width. Received: 'wide'"),
        (["train", "dense_digits_k8", "--learning_rate", "fast"], "type float"),
        (["train", "dense_digits_k8", "--overcomplete=maybe"], "true or false"),
        (["train", "dense_digits_k8", "--epochs=0"], "Expected epochs above 0"),
        (["train", "dense_digits_k8", "--depth=-1"], "Expected depth of at least 0"),
        (["train", "dense_digits_k8", "--validation=1"], "Expected validation in [0, 1)"),
        (["train", "dense_digits_k8", "--likelihood=bernouli"], "squared_error, bernoulli"),
        (["train", "dense_digits_k8", "--activation=gelo"], "Expected activation"),
        (["train", "dense_digits_k8", "--weight_decay=nan"], "Expected weight_decay of at least 0"),
        (["train", "dense_digits_k8", "--learning_rate=nan"], "Expected learning_rate above 0"),
        (["train", "dense_digits_k8", "--workdir=/dev/null"], "/dev/null"),
        (["train", "dense_digits_k8", "stray"], "--KEY=VALUE"),
        (["train", "dense_digits_k8", "--width"], "--KEY=VALUE"),
        (["train", "dense_digits_k8", "--dataset", "digist"], "Try digits"),
        (["train", "dense_digits_k8", "--k=64"], "the identity would win"),
        (["train", "dense_digits_k8", "--strategy=many"], "auto, one, mirrored, tpu"),
        (["train", "pca_digits_k8", "--depth=2"], "closed_form"),
        (["train", "pca_digits_k8", "--target=label"], "Received: target=label"),
        (["train", "dense_digits_k8", "--labels=10"], "Try --target=label"),
        (["train", "dense_digits_k8", "--target=label", "--labels=9999"], "at most the 1,295 rows"),
        (["train", "dense_digits_k8", "--target=label", "--pretrained=nothing"], "Expected a preset"),
        (["train", "dense_digits_k8", "--target=label", "--pretrained=vae_mnist"], "Expected an encoder of data of shape"),
        (["train", "dense_digits_k8", "--bottleneck=vector_quantized", "--k=9"], "multiple of token_width"),
        (["train", "dense_digits_k8", "--left_out=12"], "Expected a class to leave out"),
        (["train", "dense_digits_k8", "--dataset=cmudict"], "whose examples are text"),
        (["train", "g2p_cmudict", "--dataset=digits"], "Expected a data set of pairs of texts"),
        (["train", "g2p_cmudict", "--dataset=pairs:none.tsv"], "Expected a text file"),
        (["train", "g2p_cmudict", "--width=30"], "even multiple of heads"),
        (["train", "g2p_cmudict", "--dropout=1"], "Expected dropout in [0, 1)"),
        (["split", "digits"], "Expected a data set of pairs of texts"),
        (["tune", "dense_digits_k8", "--target=label"], "Expected an autoencoder to tune"),
        (["tune", "dense_digits_k8", "--tuner=x"], "hyperband, bayesian, random"),
        (["tune", "dense_digits_k8", "--width=1,b"], "type int"),
        (["evaluate", "/no/such/run"], "Expected the folder of a run"),
        (["report", "/no/such/run"], "Expected the folder of a run"),
        (["report", "x", "--k=3"], "Expected no settings here"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["frobnicate"], [], ["train"], ["evaluate"]])
def test_wrong_commands_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_serving_commands(run, tmp_path, capsys):
    assert serving_main(["export", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "Expected a run's folder" in capsys.readouterr().err
    for version in (1, 2):
        assert serving_main(["export", str(run.folder), "--output", str(tmp_path)]) == 0
        assert (tmp_path / "dense_digits_k8" / str(version) / "saved_model.pb").exists()
    assert serving_main(["export", str(run.folder), "--output", str(tmp_path), "--version=2"]) == 2
    assert serving_main(["serve", str(tmp_path / "nothing")]) == 2
    assert serving_main(["check", str(tmp_path / "nothing")]) == 2
    with pytest.raises(SystemExit):
        serving_main(["serve", str(tmp_path), "--rest_api_port=99999"])


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*EXPERIMENTS, *FIELDS))


def test_the_terminal_sees_progress_and_figures_only(tmp_path):
    command = [sys.executable, "-m", "training", "train", "dense_digits_k8", "--epochs=3", "--width=16", "--depth=1"]
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "tfds")}  # prepares the digits too
    done = subprocess.run(command, cwd=tmp_path, env=environment | _path(), capture_output=True, text=True)
    assert done.returncode == 0
    bars = done.stderr.replace("\r", "\n").splitlines()
    assert all(not line.strip() or line.startswith("training: ") for line in bars), done.stderr
    assert "<" in bars[-1]  # time passed < time left
    lines = done.stdout.splitlines()
    assert lines[0].startswith("on the test split") and lines[-1] == "export: runs/dense_digits_k8/export"


def _path() -> dict[str, str]:
    from conftest import ROOT

    return {"PYTHONPATH": str(ROOT)}


def test_generate_and_figures(run, tmp_path, capsys):
    assert main(["generate", str(run.folder), "--count=5", f"--output={tmp_path / 'made.png'}"]) == 0
    assert np.asarray(Image.open(tmp_path / "made.png").convert("L")).min() < 100
    assert main(["figures", str(run.folder)]) == 0
    metrics = files.read_json(run.metrics)
    assert f"squared error {metrics['test/squared_error']:.2f} (PCA" in capsys.readouterr().out
    for model, message in (("nothing", "Expected a preset"), ("classifier_mnist", "Expected a model that draws examples")):
        assert main(["generate", model, f"--output={tmp_path / 'no.png'}"]) == 2
        assert message in capsys.readouterr().err
    assert main(["generate", str(run.folder), "--count=0"]) == 2
