"""Modules that other packages import although few programs use them: they are loaded when they are first used."""

import contextlib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence


class Postponed:
    """A finder of modules, in front of Python's own.

    `from package import module` does not use a module; `from module import name` does.

    Args:
        pattern: a regular expression that the full names of the modules match.
    """

    def __init__(self, pattern: str):
        self._pattern = re.compile(pattern)

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if self._pattern.fullmatch(name) else None
        if spec and spec.loader:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def postponed(pattern: str) -> Iterator[None]:
    """A context in which importing a module whose name matches a pattern does not load it yet; its first use does."""
    finder = Postponed(pattern)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
