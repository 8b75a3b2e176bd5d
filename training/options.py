"""Experiments on the command line: how they are composed from arguments, and how help describes them."""

import dataclasses
import shutil
import textwrap
import typing

from training.experiments import config
from training.experiments.experiment import Experiment
from training.experiments.named import EXPERIMENTS, find
from training.experiments.parts import Setting, alternatives
from training.experiments.values import text


def experiment(
    name: str | None, settings: dict[str, str], path: str | None = None, imports: tuple[str, ...] = ()
) -> Experiment:
    """The experiment of this name, changed first by a configuration file, if any, and then by `settings`.

    Args:
        name: of one of the project's experiments; None: the file names the experiment, or defines it completely.
        settings: texts of values, by full or last names.
        path: of the configuration file.
        imports: modules of the user that register parts.

    Raises:
        ValueError: no such experiment, settings that it does not have, or a file with other contents.
    """
    written = config.read(path) if path else {}
    if name is None and "name" not in written:
        raise ValueError("Expected an experiment, or a configuration file with a name. Received: none. Try dense_digits_k8.")
    imports = tuple(dict.fromkeys((*map(str, written.get("imports", ())), *imports)))
    if name is None and written["name"] not in EXPERIMENTS:
        return config.from_dict({**written, "imports": imports}).override(settings)
    base = find(name or str(written["name"]))
    base = dataclasses.replace(base, imports=tuple(dict.fromkeys((*base.imports, *imports))))
    values = {key: value for key, value in written.items() if key not in ("name", "about", "imports", "reasons")}
    return base.override({**config.flat(values), **settings})


def explained(experiment: Experiment) -> str:
    """All choices and settings of an experiment, with their types, values and descriptions."""
    width = max(60, min(shutil.get_terminal_size().columns, 128))
    lines = [f"{experiment.name}: {experiment.about}"]
    section = None
    for key, setting in experiment.schema.items():
        slot = key.partition(".")[0]
        if slot != section:
            section, part = slot, experiment.part(slot)
            lines += ["", _wrapped(f"{slot}: {part.about}" if part else slot, width, "")]
        lines.append(_option(key, setting, experiment, width))
    return "\n".join(lines)


def table() -> str:
    """The experiments, one per line: name, kind of data, data set, and description."""
    rows = [(name, each["kind"], each["data.dataset"], each.about.partition(". ")[0]) for name, each in EXPERIMENTS.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*(f"{row[i]:<{widths[i]}}" for i in range(3)), row[3].rstrip(".")]) for row in rows)


def _option(key: str, setting: Setting, experiment: Experiment, width: int) -> str:
    short, value = experiment.short(key), experiment.settings[key]
    names = f"--{short}" if short == key else f"--{short}, --{key}"
    shown = "required" if setting.required and key not in experiment.given else text(value)
    about = setting.about
    if setting.steps:
        about += " It is given as a share of all training steps."
    head = f"  {names}={_metavar(setting)}  [{shown}]"
    if "." not in key and key != "seed":  # a choice: one line for each part
        return "\n".join([head, *(_wrapped(line, width, " " * 6) for line in about.split("\n"))])
    return "\n".join([head, *([_wrapped(about, width, " " * 6)] if about else [])])


def _metavar(setting: Setting) -> str:
    names = {int: "INTEGER", float: "NUMBER", bool: "true|false", str: "TEXT", type(None): "none"}
    return "|".join(names.get(kind) or "|".join(typing.get_args(kind)) for kind in alternatives(setting.type))


def _wrapped(words: str, width: int, indent: str) -> str:
    return textwrap.fill(words, width, initial_indent=indent, subsequent_indent=indent + ("  " if indent else ""))
