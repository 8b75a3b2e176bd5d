"""The same handler behind three transports, in one run: the embedded server's own, granian (RSGI) and uvicorn (ASGI).

    pip install -e ".[bench]"
    python benchmarks/servers/transports.py

A row of 784 numbers is given back unread, read and written as the embedded server does, and read and written by orjson alone.
Each figure is the median of several, measured in turn, of answered requests a second; beside it the processor's time that the
server took for a request, which depends less on what else the machine does. Then come what each transport does with clients
that mean no good, and the JSON alone. Linux only.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from load import load, request
from peers.peers import WIDTH
from probes import outcomes

HERE = pathlib.Path(__file__).resolve().parent
TRANSPORTS, WAYS = ("own", "granian", "uvicorn"), ("/bytes", "/json", "/lists")
PORT, TURNS = 9750, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    bodies = [
        json.dumps({"instances": [row]}).encode() for row in np.random.default_rng(0).random((64, WIDTH)).round(4).tolist()
    ]
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_server(name, PORT + number)) for number, name in enumerate(TRANSPORTS)}
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(options.repeats):
            for way in WAYS:
                for name, (port, pid) in servers.items():
                    posts = [request(way, body) for body in bodies]
                    before = _seconds(pid)
                    rate = load(port, posts, options.connections, options.seconds).rate
                    spent = (_seconds(pid) - before) / (rate * (options.seconds + 1))  # with the second of warming up
                    found.setdefault((way, name), []).append((rate, spent))
        _print(found)
        for name, (port, _) in servers.items():
            for probe, outcome in outcomes(port):
                print(f"{name:8} {probe}: {outcome}", flush=True)
    _json(bodies)


def _print(found: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    for way in WAYS:
        rates = {name: statistics.median(rate for rate, _ in found[way, name]) for name in TRANSPORTS}
        for name, rate in rates.items():
            spread, spent = [each for each, _ in found[way, name]], statistics.median(each for _, each in found[way, name])
            print(
                f"{way:7} {name:8} {rate:8,.0f} requests/s ({min(spread):,.0f} … {max(spread):,.0f}), "
                f"{100 * rate / max(rates.values()):3.0f} % of the best, {1e6 * spent:4.0f} µs of processor time a request"
            )


def _json(bodies: list[bytes]) -> None:
    """The time of reading and of writing, without a transport."""
    import orjson
    from echo_server import ENDPOINT

    from serving.rest import json_tensors

    arrays = [json_tensors.read(body, lambda name: ENDPOINT).values for body in bodies]
    lists = [orjson.loads(body) for body in bodies]
    parts = {
        "read to an array": lambda turn: json_tensors.read(bodies[turn], lambda name: ENDPOINT),
        "write an array": lambda turn: json_tensors.write(arrays[turn], rows=True),
        "read to lists, orjson": lambda turn: orjson.loads(bodies[turn]),
        "read to lists, and those to an array": lambda turn: np.array(orjson.loads(bodies[turn])["instances"], "float32"),
        "write lists, orjson": lambda turn: orjson.dumps(lists[turn]),
    }
    for name, part in parts.items():
        print(f"{name}: {1e6 * min(_time(part, len(bodies)) for _ in range(5)):.1f} µs")


def _time(part: Callable[[int], object], count: int) -> float:
    """Processor time of one turn, in seconds."""
    start = time.thread_time()
    for turn in range(TURNS):
        part(turn % count)
    return (time.thread_time() - start) / TURNS


def _seconds(pid: int) -> float:
    """Processor time of a process and all its threads so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _server(name: str, port: int) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen([sys.executable, HERE / "echo_server.py", str(port), name], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f'Expected {name} to start. Received: another line, or none. Try pip install -e ".[bench]".')
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
