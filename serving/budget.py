"""Memory that all requests share: what they would take beyond it is refused."""

import threading

from serving.status import Code, RequestError


class Budget:
    """So many bytes, for any thread."""

    def __init__(self, limit: int):
        self.limit = limit
        self._taken, self._lock = 0, threading.Lock()

    @property
    def taken(self) -> int:
        """Bytes that are in use."""
        return self._taken

    def take(self, size: int) -> None:
        """Takes `size` bytes, or gives them back where that is negative.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, there are not as many left.
        """
        with self._lock:
            if size > 0 and self._taken + size > self.limit:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED,
                    f"Expected the bodies of all requests to take at most {self.limit} bytes at once. "
                    f"Received: {size} bytes beside {self._taken}. Try again later.",
                )
            self._taken += size


class Share:
    """What one request, or one connection, has of a budget."""

    def __init__(self, budget: Budget):
        self._budget, self.size = budget, 0

    def resize(self, size: int) -> None:
        """Has `size` bytes from now on.

        Raises:
            RequestError: as `Budget.take`; the share stays as it was.
        """
        self._budget.take(size - self.size)
        self.size = size

    def grow(self, size: int) -> None:
        """Has `size` bytes more."""
        self.resize(self.size + size)


BODIES = Budget(1 << 31)  # of large requests: what has arrived of them, unpacked, and as arrays
