"""Single words over HTTP: the preset `g2p_cmudict` on the embedded server beside g2p_en behind FastAPI, in one run.

    python benchmarks/servers/words.py --folder pronunciation-benchmark --plot docs/pronunciation.png

g2p_en gets a virtual environment of its own in the folder. Load and servers share the machine; both are measured in turn,
several times; medians are printed and drawn. Linux only.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from load import load, request
from peers.peers import HERE, PEERS, ask, environment

import serving

NAME, SECONDS, PORT = "g2p_cmudict", 4, 9730
SWEEP, SHOWN = (1, 2, 4, 8, 16, 32, 64), (1, 8, 32)  # connections that are drawn, and printed
SAMPLE = HERE.parents[2] / "zoo" / "presets" / NAME / "sample.npz"
EXPORT = "import sys, training, zoo; from serving.export import export; export(zoo.load(sys.argv[1]), sys.argv[2], sys.argv[1])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("pronunciation-benchmark"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="within an operation of the embedded server; 0: its default")
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    models = options.folder / "models"
    if not any((models / NAME).glob("[0-9]*")):  # in a process of its own: this one stays free of TensorFlow's threads
        subprocess.run([sys.executable, "-c", EXPORT, NAME, models], check=True)
    python = environment(PEERS["fastapi"]._replace(name="g2p_en"), options.folder / "environments")
    with np.load(SAMPLE) as sample:
        bodies = [json.dumps({"instances": [word]}).encode() for word in sample["source"].tolist() if word.isalpha()]
    with serving.Server(models, tensorflow_intra_op_parallelism=options.threads) as server, _g2p_en(python):
        posts = {
            "this server": (int(server.url.rsplit(":", 1)[1]), [request(f"/v1/models/{NAME}:predict", b) for b in bodies]),
            "g2p_en behind FastAPI": (PORT, [request("/predict", body) for body in bodies]),
        }
        found = [
            {count: {name: load(*post, count, SECONDS) for name, post in posts.items()} for count in SWEEP}
            for _ in range(options.repeats)
        ]
    curves = {name: [statistics.median(row[count][name].rate for row in found) for count in SWEEP] for name in posts}
    for count in SHOWN:
        for name, rates in curves.items():
            latency, rate = statistics.median(row[count][name].p50 for row in found), rates[SWEEP.index(count)]
            print(f"{name}: {rate:,.0f} requests/s, median latency {latency:.0f} ms, {count} connections")
        own, other = (rates[SWEEP.index(count)] for rates in curves.values())
        print(f"  {own / other:.1f} times as many")
    if options.plot:
        _plot(curves, options.plot)


def _plot(curves: dict[str, list[float]], path: pathlib.Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, rates), marker, colour in zip(curves.items(), "os", ("#0a8ffc", "#772800"), strict=True):
        axes.plot(SWEEP, rates, marker=marker, color=colour, label=name, linewidth=2)
    axes.set(xlabel="connections", ylabel="answered requests a second", xscale="log", ylim=(0, None))
    axes.set_xticks(SWEEP, SWEEP, minor=False)
    axes.minorticks_off()
    axes.set_title("One word a request", loc="left")
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


@contextlib.contextmanager
def _g2p_en(python: str) -> Iterator[None]:
    process = subprocess.Popen([python, HERE / "g2p_en_server.py", str(PORT)])
    try:
        while ask(PORT, "/predict", b'{"instances": ["ready"]}') is None:
            if process.poll() is not None:
                raise RuntimeError(f"Expected g2p_en behind FastAPI. Received: exit status {process.returncode}.")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
