"""Which packages may import which."""

import ast
import importlib
import pathlib

import pytest
from conftest import ROOT

from serving.postponed import postponed

RULES = {  # forbidden prefixes, by part
    "zoo": ("training", "serving", "tensorflow"),
    "training": ("serving",),
    "serving": ("zoo", "training", "keras"),
}
ALLOWED = {  # of these, by folder or file
    "training/": {"serving.command", "serving.export", "serving.picture_files", "serving.quiet"},
    "serving/export/": {"zoo"},
    "serving/export/saved_models.py": {"keras"},
    "serving/compression.py": {"zoo", "training.run", "training.data"},
    "serving/batch/": {"zoo", "training.run", "training.data"},
}
FLOORS = {  # those of serving that each one may import; "base" and "top" are files of serving itself
    "base": set(),
    "models": {"base"},
    "rest": {"base", "models"},
    "rpc": {"base", "models"},
    "export": {"base"},
    "batch": {"base", "models", "export", "top"},
    "top": {"base", "models", "rest", "rpc", "export", "batch"},
}
BASE = {"status", "versions", "quiet", "postponed", "columns", "picture_files", "metrics", "protobufs", "tokens", "tracing"}
CLIENT = (
    "serving/command.py",
    "serving/client.py",
    "serving/columns.py",
    "serving/process.py",
    "serving/versions.py",
    "serving/check.py",
    "serving/__init__.py",
)


def _imports(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("part", RULES)
def test_import_direction(part):
    files = sorted((ROOT / part).rglob("*.py"))
    assert len(files) > 5
    for path in files:
        file = path.relative_to(ROOT).as_posix()
        allowed = {name for place, names in ALLOWED.items() if file.startswith(place) for name in names}
        for name in _imports(path):
            if any(name == good or name.startswith(f"{good}.") for good in allowed):
                continue
            assert not any(name == bad or name.startswith(f"{bad}.") for bad in RULES[part]), f"{file} imports {name}"


def _floor(name: str) -> str:
    return name if name in FLOORS else "base" if name in BASE else "top"


def test_floors_of_serving_import_downwards_only():
    files = sorted((ROOT / "serving").rglob("*.py"))
    floors = [_floor(path.relative_to(ROOT / "serving").parts[0].removesuffix(".py")) for path in files]
    assert set(floors) == set(FLOORS)
    for path, floor in zip(files, floors, strict=True):
        for part, _, name in (name.partition(".") for name in _imports(path)):
            other = _floor(name.partition(".")[0])
            if part == "serving" and other != floor:
                assert other in FLOORS[floor], f"{path.relative_to(ROOT)} imports {name} of the floor {other}"


@pytest.mark.parametrize("file", CLIENT)
def test_the_client_side_imports_no_framework(file):
    assert not {name.split(".")[0] for name in _imports(ROOT / file)} & {"tensorflow", "keras", "jax", "zoo", "training"}


def test_every_folder_is_a_package_that_is_installed():
    """A folder without `__init__.py` works in a clone, and is missing from an installation."""
    for part in RULES:
        for path in (ROOT / part).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_a_postponed_module_is_loaded_by_its_first_use(tmp_path, monkeypatch):
    folder = tmp_path / "parcel"
    folder.mkdir()
    (folder / "__init__.py").write_text("loaded = []\nfrom parcel import early, late\n")
    for name in ("early", "late"):
        (folder / f"{name}.py").write_text("from parcel import loaded\nloaded.append(__name__)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with postponed(r"parcel\.late"):
        parcel = importlib.import_module("parcel")
    assert parcel.loaded == ["parcel.early"]
    assert parcel.late.loaded is parcel.loaded == ["parcel.early", "parcel.late"]
