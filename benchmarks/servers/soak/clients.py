"""Clients, each a process of its own that asks over some connections at once and looks at the content of every answer."""

import http.client
import io
import itertools
import json
import random
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

import grpc
import numpy as np
from models import FACTORS, LABEL, WIDTH, Asked, Wrong
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from serving.quiet import tensorflow as tf

CONNECTIONS = 4  # of each client
PATIENCE = 60  # seconds for an answer
SHARE = 20  # requests that a connection takes from the common number at once
SHOWN = 5  # failures that are kept as text
FIELD = "x"  # of the examples


class Common(NamedTuple):
    """What the clients and the reloads share: a barrier before the first request, how many requests are left, and of each model
    the oldest version that may answer one sent now, and the newest."""

    begin: object
    left: object
    oldest: object
    newest: object


class Outcome(NamedTuple):
    """What became of a client's requests: seconds until each answer, the number that failed, and what some of them said."""

    seconds: array
    failed: int
    messages: list[str]


def run(name: str, rest: str, rpc: str, common: Common, results) -> None:
    """Asks until no requests are left, and puts an `Outcome` into the queue `results`."""
    client = _Client(CLIENTS[name], rest, rpc, common)
    try:
        client.warm_up()
    except Exception:
        common.begin.abort()  # none of the others needs to wait
        raise
    common.begin.wait(5 * PATIENCE)
    threads = [threading.Thread(target=client.ask, args=(f"{name} {number}",)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((name, Outcome(client.seconds, client.failed, client.messages)))


class _Client:
    def __init__(self, verbs: Callable, rest: str, rpc: str, common: Common):
        self._verbs, self._rest, self._rpc, self._common = verbs, rest, rpc, common
        self.seconds, self.failed, self.messages = array("f"), 0, []
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Asks once by every verb, for what takes long the first time."""
        for verb in self._verbs(self._rest, self._rpc):
            self._once(verb, random.Random(0))

    def ask(self, seed: str) -> None:
        """Asks over a connection of its own until no requests are left."""
        chance, verbs = random.Random(seed), self._connected()
        while taken := self._take():
            for _ in range(taken):
                try:
                    seconds = self._once(next(verbs), chance)
                except Exception as error:  # whatever goes wrong, it is counted
                    self._note(f"{type(error).__name__}: {error}")
                    verbs = self._connected()
                else:
                    self.seconds.append(seconds)

    def _connected(self) -> Iterator[Callable]:
        return itertools.cycle(self._verbs(self._rest, self._rpc))

    def _take(self) -> int:
        left = self._common.left
        with left.get_lock():
            taken = min(SHARE, left.value)
            left.value -= taken
        return taken

    def _note(self, message: str) -> None:
        with self._lock:
            self.failed += 1
            if len(self.messages) < SHOWN:
                self.messages.append(message)

    def _once(self, verb: Callable, chance: random.Random) -> float:
        """Seconds until the answer to one request.

        Raises:
            Wrong: it is not what was asked for.
        """
        number = chance.randrange(len(FACTORS))
        oldest = self._common.oldest[number]
        asked = _asked(number, oldest, chance)
        start = time.perf_counter()
        version, stated = verb(asked)
        seconds = time.perf_counter() - start
        newest = self._common.newest[number] if asked.version is None else asked.version
        if not oldest <= version <= newest or stated not in (None, version):
            raise Wrong(f"Expected version {oldest} to {newest} of {asked.model}. Received: {version}, stated: {stated}.")
        return seconds


def _asked(number: int, oldest: int, chance: random.Random) -> Asked:
    """One to three rows for a model; now and then for a version that it says, or for the label where there is one."""
    x = np.array([[chance.randrange(100_000) for _ in range(WIDTH)] for _ in range(chance.randint(1, 3))], "float32")
    labelled, pinned = number == len(FACTORS) - 1 and chance.random() < 0.5, number == 1 and chance.random() < 0.5
    return Asked([*FACTORS][number], x, oldest if pinned else None, LABEL if labelled else None)


# Verbs: each sends what is asked, and returns the version that answered by content, and the one that the answer states, if any


def _rest_rows(rest: str, _: str) -> list[Callable]:
    post = _posting(rest)

    def rows(asked: Asked) -> tuple[int, None]:
        answer = post(f"{asked.path}:predict", json.dumps({"instances": asked.x.tolist()}).encode())
        return asked.answered(np.array(json.loads(answer)["predictions"])), None

    return [rows]


def _rest_columns(rest: str, _: str) -> list[Callable]:
    post = _posting(rest)

    def columns(asked: Asked) -> tuple[int, None]:
        answer = post(f"{asked.path}:predict", json.dumps({"inputs": {"x": asked.x.tolist()}}).encode())
        return asked.answered(np.array(json.loads(answer)["outputs"])), None

    def binary(asked: Asked) -> tuple[int, None]:
        file = io.BytesIO()
        np.save(file, asked.x)
        answer = post(f"{asked.path}:predict", file.getvalue(), "application/x-npy")
        return asked.answered(np.load(io.BytesIO(answer))), None

    return [columns, binary]


def _posting(rest: str) -> Callable[..., bytes]:
    connection = http.client.HTTPConnection(rest, timeout=PATIENCE)

    def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Wrong(f"Expected HTTP 200. Received: {response.status}, {answer[:500]!r}.")
        return answer

    return post


def _grpc_predict(_: str, rpc: str) -> list[Callable]:
    stub = PredictionServiceStub(grpc.insecure_channel(rpc))

    def predict(asked: Asked) -> tuple[int, int]:
        request = PredictRequest(model_spec={"name": asked.model, **asked.spec})
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(asked.x))
        response = stub.Predict(request, timeout=PATIENCE)
        return asked.answered(tf.make_ndarray(response.outputs["y"])), response.model_spec.version.value

    return [predict]


def _grpc_examples(_: str, rpc: str) -> list[Callable]:
    stub = PredictionServiceStub(grpc.insecure_channel(rpc))

    def classify(asked: Asked) -> tuple[int, int]:
        response = stub.Classify(_filled(ClassificationRequest(), asked, "classify"), timeout=PATIENCE)
        rows = [row.classes for row in response.result.classifications]
        version = asked.answered(np.array([[each.score for each in row] for row in rows]))
        if {each.label for row in rows for each in row} != {f"{asked.model} {version}"}:
            raise Wrong(f"Expected labels of {asked.model} {version}. Received: {rows[0][0].label}.")
        return version, response.model_spec.version.value

    def regress(asked: Asked) -> tuple[int, int]:
        response = stub.Regress(_filled(RegressionRequest(), asked, "regress"), timeout=PATIENCE)
        sums = np.array([each.value for each in response.result.regressions])
        added = (sums - FACTORS[asked.model] * asked.x.sum(axis=1)) / WIDTH  # (B,)
        return asked.answered(FACTORS[asked.model] * asked.x + added[:, None]), response.model_spec.version.value

    return [classify, regress]


def _filled(request, asked: Asked, signature: str):
    """The request with the rows as examples."""
    request.model_spec.CopyFrom(ModelSpec(name=asked.model, signature_name=signature, **asked.spec))
    for row in asked.x.tolist():
        request.input.example_list.examples.add().features.feature[FIELD].float_list.value.extend(row)
    return request


CLIENTS = {
    "REST, rows": _rest_rows,
    "REST, columns and .npy": _rest_columns,
    "gRPC, Predict": _grpc_predict,
    "gRPC, Classify and Regress": _grpc_examples,
}
