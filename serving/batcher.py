"""Greedy batching: what waits when a run ends goes into the next run. There is no timer, and an idle model runs at once.

A caller enqueues its inputs, and then takes a step: it runs whatever is queued, its own and others', unless enough threads are
at it already. A thread pool takes the steps that are left over.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np

from serving.status import Code, RequestError

QUICK = 0.002  # seconds of a run that an event loop can wait for


class Limits(NamedTuple):
    """Of one signature's batches, in rows; the queue holds `max_enqueued_batches` full ones."""

    max_batch_size: int = 256
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()


class Task:
    """One request's inputs, as arrays in the signature's order, and what to do with the outputs or the error.

    Its rows are joined with other tasks', unless it is to run `alone`.
    """

    __slots__ = ("alone", "done", "inner", "rows", "values")

    def __init__(self, values: list[np.ndarray], done: Callable | None, alone: bool = False):
        self.values, self.done, self.alone = values, done, alone
        self.rows = 1 if alone else len(values[0])
        self.inner = None if alone else [value.shape[1:] for value in values]


class Batcher:
    """Runs one signature for many callers.

    Args:
        call: of the arrays in the signature's order, gives the outputs' arrays in theirs.
        pool: runs what a step leaves over.
    """

    def __init__(self, call: Callable, pool: Executor, limits: Limits):
        self._call, self._pool, self.limits = call, pool, limits
        self._joins = True
        self._queue: deque[Task] = deque()
        self._rows = 0  # queued
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(limits.num_batch_threads)
        self._seconds = float("inf")  # of the last run

    @property
    def quick(self) -> bool:
        """Whether the last run was so short that an event loop can take the step itself."""
        return self._seconds < QUICK

    def run(self, values: list[np.ndarray], alone: bool = False) -> list[np.ndarray]:
        """The outputs for `values`; blocks, and may be called from any thread.

        Raises:
            RequestError: the queue is full.
            tf.errors.OpError: from the model.
        """
        future = Future()
        self.enqueue(Task(values, lambda result: _settle(future, result), alone))
        self.step()
        return future.result()

    def enqueue(self, task: Task) -> None:
        """Queues a task for the next `step`.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the queue is full.
        """
        with self._lock:
            if self._queue and self._rows + task.rows > self.limits.max_enqueued_batches * self.limits.max_batch_size:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The batch scheduling queue to which this task was submitted is full: {self._rows} rows wait. Try later.",
                )
            self._queue.append(task)
            self._rows += task.rows

    def step(self) -> None:
        """Runs one batch of what is queued, and leaves the rest to the pool."""
        if not self._slots.acquire(blocking=False):
            return
        try:
            self._run(self._take())
        finally:
            self._slots.release()
        # Whoever queued a task before this release found no slot, and relies on this look at the queue.
        if self._queue:
            self.step_beside()

    def step_beside(self) -> None:
        """The same in the pool."""
        self._pool.submit(self.step)

    def _take(self) -> list[Task]:
        """The oldest task and those behind it that fit into one run with it."""
        with self._lock:
            if not self._queue:
                return []
            batch = [self._queue.popleft()]
            rows, inner = batch[0].rows, batch[0].inner
            while self._joins and not batch[0].alone and self._queue:
                following = self._queue[0]
                fits = rows + following.rows <= self.limits.max_batch_size
                if not fits or following.alone or following.inner != inner:
                    break
                batch.append(self._queue.popleft())
                rows += following.rows
            self._rows -= rows
        return batch

    def _run(self, batch: list[Task]) -> None:
        if not batch:
            return
        try:
            if batch[0].alone or not self._joins:
                results = [self._timed(batch[0].values)]
            else:
                rows = [task.rows for task in batch]
                columns = zip(*(task.values for task in batch), strict=True)
                values = [parts[0] if len(batch) == 1 else np.concatenate(parts) for parts in columns]
                results = _split(self._joined(values, sum(rows)), rows)
        except _Unjoinable:
            self._joins = False
            return self._one_by_one(batch)
        except Exception as error:
            if len(batch) > 1:
                return self._one_by_one(batch)  # one bad request fails alone
            results = [error]
        for task, result in zip(batch, results, strict=True):
            task.done(result)

    def _one_by_one(self, batch: list[Task]) -> None:
        for task in batch:
            self._run([task])

    def _joined(self, values: list[np.ndarray], rows: int) -> list[np.ndarray]:
        """The outputs for `rows` rows, in runs of `max_batch_size` at most."""
        limit = self.limits.max_batch_size
        if rows <= limit:
            return self._padded(values, rows)
        parts = [
            self._padded([value[at : at + limit] for value in values], min(limit, rows - at)) for at in range(0, rows, limit)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _padded(self, values: list[np.ndarray], rows: int) -> list[np.ndarray]:
        size = next((size for size in self.limits.allowed_batch_sizes if size >= rows), rows) if rows else rows
        if size > rows:
            values = [np.concatenate([value, np.repeat(value[-1:], size - rows, axis=0)]) for value in values]
        outputs = self._timed(values)
        if any(output.shape[:1] != (size,) for output in outputs):
            raise _Unjoinable
        return [output[:rows] for output in outputs] if size > rows else outputs

    def _timed(self, values: list[np.ndarray]) -> list[np.ndarray]:
        start = time.perf_counter()
        outputs = self._call(*values)
        self._seconds = time.perf_counter() - start
        return outputs


class _Unjoinable(Exception):
    """The outputs do not have the batch axis that the signature promises."""


def _split(outputs: list[np.ndarray], rows: list[int]) -> list[list[np.ndarray]]:
    """The outputs of each task, from those of all."""
    if len(rows) == 1:
        return [outputs]
    ends = list(itertools.accumulate(rows))
    return [[output[end - count : end] for output in outputs] for count, end in zip(rows, ends, strict=True)]


def _settle(future: Future, result: list[np.ndarray] | BaseException) -> None:
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
