"""The quality report of SDMetrics.

python quality.py REAL.csv SYNTHETIC.csv FIGURES.json
"""

import json
import sys
import warnings

import pandas as pd

warnings.simplefilter("ignore")  # the report of single tables is called by its name of before
from sdmetrics.reports.single_table import QualityReport  # noqa: E402


def main(real: str, synthetic: str, figures: str) -> None:
    real, synthetic = pd.read_csv(real), pd.read_csv(synthetic)
    kinds = {name: "numerical" if real[name].dtype.kind in "if" else "categorical" for name in real}
    report = QualityReport()
    report.generate(
        real, synthetic[[*real]], {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}, verbose=False
    )
    parts = report.get_properties().set_index("Property")["Score"]
    with open(figures, "w") as file:
        json.dump({"quality": report.get_score(), **{name.lower(): float(score) for name, score in parts.items()}}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
