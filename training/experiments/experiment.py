"""Experiments: what is trained on which data, as a composition of parts and their settings."""

import contextlib
import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Literal, NamedTuple

from training.experiments import parts
from training.experiments.names import near
from training.experiments.parts import Part, Setting, alternatives

KIND = "arrays"  # of an experiment that does not say
NONE = "none"  # the choice that leaves a slot empty
SHORT = {  # the settings that are meant by a name which several have, or by one that none has
    "activation": ("body.activation",),
    "code_activation": ("bottleneck.activation",),
    "depth": ("body.depth", "model.depth"),
    "kl_warmup": ("bottleneck.warmup",),
    "mixture": ("density.components",),
    "noise": ("corruption.highest",),
    "output_activation": ("likelihood.activation",),
    "shift": ("data.shift",),
    "token_width": ("bottleneck.width",),
    "warmup": ("optimizer.warmup",),
    "width": ("body.width", "model.width"),
}
OTHER_NAMES = {  # of settings, in other projects
    "bs": "batch_size",
    "code_size": "k",
    "data": "dataset",
    "dtype": "precision",
    "hidden_units": "width",
    "latent_dim": "k",
    "layers": "depth",
    "loss": "likelihood",
    "lr": "learning_rate",
    "random_state": "seed",
    "units": "width",
}
SEED = Setting(int, 0, "of everything random in the run: the same seed gives the same run")

Value = int | float | bool | str | None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One model on one data set.

    Its `kind` says which slots it has (data, body, bottleneck, likelihood, optimizer …); each is filled by a part, which is
    chosen by name, and whose constructor's arguments are its settings: `bottleneck` is `gaussian`, `bottleneck.beta` 4.0. Where
    a setting's last name is that of no other setting of the experiment, it is enough: `beta`.

    Args:
        name: of the run and of what it exports.
        about: what it is for.
        given: the choices and settings that are not the defaults, by their full names, whether or not they differ from them.
        imports: the user's own modules that register parts.

    A setting is read as an attribute, by its last name, or as an item: `experiment.k`, `experiment["bottleneck.k"]`.
    """

    name: str
    about: str = ""
    given: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    imports: tuple[str, ...] = ()

    @functools.cached_property
    def composition(self) -> "Composition":
        return compose(self.given, self.imports)

    @property
    def schema(self) -> dict[str, Setting]:
        """Every choice and setting that applies, by its full name, in the order of the parts."""
        return self.composition.settings

    @functools.cached_property
    def settings(self) -> dict[str, Value]:
        """The value of every choice and setting that applies, by its full name."""
        return {key: self.given.get(key, setting.default) for key, setting in self.schema.items()}

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    def __getitem__(self, key: str) -> Value:
        return self.settings[full_name(key, self)]

    def __getattr__(self, key: str) -> Value:
        if key.startswith("__") or key in ("composition", "settings"):
            raise AttributeError(key)
        try:
            return self[key]
        except ValueError as error:
            raise AttributeError(str(error)) from None

    def get(self, key: str, default: Value = None) -> Value:
        """The value of a setting by its full name, `default` where it does not apply."""
        return self.settings.get(key, default)

    def part(self, slot: str) -> Part | None:
        """What fills a slot; None where it is empty, or none of the experiment's."""
        name = self.composition.filled.get(slot)
        return name and parts.known(self.imports)[slot][name]

    def make(self, slot: str, steps: int = 0, **context: object) -> object:
        """What the part of a slot makes of its settings; None where the slot is empty.

        Args:
            steps: of training, of which settings in steps are a share.
            context: what the run gives: arguments of the part that are no settings, `shape` and `seed` say. Those that it does
                not take are left out.
        """
        part = self.part(slot)
        if part is None:
            return None
        parts.import_all(self.imports)
        values = {key: self.settings[f"{slot}.{key}"] for key in part.settings}
        values |= {key: int(values[key] * steps) for key, setting in part.settings.items() if setting.steps}
        return part.load()(**values, **{key: value for key, value in context.items() if key in part.arguments})

    def override(self, settings: Mapping[str, object] | None = None, /, **more: object) -> "Experiment":
        """This experiment with other choices and settings.

        Where another part is chosen for a slot, the settings that it shares with the one before keep their values, and the
        others have their defaults.

        Args:
            settings: values, or texts that say them, by full or last names.
            more: the same, by last names.

        Raises:
            ValueError: a name that is no setting's, or that of one which does not apply, with the near names; a value of
                another type; a setting without a value.
        """
        asked = {**(settings or {}), **more}
        if not asked:
            return self
        choices = {key: value for key, value in asked.items() if key in parts.known(self.imports)}
        chosen = dataclasses.replace(self, given={**self.given, **choices})
        values = {}
        for key, value in asked.items():
            full = full_name(key, chosen)
            values[full] = checked(key, value, chosen.schema[full])
        kept = {key: value for key, value in self.given.items() if fits(value, chosen.schema.get(key))}
        changed = dataclasses.replace(self, given=kept | values)
        changed.require_complete()
        return changed

    def require_complete(self) -> None:
        """Raises ValueError where a setting has neither a value nor a default."""
        for key, setting in self.schema.items():
            if setting.required and key not in self.given:
                slot = key.partition(".")[0]
                raise ValueError(
                    f"Expected a value of {key}, which {slot}={self.composition.filled[slot]} needs: {setting.about} "
                    f"Received: none. Try --{key}=…."
                )

    def changes(self, other: "Experiment") -> dict[str, Value]:
        """The choices and settings in which this one differs from another, with its values; those that the other does not have
        where they are not the defaults."""
        defaults = {key: setting.default for key, setting in self.schema.items()}
        return {key: value for key, value in self.settings.items() if other.get(key, defaults[key]) != value}

    def short(self, key: str) -> str:
        """The last name of a setting where that is enough, or the one that it goes by; otherwise its full name."""
        last = key.rpartition(".")[2]
        for name in (last, *(name for name, full in SHORT.items() if key in full)):
            with contextlib.suppress(ValueError):  # of several settings with that name
                if full_name(name, self) == key:
                    return name
        return key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and (self.name, self.settings) == (other.name, other.settings)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.settings.items())))


class Composition(NamedTuple):
    """What the choices of an experiment come to: its settings by full name, and the name of the part in each slot."""

    settings: dict[str, Setting]
    filled: dict[str, str | None]


def compose(choices: Mapping[str, object], imports: tuple[str, ...] = ()) -> Composition:
    """The parts that are chosen, and what they bring.

    Raises:
        ValueError: a choice of no part, with the near names.
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
        return checked(slot, choices.get(slot, default), settings[slot])

    fill("kind", choose("kind", KIND, False))
    return Composition({**settings, "seed": SEED}, filled)


def full_name(key: str, experiment: Experiment) -> str:
    """The full name of a choice or setting of an experiment, from its last name or its full one.

    Raises:
        ValueError: no such setting, with the near names; one of another part, with what has it; several of the name.
    """
    applying = experiment.schema
    key = key.replace("-", "_")
    if key in applying:
        return key
    same = [full for full in SHORT.get(key, applying) if full in applying and (key in SHORT or full.rpartition(".")[2] == key)]
    if len(same) == 1:
        return same[0]
    if same:
        raise ValueError(f"Expected the full name of a setting. Received: {key}. Try {' or '.join(same)}.")
    raise ValueError(f"Expected a setting of {experiment.name}. Received: {key}. {_hint(key, experiment)}")


def _hint(key: str, experiment: Experiment) -> str:
    """What may have been meant by a name that no setting of an experiment has."""
    known, wanted = parts.known(experiment.imports), {*SHORT.get(key, (key,))}
    having = [
        (slot, name)
        for slot, named in known.items()
        for name, part in named.items()
        if key in part.slots or wanted & {full for setting in part.settings for full in (setting, f"{slot}.{setting}")}
    ]
    choices = {choice: None for slot, name in having for choice in _choices(slot, name, experiment)}
    choices = [choice for choice in choices if not choice.startswith("kind=")] or [*choices]  # another kind is the last resort
    if choices:
        return f"Try it with --{' or --'.join(choices)}."
    meant = OTHER_NAMES.get(key, key)
    names = {full: None for setting in experiment.schema for full in (experiment.short(setting), setting)}
    return near(meant, names, (f"python -m training show {experiment.name}",))


def _choices(slot: str, name: str, experiment: Experiment) -> list[str]:
    """The choices of an experiment that bring the part of this name, each as SLOT=NAME."""
    if slot in experiment.schema:
        return [f"{slot}={name}"]
    return [
        f"{outer}={each}"
        for outer, named in parts.known(experiment.imports).items()
        for each, part in named.items()
        if outer in experiment.schema and slot in part.slots and (slot not in part.fixed or part.slots[slot] == name)
    ]


def checked(name: str, value: object, setting: Setting) -> Value:
    """A value of a setting from itself, or from the text that says it.

    Raises:
        ValueError: it is of another type, or none of the choices.
    """
    kinds = alternatives(setting.type)
    for kind in kinds:
        found = _as(kind, value)
        if found is not UNREAD:
            return found
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
    """Whether a setting may have a value; not where there is no such setting."""
    return setting is not None and any(_as(kind, value) is not UNREAD for kind in alternatives(setting.type))


UNREAD = object()


def _as(kind: object, value: object) -> object:
    """`value` as one of a plain type or of a Literal's texts; UNREAD where it is none."""
    if typing.get_origin(kind) is Literal:
        return value if value in typing.get_args(kind) else UNREAD
    if kind is type(None):
        return None if value is None or value == NONE else UNREAD
    if kind is bool:
        known = {"true": True, "false": False, True: True, False: False}
        return known.get(value.lower() if isinstance(value, str) else value if isinstance(value, bool) else None, UNREAD)
    if kind is str:
        return value if isinstance(value, str) else UNREAD
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UNREAD
    try:
        number = kind(value)
    except ValueError:
        return UNREAD
    same = isinstance(value, str) or number == value or math.isnan(number)  # 2.5 is no integer
    return number if same else UNREAD


def type_name(kind: object, article: bool = False) -> str:
    """A setting's type, for people: `integer`, `number`, `true or false`, `text`, or the choices."""
    names = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): NONE}
    words = [names.get(each) or ", ".join(typing.get_args(each)) for each in alternatives(kind)]
    first = {"integer": "an integer", "number": "a number", "text": "a text"}.get(words[0], words[0]) if article else words[0]
    return " or ".join([first, *words[1:]])


def text(value: object) -> str:
    """A value as the command line takes it."""
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)
