"""Experiments as files: a run's `config.json`, and configurations that people write in JSON or YAML."""

import pathlib
from collections.abc import Iterator, Mapping

import yaml

from training.experiments import earlier
from training.experiments.experiment import Experiment, Value

PART = "name"  # within a slot's settings, the part that fills it


def as_dict(experiment: Experiment) -> dict[str, object]:
    """An experiment whole, what its defaults give included: a dict of each slot's settings, as JSON has it."""
    written: dict[str, object] = {"name": experiment.name, "about": experiment.about}
    if experiment.imports:
        written["imports"] = list(experiment.imports)
    for key, value in experiment.settings.items():
        slot, dot, setting = key.partition(".")
        if dot:
            written.setdefault(slot, {})[setting] = value
        elif slot in experiment.composition.filled and slot != "kind":
            written.setdefault(slot, {})[PART] = value
        else:
            written[slot] = value
    return written


def from_dict(written: Mapping[str, object]) -> Experiment:
    """The experiment that `as_dict` wrote, or one of a version before 0.2, whose settings were a flat list.

    Raises:
        ValueError: settings that no experiment has.
        KeyError: no name.
    """
    if earlier.is_flat(written):
        written = earlier.nested(written)
    rest = {key: value for key, value in written.items() if key not in ("name", "about", "imports")}
    empty = Experiment(str(written["name"]), str(written.get("about", "")), imports=tuple(written.get("imports", ())))
    return empty.override(flat(rest))


def flat(written: Mapping[str, object]) -> dict[str, Value]:
    """The settings by their full names, `bottleneck.beta`, and the choices by their slots', of a dict within which there may be
    dicts."""
    return dict(_flat(written))


def _flat(written: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in written.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif prefix and key == PART:
            yield prefix[:-1], value
        else:
            yield f"{prefix}{key}", value


def read(path: str | pathlib.Path) -> dict[str, object]:
    """A configuration file in JSON or YAML: settings by full or last names, or nested; with `name`, that of an experiment to
    start from.

    Raises:
        ValueError: no such file, or one of something else.
    """
    path = pathlib.Path(path)
    try:
        written = yaml.safe_load(path.read_bytes())  # of which JSON is a part
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"Expected a file of YAML or JSON. Received: {path} ({reason}). Try a run's config.json.") from None
    if not isinstance(written, dict):
        raise ValueError(f"Expected settings, each with its value. Received: {type(written).__name__} in {path}. Try k: 16.")
    return earlier.nested(written) if earlier.is_flat(written) else written
