"""The pictures of a report on an autoencoder of tables, with their captions."""

from collections.abc import Iterator

import zoo
from training.data.tables import Tables
from training.reporting.page import Entry
from training.run import Run


def figures(run: Run, model: zoo.TableAutoencoder, data: Tables, metrics: dict[str, float]) -> Iterator[Entry]:
    """The pictures of a run, in the order of the page."""
    yield from ()
