"""Anomaly detection on MNIST: ten models, each trained without one digit, and how well a low score detects that digit.

    TFDS_DATA_DIR=… python benchmarks/left_out.py

Measurements are stored in `runs/left_out.json`, from which an interrupted benchmark is resumed.
"""

import pathlib

import training
from training import files, kinds
from training.evaluation import arrays as evaluation
from training.fitting import loop
from training.fitting.priors import fit_to_codes

CLASSES = 10
STORE = pathlib.Path("runs/left_out.json")


def main() -> None:
    measured = files.read_json(STORE) if STORE.exists() else {}
    for digit in map(str, range(CLASSES)):
        if digit not in measured:
            measured[digit] = _auroc(training.EXPERIMENTS["anomaly_mnist"].override(left_out=int(digit)))
            files.write_json(STORE, measured)
            print(f"{digit}: {measured[digit]}", flush=True)
    verbs = list(measured["0"])
    print(f"| left out | {' | '.join(verbs)} |\n|---|{'---|' * len(verbs)}")
    for digit, row in measured.items():
        print(f"| {digit} | {' | '.join(f'{value:.3f}' for value in row.values())} |")
    means = [sum(row[verb] for row in measured.values()) / CLASSES for verb in verbs]
    print(f"| mean | {' | '.join(f'{mean:.3f}' for mean in means)} |")


def _auroc(experiment: training.Experiment) -> dict[str, float]:
    data = kinds.open_data(experiment)
    model = kinds.build(experiment, data)
    loop.compile(model, data, experiment)
    loop.fit_epochs(model, data, experiment, range(experiment.epochs), [])
    train = evaluation.encode(model, data.train, model.draw)
    fit_to_codes(model, train["codes"], train["labels"], experiment.seed)
    return evaluation.anomaly(model, data.test, experiment.left_out)


if __name__ == "__main__":
    main()
