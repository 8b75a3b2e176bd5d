"""The signatures of a SavedModel as Beam's RunInference asks a model."""

import os
import pathlib
import re
import weakref
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from serving.batch.blocks import Block, joined
from serving.batch.errors import clearly
from serving.models.sessions import Session
from serving.quiet import tensorflow as tf
from serving.status import request_error

Answers = dict[str, np.ndarray]

ASSERTED = re.compile(r"assertion failed: \[(.*)\]")


class Answering:
    """One signature of a loaded model, which threads may share."""

    def __init__(self, path: pathlib.Path, verb: str):
        session = Session(path)
        weakref.finalize(self, session.close)  # Beam keeps it until the process ends, which by then no session does in peace
        signature = session.signatures[verb]
        self.inputs, self._outputs = sorted(signature.inputs), sorted(signature.outputs)
        self._call = session.call(verb, self.inputs, self._outputs)

    def __call__(self, values: Answers) -> Answers:
        results = self._call(*(values[name] for name in self.inputs))
        return dict(zip(self._outputs, results, strict=True))


class SignatureHandler(ModelHandler[Block, Block, Answering]):
    """Asks a signature of an exported model about blocks of rows. A worker has one copy of the model, which its threads share,
    and Beam chooses how many rows are asked about at once, by how long they take.

    Args:
        path: of the version of the model.
        verb: the name of a signature whose inputs and outputs have a batch axis.
        least: rows in a batch, at least, which no block exceeds.
        most: rows in a batch.
    """

    def __init__(self, path: str | os.PathLike, verb: str, least: int, most: int):
        super().__init__(min_batch_size=least, max_batch_size=max(least, most), element_size_fn=_rows)
        self._path, self._verb = str(path), verb

    def load_model(self) -> Answering:
        with clearly():
            return Answering(pathlib.Path(self._path), self._verb)

    def run_inference(self, batch: Sequence[Block], model: Answering, inference_args: dict | None = None) -> Iterable[Block]:
        asked = [block for block in batch if block.size]
        if not asked:
            return [block._replace(values={}) for block in batch]
        with clearly():
            answers, bad = answered(model, joined(asked, "values"))
        return _apart(batch, answers, bad)

    def get_num_bytes(self, batch: Sequence[Block]) -> int:
        return sum(column.nbytes for block in batch for column in block.values.values())

    def get_metrics_namespace(self) -> str:
        return "batch"


def _rows(block: Block) -> int:
    return len(block.rows)


def answered(call: Callable[[Answers], Answers], values: Answers, first: int = 0) -> tuple[list[Answers], dict[int, str]]:
    """What a model answers, and by their place the rows that it refuses, with its reasons: those are found by halving."""
    try:
        return [call(values)], {}
    except tf.errors.InvalidArgumentError as error:
        size = len(next(iter(values.values())))
        if size == 1:
            return [], {first: _reason(error)}
    half = size // 2
    before, wrong = answered(call, {name: column[:half] for name, column in values.items()}, first)
    after, also_wrong = answered(call, {name: column[half:] for name, column in values.items()}, first + half)
    return before + after, wrong | also_wrong


def _reason(error: tf.errors.OpError) -> str:
    """What a graph says of its one row, without saying which that is."""
    text = " ".join(request_error(error).message.split())
    asserted = ASSERTED.fullmatch(text)
    return (asserted[1] if asserted else text).replace(" in row 0", "")


def _apart(batch: Sequence[Block], answers: list[Answers], bad: dict[int, str]) -> Iterable[Block]:
    """The answers to the good rows of a batch, block by block, in which rows that the model refuses become bad."""
    whole = {name: np.concatenate([each[name] for each in answers]) for name in answers[0]} if answers else {}
    start = taken = 0
    for block in batch:
        own = {place - start: reason for place, reason in bad.items() if start <= place < start + block.size}
        start += block.size
        block = block._replace(values={}).without(own)
        part = {name: column[taken : taken + block.size] for name, column in whole.items()} if block.size else {}
        taken += block.size
        yield block._replace(values=part)
