"""A million requests to one server in which a model has a new version every second: none may fail or be answered wrongly.

    python benchmarks/servers/soak --requests=1000000

Starts `python -m serving serve` with three models, and four clients: REST with rows, REST with columns and .npy, gRPC with
Predict, and gRPC with Classify and Regress. What every answer holds has to be what that model and version gives for that input,
and the version one of those that could answer then. The exit code is 1 if anything failed, if the server wrote of an error, or
if its memory grew over the second half of the requests. Linux only.
"""

import argparse
import contextlib
import multiprocessing
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from clients import CLIENTS, PATIENCE, Common, Outcome, run
from models import FACTORS
from reloads import Reloads

GROWTH = 0.05  # of the memory over the second half, at most
ADDRESSES = r"Serving .* at http://(\S+)/v1/models/ and grpc://(\S+)\n"
ERRORS = ("Traceback", "Error in ", "Exception")  # in what the server writes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return _soak(pathlib.Path(folder), options.requests)


def _soak(folder: pathlib.Path, requests: int) -> int:
    spawn = multiprocessing.get_context("spawn")
    oldest, newest = (spawn.Array("q", len(FACTORS)) for _ in range(2))
    common = Common(spawn.Barrier(len(CLIENTS) + 1), spawn.Value("q", requests), oldest, newest)
    reloads = Reloads(folder, common)
    (folder / "models.config").write_text(str(reloads.config()))
    with _server(folder) as (server, rest, rpc):
        results = spawn.Queue()
        clients = [spawn.Process(target=run, args=(name, rest, rpc, common, results), daemon=True) for name in CLIENTS]
        for client in clients:
            client.start()
        common.begin.wait(5 * PATIENCE)
        start = time.perf_counter()
        reloads.follow(rpc)
        memory = _watched(server.pid, common.left, requests, clients)
        outcomes = dict(results.get(timeout=60) for _ in clients if server.poll() is None)
        seconds = time.perf_counter() - start
        reloads.stop()
    said = (folder / "said").read_text()
    problems = [line for line in said.splitlines() if any(word in line for word in ERRORS)]
    if server.returncode:
        problems.append(f"exit code {server.returncode}")
    return _report(requests, seconds, reloads, outcomes, memory, problems)


@contextlib.contextmanager
def _server(folder: pathlib.Path) -> Iterator[tuple[subprocess.Popen, str, str]]:
    """The server and its addresses over REST and gRPC; what it writes on stderr goes to the file `said`."""
    flags = [f"--model_config_file={folder / 'models.config'}", "--port=0", "--rest_api_port=0"]
    flags += ["--file_system_poll_wait_seconds=0.25", "--end_with_stdin"]
    with (folder / "said").open("w") as said:
        command = [sys.executable, "-m", "serving", "serve", *flags]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": said}
        process = subprocess.Popen(command, text=True, **pipes)
    try:
        found = re.fullmatch(ADDRESSES, process.stdout.readline())
        if found is None:
            raise RuntimeError(f"Expected the server to start. Received: {(folder / 'said').read_text()}")
        yield process, found[1], found[2]
    finally:
        process.terminate()
        process.wait(60)


def _watched(pid: int, left, requests: int, clients: list) -> list[tuple[float, float]]:
    """Looks at the memory every second until the clients have ended: which part of the requests had been taken, and MB."""
    memory = []
    while any(client.is_alive() for client in clients) and left.value > 0:
        with contextlib.suppress(OSError):  # a process has ended
            memory.append((1 - left.value / requests, sum(map(_resident, _family(pid))) / 1e6))
        time.sleep(1)
    return memory


def _family(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(other for child in children for other in _family(int(child)))]


def _resident(pid: int) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return 1024 * int(found[1]) if found else 0  # of one that has ended


def _report(requests: int, seconds: float, reloads: Reloads, outcomes: dict[str, Outcome], memory: list, problems: list) -> int:
    answered = sum(len(outcome.seconds) for outcome in outcomes.values())
    failed = requests - answered
    print(f"{answered:,} requests answered in {seconds:,.0f} s, {answered / seconds:,.0f} a second, {failed:,} failed")
    for name, outcome in outcomes.items():
        p50, p99 = 1e3 * np.percentile(outcome.seconds or [np.nan], (50, 99))
        print(f"{name}: {len(outcome.seconds):,}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {outcome.failed:,} failed")
        for message in outcome.messages:
            print(f"  {message}")
    print(f"{reloads.count} reloads{', and then: ' + reloads.problem if reloads.problem else ''}")
    grown = _grown(memory)
    for line in problems[:10]:
        print(f"the server said: {line}")
    return int(bool(failed or reloads.problem or problems or grown > GROWTH))


def _grown(memory: list[tuple[float, float]]) -> float:
    """By which part the memory was more in the last tenth of the requests than in the tenth after half of them."""
    half, last = ([size for part, size in memory if first <= part < first + 0.1] for first in (0.5, 0.9))
    if not half or not last:
        print("memory: too few requests to tell")
        return 0.0
    before, after = statistics.median(half), statistics.median(last)
    print(f"memory: {before:,.0f} MB after half of the requests, {after:,.0f} MB at the end, {after / before - 1:+.1%}")
    return after / before - 1


if __name__ == "__main__":
    sys.exit(main())
