"""The file beside a job's output that says which job it is, and whether it is complete: so that what is there is not written
twice, and what is missing is."""

import json
import os
import pathlib
import re
from collections.abc import Sequence

from serving.batch.sources import TFDS
from zoo import files


class Record:
    """`BASE.json`. It is written before the first shard.

    Args:
        base, ending: of the paths of the shards.
        said: what the job is; JSON values by name.
    """

    def __init__(self, base: str, ending: str, said: dict):
        self.path, self._base, self._ending = pathlib.Path(f"{base}.json"), pathlib.Path(base), ending
        self._said = json.loads(json.dumps(said))

    def begin(self, overwrite: bool) -> bool:
        """Whether there is anything to do. With `overwrite` the output of any job of this name is removed first.

        Raises:
            ValueError: the output of another job is there.
            OSError: nothing can be written there.
        """
        shards = [path for path, _ in self._shards()]
        if overwrite:
            for path in (self.path, *shards):
                path.unlink(missing_ok=True)
        elif self.path.exists():
            with files.reading(self.path, "the record of a job", "--overwrite"):
                known = json.loads(self.path.read_bytes())
                complete = known.pop("complete")
            changed = [name for name in {**known, **self._said} if known.get(name) != self._said.get(name)]
            if changed:
                raise ValueError(
                    f"Expected a new output, or that of the same job. Received: {self.path}, where other things are said of "
                    f"{', '.join(changed)}. Try another --output, or --overwrite to write it anew."
                )
            if complete:
                return False
        elif shards:
            raise ValueError(
                f"Expected a new output. Received: {shards[0]}, without the record of a job. Try another --output, or "
                "--overwrite to remove it."
            )
        self._write(complete=False)
        return True

    def end(self) -> None:
        """Says that the job is complete."""
        self._write(complete=True)

    def done(self) -> set[tuple[int, int]]:
        """The numbers of the shards that are there."""
        found = [match for _, match in self._shards() if not match["bad"] and match["ending"] == self._ending]
        return {(int(match["source"]), int(match["shard"])) for match in found}

    def bad(self) -> list[pathlib.Path]:
        """The shards of bad rows."""
        return [path for path, match in self._shards() if match["bad"]]

    def _shards(self) -> list[tuple[pathlib.Path, re.Match]]:
        """The shards of any job of this name."""
        name = re.compile(
            rf"{re.escape(self._base.name)}(?P<bad>\.bad)?-(?P<source>\d{{5,}})-(?P<shard>\d{{5,}})(?P<ending>\.[\w.]+)"
        )
        there = sorted(self._base.parent.iterdir()) if self._base.parent.is_dir() else []
        return [(path, match) for path in there if (match := name.fullmatch(path.name))]

    def _write(self, complete: bool) -> None:
        text = json.dumps({**self._said, "complete": complete}, indent=2, ensure_ascii=False) + "\n"
        files.write(self.path, lambda new: new.write_text(text, encoding="utf-8", errors="surrogateescape"))


def described(names: Sequence[str]) -> list[list]:
    """Sources by name, and of files their sizes and times, by which a change is seen."""
    return [[name, *_stamp(name)] for name in names]


def _stamp(name: str) -> tuple[int, ...]:
    if name.startswith(TFDS):
        return ()
    status = os.stat(name)
    return (status.st_mtime_ns,) if os.path.isdir(name) else (status.st_size, status.st_mtime_ns)
