"""Compositions: the parts that an experiment's choices select, and the settings of these parts."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from training.experiments import parts
from training.experiments.parts import Setting
from training.experiments.values import NONE, parsed

KIND = "arrays"  # of an experiment that names none
SEED = Setting(int, 0, "seed of everything random in the run; the same seed gives the same run.")


class Composition(NamedTuple):
    """The settings of an experiment by their full names, and the name of the part in each slot (None: empty)."""

    settings: dict[str, Setting]
    filled: dict[str, str | None]


def compose(choices: Mapping[str, object], imports: tuple[str, ...] = ()) -> Composition:
    """The composition that choices, part names by slot, lead to; every other slot has its default part.

    Raises:
        ValueError: no such part; the message has similar names.
    """
    known = parts.known(imports)
    settings: dict[str, Setting] = {}
    filled: dict[str, str | None] = {}

    def fill(slot: str, chosen: str) -> None:
        filled[slot] = None if chosen == NONE else chosen
        if chosen == NONE:
            return
        part = known[slot][chosen]
        settings.update({f"{slot}.{key}": setting for key, setting in part.settings.items()})
        for inner, default in part.slots.items():
            if inner in part.fixed:
                fill(inner, default)
            elif inner not in filled:
                fill(inner, choose(inner, default, inner in part.optional))

    def choose(slot: str, default: str, optional: bool) -> str:
        names = (*known[slot], *([NONE] if optional else []))
        about = "\n".join(f"{each}: {part.about}" for each, part in known[slot].items())
        settings[slot] = Setting(Literal[names], default, about)
        return parsed(slot, choices.get(slot, default), settings[slot])

    fill("kind", choose("kind", KIND, False))
    return Composition({**settings, "seed": SEED}, filled)
