"""A memory budget that all requests share; requests beyond it are refused."""

import threading

from serving.status import Code, RequestError


class Budget:
    """A number of bytes to share. Thread-safe."""

    def __init__(self, limit: int):
        self.limit = limit
        self._taken, self._lock = 0, threading.Lock()

    @property
    def taken(self) -> int:
        """Number of bytes in use."""
        return self._taken

    def take(self, size: int) -> None:
        """Takes `size` bytes, or gives them back if it is negative.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, fewer are left.
        """
        with self._lock:
            if size > 0 and self._taken + size > self.limit:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED,
                    f"Expected the bodies of all requests to take at most {self.limit} bytes at once. "
                    f"Received: {size} bytes with {self._taken} in use. Try again later.",
                )
            self._taken += size


class Share:
    """The part of a budget that one request or one connection holds."""

    def __init__(self, budget: Budget):
        self._budget, self.size = budget, 0

    def resize(self, size: int) -> None:
        """Changes the share to `size` bytes.

        Raises:
            RequestError: as `Budget.take`; the share stays as it was.
        """
        self._budget.take(size - self.size)
        self.size = size

    def grow(self, size: int) -> None:
        """Adds `size` bytes to the share."""
        self.resize(self.size + size)


BODIES = Budget(1 << 31)  # of large requests: their bodies as received, unpacked, and as arrays
