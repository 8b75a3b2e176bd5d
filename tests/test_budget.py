"""The memory budget that large requests share; memory is counted before it is used."""

import gzip
import io
import threading

import numpy as np
import pytest

from serving.models.servable import Endpoint, TensorSpec
from serving.rest import binary_tensors, bodies
from serving.rest.budget import Budget, Share
from serving.status import Code, RequestError

X = TensorSpec(np.dtype("float32"), 1, (None,))
ENDPOINT = Endpoint({"x": X}, {"x": X}, None, True)


def test_what_is_taken_is_given_back_whoever_asks():
    budget = Budget(1000)

    def work():
        for size in range(200):
            share = Share(budget)
            share.grow(size % 7)
            share.resize(size % 11)
            share.resize(0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.taken == 0


def test_no_more_than_the_budget_is_unpacked():
    packed = gzip.compress(bytes(50 << 20))
    share = Share(Budget(10 << 20))
    with pytest.raises(RequestError, match=r"at most 10485760 bytes at once.*Try again later") as told:
        bodies.unpacked(packed, b"gzip", bodies.MOST, share.grow)
    assert told.value.code == Code.RESOURCE_EXHAUSTED and told.value.status == 429
    assert (6 << 20) <= share.size <= (10 << 20)
    share.resize(0)
    with pytest.raises(bodies.TooLarge):
        bodies.unpacked(packed, b"gzip", 5 << 20, share.grow)
    share.resize(0)
    assert bodies.unpacked(gzip.compress(bytes(9 << 20)), b"gzip", 9 << 20, share.grow) == bytes(9 << 20)
    assert share.size == 9 << 20


def test_arrays_of_an_npz_and_json_are_counted_before_they_are_read():
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros(1 << 20, "float32"))
    share = Share(Budget(1 << 20))
    with pytest.raises(RequestError, match="at once"):
        binary_tensors.read(file.getvalue(), binary_tensors.NPZ, ENDPOINT, bodies.MOST, share.grow)
    with pytest.raises(bodies.TooLarge):
        binary_tensors.read(file.getvalue(), binary_tensors.NPZ, ENDPOINT, 1 << 20, share.grow)
    with pytest.raises(RequestError, match="at once"):
        bodies.read_json(b'{"instances": [1.0]}'.ljust(1 << 20), lambda name: ENDPOINT, share.grow)
    assert share.size == 0
    asked = bodies.read_json(b'{"instances": [1.0]}'.ljust(1 << 18), lambda name: ENDPOINT, Share(Budget(1 << 22)).grow)
    assert asked.values["x"].tolist() == [1.0]
