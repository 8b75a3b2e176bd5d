"""Outlier scores of rows by PyOD's detectors, with their defaults.

python pyod_scores.py ROWS.npz SCORES.json

For each KIND of encoding the file has the arrays `KIND train` and `KIND test`. The answer has scores and seconds by detector
and kind; the higher a score, the odder the row.
"""

import json
import sys
import time

import numpy as np
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest

DETECTORS = {
    "AutoEncoder": lambda: AutoEncoder(verbose=0),
    "ECOD": ECOD,
    "IForest": lambda: IForest(random_state=0),
}


def main(rows: str, output: str) -> None:
    arrays = np.load(rows)
    kinds = dict.fromkeys(name.split()[0] for name in arrays)
    found = {
        name: {kind: scored(name, arrays[f"{kind} train"], arrays[f"{kind} test"]) for kind in kinds} for name in DETECTORS
    }
    with open(output, "w") as file:
        json.dump(found, file)


def scored(name: str, train: np.ndarray, test: np.ndarray) -> dict:
    began = time.perf_counter()
    detector = DETECTORS[name]().fit(train)
    scores = detector.decision_function(test)
    return {"scores": [float(score) for score in scores], "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main(*sys.argv[1:])
