"""Few labels: a classifier on a pretrained encoder against the same network from scratch, on MNIST.

    TFDS_DATA_DIR=… python benchmarks/few_labels.py [--pretrained=affine_mnist_k16] [--seeds=5] [--output=docs]

The labels are drawn again with every seed, the same number for each digit. Mean and standard deviation over the seeds are
written to `few_labels.md` and `few_labels.png` in the output folder. Measurements are stored in `runs/few_labels.json`, from
which an interrupted benchmark is resumed.
"""

import argparse
import pathlib

import numpy as np
from matplotlib.figure import Figure

import training
from training import files, kinds
from training.data.predictor import targeted
from training.data.splits import Data
from training.evaluation import arrays as evaluation
from training.fitting import loop
from training.reporting import pictures

COUNTS = (10, 100, 1_000, 0)  # 0: all
WAYS = {
    "frozen encoder": {"frozen": True, "learning_rate": 2e-2},
    "fine-tuned": {"learning_rate": 1e-3},
    "from scratch": {},
}
STORE = pathlib.Path("runs/few_labels.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pretrained", default="affine_mnist_k16", help="experiment whose encoder is used: a preset, or a run in runs/"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", default="docs")
    options = parser.parse_args()
    folder = pathlib.Path("runs") / options.pretrained
    source = str(folder) if (folder / "model.keras").exists() else options.pretrained
    trained = training.EXPERIMENTS[options.pretrained]
    data = kinds.open_data(trained)
    base = trained.override(kind="predictor", k=trained.k, batch_size=64)
    pretrained = {"encoder": "pretrained", "pretrained": source}
    measured = files.read_json(STORE) if STORE.exists() else {}
    for count in COUNTS:
        for way, changes in WAYS.items():
            for seed in range(options.seeds):
                key = f"{options.pretrained}, {way}, {count}, {seed}"
                if key not in measured:
                    encoder = {} if way == "from scratch" else pretrained
                    measured[key] = _error(base.override(**encoder, **changes, labels=count, seed=seed), data)
                    files.write_json(STORE, measured)
                    print(f"{key}: {100 * measured[key]:.2f} %", flush=True)
    errors = np.array(
        [[[measured[f"{options.pretrained}, {w}, {c}, {s}"] for s in range(options.seeds)] for c in COUNTS] for w in WAYS]
    )
    _write(errors, data.train.size, pathlib.Path(options.output))


def _error(experiment: training.Experiment, data: Data) -> float:
    few = targeted(data, "label", experiment.labels, experiment.seed)
    experiment = experiment.override(epochs=2 if not experiment.labels else 60)
    model = kinds.build(experiment, few)
    loop.compile(model, few, experiment)
    loop.fit_epochs(model, few, experiment, range(experiment.epochs), [])
    answers = [np.asarray(model.classify(rows["x"])).argmax(axis=1) for rows in few.test.batches(evaluation.BATCH)]
    return float(np.mean(np.concatenate(answers) != few.test.arrays["target"]))


def _write(errors: np.ndarray, size: int, output: pathlib.Path) -> None:
    means, spreads = 100 * errors.mean(axis=2), 100 * errors.std(axis=2)  # (ways, counts)
    names = [f"{count or size:,}" for count in COUNTS]
    lines = [
        f"| error on the test digits, % | {' | '.join(f'{name} labels' for name in names)} |",
        "|---|" + "---|" * len(COUNTS),
    ]
    for way, mean, spread in zip(WAYS, means, spreads, strict=True):
        lines.append(f"| {way} | {' | '.join(f'{m:.2f} ± {s:.2f}' for m, s in zip(mean, spread, strict=True))} |")
    table = "\n".join(lines) + "\n"
    files.write(output / "few_labels.md", lambda path: path.write_text(table, encoding="utf-8"))
    print(table)
    files.write(output / "few_labels.png", lambda path: plot(means, spreads, size).savefig(path, format="png"))


def plot(means: np.ndarray, spreads: np.ndarray, size: int) -> Figure:
    """Errors in percent by the number of labels: means and standard deviations `(ways, counts)`, on logarithmic axes."""
    counts = [count or size for count in COUNTS]
    figure = Figure(figsize=(6.5, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    looks = zip("osD", (pictures.MODEL, pictures.PCA, pictures.DATA), strict=True)
    for way, mean, spread, (marker, colour) in zip(WAYS, means, spreads, looks, strict=True):
        axes.errorbar(counts, mean, spread, marker=marker, color=colour, ms=5, capsize=3, label=way)
    axes.set(xlabel="labels", ylabel="error on the test digits, %", xscale="log", yscale="log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
