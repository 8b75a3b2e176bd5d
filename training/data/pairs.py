"""Pairs of texts: their splits, their vocabularies, and the batches of similar lengths that a transformer is trained on."""

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
from training.data.catalogue import like, prepared
from training.data.rows import assigned
from training.data.splits import Data, Split
from zoo.registry import register
from zoo.schema import Feature
from zoo.vocabulary import stray

POOL = 100  # batches that are shuffled together, then sorted by length
SIDES = ("source", "target")
ENDINGS = (".tsv", ".txt")
SPLITS = ("train", "validation", "test")
MINIMUM_ROWS = 100
ALTERNATIVE = re.compile(r"(\S+)\(\d+\)")  # cmudict's mark of a word's second pronunciation, third …


@dataclasses.dataclass(frozen=True, eq=False)
class PairSplit(Split):
    """Rows `{"source": (B,), "target": (B,)}` of texts, beside them `source_tokens` and `target_tokens`, their token numbers
    `(B, longest)`, padded with 0.

    `longer` are the pairs beside them of which a side is longer than its vocabulary allows: none that a model can learn from or
    get right.
    """

    longer: tuple[tuple[str, str], ...] = ()

    def references(self) -> dict[str, list[str]]:
        """The targets of each distinct source, in their order; those of `longer` last."""
        targets = {}
        for source, target in self.pairs():
            targets.setdefault(source, []).append(target)
        return targets

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Source and target of every pair, those of `longer` last."""
        yield from zip(self.source.tolist(), self.target.tolist(), strict=True)
        yield from self.longer

    def inputs(self, batch_size: int, drop_remainder: bool = False, check: Callable | None = None) -> tf.data.Dataset:
        """Batches `{"source": (B, S), "target": (B, T)}` sorted by length, for `evaluate`; the texts were checked when they
        became numbers."""
        order = np.lexsort(self._lengths())
        starts = range(0, self.size - batch_size + 1 if drop_remainder else self.size, batch_size)
        return self._pipeline(lambda: (order[start : start + batch_size] for start in starts), len(starts))

    def training(
        self, batch_size: int, steps: int, epochs: range, seed: int = 0, check: Callable | None = None
    ) -> tf.data.Dataset:
        """As `inputs`, for every step of each epoch, shuffled anew in each; rows of a batch have similar lengths.

        A batch depends on the seed and on its step alone, so a run that goes on after a kill sees the same batches.
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
        """Of the targets and the sources, which `lexsort` sorts by first."""
        return [np.count_nonzero(tokens, axis=1) for tokens in map(self.tokens, reversed(SIDES))]

    def _pipeline(self, rows: Callable[[], Iterator[np.ndarray]], count: int) -> tf.data.Dataset:
        columns = {name: self.tokens(name) for name in SIDES}
        multiple = 1 if keras.backend.backend() == "tensorflow" else 8  # few shapes, where each of them is compiled

        def batches():
            for chosen in rows():
                yield {name: _cut(column[chosen], multiple) for name, column in columns.items()}

        spec = {name: tf.TensorSpec((None, None), tf.int32) for name in columns}
        dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(8)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs(Data):
    """Pairs of texts; the vocabularies in the schema are those of the training split.

    `reduced` maps a target to what remains of it where only a part of it counts, a pronunciation to one without stress.
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
            `pairs:PATH`, a file of lines SOURCE tab TARGET, or a folder of `train.tsv`, `validation.tsv` and `test.tsv`.
            What is read as what, `training.lines.read` says; `abend(1)`, where there is `abend` too, is `abend` again.

    A file is split by source, 90 to 5 to 5, always alike: all targets of a source are on one side. The vocabularies and their
    lengths are those of the training split: words where its texts have whitespace, otherwise characters, and one for both
    sides where they are of the same kind and the target's tokens are all found in the source. Longer pairs of the other
    splits are counted on stderr, and count as wrong.

    Raises:
        ValueError: no such data, or not of the form that the source reads; a split all of longer pairs.
    """
    kind, _, path = dataset.partition(":")
    texts = _read(pathlib.Path(path)) if kind == "pairs" else _open_texts(dataset)
    vocabularies = [_vocabulary([row[side] for row in texts["train"]]) for side in (0, 1)]
    read, written = vocabularies
    if read.separator == written.separator and set(written.tokens) <= set(read.tokens):
        vocabularies = [zoo.Vocabulary(read.tokens, max(read.length, written.length), read.separator)] * 2
    splits = [_split(name, texts[name], vocabularies) for name in SPLITS]
    schema = {side: Feature("text", vocabulary=each) for side, each in zip(SIDES, vocabularies, strict=True)}
    return Pairs(dataset, schema, *splits, reduced=cmudict.without_stress if dataset.startswith("cmudict") else None)


def write(data: Pairs, folder: str | os.PathLike) -> pathlib.Path:
    """Writes the splits of pairs of texts to `train.tsv`, `validation.tsv` and `test.tsv` in a folder, which `load` reads again
    as `pairs:FOLDER`.

    Returns:
        The folder.

    Raises:
        ValueError: texts that do not fit in a line.
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
    side = dict(zip(sources, assigned(len(sources)), strict=True))
    return {split: [row for row in rows if side[row[0]] == split] for split in SPLITS}


def _open_texts(name: str) -> dict[str, list[tuple[str, str]]]:
    """The pairs of texts in the splits train, validation and test of the TFDS data set called `name`.

    Raises:
        ValueError: as `prepared`; a data set without these splits, or not of pairs of texts.
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
    """What may be meant by a name that no data set has."""
    path = name.partition(":")[2] or name
    return f"pairs:{path}" if path.endswith(ENDINGS) else like(name, known) or "cmudict/random, or pairs:FILE.tsv"


def _rows(path: pathlib.Path, least: int) -> list[tuple[str, str]]:
    numbers, rows = [], []
    for number, (source, *targets) in lines.read(path):
        target, rest = (targets[0], targets[1:]) if targets else ("", [""])
        if not source or not targets or any(rest):
            received = "\t".join([source, *targets])
            raise ValueError(
                f"Expected SOURCE, a tab and TARGET in every line. Received: {received!r} in line {number} of {path}. "
                "Try removing what is no pair."
            )
        numbers.append(number)
        rows.append((source, target))
    if len(rows) < least:
        raise ValueError(
            f"Expected a text file in UTF-8 with at least {least} lines of SOURCE, a tab and TARGET. Received: {len(rows)} in "
            f"{path}. Try more of them."
        )
    return [*_alternatives(rows, numbers, path)]


def _alternatives(rows, numbers, path) -> Iterator[tuple[str, str]]:
    """Rows in which `abend(1)` is `abend` again, so that its mark does not become letters."""
    sources = {source for source, _ in rows}
    for number, (source, target) in zip(numbers, rows, strict=True):
        marked = ALTERNATIVE.fullmatch(source)
        if marked and marked[1] not in sources:
            raise ValueError(
                f"Expected an alternative beside the first: {marked[1]!r}. Received: {source!r} alone, in line {number} of "
                f"{path}. Try {marked[1]!r}, which may be there several times."
            )
        yield (marked[1] if marked else source), target


def _vocabulary(texts: list[str]) -> zoo.Vocabulary:
    """Of one side's texts in the training split."""
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
        told = f"{len(longer):,} of {len(rows):,} pairs of the {name} split are longer than those of the training split"
        print(f"{told} ({lengths} tokens), {longer[0][0]!r} say, and count as wrong.", file=sys.stderr)
    if not kept:
        raise ValueError(f"Expected pairs no longer than those of the training split. Received: none, in the {name} split.")
    both = [*zip(*kept, strict=True)]
    columns = {name: np.array(texts) for name, texts in zip(SIDES, both, strict=True)}
    for name, vocabulary, texts in zip(SIDES, vocabularies, both, strict=True):
        columns[f"{name}_tokens"] = vocabulary.numbers(texts)
    return PairSplit(len(kept), columns, longer=tuple(longer))


def _cut(tokens: np.ndarray, multiple: int) -> np.ndarray:
    """Token numbers without the columns that are padding in all rows, up to a multiple of columns."""
    longest = int(np.count_nonzero(tokens, axis=1).max())
    width = -(-longest // multiple) * multiple
    return np.pad(tokens[:, :width], ((0, 0), (0, max(0, width - tokens.shape[1]))))
