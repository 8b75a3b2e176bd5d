"""The documents: their Python is executed, and their commands, links and pictures exist."""

import importlib.util
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from test_imports import ALLOWED

import zoo
from serving.__main__ import _parser as serving_parser
from training import chooser, options
from training.__main__ import _parser as training_parser
from training.__main__ import _words
from training.experiments.experiment import Experiment
from training.experiments.named import EXPERIMENTS

FIGURES = "docs/figures.md"
WITH_PYTHON = ("README.md", "CONTRIBUTING.md", "docs/compression.md", "docs/serving.md", "docs/tables.md")
DOCUMENTS = (*WITH_PYTHON, FIGURES, "docs/batch.md", "docs/training.md")


def _blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def test_python_blocks_run(run, tmp_path):
    """The blocks of each document in order, all in one fresh interpreter."""
    (tmp_path / "models").mkdir()
    served = (run.export / "dense_digits_k8").resolve()
    (tmp_path / "models" / "dense_digits_k2").symlink_to(served)  # the README serves a run under that name
    np.save(tmp_path / "measurements.npy", np.random.default_rng(0).normal(size=(60, 6)) * 10.0 ** np.arange(6))
    code = ""
    for document in WITH_PYTHON:
        blocks = "\n".join(_blocks(document, "python"))
        assert blocks
        code += f"exec(compile({blocks!r}, {document!r}, 'exec'), {{'__name__': '__main__'}})\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    text = (ROOT / document).read_text()
    lines = [line for block in _blocks(document, "console") for line in block.splitlines()]
    lines += re.findall(r"`(?:TFDS_DATA_DIR=\S+ )?((?:python|make) [^`]+)`", text)
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[0] == "pip":
            assert words[1] == "install" and f"\nname = {words[2]}\n" in (ROOT / "setup.cfg").read_text()
        elif words[1].startswith("benchmarks/"):
            assert (ROOT / words[1]).exists()
        elif words[2].startswith("apache_beam."):
            assert not importlib.util.find_spec("apache_beam") or importlib.util.find_spec(words[2])
        elif words[2] == "training":
            parsed, rest = training_parser().parse_known_args(words[3:])
            if rest:
                name, settings = _words(rest)
                tried = {key: value.partition(",")[0] for key, value in settings.items()}  # of several, the first
                if words[3] == "train" and name is None:  # all else follows from the data
                    Experiment("", "", {"kind": chooser._kind(tried["dataset"]), "bottleneck.k": 2}).override(tried)
                else:
                    options.experiment(name, tried, parsed.config, tuple(parsed.imports))
        else:
            assert words[:3] == ["python", "-m", "serving"]
            _, rest = serving_parser().parse_known_args(words[3:])
            assert not rest or words[3] == "batch"  # the rest is Beam's


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_exist(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        assert target.startswith("https://") or (ROOT / document).parent.joinpath(target).exists(), target


# What they say


def _tables(document: str, heads: bool = False) -> list[list[list[str]]]:
    """The cells of every table, row by row, without its head unless `heads`."""
    tables = re.findall(r"(?:^\|.*\|\n)+", (ROOT / document).read_text(), re.MULTILINE)
    rows = [[[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()] for table in tables]
    return [[*table[: int(heads)], *table[2:]] for table in rows]


def _costs() -> list[list[str]]:
    """Name, weights, time and command of every model."""
    return [row for table in _tables(FIGURES) for row in table if "python -m training train" in row[-1]]


def test_a_time_names_its_processor():
    times = [time for _, _, time, _ in _costs()]
    assert len(times) > 10
    for time in times:
        assert re.fullmatch(r"\d+ (s|min), \d+ .*(AMX|AVX|EPYC|Xeon|Apple|GPU|TPU).*, (float32|mixed_bfloat16)", time), time


def test_an_experiment_and_a_card_say_their_time_as_the_table_does():
    for name, _, training_time, _ in _costs():
        name, (time, computed) = name.strip("`"), training_time.split(", ", 1)
        assert f"Two cores with AMX, {time}" in EXPERIMENTS[name].about and re.match("2 CPU cores, .*AMX,", computed), name
        if name in zoo.list():
            assert f"of training\n  on {computed}, with Keras" in zoo.card(name)
            if EXPERIMENTS[name].part("training"):
                assert f"precision={computed.split(', ')[-1]}" in zoo.card(name)


def test_a_model_has_as_many_weights_in_the_table_as_on_its_card():
    weights = {name.strip("`"): number for name, number, _, _ in _costs()}
    for name in zoo.list():
        assert f"- **Weights:** {weights[name]}," in zoo.card(name)


def test_every_model_has_its_figures_and_those_of_its_card():
    keys = {  # of the columns, and what they are multiplied by
        "squared error": ("test/squared_error", 1),
        "squared error of PCA": ("pca/squared_error", 1),
        "1-NN error, %": ("knn/error", 100),
        "1-NN error of PCA, %": ("pca/knn_error", 100),
        "Fréchet distance": ("frechet_classifier_mnist/generate", 1),
        "agreement": ("generate_class/agreement", 1),
        "−log p(x), nats": ("nll/200_samples_dynamic_binarization", 1),
        "codebook perplexity": ("codebook/perplexity", 1),
        "wrong targets, %": ("beam/sequence_error_rate", 100),
        "wrong words, %": ("beam/sequence_error_rate_without_stress", 100),
        "wrong phones, %": ("beam/token_error_rate_without_stress", 100),
        "error of hidden cells": ("imputation/score", 1),
        "error of PCA for hidden cells": ("pca/imputation", 1),
        "error": ("test/error", 1),
        "R²": ("test/r2", 1),
    }
    shown = set()
    for head, *rows in _tables(FIGURES, heads=True)[:-1]:
        if head[0] or "ratio" in head:  # of other methods, or of data of one's own, and no model's
            continue
        for row in rows:
            name = row[0].strip("`")
            shown.add(name)
            on_card = dict(re.findall(r"^\| `(.+)` \| (.+) \|$", zoo.card(name), re.MULTILINE)) if name in zoo.list() else {}
            for column, figure in zip(head[1:], row[1:], strict=True):
                key, factor = keys[column]
                if on_card:
                    assert bool(figure) == (key in on_card), (name, column)
                if on_card and figure:
                    unit = 10.0 ** -len(figure.partition(".")[2])  # of the last digit
                    assert abs(float(figure) - factor * float(on_card[key])) < 0.51 * unit, (name, column)
    assert shown == {name.strip("`") for name, *_ in _costs()}


def test_errors_on_own_data_are_below_those_of_pca_and_give_the_ratios():
    (table,) = [table for table in _tables(FIGURES) if any(row[0] == "wine" for row in table)]
    for name, _, error, pca, ratio, _ in table:
        assert float(ratio) == pytest.approx(float(error) / float(pca), abs=0.006) and float(ratio) <= 1, name


def test_rates_beside_each_other_give_the_ratios():
    (rates,) = [table for table in _tables("docs/serving.md") if any(row[0] == "LitServe" for row in table)]
    for name, theirs, ours, ratio in rates:
        assert float(ratio) == pytest.approx(float(ours.replace(",", "")) / float(theirs.replace(",", "")), rel=0.025), name
    ratios = {name.partition(",")[0]: ratio for name, _, _, ratio in rates}
    (line,) = [row for table in _tables("README.md") for row in table if row[-1] == "`python benchmarks/servers`"]
    peers = ("FastAPI", "LitServe", "BentoML", "MLServer", "Triton")
    assert line[1].split("; ") == [ratios[name] for name in peers]
    assert [line[0].index(name) for name in peers] == sorted(line[0].index(name) for name in peers)


def test_the_house_rules_name_the_places_that_import_the_zoo():
    (row,) = [row for table in _tables("CONTRIBUTING.md") for row in table if row[0] == "`serving/`"]
    named = set(re.findall(r"`(serving/[\w/.]+)`", row[2]))
    assert named == {place for place, allowed in ALLOWED.items() if "zoo" in allowed}


def test_few_labels_are_plotted_at_their_counts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import few_labels

    axes = few_labels.plot(np.full((3, 4), 5.0), np.ones((3, 4)), 60_000).axes[0]
    places = axes.transData.transform([(count, 5) for count in (10, 100, 1_000, 60_000)])[:, 0]
    assert np.diff(places) / (places[1] - places[0]) == pytest.approx([1, 1, np.log10(60)])


def test_no_path_of_a_machine_in_the_product():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    home = str(pathlib.Path.home())
    for file in tracked:
        if file.endswith((".py", ".md", ".cfg", ".toml", ".ipynb")):
            text = (ROOT / file).read_text()
            assert f"{home}/" not in text and f"{ROOT}/" not in text, file
