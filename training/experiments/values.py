"""Values of settings: read from text or checked, and written as the command line takes them."""

import math
import typing
from typing import Literal

from training.experiments.names import near
from training.experiments.parts import Setting, alternatives

NONE = "none"  # the text for None, and the choice that leaves a slot empty
INVALID = object()

Value = int | float | bool | str | None


def parsed(name: str, value: object, setting: Setting) -> Value:
    """The value of a setting, from the value itself or from its text.

    Raises:
        ValueError: it has another type, or is none of the choices.
    """
    kinds = alternatives(setting.type)
    for kind in kinds:
        converted = _converted(kind, value)
        if converted is not INVALID:
            return converted
    choices = [each for kind in kinds if typing.get_origin(kind) is Literal for each in typing.get_args(kind)]
    if choices:
        raise ValueError(
            f"Expected {name} to be one of {', '.join(choices)}. Received: {name}={value}. {near(str(value), choices)}"
        )
    example = setting.default if not setting.required else {int: 1, float: 0.1, bool: True}.get(kinds[0], "…")
    raise ValueError(
        f"Expected {type_name(setting.type, article=True)} for {name}. Received: {value!r}. Try --{name}={text(example)}."
    )


def fits(value: object, setting: Setting | None) -> bool:
    """Whether a value is valid for a setting; False for None, no such setting."""
    return setting is not None and any(_converted(kind, value) is not INVALID for kind in alternatives(setting.type))


def type_name(kind: object, article: bool = False) -> str:
    """A setting's type in words: `integer`, `number`, `true or false`, `text`, or the choices."""
    names = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): NONE}
    words = [names.get(each) or ", ".join(typing.get_args(each)) for each in alternatives(kind)]
    first = {"integer": "an integer", "number": "a number", "text": "a text"}.get(words[0], words[0]) if article else words[0]
    return " or ".join([first, *words[1:]])


def text(value: object) -> str:
    """A value as the command line takes it."""
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


def _converted(kind: object, value: object) -> object:
    """`value` as a scalar type or as one of a Literal's texts; INVALID if it is not one."""
    if typing.get_origin(kind) is Literal:
        return value if value in typing.get_args(kind) else INVALID
    if kind is type(None):
        return None if value is None or value == NONE else INVALID
    if kind is bool:
        known = {"true": True, "false": False, True: True, False: False}
        return known.get(value.lower() if isinstance(value, str) else value if isinstance(value, bool) else None, INVALID)
    if kind is str:
        return value if isinstance(value, str) else INVALID
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return INVALID
    try:
        number = kind(value)
    except ValueError:
        return INVALID
    exact = isinstance(value, str) or number == value or math.isnan(number)  # 2.5 is not an integer
    return number if exact else INVALID
