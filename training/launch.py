"""Several workers of a training, or of a search, on one machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from serving.command import WRONG

GRACE = 8.0  # seconds in which the others may end by themselves when one has failed, to say why
LAST = 5.0  # seconds in which a process that is to end may clean up, before it is killed
POLL = 0.1  # seconds
VARIABLE = "TF_CONFIG"  # `training.fitting.cluster` reads it; to import that would take as long as TensorFlow takes
THREADS = "TF_NUM_INTRAOP_THREADS"
LAUNCHED = "ZOO_LAUNCHED"  # in the environment of a worker whose standard input ends with the process that launched it


def launch(arguments: Sequence[str], workers: int = 2, restarts: int = 0) -> None:
    """Runs `python -m training` with these arguments in so many processes, each of which knows the others by `TF_CONFIG`.

    When one of them fails, the others are ended too. Then all are started again, up to `restarts` times, and go on from the
    last checkpoint, or with the trials that are left, unless the input was wrong, which it would be again.

    Raises:
        ValueError: arguments other than those of `train` or `tune`; fewer than two workers, or than no restarts.
        RuntimeError: a worker that failed.
    """
    if workers < 2 or restarts < 0:
        received = f"workers={workers}, restarts={restarts}"
        raise ValueError(f"Expected two workers or more, and restarts from 0 on. Received: {received}. Try --workers=2.")
    if [*arguments[:1]] not in (["train"], ["tune"]):
        received = " ".join(arguments[:1]) or "none"
        raise ValueError(f"Expected the command train or tune. Received: {received}. Try launch train EXPERIMENT.")
    left = restarts
    while (failed := _together(arguments, workers)) is not None:
        worker, code = failed
        how = f"worker {worker} {f'with exit code {code}' if code > 0 else f'ended by signal {-code}'}"
        if not left or code == WRONG:
            advice = "what it says" if code == WRONG else "the same command, which resumes the run"
            raise RuntimeError(f"Expected all workers to end well. Received: {how}. Try {advice}.")
        left -= 1
        arguments = [word for word in arguments if word != "--restart"]  # it would delete what there is to go on from
        print(f"{how}: all are started again, to go on where they were.", file=sys.stderr, flush=True)


def _together(arguments: Sequence[str], workers: int) -> tuple[int, int] | None:
    """Runs all workers once; returns the number and the exit code of the first that failed, or None."""
    processes = [_started(arguments, environment) for environment in environments(workers)]
    try:
        while True:
            codes = [process.poll() for process in processes]
            if failed := [(worker, code) for worker, code in enumerate(codes) if code]:
                return min(failed, key=lambda each: each[1])  # one that was killed, before those that then ended
            if None not in codes:
                return None
            time.sleep(POLL)
    except BaseException:  # such as a signal to this process, which is meant for all
        for process in processes:
            process.terminate()
        raise
    finally:
        _end(processes)


def _started(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.Popen(command, env={**environment, LAUNCHED: "1"}, stdin=subprocess.PIPE)


def follow(environment: Mapping[str, str] = os.environ) -> None:
    """Lets this process end when the one ends, or is killed, that has launched it, if one has."""
    if environment.get(LAUNCHED):
        threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()


def _end_with(pipe: int) -> None:
    """Ends this process at the end of a pipe, on which nobody writes, with time to clean up unless it waits for others."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST)
    os._exit(1)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """Waits for processes that notice that another one has failed, and ends those that do not, in the end without their
    consent: a worker that waits for another in TensorFlow heeds no other signal."""
    try:
        if _ended(processes, GRACE):
            return
        for process in processes:
            process.terminate()
        _ended(processes, LAST)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _ended(processes: Sequence[subprocess.Popen], seconds: float) -> bool:
    """Whether all processes end within some seconds."""
    until = time.monotonic() + seconds
    try:
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def environments(workers: int) -> list[dict[str, str]]:
    """The environments of all workers, with ports that are free now, and an equal share of the cores for each."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shared = {THREADS: str(max(1, cores // workers)), **os.environ}
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(workers)]
    return [{**shared, VARIABLE: json.dumps(task)} for task in tasks]
