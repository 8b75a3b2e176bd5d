"""Experiments as compositions of parts: their settings, help, files, and parts of the user."""

import ast
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT

import serving
import training
from serving.__main__ import main as serving_main
from training import files
from training.__main__ import main
from training.experiments import config, parts
from training.experiments.named import EXPERIMENTS, command
from training.run import Run

PARTS = ROOT / "tests" / "my_parts.py"
MINE = ["--bottleneck=circle", "--pull=0.2", "--likelihood=laplace", "--scale=0.5", "--body=funnel", "--width=8"]
QUICK = ["--epochs=2", "--report=false"]
OLD = {  # settings of a run of version 0.1, all of them
    **{"name": "dense_digits_k8", "about": "", "dataset": "digits", "validation": 0.1, "memory_gib": 2.0, "image_size": 0},
    **{"shift": 0, "binarize": "none", "left_out": -1, "body": "dense", "k": 8, "width": 512, "depth": 3, "hidden": 0},
    **{"activation": "gelu", "bottleneck": "deterministic", "code_activation": "linear", "sparsity": 0.0, "beta": 1.0},
    **{"free_bits": 0.0, "kl_warmup": 0.0, "samples": 1, "entries": 256, "token_width": 4, "noise": 0.0, "affine": 0.0},
    **{"likelihood": "squared_error", "levels": 0, "output_activation": "linear", "mixture": 10, "overcomplete": False},
    **{"decoder_depth": 1, "heads": 4, "dropout": 0.1, "label_smoothing": 0.1, "target": "none", "pretrained": ""},
    **{"frozen": False, "labels": 0, "solver": "gradient", "epochs": 100, "batch_size": 64, "learning_rate": 1e-3},
    **{"warmup": 0.02, "weight_decay": 0.0, "precision": "auto", "seed": 0, "nll_samples": 0},
}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {}),
        ({"bottleneck": "gaussian", "beta": 0.5, "kl_warmup": 0.1}, {"bottleneck": "gaussian", "beta": 0.5, "kl_warmup": 0.1}),
        ({"bottleneck": "gaussian", "nll_samples": 9}, {"bottleneck": "gaussian", "nll_samples": 9}),
        (
            {"bottleneck": "vector_quantized", "k": 12, "entries": 16},
            {"bottleneck": "vector_quantized", "tokens": 3, "entries": 16},
        ),
        ({"body": "conv", "hidden": 8}, {"body": "conv", "hidden": 8, "width": 512, "activation": "gelu"}),
        ({"affine": 0.5}, {"corruption": "affine", "corruption.shift": 1.0, "rotation": 7.5, "scale": 0.075, "shear": 0.15}),
        ({"noise": 0.3, "affine": 1.0}, {"corruption": "affine_noise", "noise": 0.3}),
        ({"likelihood": "discretized_gaussian", "levels": 17}, {"likelihood": "discretized_gaussian", "levels": 17}),
        (
            {"output_activation": "sigmoid", "code_activation": "tanh"},
            {"output_activation": "sigmoid", "code_activation": "tanh"},
        ),
        ({"mixture": 0}, {"prior": "normal"}),
        ({"solver": "closed_form", "depth": 0}, {"optimizer": "closed_form", "depth": 0}),
        ({"target": "label", "labels": 50, "k": 4}, {"kind": "predictor", "labels": 50, "k": 4}),
        (
            {"target": "slant", "pretrained": "vae_mnist", "frozen": True},
            {"kind": "predictor", "target": "slant", "encoder": "pretrained", "pretrained": "vae_mnist", "frozen": True},
        ),
        (
            {"body": "transformer", "dataset": "pairs:a.tsv", "heads": 2},
            {"kind": "pairs", "dataset": "pairs:a.tsv", "heads": 2},
        ),
    ],
)
def test_runs_of_version_0_1_are_read(old, new):
    expected = EXPERIMENTS["dense_digits_k8"].override(new)
    found = config.from_dict({**OLD, **old})
    if "kind" not in new or new["kind"] == "predictor":
        assert found.changes(expected) == {} and expected.changes(found) == {}
    else:
        assert {key: found[key] for key in new} == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"density": {"name": "mixture", "components": 3}}, {"prior": "mixture", "prior.components": 3}),
        ({"density": {"name": "none"}}, {"prior": "normal"}),
        ({"density": "none"}, {"prior": "normal"}),
        ({"density.components": 3}, {"prior.components": 3}),
        (
            {"bottleneck": {"name": "vector_quantized", "tokens": 2}, "density": {"name": "mixture"}},
            {"bottleneck": "vector_quantized", "tokens": 2, "prior": "autoregressive"},
        ),
    ],
)
def test_runs_with_a_density_are_read(old, new):
    written = {**config.as_dict(EXPERIMENTS["dense_digits_k8"]), **old}
    if "density" in old or "bottleneck" in old:
        del written["prior"]
    found, expected = config.from_dict(written), EXPERIMENTS["dense_digits_k8"].override(new)
    assert found.changes(expected) == {} and expected.changes(found) == {}
    with pytest.raises(ValueError, match=r"Received: density\. Try prior"):
        expected.override({"density": "mixture"})


def test_runs_of_the_first_versions_are_read():
    """Which had neither bodies nor bottlenecks to choose from."""
    keys = ("name", "about", "dataset", "validation", "memory_gib", "image_size", "shift", "k", "width", "depth", "activation")
    keys += ("code_activation", "likelihood", "output_activation", "mixture", "overcomplete", "solver", "epochs", "batch_size")
    first = {key: OLD[key] for key in (*keys, "learning_rate", "warmup", "weight_decay", "seed")}
    assert config.from_dict(first) == EXPERIMENTS["dense_digits_k8"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_comes_back_from_its_file(name, tmp_path):
    experiment = EXPERIMENTS[name]
    written = config.as_dict(experiment)
    assert config.from_dict(json.loads(json.dumps(written))) == experiment
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(written, allow_unicode=True))
    assert config.from_dict(config.read(tmp_path / "run.yaml")) == experiment
    assert command(experiment) == f"python -m training train {name}"


def test_only_settings_that_apply_exist():
    experiment = EXPERIMENTS["dense_digits_k8"]
    assert "bottleneck.sparsity" in experiment.settings and "bottleneck.beta" not in experiment.settings
    gaussian = experiment.override(bottleneck="gaussian", beta=4)
    assert gaussian["bottleneck.beta"] == 4.0 and gaussian.k == 8 and "bottleneck.sparsity" not in gaussian.settings
    assert gaussian.override(bottleneck="deterministic") == experiment
    assert not {"bottleneck.k", "bottleneck", "model.overcomplete"} & set(EXPERIMENTS["g2p_cmudict"].settings)
    assert command(gaussian) == "python -m training train dense_digits_k8 --bottleneck=gaussian --beta=4.0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 4}, r"Received: beta\. Try it with --bottleneck=gaussian"),
        ({"bottleneck": "gausian"}, "Try gaussian"),
        ({"k": 2.5}, "Expected an integer for k"),
        ({"k": True}, "Expected an integer for k"),
        ({"model.overcomplete": 1}, "Expected true or false"),
        ({"likelihood": "discretized_gaussian", "levels": "many"}, "Expected an integer or none for levels"),
        ({"bottleneck": "gaussian", "corruption": "affine", "scale": "wide"}, "a number for scale"),
        (
            {"body": "linear", "activation": "tanh"},
            r"Received: activation\. Try it with --body=dense or --body=residual or --body=conv",
        ),
    ],
)
def test_settings_that_do_not_apply_or_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EXPERIMENTS["dense_digits_k8"].override(settings)


def test_an_ambiguous_name_must_be_given_in_full():
    experiment = EXPERIMENTS["vae_mnist_k2"]
    assert experiment.override(warmup=0.1)["optimizer.warmup"] == 0.1
    assert experiment.override({"bottleneck.warmup": 0.1}).kl_warmup == 0.1
    mine = dataclasses.replace(experiment, imports=("my_parts",)).override(likelihood="laplace")
    with pytest.raises(ValueError, match=r"Expected the full name .* Try likelihood\.scale or corruption\.scale"):
        mine.override(scale=2)
    assert mine.override({"likelihood.scale": 2})["likelihood.scale"] == 2.0 and mine["corruption.scale"] == 0.15


def test_every_setting_has_a_description():
    for slot, named in parts.known().items():
        for name, part in named.items():
            assert part.about, (slot, name)
            for key, setting in part.settings.items():
                assert setting.about.endswith(".") and len(setting.about) > 8, (slot, name, key)


@pytest.mark.parametrize("words", [["train", "vae_mnist", "--help"], ["show", "g2p_cmudict"], ["list"], ["tune", "-h"]])
def test_help_imports_no_framework(words, tmp_path):
    code = f"""
import sys
from training.__main__ import main
try:
    main({words!r})
except SystemExit:
    pass
assert not {{"keras", "tensorflow", "jax", "numpy", "httpx"}} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "vae_mnist" in words:
        for expected in ("--beta, --bottleneck.beta=NUMBER  [1.0]", "weight of the KL divergence", "[gaussian]", "--epochs"):
            assert expected in done.stdout
        assert "sparsity" not in done.stdout and "heads" not in done.stdout


def test_a_configuration_file_and_settings_over_it(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(
        "name: dense_digits_k8\nbottleneck: gaussian\nbottleneck.beta: 4e-1\nbody: {width: 64}\nk: 3\n"
    )
    assert main(["show", f"--config={tmp_path / 'run.yaml'}", "--k=5"]) == 0
    printed = capsys.readouterr().out
    for line in ("--beta, --bottleneck.beta=NUMBER  [0.4]", "--width, --body.width=INTEGER  [64]", "INTEGER  [5]"):
        assert line in printed
    (tmp_path / "run.yaml").write_text("bottleneck:\n  name: deterministic\n  bta: 4\n")
    assert main(["show", "dense_digits_k8", f"--config={tmp_path / 'run.yaml'}"]) == 2
    assert "Received: bottleneck.bta" in capsys.readouterr().err
    (tmp_path / "run.yaml").write_text("- 1\n")
    assert main(["show", "dense_digits_k8", f"--config={tmp_path / 'run.yaml'}"]) == 2
    assert "Expected settings, each with its value" in capsys.readouterr().err


def test_a_configuration_file_of_choices_is_none_of_an_old_run(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("name: dense_digits_k8\nbody: conv\nbottleneck: gaussian\nbeta: 4\n")
    assert main(["show", f"--config={tmp_path / 'run.yaml'}"]) == 0
    assert "--beta, --bottleneck.beta=NUMBER  [4" in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text("name: mine\ndataset: digits\nlikelihood: laplace\nscale: 0.5\nk: 3\n")
    assert main(["show", f"--config={tmp_path / 'mine.yaml'}", "--import=my_parts"]) == 0
    assert "a Laplace distribution" in capsys.readouterr().out


def test_the_configuration_of_a_run_gives_its_experiment_again(run, small, capsys):
    assert main(["show", f"--config={run.config}"]) == 0
    assert "[32]" in capsys.readouterr().out
    assert config.from_dict(config.read(run.config)) == small == run.experiment()


def test_parts_of_the_user_are_trained_tuned_exported_and_served(tmp_path, capsys):
    """A bottleneck, a likelihood and a body from a single file outside the project, on the command line."""
    (tmp_path / "my_parts.py").write_text(PARTS.read_text())
    mine = ["dense_digits_k8", "--import=my_parts", *MINE]
    searched = ["--pull=0.1,0.2", "--learning_rate=1e-3", "--tuner=random", "--trials=1"]
    line = [sys.executable, "-m", "training", "tune", *mine, *QUICK, *searched]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    run = Run(tmp_path / "runs" / "dense_digits_k8-tuned")
    experiment = run.experiment()
    assert experiment["bottleneck"] == "circle" and experiment["bottleneck.pull"] in (0.1, 0.2)
    assert "--import=my_parts" in command(experiment) and files.read_json(run.config)["likelihood"]["scale"] == 0.5
    assert main(["evaluate", str(run.folder)]) == 0
    assert main(["preset", str(run.folder), "--output", str(tmp_path / "presets")]) == 0
    assert "bottleneck=circle" in (tmp_path / "presets" / "dense_digits_k8" / "card.md").read_text()
    assert serving_main(["export", str(run.folder), "--output", str(tmp_path / "models")]) == 0
    with serving.Server(tmp_path / "models") as server:
        client = serving.Client(server.url, "dense_digits_k8")
        codes = client.encode(training.load("digits").test.arrays["x"][:5])
    assert codes.shape == (5, 2)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-3)
    capsys.readouterr()
    assert main(["show", *mine]) == 0
    shown = capsys.readouterr().out
    assert "nats in training for each unit of distance from the circle." in shown and "Codes on the unit circle" in shown
    assert main(["train", *mine[:2], "--bottleneck=circel"]) == 2
    assert "Try circle." in capsys.readouterr().err


def test_a_default_that_is_no_literal(tmp_path, monkeypatch):
    code = 'import math\nimport zoo\n@zoo.register("body", "mine")\ndef mine(shape, width: float = math.pi):\n    """Mine."""\n'
    (tmp_path / "computed.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"default of width\. Received: math\.pi"):
        parts.known(("computed",))


def test_two_parts_of_one_name(tmp_path, monkeypatch):
    (tmp_path / "twice.py").write_text('import zoo\n@zoo.register("body", "conv")\ndef conv(shape):\n    """Mine."""\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Expected a new name for a body\. Received: 'conv' in twice"):
        parts.known(("twice",))


KINDS = {"arrays", "pairs", "predictor", "tables"}
CLASSES = {"Arrays", "Pairs", "PairSplit", "Predictor", "Transformer", "PairsOfTexts", "Tables", "TableAutoencoder"}
OWN = ("kinds", "data", "choices", "evaluation", "reporting")  # folders in which every kind has a file of its name
EXCEPT = {"experiments/named.py", "experiments/earlier.py", "kinds/__init__.py"}  # experiments are of a kind


def test_no_file_names_another_kind_of_data():
    """In code that decides, as a name or as a text of its own; `KIND` is the default kind of experiments."""
    for path in sorted((ROOT / "training").rglob("*.py")):
        file = path.relative_to(ROOT / "training").as_posix()
        if file in EXCEPT or (path.parent.name in OWN and path.stem in KINDS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                assert name not in CLASSES, f"{file}:{node.lineno} {name}"
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("training"):
                imported = {node.module.rpartition(".")[2], *(alias.name for alias in node.names)}
                assert not imported & (KINDS | CLASSES), f"{file}:{node.lineno} {imported}"
            if isinstance(node, ast.Compare):
                texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert not texts & (KINDS | {"transformer"}), f"{file}:{node.lineno} {texts}"


def test_layers_import_downwards_only():
    """Each layer of `training` imports only the layers below it."""
    order = [
        "files",
        "seeds",
        "progress",
        "experiments",
        "run",
        "data",
        "choices",
        "fitting",
        "evaluation",
        "reporting",
        "kinds",
    ]
    order += [
        "workers",
        "prediction",
        "chooser",
        "commands",
        "trials",
        "tuning",
        "cards",
        "options",
        "launch",
        "__main__",
        "__init__",
    ]
    for path in sorted((ROOT / "training").rglob("*.py")):
        here = path.relative_to(ROOT / "training").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("training"):
                names = [node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names]
                for name in names:
                    if name in order:
                        assert order.index(name) <= order.index(here), f"{path.name}: {here} imports {name}"
