"""The zoo on other people's tables, defaults only: python benchmarks/tables imputation | peers | odd | synthetic | latency

    pip install -e .[bench]
    python benchmarks/tables imputation [--tables=A,B] [--minutes=1] [--served]

Each part says with --help what it measures. Without a name it is `imputation`.
"""

import importlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is there

PARTS = ("imputation", "peers", "odd", "synthetic", "latency")


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return
    part = arguments.pop(0) if arguments and arguments[0] in PARTS else PARTS[0]
    importlib.import_module(part).main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
