"""Data of one's own, with nothing named: `python -m training train --dataset=FILE` on data that packages bring.

    pip install plotnine  # for its diamonds
    python benchmarks/own_data.py [NAME …]

Prints, for each data set, the error on the test split and PCA's of equal k, in the units in which the model is judged, their
ratio, and the wall time of the command. What was measured is kept in `runs/own_data.json`: a benchmark that was stopped
goes on.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np
from sklearn import datasets

from training import files

STORE = pathlib.Path("runs/own_data.json")
SIDE = 16  # of the patches
PATCHES = 20_000


def diamonds() -> np.ndarray:
    """The numeric columns of 53,940 diamonds."""
    from plotnine import data

    return data.diamonds.select_dtypes("number").to_numpy("float32")


def patches() -> np.ndarray:
    """Patches of scikit-learn's two photographs, uint8."""
    random, found = np.random.default_rng(0), []
    for photograph in datasets.load_sample_images().images:
        rows = random.integers(0, photograph.shape[0] - SIDE, PATCHES // 2)
        columns = random.integers(0, photograph.shape[1] - SIDE, PATCHES // 2)
        found += [photograph[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)]
    return np.stack(found)


DATA = {
    "breast_cancer": lambda: datasets.load_breast_cancer().data,
    "wine": lambda: datasets.load_wine().data,
    "diabetes": lambda: datasets.load_diabetes(scaled=False).data,
    "digits": lambda: datasets.load_digits().images[..., None] / 16,
    "diamonds": diamonds,
    "patches": patches,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*DATA])
    measured = files.read_json(STORE) if STORE.exists() else {}
    for name in parser.parse_args().names:
        if name not in measured:
            measured[name] = _measured(name)
            files.write_json(STORE, measured)
        row = measured[name]
        print(f"{name:<15}{row['error']:>10.4g}{row['pca']:>10.4g}{row['error'] / row['pca']:>8.2f}{row['seconds']:>8.0f} s")


def _measured(name: str) -> dict[str, float]:
    folder = STORE.parent / "own_data" / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", DATA[name]())
    began = time.perf_counter()
    command = ["-m", "training", "train", f"--dataset={folder / f'{name}.npy'}", f"--workdir={folder / 'run'}", "--restart"]
    subprocess.run([sys.executable, *command], check=True)
    seconds, metrics = time.perf_counter() - began, files.read_json(folder / "run" / "metrics.json")
    kind = "scaled_error" if "test/scaled_error" in metrics else "squared_error"
    return {"error": metrics[f"test/{kind}"], "pca": metrics[f"pca/{kind}"], "seconds": seconds}


if __name__ == "__main__":
    main()
