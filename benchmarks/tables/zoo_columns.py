"""The columns of a table by which all are judged: those that the zoo, asked about the rows to learn from, keeps."""

import contextlib
import io
import pathlib
from typing import NamedTuple

import judge

from training.data.inference import infer
from training.data.table_files import open_table
from zoo.columns import kept


class Columns(NamedTuple):
    """Names of columns; `dates` are those of dates among the ones that are `kept`."""

    kept: list[str]
    dates: list[str]


def inferred(folder: pathlib.Path, name: str) -> Columns:
    with contextlib.redirect_stderr(io.StringIO()):
        schema = infer(open_table(judge.path(folder, name, "train")).batches())
    return Columns([*kept(schema)], [column for column, feature in schema.items() if feature.type == "datetime"])
