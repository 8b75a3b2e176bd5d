"""Experiments as files: a run's `config.json`, and configuration files that users write in JSON or YAML."""

import pathlib
from collections.abc import Iterator, Mapping

import yaml

from training.experiments import earlier
from training.experiments.experiment import Experiment
from training.experiments.values import Value

PART = "name"  # the key of the part's name among a slot's settings


def as_dict(experiment: Experiment) -> dict[str, object]:
    """A complete experiment, defaults included, for JSON: a dict of settings for each slot."""
    written: dict[str, object] = {"name": experiment.name, "about": experiment.about}
    if experiment.imports:
        written["imports"] = list(experiment.imports)
    if experiment.reasons:
        written["reasons"] = dict(experiment.reasons)
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
    """The experiment of a dict from `as_dict` of this version or an earlier one.

    Raises:
        ValueError: unknown settings.
        KeyError: no name.
    """
    written = earlier.present(written)
    rest = {key: value for key, value in written.items() if key not in ("name", "about", "imports", "reasons")}
    name, about, imports = str(written["name"]), str(written.get("about", "")), tuple(written.get("imports", ()))
    return Experiment(name, about, imports=imports, reasons=written.get("reasons", {})).override(flat(rest))


def flat(written: Mapping[str, object]) -> dict[str, Value]:
    """The settings of a nested dict by full name, such as `bottleneck.beta`, and its choices by slot."""
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
    """Reads a configuration file in JSON or YAML. It has settings by full or last names, or nested by slot; `name` is that of
    the experiment to start from.

    Raises:
        ValueError: no such file, or one with other contents.
    """
    path = pathlib.Path(path)
    try:
        written = yaml.safe_load(path.read_bytes())  # JSON is a subset of YAML
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"Expected a file of YAML or JSON. Received: {path} ({reason}). Try a run's config.json.") from None
    if not isinstance(written, dict):
        raise ValueError(f"Expected settings, each with its value. Received: {type(written).__name__} in {path}. Try k: 16.")
    return earlier.present(written)
