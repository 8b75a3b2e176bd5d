"""Every notebook of colab/, executed as a fresh Colab would: the package is absent until the install cell has brought it.

One kernel runs all of them, since each would import TensorFlow anew; none sees a name or a file of another.
They are stored without outputs, with their badge, on public names only.
"""

import ast
import base64
import configparser
import copy
import importlib
import io

import nbformat
import numpy as np
import pytest
from conftest import ROOT, is_progress
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
PARTS = ("zoo", "training", "serving")

# What a machine without the package and with pip is to a notebook; the address cannot be reached from here.
FRESH = """
%reset -f
import os
import sys
from IPython.core.magic import register_line_magic

os.chdir({folder!r})
hidden = {{name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in {parts}}}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {parts}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

absent = Absent()
sys.meta_path.insert(0, absent)

@register_line_magic
def pip(line):
    print("pip", line)
    sys.meta_path.remove(absent)
    sys.modules.update(hidden)

del Absent, pip, os
"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem, scope="module")
def path(request):
    return request.param


@pytest.fixture(scope="module")
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def client():
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600, kernel_name="python3")
    with client.setup_kernel():
        yield client


@pytest.fixture(scope="module")
def executed(notebook, client, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("notebook"))
    client.nb = copy.deepcopy(notebook)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell(FRESH.format(parts=PARTS, folder=folder)))
    return client.execute(cleanup_kc=False)


def _address() -> str:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["metadata"]["url"]


def _badge(name: str) -> str:
    place = _address().removeprefix("https://")
    return f"https://colab.research.google.com/{place.replace('github.com', 'github')}/blob/main/colab/{name}"


def _sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _printed(notebook) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_badges_name_the_one_address(notebook, path):
    assert f"]({_badge(path.name)})" in notebook.cells[0].source
    assert f"]({_badge(path.name)})" in (ROOT / "README.md").read_text()
    assert f"git+{_address()}" in _sources(notebook)[0]


def test_they_install_in_the_same_words():
    cells = {_sources(nbformat.read(path, as_version=4))[0] for path in NOTEBOOKS}
    assert len(cells) == 1


def test_a_fresh_machine_installs_the_package_before_it_is_used(executed):
    assert _printed(executed).startswith(f"pip install --quiet git+{_address()}\n")


def test_it_is_stored_without_outputs(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_it_uses_public_names_only(notebook):
    for source in _sources(notebook)[1:]:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")
                if isinstance(node.value, ast.Name) and node.value.id in PARTS:
                    assert node.attr in importlib.import_module(node.value.id).__all__
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PARTS:
                names = importlib.import_module(node.module).__all__
                assert {alias.name for alias in node.names} <= set(names)


def test_it_runs_and_shows_what_it_promises(executed):
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(images) >= 3
    for image in images:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("L"))
        assert len(np.unique(pixels)) > 10 and pixels.mean() > 128  # ink on paper


def test_the_terminal_sees_progress_only(executed):
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    for line in said.replace("\r", "\n").splitlines():
        assert is_progress(line), said


def test_the_first_notebook_reaches_its_figures(executed, path):
    if path.name == "01_train_and_look.ipynb":
        printed = _printed(executed)
        assert "the server's codes are the model's: True" in printed
        ratio = float(next(line for line in printed.splitlines() if line.startswith("ratio")).split()[1])
        assert ratio < 80  # per cent of PCA's error; the whole experiment trains longer
