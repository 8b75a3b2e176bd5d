"""What the command line calls, and notebooks too: train, evaluate, report, generate …"""

import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from serving.export import export_run
from training import files, kinds
from training.data.splits import Data
from training.experiments.experiment import Experiment
from training.experiments.named import command, find
from training.fitting import loop, processors, strategies
from training.reporting import page, pictures
from training.run import Run, trained

SAMPLE_ROWS = 64
COLLAPSED = (
    "No dimension of the code is active: the posterior has collapsed onto the prior, so that codes say nothing of the data. "
    "Try a lower --beta, --kl_warmup=0.3, or --free_bits=0.1."
)
SHOWN = {  # beside the squared error, by the words that a table of figures has for them
    "beam/sequence_error_rate": "wrong targets, beam search",
    "beam/sequence_error_rate_without_stress": "word error rate without stress",
    "beam/token_error_rate_without_stress": "phone error rate without stress",
    "test/error": "error",
    "test/r2": "R²",
    "generate_class/agreement": "classifier agrees with the class asked for",
    "anomaly/score_auroc": "AUROC of `score`",
    "anomaly/score_code_auroc": "AUROC of `score_code`",
    "codebook/perplexity": "codebook perplexity",
}


def train(
    experiment: Experiment | str,
    workdir: str | os.PathLike | None = None,
    strategy: str = "auto",
    restart: bool = False,
    report: bool = True,
) -> Run:
    """Trains an experiment, evaluates it, writes its report and exports it; a run that was killed goes on where it was.

    Args:
        experiment: itself, or the name of one of the project's.
        workdir: folder of the run; `runs/NAME` unless given.
        strategy: `auto`, `one`, `mirrored` or `tpu`.
        restart: throw away a run of the same folder first.
        report: draw the report too; a finished run without one gets it where this is asked for.

    Returns:
        The run, whose folder holds everything; a finished one is returned as it is.

    Raises:
        ValueError: anything wrong with the experiment, the data, the folder or the strategy.
    """
    experiment = find(experiment) if isinstance(experiment, str) else experiment
    run = Run(workdir or os.path.join("runs", experiment.name))
    scope = strategies.scope(strategy)
    if run.config.exists() and not restart:
        experiment = _as_settled(experiment, run.experiment())
    run.expect(experiment, restart)
    if run.finished and (run.report.exists() or not report) and not restart:
        print(f"{run.folder} is finished. --restart trains it anew.")
        return run
    kind = kinds.of(experiment)
    data = kind.open(experiment)
    if restart or not run.model.exists():
        _fit(kind.settled(experiment, data), data, run, scope, restart)
    if not run.metrics.exists():
        evaluate(run.folder, data)
    if report and not run.report.exists():
        _report(run, data)
    if not run.exported:
        export_run(run.folder, run.export)
    return run


def evaluate(folder: str | os.PathLike, data: Data | None = None) -> dict[str, float]:
    """Evaluates the model of a run's folder anew; writes `metrics.json`, `codes.npz` and, where there is one to compare with,
    `pca.keras`; returns the metrics."""
    run = Run(folder)
    experiment, model = run.experiment(), run.load_model()
    kind = kinds.of(experiment)
    found = kind.evaluate(model, data or kind.open(experiment), experiment)
    if found.baseline:
        files.write(run.pca, found.baseline.save)
    files.write(run.codes, lambda path: np.savez(path, **found.arrays))
    files.write_json(run.metrics, found.metrics)
    return found.metrics


def report(folder: str | os.PathLike, data: Data | None = None) -> str:
    """Writes the report of a run's folder anew; returns the path of its page."""
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
    if "test/squared_error" not in metrics:
        return "\n".join(_lines(metrics))
    errors = {key: metrics[f"{key}/squared_error"] for key in ("test", "pca") if f"{key}/squared_error" in metrics}
    labels = {"test": experiment.name, "pca": "PCA of equal k"}
    lines = [f"{'on the test split':<28}{'squared error':>15}{'per dimension':>15}"]
    lines += [f"{labels[key]:<28}{error:>15.4f}{metrics[f'{key}/mse']:>15.5f}" for key, error in errors.items()]
    if errors.get("pca", 0) > 0:
        lines.append(f"{'ratio':<28}{100 * errors['test'] / errors['pca']:>13.1f} %")
    if "knn/error" in metrics:
        pca = f" (PCA {100 * metrics['pca/knn_error']:.1f} %)" if "pca/knn_error" in metrics else ""
        lines.append(
            f"on the codes, without labels in training: 1-nearest-neighbour error {100 * metrics['knn/error']:.1f} %{pca}, "
            f"linear probe {100 * metrics['probe/accuracy']:.1f} %, k-means purity {100 * metrics['kmeans/purity']:.1f} %"
        )
    shown = ("test/", "train/", "pca/", "knn/", "probe/", "kmeans/")
    lines += _lines({key: value for key, value in metrics.items() if not key.startswith(shown)})
    return "\n".join([*lines, COLLAPSED] if metrics.get("active_units") == 0 else lines)


def _lines(metrics: dict[str, float]) -> list[str]:
    return [f"{key:<50}{value:>12.4g}" for key, value in metrics.items()]


def figures(runs: Iterable[Run]) -> str:
    """A table in Markdown of finished runs: their main figures, weights, time of training and on what, command."""
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
        if key == "test/squared_error":
            pca = f" (PCA {metrics['pca/squared_error']:.2f})" if "pca/squared_error" in metrics else ""
            yield "squared error", f"{value:.2f}{pca}"
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


def generate(model: str | os.PathLike, output: str | os.PathLike, count: int = 60) -> str:
    """Draws `count` new examples, with seeds 0, 1, 2 …, into a picture.

    Args:
        model: a preset's name, or the folder of a preset or of a run.
        output: path of the picture, a PNG file.

    Returns:
        The path.

    Raises:
        ValueError: no such model, or one that generates nothing; a count below 1.
    """
    if count < 1:
        raise ValueError(f"Expected at least one example. Received: count={count}. Try --count=60.")
    drawn = trained(model)
    if [*getattr(drawn.signatures().get("generate"), "inputs", ())] != ["seed"]:
        raise ValueError(f"Expected a model that draws examples. Received: {model}, a {type(drawn).__name__}. Try another.")
    x = np.asarray(drawn.generate(np.arange(count, dtype="int32")))
    path = pathlib.Path(output)
    files.write(path, lambda beside: beside.write_bytes(pictures.png(pictures.samples(x))))
    return str(path)


def _as_settled(experiment: Experiment, there: Experiment) -> Experiment:
    """An experiment with the values that a run of it has found in its data for what it leaves open."""
    left_open = [key for key, value in experiment.settings.items() if value is None and there.get(key) is not None]
    return experiment.override({key: there[key] for key in left_open})


def _report(run: Run, data: Data) -> None:
    kind, metrics = kinds.of(run.experiment()), files.read_json(run.metrics)
    page.write(run, metrics, kind.figures(run, run.load_model(), data, metrics))


def _fit(experiment: Experiment, data: Data, run: Run, scope, restart: bool) -> None:
    kind = kinds.of(experiment)
    precision = (None if restart else run.precision) or strategies.precision(experiment)
    computed = experiment.override({"training.precision": precision} if experiment.part("training") else {})
    with scope:
        model = kind.build(computed, data)
        if restart:
            run.clear()
        run.begin(experiment, precision)
        history, seconds = loop.fit(model, data, computed, run)
    model = kind.in_float32(model, computed, data)
    kind.after_fit(model, data, experiment)
    rows = next(data.test.batches(SAMPLE_ROWS))
    sample = {name: column[:SAMPLE_ROWS] for name, column in rows.items() if name in kind.sampled}
    files.write(run.sample, lambda path: np.savez(path, **sample))
    files.write_json(run.history, history)
    costs = {"seconds": seconds, "weights": model.count_params(), "device": strategies.device()}
    files.write_json(run.costs, costs | {"processor": processors.name(), "precision": precision})
    files.write(run.model, model.save)
