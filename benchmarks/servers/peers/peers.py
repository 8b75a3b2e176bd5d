"""Other servers that answer for the same dense SavedModel (784 numbers in, 784 out): how to install, start and ask each.

    peer = PEERS["litserve"]
    python = environment(peer, folder)
    with start(peer, python, model, port):
        ...  # POST peer.body(row) to peer.path of 127.0.0.1:port; peer.answer(response) is the list of numbers

A peer may take the two ports after `port` too. Linux only: the processes to end are found in /proc.
"""

import contextlib
import functools
import http.client
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
WIDTH = 784
START_SECONDS = 120
STOP_SECONDS = 5

Command = tuple[list[str], dict[str, str]]


class Peer(NamedTuple):
    """A server to compare with. `command(python, model, port)` is its arguments and its additions to the environment."""

    name: str
    command: Callable[[str, str, int], Command]
    path: str
    body: Callable[[list[float]], bytes]
    answer: Callable[[bytes], list[float]]
    ready: str | None = None


def script(name: str) -> Callable[[str, str, int], Command]:
    """Start `<name>_server.py MODEL PORT`."""
    return lambda python, model, port: ([python, str(HERE / f"{name}_server.py"), model, str(port)], {})


def bentoml(python: str, model: str, port: int) -> Command:
    """BentoML starts services with its own program. Its usage reports are off, and it keeps its files in the environment."""
    program = pathlib.Path(python).with_name("bentoml")
    options = ["--working-dir", str(HERE), "--host", "127.0.0.1", "--port", str(port)]
    additions = {"MODEL_PATH": model, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(program.parents[1] / "home")}
    return [str(program), "serve", "bentoml_server:Dense", *options], additions


def dumps(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def v2(row: list[float]) -> bytes:
    """Request of the Open Inference Protocol (V2)."""
    return dumps({"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]})


def v2_answer(response: bytes) -> list[float]:
    """Numbers of a response of the Open Inference Protocol (V2)."""
    return json.loads(response)["outputs"][0]["data"]


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "fastapi",
            script("fastapi"),
            "/predict",
            lambda row: dumps({"instances": [row]}),
            lambda response: json.loads(response)["predictions"][0],
        ),
        Peer(
            "litserve",
            script("litserve"),
            "/predict",
            lambda row: dumps({"input": row}),
            lambda response: json.loads(response)["output"],
            "/health",
        ),
        Peer(
            "bentoml",
            bentoml,
            "/predict",
            lambda row: dumps({"x": [row]}),
            lambda response: json.loads(response)[0],
            "/readyz",
        ),
        Peer("mlserver", script("mlserver"), "/v2/models/dense/infer", v2, v2_answer, "/v2/models/dense/ready"),
        Peer("triton", script("triton"), "/v2/models/dense/infer", v2, v2_answer, "/v2/models/dense/ready"),
    )
}


def environment(peer: Peer, folder: str | os.PathLike[str]) -> str:
    """Python of the peer's virtual environment under `folder`, made on the first call or when its requirements changed."""
    requirements = HERE / f"{peer.name}.txt"
    home = pathlib.Path(folder).resolve() / peer.name
    python, stamp = home / "bin" / "python", home / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == requirements.read_text()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
        subprocess.run([str(python), "-m", "pip", *install], check=True)
        stamp.write_text(requirements.read_text())
    return str(python)


@functools.cache
def probe(model: str) -> tuple[list[float], list[float]]:
    """A row and what the SavedModel makes of it, in a process of its own: the caller's stays free of TensorFlow's threads."""
    row = [index / WIDTH for index in range(WIDTH)]
    code = (
        "import json, sys, tensorflow as tf; model = tf.saved_model.load(sys.argv[1]); "
        "x = tf.constant([json.load(sys.stdin)]); "
        "print(json.dumps(model.signatures['serving_default'](x=x)['x'].numpy()[0].tolist()))"
    )
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = [sys.executable, "-c", code, model]
    done = subprocess.run(arguments, input=json.dumps(row), capture_output=True, text=True, env=quiet)
    if done.returncode:
        raise RuntimeError(
            f"Expected a SavedModel with the signature serving_default, x to x. Received: {done.stderr.strip()[-500:]}. "
            f"Try the folder that holds saved_model.pb instead of {model}."
        )
    return row, json.loads(done.stdout.splitlines()[-1])


def ask(port: int, path: str, body: bytes | None = None) -> bytes | None:
    """Response to one request, or None while the server is not ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return None
    return content if response.status == 200 else None


def wait(peer: Peer, process: subprocess.Popen, model: str, port: int, log: pathlib.Path) -> None:
    """Return once the peer answers a request as the SavedModel does."""
    row, expected = probe(model)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if peer.ready is None or ask(port, peer.ready) is not None:
            response = ask(port, peer.path, peer.body(row))
            if response is not None:
                break
        time.sleep(0.1)
    else:
        tail = log.read_text(errors="replace")[-2000:]
        state = "no answer" if process.poll() is None else f"exit status {process.returncode}"
        raise RuntimeError(
            f"Expected an answer of {peer.name} within {START_SECONDS} s. Received: {state}. "
            f"Try its log {log}, which ends:\n{tail}"
        )
    received = peer.answer(response)
    if len(received) != len(expected) or not all(map(functools.partial(math.isclose, abs_tol=1e-4), received, expected)):
        raise RuntimeError(
            f"Expected {peer.name} to answer {expected[:3]} … ({len(expected)} numbers). "
            f"Received: {received[:3]} … ({len(received)}). Try its log {log}."
        )


def processes() -> dict[int, tuple[int, int, str]]:
    """Parent, group and start time of every process that has not ended."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[int(stat.parent.name)] = int(fields[1]), int(fields[2]), fields[19]
    return found


def family(leader: int) -> set[tuple[int, str]]:
    """Process id and start time of all in the leader's group and of all their descendants, whatever their group."""
    table = processes()
    members = {process for process, (_, group, _) in table.items() if group == leader}
    while more := {process for process, (parent, _, _) in table.items() if parent in members} - members:
        members |= more
    return {(process, table[process][2]) for process in members}


def remaining(process: subprocess.Popen, members: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those that still run after STOP_SECONDS: the start time tells a process from a later one with the same id."""
    deadline = time.monotonic() + STOP_SECONDS
    while members and time.monotonic() < deadline:
        time.sleep(0.05)
        process.poll()
        table = processes()
        members = {(member, begun) for member, begun in members | family(process.pid) if table.get(member, ())[2:] == (begun,)}
    return members


def stop(process: subprocess.Popen) -> None:
    """End the process and all that it started: the leader is asked, then its whole group, then force is used.

    A server that ends its workers itself does so in order; with a signal to all at once LitServe's wait for each other.
    """
    members = family(process.pid)
    process.terminate()
    members = remaining(process, members)
    if members:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        members = remaining(process, members)
    for member, _ in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def start(peer: Peer, python: str, model: str | os.PathLike[str], port: int) -> Iterator[subprocess.Popen]:
    """Run the peer while the block runs: from its first right answer on. Its output goes to server.log in its environment."""
    model = str(pathlib.Path(model).resolve())
    arguments, additions = peer.command(python, model, port)
    log = pathlib.Path(python).parents[1] / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | additions,
            start_new_session=True,
        )
    try:
        wait(peer, process, model, port, log)
        yield process
    finally:
        stop(process)
