"""Columns that are set apart, to be predicted from the codes of the others."""

import dataclasses

import numpy as np
import tensorflow as tf

from training.data.graphs import as_written
from training.data.splits import Data, Split
from zoo.columns import kept
from zoo.registry import register

ANSWER = "answer"  # the name that the cells of such a column have in the rows of a split


@register("head", "column")
def set_apart(data: Data, target: str = "") -> Data:
    """A column that is not shown to the autoencoder, and is then predicted from its codes.

    Args:
        target: name of the column; empty: the autoencoder has all columns, and nothing is predicted.

    Raises:
        ValueError: no such column, one that is left out, or the only one.
    """
    if not target:
        return data
    columns = kept(data.schema)
    others = [name for name in columns if name != target]
    if target not in columns or not others:
        raise ValueError(
            f"Expected the name of a column to be predicted from others. Received: target={target} of "
            f"{', '.join(columns)}. Try --target={others[-1] if others else 'NAME'} or no target."
        )
    place = [*columns].index(target)
    splits = {name: _without(split, place) for name, split in data.splits.items()}
    schema = {name: feature for name, feature in data.schema.items() if name != target}
    return dataclasses.replace(data, **splits, schema=schema, target={target: columns[target]})


def _without(split: Split, place: int) -> Split:
    """A split whose cells lack a column, which it has under the name ANSWER instead."""
    if split.arrays is not None:
        cells = split.arrays["x"]
        apart = {"x": np.delete(cells, place, axis=1), ANSWER: cells[:, place]}
        return dataclasses.replace(split, arrays={**split.arrays, **apart})

    @as_written
    def apart(block):
        cells = block["x"]
        others = tf.concat([cells[:, :place], cells[:, place + 1 :]], axis=1)
        return {**block, "x": others, ANSWER: cells[:, place]}

    return dataclasses.replace(split, stream=split.stream.map(apart))
