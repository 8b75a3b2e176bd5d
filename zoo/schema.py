"""What data hold: their features by name, which a model keeps and its signatures, exports and clients tell."""

from typing import NamedTuple

from zoo.vocabulary import Vocabulary


class Feature(NamedTuple):
    """One column of data.

    `type` is `image`, `array`, `text`, `class` or `number`; `shape` that of one value; `range` the lowest and highest value
    that the training data have, None where that is not known; `classes` the names of the classes; `vocabulary` of a text.

    The columns of a table are of a type of `zoo.columns`, or they are left out: `identifier`, `text`, `constant`. Of these is
    known: `missing`, the share of cells without a value; `mean` and `scale`, the standard deviation, of numbers, and `log_mean`
    and `log_scale` of their logarithms (of counts, those of 1 + n), with which they are standardized; `decimals`, how many
    digits numbers have after the point; `format` of dates, as `strptime` takes it; `shares` of the classes among the cells with
    a value, in their order. A class may be a number.
    """

    type: str
    shape: tuple[int, ...] = ()
    range: tuple[float, float] | None = None
    classes: tuple[str, ...] | tuple[float, ...] | None = None
    vocabulary: Vocabulary | None = None
    missing: float | None = None
    mean: float | None = None
    scale: float | None = None
    log_mean: float | None = None
    log_scale: float | None = None
    decimals: int | None = None
    format: str | None = None
    shares: tuple[float, ...] | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], range: tuple[float, float] | None = None) -> "Feature":
        """Numbers of this shape; images where they have a height, a width and one or three channels."""
        return cls("image" if len(shape) == 3 and shape[-1] in (1, 3) else "array", tuple(shape), range)


Schema = dict[str, Feature]


def described(schema: Schema) -> dict[str, dict]:
    """A schema as JSON has it: for each feature what is known of it, of a vocabulary its size and its longest text."""
    return {name: _described(feature) for name, feature in schema.items()}


def _described(feature: Feature) -> dict:
    known = {key: value for key, value in feature._asdict().items() if value not in (None, ())}
    if feature.vocabulary:
        known["vocabulary"] = {"tokens": feature.vocabulary.size, "length": feature.vocabulary.length}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}


def restored(described: dict[str, dict]) -> Schema:
    """The schema of numbers and classes that `described` gave; texts, whose vocabularies a model has itself, are left out."""
    kept = {name: each for name, each in described.items() if "vocabulary" not in each}
    return {
        name: Feature(**{key: tuple(value) if isinstance(value, list) else value for key, value in each.items()})
        for name, each in kept.items()
    }
