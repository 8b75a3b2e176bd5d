"""The embedded server against its own echo, against calls without a server, and against other servers, all in one run.

    python benchmarks/servers --folder servers-benchmark --plot docs/serving.png

Every server answers for the same dense model 784-128-32-128-784; each other server has a virtual environment of its own in the
folder (2 GB each). Load and server share the machine. Figures that are compared are measured in turn, several times; medians
are printed and kept in figures.json. Linux only.
"""

import argparse
import contextlib
import io
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
from load import load, request
from peers.peers import PEERS, WIDTH, environment, start

import serving

HERE = pathlib.Path(__file__).resolve().parent
MODEL, PATH = "dense", "/v1/models/dense:predict"
SECONDS, CONNECTIONS, ROWS, CALLS = 3, 32, 32, 4
SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
PORT = 9710
COLOURS = ("#0a8ffc", "#264781", "#ff4b12", "#772800", "#7c92ac", "#c18068", "#000023")  # apart for all eyes, 3:1 on white

MAKE = f"""
import sys
import numpy as np
from serving.quiet import tensorflow as tf
rng, sizes = np.random.default_rng(0), (784, 128, 32, 128, {WIDTH})
module = tf.Module()
module.w = [tf.Variable(rng.normal(size=s, scale=s[0] ** -0.5).astype("float32")) for s in zip(sizes, sizes[1:])]
module.b = [tf.Variable(tf.zeros(size)) for size in sizes[1:]]
@tf.function(input_signature=[tf.TensorSpec((None, {WIDTH}), tf.float32, "x")])
def call(x):
    for number, (w, b) in enumerate(zip(module.w, module.b)):
        x = x @ w + b
        x = tf.sigmoid(x) if number == 3 else tf.nn.relu(x)
    return {{"x": x}}
tf.saved_model.save(module, sys.argv[1], signatures={{"serving_default": call}})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("servers-benchmark"))
    parser.add_argument("--peers", default=",".join(PEERS), help="names, by commas; none for none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the look at the memory")
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    saved = options.folder.resolve() / "models" / MODEL / "1"
    if not saved.exists():
        subprocess.run([sys.executable, "-c", MAKE, saved], check=True)
    figures: dict[str, float] = {}
    curves: dict[str, list] = {}
    for part in (own, workers, memory):
        part(saved, options, figures, curves)
        _keep(options.folder, figures, curves)
    for name in [name for name in options.peers.split(",") if name in PEERS]:
        compare(name, saved, options, figures, curves)
        _keep(options.folder, figures, curves)
    if options.plot:
        plot(curves, options.plot)


def own(saved: pathlib.Path, options, figures: dict, curves: dict) -> None:
    """One server: against its echo and against calls in one process; its tail."""
    rows = _rows()
    posts = [request(PATH, json.dumps({"instances": [row]}).encode()) for row in rows]
    with serving.Server(saved.parents[1]) as server, _echo() as echo:
        port = _port(server)
        measures = {
            "REST, 1 row": lambda: load(port, posts, CONNECTIONS, SECONDS).rate,
            "echo of the bytes": lambda: load(echo, _to("/bytes", posts), CONNECTIONS, SECONDS).rate,
            "echo of the numbers": lambda: load(echo, _to("/json", posts), CONNECTIONS, SECONDS).rate,
        }
        figures |= _medians(measures, options.repeats, "requests/s")
        npy = [request(PATH, _npy(number), "application/x-npy") for number in range(8)]
        measures = {
            "in process, 32 rows, signature": lambda: _script("in_process.py", saved)[0],
            "in process, 32 rows, the server's own call": lambda: _script("in_process.py", saved)[1],
            "gRPC, 32 rows": lambda: _script("grpc_load.py", server.grpc, MODEL, ROWS, CALLS, SECONDS)[0],
            "gRPC, 1 row": lambda: _script("grpc_load.py", server.grpc, MODEL, 1, CALLS, SECONDS)[0],
            "REST binary, 32 rows": lambda: ROWS * load(port, npy, 8, SECONDS).rate,
        }
        figures |= _medians(measures, options.repeats, "rows/s")
        half = figures["REST, 1 row"] / 2
        tails = [load(port, posts, CONNECTIONS, 2 * SECONDS, half) for _ in range(options.repeats)]
        figures["p99 / p50 at half of that load"] = statistics.median(tail.p99 / tail.p50 for tail in tails)
        print(f"p99 / p50 at half of that load: {figures['p99 / p50 at half of that load']:.1f}", flush=True)
        curves["this server"] = _curve(port, posts)


def workers(saved: pathlib.Path, options, figures: dict, curves: dict) -> None:
    """Two processes against one, at 128 connections."""
    posts = [request(PATH, json.dumps({"instances": [row]}).encode()) for row in _rows()]
    with serving.Server(saved.parents[1]) as one, serving.Server(saved.parents[1], workers=2) as two:
        measures = {
            "REST, 1 row, 128 connections": lambda: load(_port(one), posts, 128, SECONDS).rate,
            "the same with --workers 2": lambda: load(_port(two), posts, 128, SECONDS).rate,
        }
        figures |= _medians(measures, options.repeats, "requests/s")
        curves["this server, 2 workers"] = _curve(_port(two), posts)


def memory(saved: pathlib.Path, options, figures: dict, curves: dict) -> None:
    """Memory after a hundredth of the requests and after all."""
    posts = [request(PATH, json.dumps({"instances": [row]}).encode()) for row in _rows()]
    with serving.Server(saved.parents[1]) as server:
        sent, sizes = 0.0, []
        for until in (options.requests / 100, options.requests):
            while sent < until:
                seconds = 1 if until < options.requests else 10
                sent += load(_port(server), posts, CONNECTIONS, seconds).rate * seconds
            sizes.append(_resident(server.process.pid))
        figures["memory after all requests / after a hundredth"] = sizes[1] / sizes[0]
        print(f"memory: {sizes[0] / 1e6:.0f} MB, after {sent:,.0f} requests {sizes[1] / 1e6:.0f} MB", flush=True)


def compare(name: str, saved: pathlib.Path, options, figures: dict, curves: dict) -> None:
    """Another server and this one, in turn."""
    peer, rows = PEERS[name], _rows()
    own_posts = [request(PATH, json.dumps({"instances": [row]}).encode()) for row in rows]
    posts = [request(peer.path, peer.body(row)) for row in rows]
    python = environment(peer, options.folder / "environments")
    with serving.Server(saved.parents[1]) as server, start(peer, python, str(saved), PORT):
        measures = {
            name: lambda: load(PORT, posts, CONNECTIONS, SECONDS).rate,
            f"beside {name}": lambda: load(_port(server), own_posts, CONNECTIONS, SECONDS).rate,
        }
        figures |= _medians(measures, options.repeats, "requests/s")
        print(f"  {figures[f'beside {name}'] / figures[name]:.1f} times as many", flush=True)
        curves[name] = _curve(PORT, posts)


def plot(curves: dict[str, list], path: pathlib.Path) -> None:
    """Median latency against answered requests, a line for each server, a point for each number of connections."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, points), marker, colour in zip(curves.items(), "osD^vPX", COLOURS, strict=False):
        rates, latencies = zip(*((point["rate"], point["p50"]) for point in points), strict=True)
        width = 2.5 if name.startswith("this") else 1.2
        axes.plot(rates, latencies, marker=marker, color=colour, label=name, linewidth=width, markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="answered requests a second", ylabel="median latency, ms")
    axes.set_title(f"One row of {WIDTH} numbers a request, {SWEEP[0]} to {SWEEP[-1]} connections", loc="left")
    axes.grid(which="major", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def _medians(measures: dict[str, Callable[[], float]], repeats: int, unit: str) -> dict[str, float]:
    """The median of each, measured in turn."""
    found = [{name: measure() for name, measure in measures.items()} for _ in range(repeats)]
    medians = {name: statistics.median(figures[name] for figures in found) for name in measures}
    for name, median in medians.items():
        spread = [figures[name] for figures in found]
        print(f"{name}: {median:,.0f} {unit} ({min(spread):,.0f} … {max(spread):,.0f})", flush=True)
    return medians


def _curve(port: int, posts: list[bytes]) -> list[dict]:
    return [{"connections": count, **load(port, posts, count, 2)._asdict()} for count in SWEEP]


def _rows() -> list[list[float]]:
    return np.random.default_rng(0).random((64, WIDTH)).round(4).tolist()


def _npy(seed: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).random((ROWS, WIDTH), "float32"))
    return file.getvalue()


def _to(path: str, posts: list[bytes]) -> list[bytes]:
    return [post.replace(PATH.encode(), path.encode(), 1) for post in posts]


def _port(server: serving.Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


@contextlib.contextmanager
def _echo() -> Iterator[int]:
    command = [sys.executable, HERE / "echo_server.py", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield PORT
    finally:
        process.terminate()
        process.wait()


def _script(name: str, *arguments) -> list[float]:
    command = [sys.executable, HERE / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Expected {name} to measure. Received: {done.stderr[-1000:]}")
    return [float(line) for line in done.stdout.split()]


def _resident(pid: int) -> float:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def _keep(folder: pathlib.Path, figures: dict, curves: dict) -> None:
    (folder / "figures.json").write_text(json.dumps({"figures": figures, "curves": curves}, indent=1))


if __name__ == "__main__":
    main()
