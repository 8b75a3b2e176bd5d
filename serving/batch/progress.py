"""How far a job is, by the shards that are there."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from tqdm import tqdm

PAUSE, RARE = 2.0, 60.0  # seconds between looks, and between lines where nobody watches


@contextlib.contextmanager
def progress(count: Callable[[], int], total: int | None, unit: str = "row") -> Iterator[None]:
    """A context in which it goes to stderr what is done, and how much a second: a line that changes on a terminal, else one a
    minute.

    Args:
        count: how many rows are done, from the beginning of the job, or what else the unit is.
        total: of all of them, None if that is not known.
    """
    watched = sys.stderr.isatty()
    ended, begun = threading.Event(), count()
    bar = tqdm(
        total=total, initial=begun, unit=unit, unit_scale=True, leave=False, dynamic_ncols=watched, delay=PAUSE, desc="batch"
    )

    def look() -> None:
        while not ended.wait(PAUSE if watched else RARE):
            bar.update(max(0, count() - bar.n))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        bar.close()
