"""The parts that experiments are composed of.

They are read from the source code of the modules that register them, so that their settings, with types, defaults and
descriptions, are known without importing Keras.
"""

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
CONTEXT = ("seed", "name", "classes", "numbers")  # arguments that are never settings: they come from the run
SCALARS = {"int": int, "float": float, "bool": bool, "str": str}

logging.getLogger("griffe").setLevel(logging.ERROR)


class Setting(NamedTuple):
    """One argument of a part: its type, its default (None if it is `required`) and its description in the part's docstring.

    `steps` marks a number of training steps, which is given as a share of all steps.
    """

    type: object
    default: object
    about: str
    required: bool = False
    steps: bool = False


class Part(NamedTuple):
    """A registered class or function, as its source code describes it."""

    slot: str
    name: str
    module: str
    about: str
    settings: dict[str, Setting]
    arguments: tuple[str, ...]  # all arguments of the class or function, settings included
    slots: Mapping[str, str]
    fixed: tuple[str, ...]
    optional: tuple[str, ...]
    bfloat16: bool
    reads: tuple[str, ...]

    def load(self) -> Callable:
        """Imports the module; returns the class or function."""
        from zoo import registry  # it imports Keras

        importlib.import_module(self.module)
        return registry.part(self.slot, self.name)


Parts = dict[str, dict[str, Part]]  # by slot and name


@functools.cache
def known(imports: tuple[str, ...] = ()) -> Parts:
    """All parts of `zoo`, `training` and the modules in `imports`.

    Raises:
        ValueError: a module that is not found or cannot be parsed; two parts with the same name.
    """
    parts: Parts = {}
    for module, path in _modules(imports):
        for part in _registered(module, path):
            other = parts.setdefault(part.slot, {}).setdefault(part.name, part)
            if other is not part:
                raise ValueError(
                    f"Expected a new name for a {part.slot}. Received: {part.name!r} in {module}, a name taken by "
                    f"{other.module}. Try another name."
                )
    return parts


def _modules(imports: tuple[str, ...]) -> Iterator[tuple[str, pathlib.Path]]:
    for package in PACKAGES:
        (folder,) = importlib.util.find_spec(package).submodule_search_locations
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            yield ".".join((package, *path.relative_to(folder).with_suffix("").parts)), path
    for module in imports:
        yield module, _source(module)


def _source(module: str) -> pathlib.Path:
    if os.getcwd() not in sys.path:  # it is not there for console commands
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
    for definition in (each for each in tree.members.values() if not each.is_alias):
        for decorator in getattr(definition, "decorators", ()):
            call = ast.parse(str(decorator.value), mode="eval").body
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == DECORATOR:
                yield _part(module, definition, call)


def _part(module: str, definition: griffe.Class | griffe.Function, call: ast.Call) -> Part:
    try:
        slot, name = (ast.literal_eval(argument) for argument in call.args)
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except ValueError:
        raise ValueError(
            f'Expected @register("SLOT", "NAME") with literal arguments. Received: {ast.unparse(call)} in {module}. '
            "Try texts instead of variables."
        ) from None
    about, descriptions = _docstring(definition)
    parameters = [each for each in definition.parameters if each.name != "self" and "variadic" not in each.kind.value]
    settings = {each.name: _setting(each, descriptions.get(each.name, "")) for each in parameters if each.name not in CONTEXT}
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


def _docstring(definition: griffe.Class | griffe.Function) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and the descriptions of the arguments."""
    if definition.docstring is None:
        return "", {}
    sections = griffe.parse_google(definition.docstring, warnings=False)
    texts = [section.value for section in sections if section.kind is griffe.DocstringSectionKind.text]
    arguments = [section.value for section in sections if section.kind is griffe.DocstringSectionKind.parameters]
    descriptions = {each.name: " ".join(each.description.split()) for listed in arguments for each in listed}
    return " ".join(texts[0].partition("\n\n")[0].split()) if texts else "", descriptions


def _setting(parameter: griffe.Parameter, about: str) -> Setting | None:
    """The setting of an argument; None if its type cannot be written as text."""
    annotation = str(parameter.annotation or "")
    kind = _type(annotation)
    if kind is None:
        return None
    steps = annotation.rpartition(".")[2] == "Steps"
    if parameter.default is None:
        return Setting(float if steps else kind, None, about, required=True, steps=steps)
    try:
        default = ast.literal_eval(str(parameter.default))
    except ValueError:
        raise ValueError(
            f"Expected a number or a text as the default of {parameter.name}. Received: {parameter.default}. Try its value."
        ) from None
    return Setting(float if steps else kind, float(default) if steps else default, about, steps=steps)


def _type(annotation: str) -> object | None:
    """The type that an annotation stands for: a scalar, a Literal of texts, an alias of the registry, or a union of these and
    None; None for any other type."""
    names = SCALARS | _aliases() | {"Literal": Literal, "typing": typing, "Union": Union, "Optional": typing.Optional}
    try:
        kind = eval(annotation.replace("registry.", "").replace("zoo.", ""), {"__builtins__": {}}, names)
    except (NameError, SyntaxError, AttributeError, TypeError):
        return None
    return kind if all(each in (*SCALARS.values(), NoneType) or _is_texts(each) for each in alternatives(kind)) else None


def alternatives(kind: object) -> tuple:
    """The members of a union type; for any other type, the type alone."""
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, UnionType) else (kind,)


def _is_texts(kind: object) -> bool:
    return typing.get_origin(kind) is Literal and all(isinstance(each, str) for each in typing.get_args(kind))


@functools.cache
def _aliases() -> dict[str, object]:
    """The type aliases of the registry, read from its source code."""
    (folder,) = importlib.util.find_spec("zoo").submodule_search_locations
    tree, names = ast.parse(pathlib.Path(folder, "registry.py").read_text(encoding="utf-8")), {"Literal": Literal, **SCALARS}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id[0].isupper():
            names[node.targets[0].id] = eval(ast.unparse(node.value), {"__builtins__": {}}, names)
    return {name: kind for name, kind in names.items() if name not in (*SCALARS, "Literal")}


def import_all(modules: tuple[str, ...]) -> None:
    """Imports the user's modules, so that models with parts from them can be loaded."""
    from zoo.registry import import_parts  # it imports Keras

    import_parts(modules)
