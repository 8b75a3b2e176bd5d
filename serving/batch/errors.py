"""What is wrong outside the program, on its way from a worker to whoever began the job: one sentence all along."""

import contextlib
import re
from collections.abc import Iterator

from serving.command import outside

SENTENCE = re.compile(r"Expected [^\n]*? Received: [^\n]*?(?= \[while running|\n|\\n|$)")


@contextlib.contextmanager
def clearly() -> Iterator[None]:
    """A context in which an error from outside the program becomes one of the sentences of `serving.command`, which a runner
    can hand on; others are bugs, and stay."""
    try:
        yield
    except Exception as error:
        words = outside(error)
        if words is None or str(error) == words:
            raise
        raise RuntimeError(words) from None


def sentence(error: BaseException) -> str | None:
    """The last such sentence in the text of an error, which may hold the traces of several processes; None of a bug."""
    found = SENTENCE.findall(str(error))
    return found[-1].strip() if found else None
