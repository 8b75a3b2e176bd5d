"""Batches run from an event loop: each when all tasks that came in one iteration of the loop are queued."""

import asyncio
import contextlib
import threading

import numpy as np

from serving.models.batcher import Batcher
from serving.models.servable import Endpoint


class Steps:
    """The steps of batchers that an event loop's thread has to take."""

    def __init__(self):
        self._waiting: set[Batcher] = set()

    def soon(self, batcher: Batcher) -> None:
        """Lets a batcher take a step once this iteration of the event loop is over; other threads take long ones."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._step)
        self._waiting.add(batcher)

    async def run(self, endpoint: Endpoint, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Endpoint.run`; if the caller is cancelled before the run begins, it does not take place."""
        future = asyncio.get_running_loop().create_future()
        try:
            endpoint.batcher.enqueue(endpoint.task(values, _settling(future), lambda: not future.done()))
            self.soon(endpoint.batcher)
            return dict(zip(endpoint.outputs, await future, strict=True))
        except Exception as error:
            raise endpoint.request_error(error, values) from None

    def _step(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for batcher in waiting:
            batcher.step_if_quick()


def _settling(future: asyncio.Future):
    """A function that settles the future, in any thread."""
    thread = threading.get_ident()

    def settle(result: list[np.ndarray] | BaseException) -> None:
        if threading.get_ident() == thread:
            _settle(future, result)
        else:
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                future.get_loop().call_soon_threadsafe(_settle, future, result)

    return settle


def _settle(future: asyncio.Future, result: list[np.ndarray] | BaseException) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
