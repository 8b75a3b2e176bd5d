"""The parts that experiments are composed of, read from the source of the modules that register them: their settings, with
types, defaults and words, are known without importing Keras."""

import ast
import functools
import importlib
import importlib.util
import logging
import os
import pathlib
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Literal, NamedTuple, Union

import griffe

PACKAGES = ("zoo", "training")
DECORATOR = "register"
GIVEN = ("seed", "name", "classes")  # arguments that a run gives, however they are annotated
PLAIN = {"int": int, "float": float, "bool": bool, "str": str}

logging.getLogger("griffe").setLevel(logging.ERROR)


class Setting(NamedTuple):
    """One argument of a part: its type, its default (None where `required`) and what the part's docstring says of it.

    `steps` are given as a share of all steps of training.
    """

    type: object
    default: object
    about: str
    required: bool = False
    steps: bool = False


class Part(NamedTuple):
    """What the source says of a registered class or function."""

    slot: str
    name: str
    module: str
    about: str
    settings: dict[str, Setting]
    arguments: tuple[str, ...]  # of the class or function, the settings among them
    slots: Mapping[str, str]
    fixed: tuple[str, ...]
    optional: tuple[str, ...]
    bfloat16: bool
    reads: tuple[str, ...]

    def load(self) -> Callable:
        """The class or function, whose module is imported."""
        from zoo import registry  # which imports Keras

        importlib.import_module(self.module)
        return registry.part(self.slot, self.name)


Parts = dict[str, dict[str, Part]]  # by slot and name


@functools.cache
def known(imports: tuple[str, ...] = ()) -> Parts:
    """All parts: those of the zoo, of training, and of the modules named.

    Raises:
        ValueError: a module that is not found, or cannot be read; a part whose name another one has.
    """
    parts: Parts = {}
    for module, path in _modules(imports):
        for part in _registered(module, path):
            other = parts.setdefault(part.slot, {}).setdefault(part.name, part)
            if other is not part:
                raise ValueError(
                    f"Expected a new name for a {part.slot}. Received: {part.name!r} in {module}, which {other.module} has. "
                    "Try another name."
                )
    return parts


def _modules(imports: tuple[str, ...]) -> Iterator[tuple[str, pathlib.Path]]:
    for package in PACKAGES:
        (folder,) = importlib.util.find_spec(package).submodule_search_locations
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            yield ".".join((package, *path.relative_to(folder).with_suffix("").parts)), path
    for module in imports:
        yield module, _found(module)


def _found(module: str) -> pathlib.Path:
    if os.getcwd() not in sys.path:  # where a console command does not look
        sys.path.append(os.getcwd())
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ValueError(
            f"Expected a module that can be imported. Received: {module}. Try running in the folder of {module}.py, "
            "or PYTHONPATH=FOLDER."
        )
    return pathlib.Path(spec.origin)


def _registered(module: str, path: pathlib.Path) -> Iterator[Part]:
    code = path.read_text(encoding="utf-8")
    if f"{DECORATOR}(" not in code:
        return
    try:
        tree = griffe.visit(module, filepath=path, code=code)
    except SyntaxError as error:
        raise ValueError(f"Expected Python. Received: {path} ({error}). Try python {path}.") from None
    for thing in (each for each in tree.members.values() if not each.is_alias):
        for decorator in getattr(thing, "decorators", ()):
            call = ast.parse(str(decorator.value), mode="eval").body
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == DECORATOR:
                yield _part(module, thing, call)


def _part(module: str, thing: griffe.Class | griffe.Function, call: ast.Call) -> Part:
    try:
        slot, name = (ast.literal_eval(argument) for argument in call.args)
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except ValueError:
        raise ValueError(
            f'Expected @register("SLOT", "NAME") with literal arguments. Received: {ast.unparse(call)} in {module}.'
        ) from None
    about, words = _docstring(thing)
    parameters = [each for each in thing.parameters if each.name != "self" and "variadic" not in each.kind.value]
    settings = {each.name: _setting(each, words.get(each.name, "")) for each in parameters if each.name not in GIVEN}
    return Part(
        slot,
        name,
        module,
        about,
        {key: setting for key, setting in settings.items() if setting},
        tuple(each.name for each in parameters),
        options.get("slots") or {},
        tuple(options.get("fixed", ())),
        tuple(options.get("optional", ())),
        options.get("bfloat16", False),
        tuple(options.get("reads", ())),
    )


def _docstring(thing: griffe.Class | griffe.Function) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and what it says of each argument."""
    if thing.docstring is None:
        return "", {}
    sections = griffe.parse_google(thing.docstring, warnings=False)
    texts = [section.value for section in sections if section.kind is griffe.DocstringSectionKind.text]
    arguments = [section.value for section in sections if section.kind is griffe.DocstringSectionKind.parameters]
    words = {each.name: " ".join(each.description.split()) for listed in arguments for each in listed}
    return " ".join(texts[0].partition("\n\n")[0].split()) if texts else "", words


def _setting(parameter: griffe.Parameter, about: str) -> Setting | None:
    """None for an argument that no text can give."""
    annotation = str(parameter.annotation or "")
    kind = _type(annotation)
    if kind is None:
        return None
    steps = annotation.rpartition(".")[2] == "Steps"
    if parameter.default is None:
        return Setting(float if steps else kind, None, about, required=True, steps=steps)
    default = ast.literal_eval(str(parameter.default))
    return Setting(float if steps else kind, float(default) if steps else default, about, steps=steps)


def _type(annotation: str) -> object | None:
    """The type that an annotation writes: a plain one, a Literal of texts, a type of the registry, or one of them or None."""
    names = PLAIN | _aliases() | {"Literal": Literal, "typing": typing, "Union": Union, "Optional": typing.Optional}
    try:
        found = eval(annotation.replace("registry.", "").replace("zoo.", ""), {"__builtins__": {}}, names)
    except (NameError, SyntaxError, AttributeError, TypeError):
        return None
    return found if all(each in (*PLAIN.values(), NoneType) or _texts(each) for each in alternatives(found)) else None


def alternatives(kind: object) -> tuple:
    """The types that a union allows; itself otherwise."""
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, UnionType) else (kind,)


def _texts(kind: object) -> bool:
    return typing.get_origin(kind) is Literal and all(isinstance(each, str) for each in typing.get_args(kind))


@functools.cache
def _aliases() -> dict[str, object]:
    """The types that the registry gives names to, read as the parts are."""
    (folder,) = importlib.util.find_spec("zoo").submodule_search_locations
    tree, names = ast.parse(pathlib.Path(folder, "registry.py").read_text(encoding="utf-8")), {"Literal": Literal, **PLAIN}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id[0].isupper():
            names[node.targets[0].id] = eval(ast.unparse(node.value), {"__builtins__": {}}, names)
    return {name: kind for name, kind in names.items() if name not in (*PLAIN, "Literal")}


def import_all(modules: tuple[str, ...]) -> None:
    """Imports the user's modules, so that models with their parts can be loaded."""
    from zoo.registry import import_parts  # which imports Keras

    import_parts(modules)
