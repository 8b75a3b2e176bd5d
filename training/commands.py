"""The functions behind the command line, also for use in Python: train, evaluate, report, generate …"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from serving.export import export_run
from training import chooser, files, kinds, prediction, reporting, workers
from training.data.fingerprint import fingerprint
from training.data.splits import Data
from training.experiments.experiment import Experiment
from training.experiments.named import command, find
from training.fitting import loop, processors, spanning, strategies
from training.fitting.meeting import SECONDS
from training.progress import stage
from training.reporting.schemas import shortened
from training.run import Run, trained

SAMPLE_ROWS = 64
MOST_COLUMNS = 40  # whose errors are printed
COLUMN = re.compile("columns/(.+)/imputation", re.DOTALL)
COLLAPSED = (
    "No dimension of the code is active: the posterior has collapsed to the prior, and codes carry no information. "
    "Try a lower --beta, --kl_warmup=0.3, or --free_bits=0.1."
)
SHOWN = {  # metrics in the table of figures, besides the squared error, and their names there
    "beam/sequence_error_rate": "wrong targets, beam search",
    "beam/sequence_error_rate_without_stress": "word error rate without stress",
    "beam/token_error_rate_without_stress": "phone error rate without stress",
    "test/error": "error",
    "test/r2": "R²",
    "target/codes/accuracy": "accuracy of a head on the codes",
    "target/codes/r2": "R² of a head on the codes",
    "generate_class/agreement": "classifier agrees with the requested class",
    "anomaly/score_auroc": "AUROC of `score`",
    "anomaly/score_code_auroc": "AUROC of `score_code`",
    "codebook/perplexity": "codebook perplexity",
    "lossy/bits_per_value": "bits a value, lossy compression",
    "lossy/psnr": "its signal-to-noise ratio in dB",
}


def train(
    experiment: Experiment | str,
    workdir: str | os.PathLike | None = None,
    strategy: str = "auto",
    restart: bool = False,
    report: bool = True,
    wait: float = SECONDS,
) -> Run:
    """Trains an experiment, evaluates it, writes its report and exports it. An interrupted run is resumed where it stopped.

    Args:
        experiment: an experiment, or the name of one of the project's.
        workdir: folder of the run; `runs/NAME` unless given.
        strategy: `auto`, `one`, `mirrored`, `multiworker`, `tpu` or `model`.
        restart: delete an existing run in the folder first.
        report: write the report; a finished run without a report gets one.
        wait: seconds that the workers of `TF_CONFIG` wait for one another before they begin.

    Returns:
        The run, whose folder holds all results; a finished run is returned as it is.

    Raises:
        ValueError: something is wrong with the experiment, the data, the folder or the strategy.
    """
    experiment = find(experiment) if isinstance(experiment, str) else experiment
    run = Run(workdir or os.path.join("runs", experiment.name))
    strategy = strategies.chosen(strategy)
    if strategy == "multiworker":
        return _completed_together(experiment, run, restart, report, wait)
    scope = strategies.scope(strategy)
    if strategy != "model":
        return _completed(experiment, run, scope, restart, report)
    with scope:  # the model may be too large for one device also where it is evaluated
        return _completed(experiment, run, contextlib.nullcontext(), restart, report)


def _completed_together(experiment: Experiment, run: Run, restart: bool, report: bool, wait: float) -> Run:
    """The run with all that it lacks, on the chief, which trains with the others, and goes on alone with the rest."""
    with workers.gathered(experiment, run, restart, wait) as part:
        if not part.trained:
            scope = strategies.scope("multiworker")
            data = _opened(part.run.expect(experiment, restart))
            part.presence.agree(fingerprint(data))
            if part.chief:
                return _completed(experiment, run, scope, restart, report, data)
            _take_part(experiment, data, part.run, scope)
        elif part.chief:
            return _completed(experiment, run, strategies.scope("one"), restart, report)
    print("This worker has done its part. The run is the chief's.")
    return run


def _completed(
    experiment: Experiment,
    run: Run,
    scope: contextlib.AbstractContextManager,
    restart: bool,
    report: bool,
    data: Data | None = None,
) -> Run:
    """The run with all that it lacks, as `train` says; the model is fitted in `scope`. The data are opened unless given."""
    experiment = run.expect(experiment, restart)
    if run.finished and (run.report.exists() or not report) and not restart:
        print(f"{run.folder} is finished. --restart trains it again.")
        return run
    kind = kinds.of(experiment)
    data = data or _opened(experiment)
    if restart or not run.model.exists():
        if not experiment.reasons and len(kind.described(data)) > 1:  # otherwise it has been said, or is known
            chooser.say(experiment, data)
        _fit(kind.settled(experiment, data), data, run, scope, restart)
    if not run.metrics.exists():
        evaluate(run.folder, data)
    if report and not run.report.exists():
        with stage("drawing the report"):
            _report(run, data)
    if not run.exported:
        with stage("exporting"):
            export_run(run.folder, run.export)
    return run


def evaluate(folder: str | os.PathLike, data: Data | None = None) -> dict[str, float]:
    """Evaluates the model in a run's folder and returns the metrics; writes `metrics.json`, `codes.npz` and, if PCA serves as
    a baseline, `pca.keras`."""
    run = Run(folder)
    experiment, model = run.experiment(), run.load_model()
    kind = kinds.of(experiment)
    evaluation = kind.evaluate(model, data or kind.open(experiment), experiment)
    if evaluation.baseline:
        files.write(run.pca, evaluation.baseline.save)
    files.write(run.codes, lambda path: np.savez(path, **evaluation.arrays))
    files.write_json(run.metrics, evaluation.metrics)
    return evaluation.metrics


def report(folder: str | os.PathLike, data: Data | None = None) -> str:
    """Writes the report of the run in a folder; returns the path of its page."""
    run = Run(folder)
    experiment = run.experiment()
    data = data or kinds.open_data(experiment)
    if not run.metrics.exists():
        evaluate(folder, data)
    _report(run, data)
    return str(run.report)


def table(run: Run) -> str:
    """The figures of an evaluated run, for the terminal."""
    experiment, metrics = run.experiment(), files.read_json(run.metrics)
    if "imputation/score" in metrics:
        return "\n".join(_imputation(experiment.name, metrics))
    if "test/squared_error" not in metrics:
        return "\n".join(_lines(metrics))
    lines = _errors(experiment.name, metrics)
    if "knn/error" in metrics:
        pca = f" (PCA {100 * metrics['pca/knn_error']:.1f} %)" if "pca/knn_error" in metrics else ""
        lines.append(
            f"on the codes, without labels in training: 1-nearest-neighbour error {100 * metrics['knn/error']:.1f} %{pca}, "
            f"linear probe {100 * metrics['probe/accuracy']:.1f} %, k-means purity {100 * metrics['kmeans/purity']:.1f} %"
        )
    shown = ("test/", "train/", "pca/", "knn/", "probe/", "kmeans/")
    lines += _lines({key: value for key, value in metrics.items() if not key.startswith(shown)})
    return "\n".join([*lines, COLLAPSED] if metrics.get("active_units") == 0 else lines)


def _errors(name: str, metrics: dict[str, float]) -> list[str]:
    """The model's errors beside PCA's: first the one that the model was trained on, whose ratio is given."""
    titles = {"scaled_error": "scaled error", "squared_error": "squared error", "mse": "per dimension"}
    kinds_of_error = [kind for kind in titles if f"test/{kind}" in metrics]
    lines = [f"{'on the test split':<28}" + "".join(f"{titles[kind]:>15}" for kind in kinds_of_error)]
    for key, label in {"test": name, "pca": "PCA of equal k"}.items():
        if f"{key}/{kinds_of_error[0]}" in metrics:
            lines.append(f"{label:<28}" + "".join(f"{metrics[f'{key}/{kind}']:>15.5g}" for kind in kinds_of_error))
    pca = metrics.get(f"pca/{kinds_of_error[0]}", 0)
    if pca > 0:
        lines.append(f"{'ratio':<28}{100 * metrics[f'test/{kinds_of_error[0]}'] / pca:>13.1f} %")
    return lines


def _imputation(name: str, metrics: dict[str, float]) -> list[str]:
    """The errors of hidden cells beside those of the mean or mode: on average, also of PCA, then column by column."""
    columns = [key.removeprefix("columns/").removesuffix("/imputation") for key in metrics if COLUMN.fullmatch(key)]
    shown = {column: shortened(column) for column in columns[:MOST_COLUMNS]}
    width = max(len(text) for text in ("PCA of equal k", name, *shown.values()))
    averages = {name: "imputation/score", "PCA of equal k": "pca/imputation", "mean and mode": "imputation/baseline"}
    lines = ["error of hidden cells on the test split, in units of that of mean and mode"]
    lines += [f"  {label:<{width}}{metrics[key]:>12.4g}" for label, key in averages.items() if key in metrics]
    lines += ["of each column, in standard deviations or as the share of wrong classes, beside that of its mean or mode"]
    for column, text in shown.items():
        errors = [metrics[f"columns/{column}/{key}"] for key in ("imputation", "baseline")]
        lines.append(f"  {text:<{width}}" + "".join(f"{error:>12.4g}" for error in errors))
    lines += [f"  … and {len(columns) - len(shown):,} more columns"] if len(columns) > len(shown) else []
    return lines + _lines({key: each for key, each in metrics.items() if not key.startswith(("columns/", *averages.values()))})


def _lines(metrics: dict[str, float]) -> list[str]:
    return [f"{key:<50}{value:>12.4g}" for key, value in metrics.items()]


def figures(runs: Iterable[Run]) -> str:
    """A Markdown table of finished runs: main figures, number of weights, training time and device, and command."""
    lines = ["| | figures on the test split | weights | training | command |", "|---|---|---|---|---|"]
    for run in runs:
        experiment, metrics, costs = run.experiment(), files.read_json(run.metrics), files.read_json(run.costs)
        main = "; ".join(f"{words} {value}" for words, value in _headline(metrics))
        time = f"{costs['seconds'] / 60:.0f} min" if costs["seconds"] >= 90 else f"{costs['seconds']:.0f} s"
        cells = [f"`{experiment.name}`", main, f"{costs['weights']:,}", f"{time}, {run.computed}", f"`{command(experiment)}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _headline(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    for key, value in metrics.items():
        if key == "test/scaled_error":
            pca = f" (PCA {metrics['pca/scaled_error']:.4f})" if "pca/scaled_error" in metrics else ""
            yield "scaled error", f"{value:.4f}{pca}"
        elif key == "test/squared_error":
            pca = f" (PCA {metrics['pca/squared_error']:.2f})" if "pca/squared_error" in metrics else ""
            yield "squared error", f"{value:.2f}{pca}"
        elif key == "imputation/score":
            pca = f"PCA {metrics['pca/imputation']:.3f}, " if "pca/imputation" in metrics else ""
            yield "error of hidden cells", f"{value:.3f} ({pca}mean and mode 1)"
        elif key == "knn/error":
            pca = f" (PCA {100 * metrics['pca/knn_error']:.1f} %)" if "pca/knn_error" in metrics else ""
            yield "1-NN error on the codes", f"{100 * value:.1f} %{pca}"
        elif key.startswith("nll/"):
            unit = "bits" if "bits" in key else "nats"
            yield "−log p(x),", f"{value:.2f} {unit} ({key.removeprefix('nll/').replace('_', ' ')})"
        elif key.endswith("/generate"):
            yield "Fréchet distance in the classifier's features", f"{value:.2f}"
        elif key in SHOWN:
            yield SHOWN[key], f"{100 * value:.2f} %" if "error_rate" in key else f"{value:.4g}"


def generate(model: str | os.PathLike, output: str | os.PathLike | None = None, count: int = 60) -> str:
    """Generates `count` new examples, with seeds 0, 1, 2 …, and writes them as a picture; rows of a table, as a table.

    Args:
        model: a preset's name, or the folder of a preset or of a run.
        output: path of the picture, a PNG file, or of the table, as `predict` writes it; `generated.png` or `generated.csv`
            unless given.

    Returns:
        The path.

    Raises:
        ValueError: no such model, or one that generates no examples; a count below 1.
    """
    if count < 1:
        raise ValueError(f"Expected at least one example. Received: count={count}. Try --count=60.")
    generator = trained(model)
    if [*getattr(generator.signatures().get("generate"), "inputs", ())] != ["seed"]:
        raise ValueError(
            f"Expected a model that generates examples. Received: {model}, a {type(generator).__name__}. Try conv_mnist_k16."
        )
    if prediction.are_rows(generator, generator.signatures()["generate"].outputs):
        return prediction.generate(generator, pathlib.Path(output or "generated.csv"), count)
    path = pathlib.Path(output or "generated.png")
    x = np.asarray(generator.generate(np.arange(count, dtype="int32")))
    files.write(path, lambda temporary: temporary.write_bytes(reporting.pictures.png(reporting.pictures.samples(x))))
    return str(path)


def _report(run: Run, data: Data) -> None:
    kind, metrics = kinds.of(run.experiment()), files.read_json(run.metrics)
    reporting.page.write(run, metrics, kind.figures(run, run.load_model(), data, metrics))


def _opened(experiment: Experiment) -> Data:
    with stage("reading the data"):
        return kinds.open_data(experiment)


def _take_part(experiment: Experiment, data: Data, run: Run, scope: contextlib.AbstractContextManager) -> None:
    """What a worker does that is not the chief: it goes through the same training, and leaves the rest to the chief."""
    experiment = run.expect(experiment)
    _fit(kinds.of(experiment).settled(experiment, data), data, run, scope, False)


def _fit(experiment: Experiment, data: Data, run: Run, scope: contextlib.AbstractContextManager, restart: bool) -> None:
    kind = kinds.of(experiment)
    precision = (None if restart else run.precision) or strategies.precision(experiment)
    computed = experiment.override({"training.precision": precision} if experiment.part("training") else {})
    with scope:
        model, spans, chief = kind.build(computed, data), spanning.spans(), spanning.writes()
        if restart:
            run.clear()
        run.begin(experiment, precision)
        kind.keep(data, run)
        history, seconds = loop.fit(model, data, computed, run)
        if not spans:
            kind.refine(model, data, computed, run, history)
    if spans:
        strategies.part()
    if not chief:
        return
    if spans:  # the chief goes on alone, with a model that no longer waits for others
        model, joint = kind.build(computed, data), model
        spanning.copy(joint, model)
        kind.refine(model, data, computed, run, history)
    model = kind.in_float32(model, computed, data)
    with stage("fitting the prior"):
        kind.after_fit(model, data, experiment)
    rows = next(data.test.batches(SAMPLE_ROWS))
    sample = {name: column[:SAMPLE_ROWS] for name, column in rows.items() if name in kind.sampled}
    files.write(run.sample, lambda path: np.savez(path, **sample))
    files.write_json(run.history, history)
    costs = {"seconds": seconds, "weights": model.count_params(), "device": strategies.device()}
    files.write_json(run.costs, costs | {"processor": processors.name(), "precision": precision})
    files.write(run.model, model.save)
