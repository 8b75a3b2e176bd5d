"""Greedy batching: what waits when a run ends goes into the next run. There is no timer, and an idle model runs at once.

A caller enqueues its inputs, and then takes a step: it runs whatever is queued, its own and others', unless enough threads are
at it already. A thread pool takes the steps that are left over.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import NamedTuple

import numpy as np

from serving.status import Code, RequestError

QUICK = 0.002  # seconds of a run that an event loop can wait for
SEEN, RECENT = 3, 8  # runs of a size before it can be called quick, and those that are remembered
SIZES = 256  # that are remembered
log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Of one signature's batches, in rows; the queue holds `max_enqueued_batches` full ones."""

    max_batch_size: int = 256
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()


class Task:
    """One request's inputs, as arrays in the signature's order, and what to do with the outputs or the error.

    Its rows are joined with other tasks', unless it is to run `alone`. It is not run any more once `wanted` says no.
    """

    __slots__ = ("alone", "done", "inner", "rows", "values", "wanted")

    def __init__(
        self,
        values: list[np.ndarray],
        done: Callable,
        alone: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ):
        self.values, self.done, self.alone, self.wanted = values, done, alone, wanted
        self.rows = 1 if alone else len(values[0])
        self.inner = None if alone else [value.shape[1:] for value in values]


class Batcher:
    """Runs one signature for many callers.

    Args:
        call: of the arrays in the signature's order, gives the outputs' arrays in theirs.
        pool: runs what a step leaves over.
        even: whether inputs of the same shapes take the same time, whatever their values.
    """

    def __init__(self, call: Callable, pool: Executor, limits: Limits, even: bool = False):
        self._call, self._pool, self.limits, self._even = call, pool, limits, even
        self._joins = True
        self._queue: deque[Task] = deque()
        self._apart: deque[list[Task]] = deque()  # batches that run as they are
        self._rows = 0  # queued
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(limits.num_batch_threads)
        self._seconds: dict[tuple, deque[float]] = {}  # of recent runs, by size

    def run(self, values: list[np.ndarray], alone: bool = False, until: Callable | None = None) -> list[np.ndarray]:
        """The outputs for `values`; blocks, and may be called from any thread.

        Args:
            until: is given a function that ends the waiting, for when nobody wants the outputs any more.

        Raises:
            RequestError: the queue is full; CANCELLED, nobody waits any more.
            tf.errors.OpError: from the model.
        """
        future = Future()
        if until is not None:
            until(lambda: _settle(future, _unwanted()))
        self.enqueue(Task(values, lambda result: _settle(future, result), alone, lambda: not future.done()))
        self.step()
        return future.result()

    def enqueue(self, task: Task) -> None:
        """Queues a task for the next `step`.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the queue is full.
        """
        with self._lock:
            dropped = self._without_the_unwanted()
            limit = self.limits.max_enqueued_batches * self.limits.max_batch_size
            full = len(self._queue) > 0 and self._rows + task.rows > limit
            if not full:
                self._queue.append(task)
                self._rows += task.rows
        _drop(dropped)
        if full:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"The batch scheduling queue to which this task was submitted is full: {self._rows} rows wait. Try later.",
            )

    def step(self) -> None:
        """Runs one batch of what is queued, and leaves the rest to the pool."""
        if self._slots.acquire(blocking=False):
            self._go(self._take())

    def step_beside(self) -> None:
        """The same in the pool."""
        self._pool.submit(self.step)

    def step_if_quick(self) -> None:
        """The same here, for an event loop, if recent runs of this size were all quick; else in the pool."""
        if not self._slots.acquire(blocking=False):
            return
        batch = self._take()
        if self._is_quick(batch):
            self._go(batch)
        else:
            self._pool.submit(self._go, batch)

    def _go(self, batch: list[Task]) -> None:
        """Runs a batch in the slot that is held for it, and frees the slot."""
        try:
            self._run(batch)
        finally:
            self._slots.release()
            # Whoever queued a task before this release found no slot, and relies on this look at the queue.
            if self._queue or self._apart:
                self.step_beside()

    def _take(self) -> list[Task]:
        """The oldest task that is wanted, and those behind it that fit into one run with it."""
        with self._lock:
            dropped, batch = [], []
            while self._apart and not batch:
                for task in self._apart.popleft():
                    (batch if task.wanted() else dropped).append(task)
            if not batch:
                dropped += self._without_the_unwanted()
                batch = self._joined_from_queue(dropped)
        _drop(dropped)
        return batch

    def _without_the_unwanted(self) -> list[Task]:
        """Takes the oldest tasks out of the queue while nobody wants them; the lock is held."""
        dropped = []
        while self._queue and not self._queue[0].wanted():
            dropped.append(self._queue.popleft())
        self._rows -= sum(task.rows for task in dropped)
        return dropped

    def _joined_from_queue(self, dropped: list[Task]) -> list[Task]:
        if not self._queue:
            return []
        batch = [self._queue.popleft()]
        rows, inner = batch[0].rows, batch[0].inner
        while self._joins and not batch[0].alone and self._queue:
            following = self._queue[0]
            fits = rows + following.rows <= self.limits.max_batch_size
            if not fits or following.alone or following.inner != inner:
                break
            self._queue.popleft()
            if following.wanted():
                batch.append(following)
                rows += following.rows
            else:
                dropped.append(following)
                self._rows -= following.rows
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
            self._apart.extend([task] for task in batch)
            return
        except Exception as error:
            if len(batch) > 1:  # a bad request fails alone: it is in one of the halves
                middle = len(batch) // 2
                self._apart.extend((batch[:middle], batch[middle:]))
                return
            results = [error]
        for task, result in zip(batch, results, strict=True):
            _answer(task, result)

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
        size = self._size(rows)
        if size > rows:
            values = [np.concatenate([value, np.repeat(value[-1:], size - rows, axis=0)]) for value in values]
        outputs = self._timed(values)
        if any(output.shape[:1] != (size,) for output in outputs):
            raise _Unjoinable
        return [output[:rows] for output in outputs] if size > rows else outputs

    def _size(self, rows: int) -> int:
        """The rows of a run for so many."""
        return next((size for size in self.limits.allowed_batch_sizes if size >= rows), rows) if rows else rows

    # Time

    def _is_quick(self, batch: list[Task]) -> bool:
        if not batch:
            return True
        rows = sum(task.rows for task in batch)
        if not self._even or rows > self.limits.max_batch_size:
            return False
        first = batch[0]
        shapes = [value.shape for value in first.values] if first.alone else [(self._size(rows), *size) for size in first.inner]
        seconds = self._seconds.get(_magnitude(shapes), ())
        return len(seconds) >= SEEN and max(seconds) < QUICK

    def _timed(self, values: list[np.ndarray]) -> list[np.ndarray]:
        start = time.perf_counter()
        try:
            return self._call(*values)
        finally:
            self._remember(_magnitude([value.shape for value in values]), time.perf_counter() - start)

    def _remember(self, magnitude: tuple, seconds: float) -> None:
        recent = self._seconds.get(magnitude)
        if recent is None:
            if len(self._seconds) >= SIZES:
                self._seconds = {}
            recent = self._seconds[magnitude] = deque(maxlen=RECENT)
        recent.append(seconds)


class _Unjoinable(Exception):
    """The outputs do not have the batch axis that the signature promises."""


def _magnitude(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """What is the same for shapes that differ by less than a factor of two along every axis."""
    return tuple(size.bit_length() for shape in shapes for size in shape)


def _split(outputs: list[np.ndarray], rows: list[int]) -> list[list[np.ndarray]]:
    """The outputs of each task, from those of all."""
    if len(rows) == 1:
        return [outputs]
    ends = list(itertools.accumulate(rows))
    return [[output[end - count : end] for output in outputs] for count, end in zip(rows, ends, strict=True)]


def _unwanted() -> RequestError:
    return RequestError(Code.CANCELLED, "Nobody waits for the answer any more.")


def _drop(tasks: list[Task]) -> None:
    for task in tasks:
        _answer(task, _unwanted())


def _answer(task: Task, result: list[np.ndarray] | BaseException) -> None:
    try:
        task.done(result)
    except Exception as error:  # the others of its batch have theirs all the same
        log.warning("Expected an answer to be taken. Received: %s: %s", type(error).__name__, error)


def _settle(future: Future, result: list[np.ndarray] | BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # it was settled when nobody waited for it any more
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
