"""Which packages may import which."""

import ast
import pathlib

import pytest
from conftest import ROOT

RULES = {  # forbidden prefixes, by part
    "zoo": ("training", "serving", "tensorflow"),
    "training": ("serving",),
    "serving": ("zoo", "training", "keras"),
}
ALLOWED = {
    "training": {"serving.command", "serving.export", "serving.picture_files", "serving.quiet"},
    "serving/export.py": {"zoo", "keras"},
    "serving/images.py": {"zoo"},
    "serving/texts.py": {"zoo"},
}
CLIENT = (
    "serving/command.py",
    "serving/client.py",
    "serving/columns.py",
    "serving/process.py",
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
        allowed = ALLOWED.get(part, set()) | ALLOWED.get(file, set())
        for name in _imports(path):
            if any(name == good or name.startswith(f"{good}.") for good in allowed):
                continue
            assert not any(name == bad or name.startswith(f"{bad}.") for bad in RULES[part]), f"{file} imports {name}"


@pytest.mark.parametrize("file", CLIENT)
def test_the_client_side_imports_no_framework(file):
    assert not {name.split(".")[0] for name in _imports(ROOT / file)} & {"tensorflow", "keras", "jax", "zoo", "training"}
