"""Time from the start of `python -m serving serve` to its first answer; two versions, if given, are measured in turn.

    python benchmarks/server_start.py runs/demo/export --other ../another_checkout

Prints the median and the range over all repeats, in seconds, and the ratio of the medians.
"""

import argparse
import os
import pathlib
import statistics
import time

import serving

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("directory", help="folder with MODEL/VERSION folders")
parser.add_argument("--other", type=pathlib.Path, help="a checkout of another version")
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()

checkouts = {"here": pathlib.Path(__file__).resolve().parents[1]}
if options.other:
    checkouts["other"] = options.other.resolve()
directory = pathlib.Path(options.directory).resolve()
model = next(directory.glob("*/*/saved_model.pb")).parents[1].name
times: dict[str, list[float]] = {name: [] for name in checkouts}
for _ in range(options.repeats):
    for name, checkout in checkouts.items():
        os.chdir(checkout)  # the server's `python -m` finds the packages of the current folder first
        start = time.perf_counter()
        with serving.Server(directory) as server, serving.Client(server.url, model) as client:
            client.generate([0])
            times[name].append(time.perf_counter() - start)
for name, each in times.items():
    print(
        f"{name}: first answer after {statistics.median(each):.2f} s (median of {len(each)}, {min(each):.2f} … {max(each):.2f})"
    )
if options.other:
    print(f"other / here: {statistics.median(times['other']) / statistics.median(times['here']):.2f}")
