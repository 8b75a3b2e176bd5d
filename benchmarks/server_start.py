"""Time from the start of `python -m serving serve` to its first answer.

    python benchmarks/server_start.py runs/demo/export

Prints the median and the range over the repeats, in seconds.
"""

import argparse
import pathlib
import statistics
import time

import serving

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("directory", help="holds MODEL/VERSION folders")
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()

model = next(pathlib.Path(options.directory).glob("*/*/saved_model.pb")).parents[1].name
times = []
for _ in range(options.repeats):
    start = time.perf_counter()
    with serving.Server(options.directory) as server, serving.Client(server.url, model) as client:
        client.generate([0])
        times.append(time.perf_counter() - start)
print(f"first answer after {statistics.median(times):.2f} s (median of {len(times)}, {min(times):.2f} … {max(times):.2f})")
