"""From a finished run to a preset: its weights, some examples and a model card that the run's own figures fill in."""

import os
import pathlib

import numpy as np

import zoo
from training import files, kinds
from training.data.splits import Data, Split
from training.experiments.experiment import text as text_of
from training.experiments.named import command
from training.run import Run
from zoo.files import replace_folder

HALF_COSTS = 1e-3  # most that weights in float16 may change the figure of held-out examples, as a share of it
HELD = 0.1  # of the training split, judged by where there is no validation split
SAMPLE = 32  # examples beside a preset

LICENCES = {
    "cmudict/random": "BSD 2-clause (copyright 1993–2015 Carnegie Mellon University)",
    "mnist": "CC BY-SA 3.0 (Y. LeCun, C. Cortes and C. Burges)",
    "digits": "CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository)",
}


def write_preset(folder: str | os.PathLike, output: str | os.PathLike) -> pathlib.Path:
    """Writes the model of a finished run as the preset `output/EXPERIMENT`, with its card.

    Weights are stored in float16 where that changes the figure of the validation split (squared error, a predictor's error, or
    a transformer's −log p) by less than a thousandth of it, otherwise in float32; without a validation split, of the last
    tenth of the training split. The test split has no say in what it is to judge.

    Raises:
        ValueError: no finished run there.
    """
    run = Run(folder)
    experiment, model = run.experiment(), run.load_model()
    if not run.finished:
        raise ValueError(f"Expected a finished run. Received: {folder}. Try {command(experiment)} --workdir={folder} first.")
    data = kinds.open_data(experiment)
    target = pathlib.Path(output) / experiment.name
    place = zoo.presets.require_place(target)
    with files.beside(place) as new:
        _write(run, model, data, new)
        replace_folder(new, place)
    return target


def held_out(data: Data) -> Split:
    """The validation split, or the last rows of the training split where there is none."""
    return data.validation or data.train.tail(HELD)


def _write(run: Run, model: zoo.Autoencoder, data: Data, target: pathlib.Path) -> None:
    kind = kinds.of(run.experiment())
    split = held_out(data)
    dtype, costs = "float16", 0.0
    try:
        zoo.save_preset(model, target, dtype)
        whole, half = (kind.held_out_error(each, split, data) for each in (model, zoo.load(target)))
        costs = abs(half - whole) / max(whole, 1e-12)
    except ValueError:  # weights beyond what float16 holds
        costs = np.inf
    if costs > HALF_COSTS:
        dtype = "float32"
        zoo.save_preset(model, target, dtype)
    with files.reading(run.sample, "some of the run's data", "training anew"), np.load(run.sample) as rows:
        sample = {name: rows[name][:SAMPLE] for name in kind.sampled if name in rows}
    if "x" in sample and sample["x"].min() >= 0 and sample["x"].max() <= 1:
        sample["x"] = np.round(255 * sample["x"]).astype("uint8")
    files.write(target / zoo.presets.SAMPLE, lambda path: np.savez_compressed(path, **sample))
    text = card(run, dtype)
    files.write(target / zoo.presets.CARD, lambda path: path.write_text(text, encoding="utf-8"))


def card(run: Run, dtype: str) -> str:
    """The model card of a finished run, in Markdown."""
    experiment, costs, metrics = run.experiment(), files.read_json(run.costs), files.read_json(run.metrics)
    versions = files.read_json(run.versions)
    figures = "\n".join(f"| `{name}` | {value:.5g} |" for name, value in metrics.items())
    values = {**experiment.settings, **({"training.precision": run.precision} if experiment.part("training") else {})}
    dataset = experiment["data.dataset"]
    minutes, seconds = divmod(round(costs["seconds"]), 60)
    settings = ", ".join(f"{key}={text_of(value)}" for key, value in values.items())
    about = experiment.about.partition("Two cores")[0].strip()  # what follows are the figures of the project's own run
    return f"""# {experiment.name}

{about}

- **Data:** `{dataset}`, training split. Licence: {LICENCES.get(dataset, "of the data, by their owner")}.
- **Licence of the weights:** Apache-2.0.
- **Made by:** `{command(experiment)}`, {minutes} min {seconds:02d} s of training
  on {run.computed}, with Keras {versions["keras"]} on {versions["backend"]}.
- **Weights:** {costs["weights"]:,}, stored in {dtype}.

## Figures

Measured by the training run on the test split unless the name says otherwise.

| | |
|---|---|
{figures}

## Limits

Trained on `{dataset}` alone: data of another kind, scale or placement are answered, but not well, and `score` is no
certain sign of them. {kinds.of(experiment).limits(experiment)}

## Settings

{settings}
"""
