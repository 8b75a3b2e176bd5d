"""An exported model of a table, asked over REST."""

import argparse
import contextlib
import http.client
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping

import judge
import zoo_columns
import zoo_runs

import serving
from training.run import Run

Row = dict[str, str | float]


@contextlib.contextmanager
def asking(run: pathlib.Path) -> Iterator[Callable[[Row], Row]]:
    """A function that sends a row to the export of a run, over one connection, and returns what `reconstruct` answers."""
    (folder,) = Run(run).export.iterdir()
    with serving.Server(folder.parent) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)

        def ask(row: Row) -> Row:
            body = json.dumps({"signature_name": "reconstruct", "instances": [row]})
            connection.request("POST", f"/v1/models/{folder.name}:predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ValueError(f"Expected an answer. Received: {response.status}, {answer.decode()[:300]}.")
            return json.loads(answer)["predictions"][0]

        with contextlib.closing(connection):
            yield ask


def rows(options: argparse.Namespace, name: str) -> list[Row]:
    """The test rows of a table without their hidden cells, with all columns of the file; NaN and "" are missing."""
    whole, hidden = judge.read(judge.path(options.folder, name)), judge.path(options.folder, name, "hidden")
    numbers, texts = judge.read_as(hidden, whole), judge.texts(hidden)
    table = {each: (texts if whole[each].dtype == object else numbers)[each].tolist() for each in whole}
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def answers(options: argparse.Namespace, name: str) -> dict[str, str]:
    """Asks the export of a run to fill in the first test row of a table; says what is wrong with the answer, if anything is.

    A row that is refused with all columns of the file is asked again with those alone that the model has, and `refused` says
    why it was.
    """
    row, kept = rows(options, name)[0], zoo_columns.inferred(options.folder, name).kept
    try:
        with asking(zoo_runs.workdir(options, name)) as ask:
            try:
                return _wrong(row, ask(row), kept)
            except ValueError as error:
                return {"refused": str(error)[:500]} | _wrong(row, ask({column: row[column] for column in kept}), kept)
    except Exception as error:  # of any kind: it is a result
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _wrong(row: Row, answer: Mapping, columns: list[str]) -> dict[str, str]:
    for column in columns:
        given, received = row[column], answer.get(column)
        if received is None or is_missing(received):
            return {"error": f"{column} is not filled in"}
        same = math.isclose(given, received, rel_tol=1e-9) if isinstance(given, float) else received in (given, given.strip())
        if not is_missing(given) and not same:
            return {"error": f"{column} was {given!r}, and is {received!r}"}
    return {}


def is_missing(value: str | float) -> bool:
    """Whether a value is NaN or an empty text."""
    return value == "" or value != value
