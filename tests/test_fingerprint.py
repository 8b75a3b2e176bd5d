"""What tells data from others: every value, but not the last digits of what was computed."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from training.data.fingerprint import fingerprint
from training.data.splits import Data, Split
from zoo.schema import Feature

ROWS = np.random.default_rng(0).normal(size=(1500, 3)).astype("float32")


def data(x=ROWS, mean=0.3, streamed=False) -> Data:
    columns = {"x": x, "label": np.arange(len(x)) % 3, "id": np.arange(len(x)).astype("U")}
    if streamed:
        train = Split(len(x), stream=tf.data.Dataset.from_tensor_slices(columns | {"id": columns["id"].tolist()}).batch(100))
    else:
        train = Split(len(x), arrays=columns)
    return Data("some", {"x": Feature("continuous", mean=mean)}, train, None, Split(1, arrays={"x": x[:1]}))


def changed(row: int, factor: float) -> np.ndarray:
    return np.where(np.arange(len(ROWS))[:, None] == row, np.float32(factor) * ROWS, ROWS)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_same_data_have_the_same_fingerprint(streamed):
    one, other = data(streamed=streamed), data(changed(7, 1 + 1e-7), mean=0.1 + 0.2, streamed=streamed)
    assert fingerprint(one) == fingerprint(other) and fingerprint(one)["train rows"] == 1500


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (data(changed(1499, 1.01)), {"checksum of train rows"}),
        (data(changed(7, 1.01), streamed=True), {"checksum of train rows"}),
        (data(ROWS[:-1]), {"train rows", "checksum of train rows"}),
        (data(mean=0.31), {"checksum of the schema"}),
        (dataclasses.replace(data(), test=Split(2, arrays={"x": ROWS[1:2]})), {"test rows", "checksum of test rows"}),
    ],
)
def test_other_data_have_another(other, what):
    one = fingerprint(data(streamed=other.train.arrays is None))
    assert {name for name, value in fingerprint(other).items() if one[name] != value} == what
