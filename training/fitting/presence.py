"""Workers that need one another, without TensorFlow between them: when one of them is gone, all end."""

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable

from serving import command
from training.fitting.meeting import LINE, Facts, Lines, difference

AGAIN = "Try the same command on all of them, which goes on where they were."
LOST = 1  # exit code where another worker has died, after which all may be started again


def end(words: str, code: int) -> None:
    """Ends this process at once, whatever it is doing."""
    with contextlib.suppress(OSError):
        print(f"python -m training: {words}", file=sys.stderr, flush=True)
    os._exit(code)


class Presence:
    """A context in which all workers are there: the chief, to which the others have connections, says to all what it learns.

    A worker that leaves the context has done its part. One that leaves it by an error says which, and one that is killed says
    nothing: all others are ended, with that error, or with one that says who is gone.

    Args:
        lines: connections to the chief or, if this is the chief, to all others, as `met` returns them.
        end: what is done if one of the others fails, with words and an exit code.
    """

    def __init__(self, lines: Lines, end: Callable[[str, int], None] = end):
        self.lines, self.end = lines, end
        self.leaving = threading.Event()
        self.found: queue.SimpleQueue[tuple[int, Facts]] = queue.SimpleQueue()
        self.watches = [threading.Thread(target=self._watch, args=(index,), daemon=True) for index in lines]

    def __enter__(self) -> "Presence":
        for watch in self.watches:
            watch.start()
        return self

    def agree(self, facts: Facts) -> None:
        """Waits until all workers have come to this point, and have found the same.

        Args:
            facts: what must be the same on all workers, by name: texts and numbers.

        Raises:
            ValueError: on the chief, where one has found something else; the others are ended.
        """
        if 0 in self.lines:
            self._say(facts)
            self.found.get()
            return
        others = sorted(self.found.get() for _ in self.lines)
        differing = [f"worker {index} with {text}" for index, said in others if (text := difference(facts, said))]
        if differing:
            raise ValueError(f"Expected the same data on all workers. Received: {'; '.join(differing)}. Try the same files.")
        self._say(facts)

    def wait(self) -> None:
        """Waits until all others, of which this is the chief, have done their part."""
        for watch in self.watches:
            watch.join()

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        self.leaving.set()
        if error is None:
            self._say((0, ""))
        elif isinstance(error, Exception):  # a signal is one for all, or leaves them without a word
            bug = f"Expected all workers to go on. Received: {type(error).__name__}: {error}. {AGAIN}"
            who = "" if 0 in self.lines else "the chief: "  # which says whose words it passes on
            self._say((command.WRONG, f"{who}{command.outside(error) or bug}"))

    def _watch(self, index: int) -> None:
        who = f"worker {index}" if index else "the chief"
        code, words = LOST, f"Expected all workers to go on. Received: {who} is gone. {AGAIN}"
        with contextlib.suppress(OSError, ValueError, TypeError):  # the connection is lost, or says nothing
            while isinstance(said := json.loads(self.lines[index].readline(LINE)), dict):
                self.found.put((index, said))
            code, words = said[0], f"{who}: {said[1]}" if index else said[1]
        if code and not self.leaving.is_set():
            self._say((code, words))
            self.end(words, code)

    def _say(self, words: tuple[int, str] | Facts) -> None:
        """Says to the others what this worker has found, or how it ends: an exit code, and what is wrong."""
        for stream in self.lines.values():
            with contextlib.suppress(OSError, ValueError):
                stream.write(json.dumps(words).encode() + b"\n")
                stream.flush()
