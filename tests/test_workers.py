"""Training by several processes: that it is the training of one, and that it goes on after a worker was killed."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Forked

import training
from serving import command
from training import files, kinds, launch
from training.__main__ import main
from training.fitting import cluster, loop, strategies
from training.fitting.spanning import Shard
from training.run import Run

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SETTINGS = {"width": 32, "depth": 1, "epochs": 3, "batch_size": 63, "keep": "best", "patience": 2}  # 63 rows are no two halves
WORKER = """
import contextlib, pathlib, signal, sys
import training
from serving.quiet import tensorflow as tf
import keras, numpy as np
from training import files, kinds, workers
from training.fitting import loop, strategies
folder, name, strategy, *words = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: print("HEEDS"))
experiment = training.EXPERIMENTS["dense_digits_k8"].override(dict(word.split("=") for word in words))
run = training.Run(folder)
with contextlib.ExitStack() as stack:
    if strategy == "multiworker":
        run = stack.enter_context(workers.gathered(experiment, run, seconds=200)).run
    stack.enter_context(strategies.scope(strategy))
    data = kinds.open_data(experiment)
    model = kinds.build(experiment, data)
    history, _ = loop.fit(model, data, experiment, run)
    np.savez(f"{folder}-{name}.npz", *model.get_weights())
    files.write_json(pathlib.Path(f"{folder}-{name}.json"), history)
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
signal.raise_signal(signal.SIGTERM)
if strategy == "multiworker" and keras.backend.backend() == "tensorflow":
    rows = tf.data.Dataset.from_tensor_slices((tf.ones((8, 2)), tf.ones((8, 1)))).batch(4)
    try:
        plain.fit(rows, verbose=0)
    except ValueError as error:
        print("FAILS", error)
"""


def texts(settings: dict) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def forked(folder, *arguments) -> None:
    """What a worker does that is forked."""
    os.chdir(folder)
    sys.argv = ["-c", str(folder / "run"), *arguments]
    exec(WORKER, {"__name__": "__main__"})


def fitted(folder, strategy, settings, names, environments) -> list[str]:
    """Fits the same model in so many processes, each of which leaves its weights and its history; returns what they say."""
    folder.mkdir(exist_ok=True)
    arguments = [sys.executable, "-c", WORKER, str(folder / "run")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": folder}
    workers = [
        subprocess.Popen([*arguments, name, strategy, *texts(settings)], env=ENVIRONMENT | each, **pipes)
        for name, each in zip(names, environments, strict=True)
    ]
    said = [worker.communicate(timeout=400)[0] for worker in workers]
    assert not any(worker.returncode for worker in workers), "\n".join(said)
    return said


def assert_same(folder, name, weights, history) -> None:
    """That a process has left these weights and this history, up to rounding."""
    with np.load(folder / f"run-{name}.npz") as saved:
        for key, weight in zip(saved.files, weights, strict=True):
            np.testing.assert_allclose(saved[key], weight, atol=1e-5, rtol=0)
    assert files.read_json(folder / f"run-{name}.json") == [*map(pytest.approx, history)]


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """The folder of a run that two processes trained, and what each of them said."""
    folder = tmp_path_factory.mktemp("joint")
    named = zip(("chief", "other"), launch.environments(2), strict=True)
    workers = [Forked(forked, (folder, name, "multiworker", *texts(SETTINGS)), each) for name, each in named]
    ends = [worker.end() for worker in workers]
    assert not any(code for code, _ in ends), ends
    return folder, [said for _, said in ends]


def test_two_workers_train_as_one_process_does(joint, tmp_path):
    folder, _ = joint
    experiment = training.EXPERIMENTS["dense_digits_k8"].override(SETTINGS)
    data = kinds.open_data(experiment)
    assert data.validation.size % 63 % 2 == 1  # the last batch of the validation split is no two halves either
    model = kinds.build(experiment, data)
    history, _ = loop.fit(model, data, experiment, Run(tmp_path))
    for name in ("chief", "other"):
        assert_same(folder, name, model.get_weights(), history)


@pytest.mark.exhaustive
def test_two_devices_and_two_workers_train_as_one_does_with_jax(tmp_path):
    jax, settings = {"KERAS_BACKEND": "jax"}, SETTINGS | {"batch_size": 64}
    one, two, workers = (tmp_path / name for name in ("one", "two", "workers"))
    fitted(one, "one", settings, ["alone"], [jax])
    fitted(two, "mirrored", settings, ["alone"], [jax | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}])
    fitted(workers, "multiworker", settings, ["chief", "other"], [each | jax for each in launch.environments(2)])
    with np.load(one / "run-alone.npz") as saved:
        weights = [saved[key] for key in saved.files]
    for folder, name in ((two, "alone"), (workers, "chief"), (workers, "other")):
        assert_same(folder, name, weights, files.read_json(one / "run-alone.json"))


def test_the_chief_alone_writes_to_the_run(joint):
    folder, said = joint
    written = sorted(path.name for path in (folder / "run").rglob("*") if path.is_file())
    assert len(written) == 4 and written[0] == "best.npz" and written[3] == "latest.npz"  # and events of two kinds
    assert ["training:" in each for each in said] == [True, False]  # the bar


def test_workers_that_are_connected_heed_signals(joint):
    _, said = joint
    assert all("HEEDS" in each for each in said)  # TensorFlow takes SIGTERM for itself


def test_keras_still_needs_what_spanning_does(joint):
    _, said = joint
    assert all("FAILS" in each for each in said), "keras#20585 is mended: remove the overrides of Spanning"


@pytest.mark.parametrize(("rows", "counts"), [(7, [1, 1, 1]), (8, [2, 2]), (2, [1, 2])])
def test_shards_of_a_batch_are_the_batch(rows, counts):
    batches = tf.data.Dataset.from_tensor_slices({"x": tf.range(10 * rows), "y": -tf.range(10 * rows)}).batch(rows)
    shards, first = [], 0
    for count in counts:
        shards.append([*Shard(first, count, sum(counts)).of(batches).as_numpy_iterator()])
        assert len(shards[-1]) == 10 * count
        first += count
    for step, batch in enumerate(batches.as_numpy_iterator()):
        parts = [part for shard, count in zip(shards, counts, strict=True) for part in shard[count * step :][:count]]
        assert max(len(part["x"]) for part in parts) - min(len(part["x"]) for part in parts) <= 1
        for name, column in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), column)


def started(folder, words: list[str]) -> int:
    """What a worker does that is forked, in a folder of its own."""
    os.chdir(folder)
    return main(words)


def test_workers_with_different_data_all_say_so(digits, tmp_path):
    folders = [tmp_path / name for name in ("chief", "other")]
    for folder, scale in zip(folders, (1.0, 0.9), strict=True):
        folder.mkdir()
        np.save(folder / "some.npy", scale * digits[:100])
    words = ["train", "dense_digits_k8", "--dataset=some.npy", "--width=8", "--depth=1", f"--workdir={tmp_path}/run"]
    workers = [Forked(started, (folder, words), each) for folder, each in zip(folders, launch.environments(2), strict=True)]
    for code, said in (worker.end() for worker in workers):
        assert code == command.WRONG and "the same data on all workers. Received: worker 1 with checksum of the schema" in said
    assert not [*(tmp_path / "run").iterdir()]


def connected() -> int:
    """What a worker does that is forked, and no more than that."""
    return command.run("zoo", lambda: strategies.scope("multiworker"))


def test_a_port_that_is_taken_after_the_meeting_is_an_error():
    environment = launch.environments(2)[1]
    port = cluster.described(environment).port
    with socket.create_server(("", port)):
        code, said = Forked(connected, (), environment).end()
    assert code == command.WRONG and f"zoo: Expected port {port} to be free. Received: " in said


def test_a_worker_ends_with_its_launcher():
    code = "import time; from training import launch; launch.follow(); print(flush=True); time.sleep(60)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env={**ENVIRONMENT, launch.LAUNCHED: "1"}, **pipes) as worker:
        worker.stdout.readline()
        worker.stdin.close()  # as it is when the launcher has been killed
        assert worker.wait(30) == -signal.SIGTERM


def test_a_failure_ends_a_launch(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(RuntimeError, match=r"to end well\. Received: worker \d with exit code 2\. Try what it says\."):
        launch.launch(["train", "no_such_experiment"], restarts=3)
    with pytest.raises(ValueError, match=r"Expected the command train or tune\. Received: show\."):
        launch.launch(["show", "dense_digits_k8"])


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        (
            "The following tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2\nThe",
            "worker 2 is gone",
        ),
        ("Error from remote target /job:chief/replica:0/task:0 while calling CompleteInstance", "chief 0 is gone"),
        ("Aborted by an error of /job:worker/replica:0/task:1", "one is gone"),
        ("Collective ops is aborted by: Deadline Exceeded\nRPC: /tensorflow.CoordinationService/Heartbeat", "one is gone"),
    ],
)
def test_workers_are_told_who_is_gone(message, gone):
    kind = tf.errors.DeadlineExceededError if "Deadline" in message else tf.errors.UnavailableError
    said = command.outside(kind(None, None, message))
    assert said.startswith(f"Expected all workers to go on. Received: {gone}. Try the same command on all of them")


@pytest.mark.exhaustive
def test_three_workers_one_of_which_is_killed_end_as_if_undisturbed_bit_for_bit(tmp_path):
    settings = [f"--{word}" for word in texts({**SETTINGS, "epochs": 10, "batch_size": 32})]
    for name in ("undisturbed", "killed"):
        run = Run(tmp_path / name)
        words = ["--workers=3", "--restarts=1", "train", "dense_digits_k8", "--report=false", "--wait=300", *settings]
        arguments = [sys.executable, "-m", "training", "launch", *words, f"--workdir={run.folder}"]
        launched = subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        if name == "killed":
            while not run.checkpoint.exists():
                time.sleep(0.02)
                assert launched.poll() is None
            children = pathlib.Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
            os.kill(int(children[1]), signal.SIGKILL)
            assert not run.model.exists()
        _, said = launched.communicate(timeout=600)
        assert launched.returncode == 0 and ("worker 1 ended by signal 9" in said) == (name == "killed"), said
    left, right = (Run(tmp_path / name) for name in ("undisturbed", "killed"))
    for one, other in zip(left.load_model().get_weights(), right.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert files.read_json(left.history) == files.read_json(right.history)
