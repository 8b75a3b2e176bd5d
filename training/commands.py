"""What the command line calls, and notebooks too: train, evaluate, report, tune."""

import os

import numpy as np

from serving.export import export_run
from training import evaluation, files, fitting, report_page, strategies
from training.data import Data, load
from training.experiments import Experiment, find
from training.run import Run

SAMPLE_ROWS = 64


def train(
    experiment: Experiment | str, workdir: str | os.PathLike | None = None, strategy: str = "auto", restart: bool = False
) -> Run:
    """Trains an experiment, evaluates it, writes its report and exports it; a run that was killed goes on where it was.

    Args:
        experiment: itself, or the name of one of the project's.
        workdir: folder of the run; `runs/NAME` unless given.
        strategy: `auto`, `one`, `mirrored` or `tpu`.
        restart: throw away a run of the same folder first.

    Returns:
        The run, whose folder holds everything; a finished one is returned as it is.

    Raises:
        ValueError: anything wrong with the experiment, the data, the folder or the strategy.
    """
    experiment = find(experiment) if isinstance(experiment, str) else experiment
    run = Run(workdir or os.path.join("runs", experiment.name))
    scope = strategies.scope(strategy)
    run.expect(experiment, restart)
    if run.finished and not restart:
        print(f"{run.folder} is finished. --restart trains it anew.")
        return run
    data = open_data(experiment)
    if restart or not run.model.exists():
        _fit(experiment, data, run, scope, restart)
    if not run.metrics.exists():
        evaluate(run.folder, data)
    if not run.report.exists():
        report(run.folder, data)
    if not run.exported:
        export_run(run.folder, run.export)
    return run


def evaluate(folder: str | os.PathLike, data: Data | None = None) -> dict[str, float]:
    """Evaluates the model of a run's folder anew; writes `metrics.json`, `codes.npz` and `pca.keras`, returns the metrics."""
    run = Run(folder)
    experiment, model = run.experiment(), run.load_model()
    data = data or open_data(experiment)
    pca = evaluation.baseline(data, experiment.k)
    if pca:
        files.write(run.pca, pca.save)
    metrics, codes = evaluation.evaluate(model, pca, data, experiment.seed)
    files.write(run.codes, lambda path: np.savez(path, **codes))
    files.write_json(run.metrics, metrics)
    return metrics


def report(folder: str | os.PathLike, data: Data | None = None) -> str:
    """Writes the report of a run's folder anew; returns the path of its page."""
    run = Run(folder)
    experiment, model = run.experiment(), run.load_model()
    if not run.metrics.exists():
        evaluate(folder, data)
    report_page.write(run, model, data or open_data(experiment))
    return str(run.report)


def table(run: Run) -> str:
    """The figures of an evaluated run, for the terminal."""
    experiment, metrics = run.experiment(), files.read_json(run.metrics)
    errors = {key: metrics[f"{key}/squared_error"] for key in ("test", "pca") if f"{key}/squared_error" in metrics}
    labels = {"test": experiment.name, "pca": f"PCA, k = {experiment.k}"}
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
    return "\n".join(lines)


def open_data(experiment: Experiment) -> Data:
    """The data set of an experiment, split as it says."""
    return load(experiment.dataset, experiment.validation, experiment.memory_gib, experiment.image_size)


def _fit(experiment: Experiment, data: Data, run: Run, scope, restart: bool) -> None:
    with scope:
        model = fitting.build(experiment, data)
        if restart:
            run.clear()
        run.begin(experiment)
        history = fitting.fit(model, data, experiment, run)
    fitting.fit_mixture(model, evaluation.encode(model, data.train)["codes"], experiment.seed)
    sample = {name: column[:SAMPLE_ROWS] for name, column in next(data.test.batches(SAMPLE_ROWS)).items()}
    files.write(run.sample, lambda path: np.savez(path, **sample))
    files.write_json(run.history, history)
    files.write(run.model, model.save)
