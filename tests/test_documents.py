"""The documents: their Python is executed, their commands exist, their pictures are there."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

from serving.__main__ import _parser as serving_parser
from training.__main__ import _parser as training_parser
from training.experiments import EXPERIMENTS, FIELDS

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/serving.md")


def _blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run(document, run, tmp_path):
    (tmp_path / "models").mkdir()
    served = (run.export / "dense_digits_k8").resolve()
    (tmp_path / "models" / "dense_digits_k2").symlink_to(served)  # the README serves a run under that name
    code = "\n".join(_blocks(document, "python"))
    assert code
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_ones_that_there_are(document):
    text = (ROOT / document).read_text()
    lines = [line for block in _blocks(document, "console") for line in block.splitlines()]
    lines += re.findall(r"`(?:TFDS_DATA_DIR=\S+ )?((?:python|make) [^`]+)`", text)
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[1].startswith("benchmarks/"):
            assert (ROOT / words[1]).exists()
        elif words[2] == "training":
            options, rest = training_parser().parse_known_args(words[3:])
            assert {word.removeprefix("--").split("=")[0] for word in rest} <= set(FIELDS)
            assert getattr(options, "experiment", "dense_digits_k8") in EXPERIMENTS
        else:
            serving_parser().parse_args(words[3:])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_are_there(document):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
        assert target.startswith("https://") or (ROOT / document).parent.joinpath(target).exists(), target


def test_no_path_of_a_machine_in_the_product():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    home = str(pathlib.Path.home())
    for file in tracked:
        if file.endswith((".py", ".md", ".cfg", ".toml", ".ipynb")):
            text = (ROOT / file).read_text()
            assert f"{home}/" not in text and f"{ROOT}/" not in text, file
