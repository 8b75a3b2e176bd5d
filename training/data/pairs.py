"""Pairs of texts: their splits, vocabularies, and batches of similar lengths."""

import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import zoo
from training import files
from training.data import cmudict, lines
from training.data.catalogue import prepared, similar_names
from training.data.rows import assigned_splits
from training.data.splits import Data, Split
from zoo.registry import register
from zoo.schema import Feature
from zoo.vocabulary import stray

POOL = 100  # batches that are shuffled together, then sorted by length
SIDES = ("source", "target")
ENDINGS = (".tsv", ".txt")
SPLITS = ("train", "validation", "test")
MINIMUM_ROWS = 100
ALTERNATIVE = re.compile(r"(\S+)\(\d+\)")  # how cmudict marks the second, third … pronunciation of a word


@dataclasses.dataclass(frozen=True, eq=False)
class PairSplit(Split):
    """Rows `{"source": (B,), "target": (B,)}` of texts, with their token numbers `source_tokens` and `target_tokens`
    `(B, longest)`, padded with 0.

    `longer` are further pairs, in which a text is longer than its vocabulary allows, so that a model can neither learn them
    nor get them right.
    """

    longer: tuple[tuple[str, str], ...] = ()

    def references(self) -> dict[str, list[str]]:
        """The targets of each distinct source, in the order of the rows; those of `longer` come last."""
        targets = {}
        for source, target in self.pairs():
            targets.setdefault(source, []).append(target)
        return targets

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Source and target of every pair; those of `longer` come last."""
        yield from zip(self.source.tolist(), self.target.tolist(), strict=True)
        yield from self.longer

    def inputs(self, batch_size: int, drop_remainder: bool = False, check: Callable | None = None) -> tf.data.Dataset:
        """Batches `{"source": (B, S), "target": (B, T)}` sorted by length, for Keras's `evaluate`. `check` is not used:
        texts are checked when they are converted to token numbers."""
        order = np.lexsort(self._lengths())
        starts = range(0, self.size - batch_size + 1 if drop_remainder else self.size, batch_size)
        return self._pipeline(lambda: (order[start : start + batch_size] for start in starts), len(starts))

    def training(
        self, batch_size: int, steps: int, epochs: range, seed: int = 0, check: Callable | None = None
    ) -> tf.data.Dataset:
        """Batches as in `inputs` for all steps of the epochs, each of which has its own order; the rows of a batch have similar
        lengths.

        A batch depends only on the seed and on its step, so that a resumed run sees the same batches as an uninterrupted one.
        """

        def rows():
            for epoch in epochs:
                yield from self._epoch(np.random.default_rng((seed, epoch)), batch_size, steps)

        return self._pipeline(rows, steps * len(epochs))

    def _epoch(self, random: np.random.Generator, batch_size: int, steps: int) -> Iterator[np.ndarray]:
        order = random.permutation(self.size)[: steps * batch_size]
        lengths = self._lengths()
        for start in range(0, len(order), POOL * batch_size):
            pool = order[start : start + POOL * batch_size]
            pool = pool[np.lexsort([column[pool] for column in lengths])].reshape(-1, batch_size)
            yield from pool[random.permutation(len(pool))]

    @property
    def source(self) -> np.ndarray:
        """Texts `(n,)`."""
        return self.arrays["source"]

    @property
    def target(self) -> np.ndarray:
        """Texts `(n,)`."""
        return self.arrays["target"]

    def tokens(self, side: str) -> np.ndarray:
        """Token numbers `(n, longest)` of the sources or the targets."""
        return self.arrays[f"{side}_tokens"]

    def _lengths(self) -> list[np.ndarray]:
        """Lengths of the targets and of the sources; `lexsort` sorts by the sources first."""
        return [np.count_nonzero(tokens, axis=1) for tokens in map(self.tokens, reversed(SIDES))]

    def _pipeline(self, rows: Callable[[], Iterator[np.ndarray]], count: int) -> tf.data.Dataset:
        columns = {name: self.tokens(name) for name in SIDES}
        multiple = 1 if keras.backend.backend() == "tensorflow" else 8  # few shapes, because each one is compiled

        def batches():
            for chosen in rows():
                yield {name: _cut(column[chosen], multiple) for name, column in columns.items()}

        spec = {name: tf.TensorSpec((None, None), tf.int32) for name in columns}
        dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(8)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs(Data):
    """Pairs of texts. The vocabularies in the schema are those of the training split.

    `reduced` maps a target to a simpler form that is evaluated as well: a pronunciation to one without stress.
    """

    reduced: Callable[[str], str] | None = None

    @property
    def source_vocabulary(self) -> zoo.Vocabulary:
        return self.schema["source"].vocabulary

    @property
    def target_vocabulary(self) -> zoo.Vocabulary:
        return self.schema["target"].vocabulary


@register("data", "pairs", reads=[".tsv", ".txt"])
def load(dataset: str) -> Pairs:
    """Opens a data set of pairs of texts.

    Args:
        dataset: `cmudict/random`, `cmudict/stem`, `misspellings`, any TFDS name whose supervised keys are two texts, or
            `pairs:PATH`, a text file with a pair per line, SOURCE tab TARGET, or a folder with such files `train.tsv`,
            `validation.tsv` and `test.tsv`. A source `abend(1)` is read as `abend` if `abend` is also there.

    Files are read as in `training.data.lines.read`. A file is split by source, 90 to 5 to 5 percent, always in the same way, so
    that all targets of a source are in one split. The vocabularies and their lengths are those of the training split; the
    tokens are words if its texts contain spaces, otherwise characters. Both sides share one vocabulary if they have the same
    kind of tokens and every token of the targets also occurs in the sources. Longer pairs in the other splits are reported on
    stderr and count as wrong.

    Raises:
        ValueError: no such data set, or one that does not have the expected form; a split with nothing but longer pairs.
    """
    kind, _, path = dataset.partition(":")
    plain = dataset.lower().endswith(ENDINGS) and os.path.isfile(dataset)
    texts = _read(pathlib.Path(path or dataset)) if plain or kind == "pairs" else _open_texts(dataset)
    vocabularies = [_vocabulary([row[side] for row in texts["train"]]) for side in (0, 1)]
    source, target = vocabularies
    if source.separator == target.separator and set(target.tokens) <= set(source.tokens):
        vocabularies = [zoo.Vocabulary(source.tokens, max(source.length, target.length), source.separator)] * 2
    splits = [_split(name, texts[name], vocabularies) for name in SPLITS]
    schema = {side: Feature("text", vocabulary=each) for side, each in zip(SIDES, vocabularies, strict=True)}
    return Pairs(dataset, schema, *splits, reduced=cmudict.without_stress if dataset.startswith("cmudict") else None)


def write(data: Pairs, folder: str | os.PathLike) -> pathlib.Path:
    """Writes the splits to `train.tsv`, `validation.tsv` and `test.tsv` in a folder, which `load` reads as `pairs:FOLDER`.

    Returns:
        The folder.

    Raises:
        ValueError: texts that cannot be written on one line.
    """
    folder = pathlib.Path(folder)
    for name, split in data.splits.items():
        bad = next((text for pair in split.pairs() for text in pair if stray(text)), None)
        if bad is not None:
            raise ValueError(f"Expected texts of one line. Received: {bad!r} in the {name} split. Try cleaning it first.")
        rows = "".join(f"{source}\t{target}\n" for source, target in split.pairs())
        files.write(folder / f"{name}.tsv", lambda path, rows=rows: path.write_text(rows, encoding="utf-8"))
    return folder


def _read(path: pathlib.Path) -> dict[str, list[tuple[str, str]]]:
    if path.is_dir():
        return {split: _rows(path / f"{split}.tsv", 1) for split in SPLITS}
    rows = _rows(path, MINIMUM_ROWS)
    sources = sorted({source for source, _ in rows})
    splits = dict(zip(sources, assigned_splits(len(sources)), strict=True))
    return {name: [row for row in rows if splits[row[0]] == name] for name in SPLITS}


def _open_texts(name: str) -> dict[str, list[tuple[str, str]]]:
    """The pairs of texts in the splits `train`, `validation` and `test` of the TFDS data set called `name`.

    Raises:
        ValueError: as in `prepared`; a data set without these splits, or one without pairs of texts.
    """
    builder = prepared(name, lambda builder: None, "or pairs:FILE.tsv", _hint)
    keys, splits = builder.info.supervised_keys or (), builder.info.splits
    texts = [key for key in keys if isinstance(dict(builder.info.features).get(key), tfds.features.Text)]
    if len(texts) != 2 or not set(SPLITS) <= set(splits):
        raise ValueError(
            f"Expected a data set of pairs of texts with splits {', '.join(SPLITS)}. Received: {name!r} with supervised keys "
            f"{keys} and splits {', '.join(splits)}. Try cmudict/random, or pairs:FILE.tsv."
        )

    def read(split: str) -> list[tuple[str, str]]:
        dataset = builder.as_dataset(split=split, shuffle_files=False, batch_size=-1)
        columns = [[text.decode() for text in dataset[key].numpy()] for key in texts]
        return [*zip(*columns, strict=True)]

    return {split: read(split) for split in SPLITS}


def _hint(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown name."""
    path = name.partition(":")[2] or name
    return f"pairs:{path}" if path.endswith(ENDINGS) else similar_names(name, known) or "cmudict/random, or pairs:FILE.tsv"


def _rows(path: pathlib.Path, least: int) -> list[tuple[str, str]]:
    numbers, rows = [], []
    for number, source, target in lines.pairs(path):
        numbers.append(number)
        rows.append((source, target))
    if len(rows) < least:
        raise ValueError(
            f"Expected a text file in UTF-8 with at least {least} lines of SOURCE, a tab and TARGET. Received: {len(rows)} in "
            f"{path}. Try more lines."
        )
    return [*_alternatives(rows, numbers, path)]


def _alternatives(rows: list[tuple[str, str]], numbers: list[int], path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Rows with `abend` in place of `abend(1)`, whose mark would otherwise become part of the word."""
    sources = {source for source, _ in rows}
    for number, (source, target) in zip(numbers, rows, strict=True):
        marked = ALTERNATIVE.fullmatch(source)
        if marked and marked[1] not in sources:
            raise ValueError(
                f"Expected {marked[1]!r} in addition to its alternative. Received: only {source!r}, in line {number} of "
                f"{path}. Try {marked[1]!r}, which may occur several times."
            )
        yield (marked[1] if marked else source), target


def _vocabulary(texts: list[str]) -> zoo.Vocabulary:
    """The vocabulary of the sources or of the targets of the training split."""
    vocabulary = zoo.Vocabulary.of(texts, " " if any(len(text.split()) > 1 for text in texts) else "")
    longest = max(len(vocabulary.split(text)) for text in texts)
    return zoo.Vocabulary(vocabulary.tokens, longest, vocabulary.separator)


def _split(name: str, rows: list[tuple[str, str]], vocabularies: list[zoo.Vocabulary]) -> PairSplit:
    kept, longer = [], []
    for row in rows:
        fits = all(len(each.split(text)) <= each.length for each, text in zip(vocabularies, row, strict=True))
        (kept if fits else longer).append(row)
    if longer:
        lengths = " and ".join(str(vocabulary.length) for vocabulary in vocabularies)
        message = f"{len(longer):,} of {len(rows):,} pairs of the {name} split are longer than those of the training split"
        print(f"{message} ({lengths} tokens), such as {longer[0][0]!r}, and count as wrong.", file=sys.stderr)
    if not kept:
        raise ValueError(
            f"Expected pairs no longer than those of the training split. Received: none in the {name} split. Try another split."
        )
    sides = [*zip(*kept, strict=True)]
    columns = {name: np.array(texts) for name, texts in zip(SIDES, sides, strict=True)}
    for name, vocabulary, texts in zip(SIDES, vocabularies, sides, strict=True):
        columns[f"{name}_tokens"] = vocabulary.numbers(texts)
    return PairSplit(len(kept), columns, longer=tuple(longer))


def _cut(tokens: np.ndarray, multiple: int) -> np.ndarray:
    """Token numbers without columns of padding only, but with a number of columns that is a multiple of `multiple`."""
    longest = int(np.count_nonzero(tokens, axis=1).max())
    width = -(-longest // multiple) * multiple
    return np.pad(tokens[:, :width], ((0, 0), (0, max(0, width - tokens.shape[1]))))
