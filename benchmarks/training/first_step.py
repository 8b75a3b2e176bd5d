"""Seconds from the start of `python -m training train conv_mnist_k16` to its first steps, the first call of the compiled loop.

    python benchmarks/training/first_step.py
    python benchmarks/training/first_step.py dense_digits_k8

The median of several starts; the first one is not counted, because it compiles what Python has not compiled yet. Of the
experiments, conv_mnist_k16 needs MNIST where TFDS_DATA_DIR has it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

CODE = """
import os, sys
from training.__main__ import main
from serving import quiet  # which the command imports before Keras too
import keras
def ended(self, *args, **kwargs):
    print("stepped", flush=True)
    os._exit(0)
keras.callbacks.CallbackList.on_train_batch_end = ended
main(sys.argv[1:])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default="conv_mnist_k16")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    _, *found = [started(options.experiment) for _ in range(1 + options.repeats)]
    print(f"first steps of {options.experiment}: {statistics.median(found):.1f} s ({min(found):.1f} … {max(found):.1f})")


def started(experiment: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        since = time.perf_counter()
        command = [sys.executable, "-c", CODE, "train", experiment, f"--workdir={folder}/run"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        taken = time.perf_counter() - since
    if "stepped" not in done.stdout:
        raise RuntimeError(f"Expected a first step. Received: {done.stderr.strip()[-1000:]}. Try training {experiment}.")
    return taken


if __name__ == "__main__":
    main()
