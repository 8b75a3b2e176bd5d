"""Experiments that follow from the data: nothing but a data set is named."""

import dataclasses
import importlib
import os
import pathlib
import re
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from training import kinds, workers
from training.choices import Choice
from training.data import folders, table_files
from training.data.splits import Data
from training.experiments import parts
from training.experiments.experiment import Experiment, full_name
from training.experiments.values import fits, parsed, text
from training.fitting import loop
from training.progress import stage
from training.run import Run
from zoo.arguments import require_positive

MINUTES = 5.0
EPOCH = 0.05  # seconds that an epoch takes beside its steps
FEW = 2_000  # rows below which more of them are set apart for validation
VALIDATION = (0.1, 0.2)  # shares of many rows, and of few
ABOUT = "Settings that follow from the data."
TIMED_STEPS = 5


def automatic(
    dataset: object,
    settings: Mapping[str, object] | None = None,
    minutes: float = MINUTES,
    workdir: str | os.PathLike | None = None,
    restart: bool = False,
    imports: tuple[str, ...] = (),
) -> Experiment:
    """The experiment for a data set, whose settings follow from the data, as far as they are not given; it prints them.

    Args:
        dataset: a path of data (a folder of images, an array, pairs of texts, a table), or what `--dataset` takes; or a table
            in memory, a DataFrame of pandas or Polars or a dict of columns, which is written to a file beside the run.
        settings: values or their texts, by last or full names, which are kept.
        minutes: wall time within which the run should end, evaluation included.
        workdir: folder of the run; if one of the same data and settings is there already, its experiment is returned.
        restart: choose again even so.
        imports: modules of the user that register parts.

    Raises:
        ValueError: no such data, or settings that the experiment does not have.
    """
    require_positive(minutes=minutes)
    advice = "that in one process first, then --config=RUN/config.json"
    workers.require_alone("auto", "settings that follow from the data", advice)
    if not isinstance(dataset, str | os.PathLike):
        dataset = table_files.saved(dataset, pathlib.Path(workdir).parent if workdir else "runs")
    dataset = os.fspath(dataset)
    settings = {key: value for key, value in (settings or {}).items() if key not in ("dataset", "data.dataset")}
    run = Run(workdir or os.path.join("runs", _name(dataset)))
    if run.config.exists() and not restart:
        there = run.experiment()
        if there.reasons and there["data.dataset"] == dataset:
            return there.override(settings)
    kind = settings.get("kind") or _kind(dataset)
    start = Experiment(_name(dataset), ABOUT, {"kind": kind, "data.dataset": dataset}, tuple(imports))
    with stage("reading the data"):
        start, data, chosen = _opened(start, settings, dataset)
    say(start, data)
    with stage("choosing settings"):
        chosen |= kinds.of(start).choose(data, frozenset(settings))
    experiment = _composed(start, chosen, settings)
    if "training.epochs" in experiment.schema and "training.epochs" not in experiment.given:
        experiment = _timed(experiment, data, minutes)
    for key, reason in experiment.reasons.items():
        print(f"  --{experiment.short(key)}={text(experiment[key])}: {reason}")
    return experiment


def say(experiment: Experiment, data: Data) -> None:
    """Prints what the data of an experiment hold."""
    first, *more = kinds.of(experiment).described(data)
    sizes = ", ".join(f"{split.size:,} for {name}" for name, split in data.splits.items())
    print("\n".join([f"{experiment.name}: {first}; {sizes}", *(f"  {line}" for line in more)]))


def _opened(experiment: Experiment, settings: Mapping[str, object], dataset: str) -> tuple[Experiment, Data, dict[str, Choice]]:
    """The experiment with the settings that its data are opened with; the data; what of these settings was chosen."""
    known = {full_name(key, experiment): value for key, value in settings.items() if _is_of_data(key, experiment)}
    known = {key: parsed(key, value, experiment.schema[key]) for key, value in known.items()}
    chosen = {}
    path = pathlib.Path(dataset.removeprefix("folder:"))
    if "data.image_size" in experiment.schema and path.is_dir():
        size = folders.suggested_size(path)
        chosen["data.image_size"] = Choice(size, "that most of the images reach" if size else "all of one size")
    if "data.validation" in experiment.schema:
        chosen["data.validation"] = Choice(VALIDATION[0], "to keep the best weights by")
    chosen = {key: choice for key, choice in chosen.items() if key not in known}

    def opened() -> tuple[Experiment, Data]:
        values = {key: choice.value for key, choice in chosen.items()}
        given = dataclasses.replace(experiment, given={**experiment.given, **values, **known})
        return given, kinds.open_data(given)

    given, data = opened()
    if "data.validation" in chosen and data.train.size < FEW:  # a tenth of few rows says little
        chosen["data.validation"] = Choice(VALIDATION[1], "to keep the best weights by, of few rows")
        given, data = opened()
    return given, data, chosen


def _composed(experiment: Experiment, chosen: Mapping[str, Choice], settings: Mapping[str, object]) -> Experiment:
    """The experiment with the given settings, and with those of the chosen ones that then apply."""
    slots = parts.known(experiment.imports)
    choices = {key: choice.value for key, choice in chosen.items() if key in slots}
    choices |= {key: value for key, value in settings.items() if key in slots}
    shaped = dataclasses.replace(experiment, given={**experiment.given, **choices})
    named = {full_name(key, shaped) for key in settings}
    kept = {key: choice for key, choice in chosen.items() if key not in named and fits(choice.value, shaped.schema.get(key))}
    values = {key: choice.value for key, choice in kept.items()}
    reasons = {key: choice.reason for key, choice in kept.items()}
    return dataclasses.replace(shaped, given={**shaped.given, **values}, reasons=reasons).override(dict(settings))


def _kind(dataset: str) -> str:
    """The kind of data that a name or a path is of: by its prefix or its ending, or else the one whose module of data has a
    function `takes` that says so."""
    prefix, _, path = dataset.partition(":")
    suffix = pathlib.PurePath(path or dataset).suffix.lower()
    sources = {name: parts.known()["data"][part.slots["data"]] for name, part in parts.known()["kind"].items()}
    for name, data in sources.items():
        if prefix == data.name or (suffix in data.reads and "task" not in parts.known()["kind"][name].slots):
            return name
    if not os.path.exists(dataset):
        for name, data in sources.items():
            if getattr(importlib.import_module(data.module), "takes", lambda _: False)(dataset):
                return name
    return Experiment("").kind


def _name(dataset: str) -> str:
    """A name for a run of this data: letters, digits, dashes and underscores of the last part of its path."""
    path = pathlib.Path(dataset.partition(":")[2] or dataset)
    return re.sub(r"[^\w-]+", "_", path.stem or path.resolve().name).strip("_").lower() or "data"


def _is_of_data(key: str, experiment: Experiment) -> bool:
    """Whether a setting, by its last or full name, is one that data are opened with."""
    return any(f"{slot}.{key.removeprefix(f'{slot}.')}" in experiment.schema for slot in ("data", "head"))


def _timed(experiment: Experiment, data: Data, minutes: float) -> Experiment:
    """The experiment in the precision in which a step is fastest, and with as many epochs as there is time for."""
    trial = experiment.override({"training.epochs": 1})
    with stage("timing some steps"):
        times = {each: _seconds_a_step(trial.override(precision=each), data) for each in _precisions(experiment)}
    precision = min(times, key=times.get)
    milliseconds = {each: f"{1000 * seconds:.0f} ms a step in {each}" for each, seconds in times.items()}
    epochs = int(60 * minutes * kinds.of(experiment).share_of_time / (loop.total_steps(data, trial) * times[precision] + EPOCH))
    most = kinds.of(experiment).most_epochs
    number = max(1, min(most, epochs))
    in_time = f"within {minutes:g} minute{'' if minutes == 1 else 's'}, at {milliseconds[precision]}"
    chosen = {
        "training.precision": Choice(precision, ", ".join(milliseconds.values())),
        "training.epochs": Choice(number, in_time if number < most else "enough, as a rule"),
        "training.patience": Choice(max(10, number // 4), "a quarter of the epochs"),
    }
    chosen = {key: choice for key, choice in chosen.items() if key not in experiment.given}
    reasons = {key: choice.reason for key, choice in chosen.items()}
    values = {key: choice.value for key, choice in chosen.items()}
    return dataclasses.replace(experiment.override(values), reasons={**experiment.reasons, **reasons})


def _precisions(experiment: Experiment) -> list[str]:
    """Those that are worth timing: bfloat16 where a part is known to train as well in it."""
    if "training.precision" in experiment.given:
        return [experiment["training.precision"]]
    parts_ = filter(None, map(experiment.part, experiment.composition.filled))
    return ["float32", "mixed_bfloat16"] if any(part.bfloat16 for part in parts_) else ["float32"]


def _seconds_a_step(experiment: Experiment, data: Data) -> float:
    """The time of one step of training, without the first, in which it is compiled."""
    model = kinds.build(experiment, data)
    loop.compile(model, data, experiment)
    size = min(experiment["training.batch_size"], data.train.size)
    steps = min(TIMED_STEPS + 1, data.train.size // size)
    batches = iter(data.train.training(size, steps, range(-(-(TIMED_STEPS + 1) // steps))))
    model.train_on_batch(*_as_arguments(next(batches)))
    began, steps = time.perf_counter(), 0
    for batch in batches:
        model.train_on_batch(*_as_arguments(batch))
        steps += 1
    return (time.perf_counter() - began) / max(steps, 1)


def _as_arguments(batch: object) -> tuple:
    """A batch as the arguments of `train_on_batch`, in arrays, which every backend takes."""
    batch = tf.nest.map_structure(np.asarray, batch)
    return batch if isinstance(batch, tuple) else (batch,)
