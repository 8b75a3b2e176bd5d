"""Experiments: which model is trained on which data, as a composition of parts and their settings."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping

from training.experiments import parts
from training.experiments.composition import Composition, compose
from training.experiments.names import near
from training.experiments.parts import Part, Setting
from training.experiments.values import Value, fits, parsed

SHORT = {  # short names for settings whose last name is ambiguous or unclear, with the full names that they stand for
    "activation": ("body.activation",),
    "code_activation": ("bottleneck.activation",),
    "depth": ("body.depth", "model.depth"),
    "dropout": ("body.dropout", "model.dropout"),
    "epochs": ("training.epochs",),
    "kl_warmup": ("bottleneck.warmup",),
    "mixture": ("prior.components",),
    "noise": ("corruption.highest",),
    "output_activation": ("likelihood.activation",),
    "shift": ("data.shift",),
    "token_width": ("bottleneck.width",),
    "warmup": ("optimizer.warmup",),
    "width": ("body.width", "model.width"),
}
OTHER_NAMES = {  # what other projects, and versions before 0.2, call a setting
    "affine": "corruption",
    "bs": "batch_size",
    "code_size": "k",
    "data": "dataset",
    "density": "prior",
    "dtype": "precision",
    "hidden_units": "width",
    "latent_dim": "k",
    "layers": "depth",
    "loss": "likelihood",
    "lr": "learning_rate",
    "random_state": "seed",
    "solver": "optimizer",
    "units": "width",
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One model on one data set.

    Its `kind` determines which slots it has (data, body, bottleneck, likelihood, optimizer …). A slot is filled by a part,
    chosen by name, and the arguments of the part's constructor are the settings: `bottleneck` is `gaussian` and
    `bottleneck.beta` is 4.0. The last name, `beta`, is enough if no other setting of the experiment has it.

    Args:
        name: of the experiment; also of its run and its export.
        about: what it is for.
        given: the choices and settings that were given, by full name; all others have their defaults.
        imports: modules of the user that register parts.
        reasons: why settings have their values, by full name, where they follow from the data.

    Settings can be read as attributes or as items: `experiment.k`, `experiment["bottleneck.k"]`.
    """

    name: str
    about: str = ""
    given: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    imports: tuple[str, ...] = ()
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def composition(self) -> Composition:
        return compose(self.given, self.imports)

    @property
    def schema(self) -> dict[str, Setting]:
        """All choices and settings of this experiment by their full names, in the order of the parts."""
        return self.composition.settings

    @functools.cached_property
    def settings(self) -> dict[str, Value]:
        """The values of all choices and settings of this experiment by their full names."""
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
        """The value of a setting by its full name; `default` if the experiment does not have it."""
        return self.settings.get(key, default)

    def part(self, slot: str) -> Part | None:
        """The part in a slot; None if the slot is empty or the experiment does not have it."""
        name = self.composition.filled.get(slot)
        return name and parts.known(self.imports)[slot][name]

    def make(self, slot: str, steps: int = 0, **context: object) -> object:
        """Calls the part in a slot with its settings and returns the result; None if the slot is empty.

        Args:
            steps: total steps of training. A setting given as a share of them is multiplied by this number.
            context: arguments that are not settings but come from the run, such as `shape` and `seed`. Those that the part
                does not take are left out.
        """
        part = self.part(slot)
        if part is None:
            return None
        parts.import_all(self.imports)
        values = {key: self.settings[f"{slot}.{key}"] for key in part.settings}
        values |= {key: int(values[key] * steps) for key, setting in part.settings.items() if setting.steps}
        return part.load()(**values, **{key: value for key, value in context.items() if key in part.arguments})

    def override(self, settings: Mapping[str, object] | None = None, /, **more: object) -> "Experiment":
        """A copy of this experiment with other choices and settings.

        If another part is chosen for a slot, the settings that both parts have keep their values, and the other settings of
        the new part have their defaults.

        Args:
            settings: values, or their texts, by full or last names.
            more: the same, by last names.

        Raises:
            ValueError: an unknown setting, or one that this experiment does not have, with similar names; a value of another
                type; a required setting without a value.
        """
        changes = {**(settings or {}), **more}
        if not changes:
            return self
        choices = {key: value for key, value in changes.items() if key in parts.known(self.imports)}
        chosen = dataclasses.replace(self, given={**self.given, **choices})
        values = {}
        for key, value in changes.items():
            full = full_name(key, chosen)
            values[full] = parsed(key, value, chosen.schema[full])
        kept = {key: value for key, value in self.given.items() if fits(value, chosen.schema.get(key))}
        changed = dataclasses.replace(self, given=kept | values)
        changed.require_complete()
        return changed

    def require_complete(self) -> None:
        """Raises ValueError if a setting has neither a value nor a default."""
        for key, setting in self.schema.items():
            if setting.required and key not in self.given:
                slot = key.partition(".")[0]
                raise ValueError(
                    f"Expected a value of {key}, which {slot}={self.composition.filled[slot]} needs: {setting.about} "
                    f"Received: none. Try --{key}=…."
                )

    def changes(self, other: "Experiment") -> dict[str, Value]:
        """The choices and settings in which this experiment differs from another, with this one's values. A setting that the
        other does not have counts as different if it is not at its default."""
        defaults = {key: setting.default for key, setting in self.schema.items()}
        return {key: value for key, value in self.settings.items() if other.get(key, defaults[key]) != value}

    def short(self, key: str) -> str:
        """The short name of a setting, from its full name: its last name or a name in `SHORT` if unambiguous, otherwise the
        full name itself."""
        last = key.rpartition(".")[2]
        for name in (last, *(name for name, full in SHORT.items() if key in full)):
            with contextlib.suppress(ValueError):  # several settings have this name
                if full_name(name, self) == key:
                    return name
        return key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and (self.name, self.settings) == (other.name, other.settings)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.settings.items())))


def full_name(key: str, experiment: Experiment) -> str:
    """The full name of a choice or setting of an experiment, from its last or full name.

    Raises:
        ValueError: no such setting, with similar names; a setting of a part that was not chosen, with the choice that has it;
            several settings of this name.
    """
    settings = experiment.schema
    key = key.replace("-", "_")
    if key in settings:
        return key
    same = [full for full in SHORT.get(key, settings) if full in settings and (key in SHORT or full.rpartition(".")[2] == key)]
    if len(same) == 1:
        return same[0]
    if same:
        raise ValueError(f"Expected the full name of a setting. Received: {key}. Try {' or '.join(same)}.")
    raise ValueError(f"Expected a setting of {experiment.name}. Received: {key}. {_hint(key, experiment)}")


def _hint(key: str, experiment: Experiment) -> str:
    """A hint for a name that no setting of an experiment has."""
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
    """The choices, as SLOT=NAME, that put a part into an experiment."""
    if slot in experiment.schema:
        return [f"{slot}={name}"]
    return [
        f"{outer}={each}"
        for outer, named in parts.known(experiment.imports).items()
        for each, part in named.items()
        if outer in experiment.schema and slot in part.slots and (slot not in part.fixed or part.slots[slot] == name)
    ]
