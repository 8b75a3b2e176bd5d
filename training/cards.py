"""From a finished run to a preset: its weights, some examples, and a model card with the run's figures."""

import os
import pathlib
import shutil

import numpy as np

import zoo
from training import files, kinds
from training.data.splits import Data
from training.experiments.named import command
from training.experiments.values import text as text_of
from training.run import Run
from zoo.files import replace_folder

MOST_CHANGE = 1e-3  # the greatest relative change of the error on held-out examples that weights in float16 may cause
HELD_OUT = 0.1  # share of the training split that is held out if there is no validation split
SAMPLE = 32  # examples in a preset

LICENCES = {
    "cmudict/random": "BSD 2-clause (copyright 1993–2015 Carnegie Mellon University)",
    "mnist": "CC BY-SA 3.0 (Y. LeCun, C. Cortes and C. Burges)",
    "penguins": "CC0 1.0 (A. Horst, A. Hill and K. Gorman)",
    "digits": "CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository)",
}


def write_preset(folder: str | os.PathLike, output: str | os.PathLike) -> pathlib.Path:
    """Writes the model of a finished run as the preset `output/EXPERIMENT`, with its card.

    Weights are stored in float16 if that changes the error on held-out examples (the squared error, a predictor's error, or a
    transformer's −log p) by less than a thousandth, otherwise in float32. The held-out examples are the validation split or,
    without one, the last tenth of the training split. The test split plays no part in this choice.

    Raises:
        ValueError: the folder does not hold a finished run.
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


def _write(run: Run, model: zoo.Autoencoder, data: Data, target: pathlib.Path) -> None:
    kind = kinds.of(run.experiment())
    split = data.held_out
    dtype = "float16"
    try:
        zoo.save_preset(model, target, dtype)
        full, half = (kind.held_out_error(each, split, data) for each in (model, zoo.load(target)))
        change = abs(half - full) / max(full, 1e-12)
    except ValueError:  # weights out of the range of float16
        change = np.inf
    if not change <= MOST_CHANGE:  # NaN, too
        dtype = "float32"
        zoo.save_preset(model, target, dtype)
    with files.reading(run.sample, "a sample of the run's data", "training again"), np.load(run.sample) as rows:
        sample = {name: rows[name][:SAMPLE] for name in kind.sampled if name in rows}
    files.write_arrays(target / zoo.presets.SAMPLE, kind.examples(sample, data))
    for name in _pictures(run):
        shutil.copyfile(run.report.parent / name, target / name)
    text = card(run, dtype)
    files.write(target / zoo.presets.CARD, lambda path: path.write_text(text, encoding="utf-8"))


def _pictures(run: Run) -> list[str]:
    """The files of the report's pictures that the preset contains."""
    names = [f"{name}.png" for name in kinds.of(run.experiment()).pictured]
    return [name for name in names if (run.report.parent / name).exists()]


def card(run: Run, dtype: str) -> str:
    """The model card of a finished run, in Markdown."""
    experiment, costs, metrics = run.experiment(), files.read_json(run.costs), files.read_json(run.metrics)
    versions = files.read_json(run.versions)
    figures = "\n".join(f"| `{name}` | {value:.5g} |" for name, value in metrics.items())
    values = {**experiment.settings, **({"training.precision": run.precision} if experiment.part("training") else {})}
    dataset = experiment["data.dataset"]
    minutes, seconds = divmod(round(costs["seconds"]), 60)
    settings = ", ".join(f"{key}={text_of(value)}" for key, value in values.items())
    pictures = "".join(f"\n![{name.removesuffix('.png')}]({name})\n" for name in _pictures(run))
    about = experiment.about.partition("Two cores")[0].strip()  # then follow the figures of the project's own run
    return f"""# {experiment.name}

{about}

- **Data:** `{dataset}`, training split. Licence: {LICENCES.get(dataset, "that of the data's owner")}.
- **Licence of the weights:** Apache-2.0.
- **Made by:** `{command(experiment)}`, {minutes} min {seconds:02d} s of training
  on {run.computed}, with Keras {versions["keras"]} on {versions["backend"]}.
- **Weights:** {costs["weights"]:,}, stored in {dtype}.

## Figures

Measured on the test split unless the name says otherwise.

| | |
|---|---|
{figures}
{pictures}
## Limits

The model was trained on `{dataset}` alone. It also answers for data of another kind, scale or position, but not well, and
`score` does not reliably reveal such data. {kinds.of(experiment).limits(experiment)}

## Settings

{settings}
"""
