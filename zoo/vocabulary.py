"""Vocabularies: tokens and their numbers."""

import functools
import unicodedata
from collections.abc import Iterable, Sequence

import keras
import numpy as np

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
JOINERS = "\u200c\u200d"  # invisible, but needed to write Persian and Indic words, and emoji
LOST = "\ufffd\ufffe\uffff"  # traces of text decoded with the wrong encoding


@keras.saving.register_keras_serializable("zoo")
class Vocabulary:
    """Numbers the tokens: 0 `<pad>`, 1 `<start>`, 2 `<end>`, 3 `<unk>`, then the given ones in order.

    Args:
        tokens: distinct and not empty; single characters if `separator` is empty, otherwise words without whitespace. They may
            not contain characters that `stray` finds.
        length: greatest number of tokens in a sequence, without the end token.
        separator: between the tokens of a text: "" for texts of characters, " " for texts of words.

    A character that is not a token is replaced by its compatibility decomposition (NFKD), or else by the case folding of
    that, in each without combining marks that are not tokens: "É" is read as "e" if only lower-case letters are tokens. If
    that is not made of tokens either, it is `<unk>`. A letter followed by combining marks is read as one character if that is
    a token. Words are taken as they are.

    Raises:
        ValueError: tokens that are not as above; another separator; a length below 1.
    """

    def __init__(self, tokens: Iterable[str], length: int, separator: str = ""):
        self.tokens = tuple(tokens)
        self.length = length
        self.separator = separator
        fit = all(len(token) == 1 if separator == "" else token.split() == [token] for token in self.tokens)
        if not self.tokens or len(set(self.tokens)) < len(self.tokens) or not fit or set(self.tokens) & set(SPECIAL):
            raise ValueError(
                f"Expected distinct {'characters' if separator == '' else 'words without whitespace'}. "
                f"Received: {self.tokens[:10]} …. Try Vocabulary.of(texts)."
            )
        found = stray("".join(self.tokens))
        if found:
            raise ValueError(
                f"Expected tokens of visible characters. Received: U+{ord(found):04X}. Try removing it from the texts first."
            )
        if separator not in ("", " ") or length < 1:
            raise ValueError(
                f'Expected a separator of "" or " ", and a length above 0. Received: separator={separator!r}, length={length}. '
                'Try Vocabulary(tokens, length=32, separator=" ").'
            )
        self._numbers = {token: number for number, token in enumerate(self.tokens, len(SPECIAL))}

    @classmethod
    def of(cls, texts: Sequence[str], separator: str = "", length: int = 0) -> "Vocabulary":
        """The vocabulary of the tokens in `texts`, sorted; `length` is that of the longest text unless given."""
        split = [text.split() if separator else [*text] for text in texts]
        return cls(sorted({token for tokens in split for token in tokens}), length or max(map(len, split)), separator)

    @property
    def size(self) -> int:
        """Number of tokens, including the four special ones."""
        return len(SPECIAL) + len(self.tokens)

    def spelling(self, character: str) -> str:
        """What a character is read as: a text of tokens, or the character itself if there is none."""
        decomposed = unicodedata.normalize("NFKD", character)
        for candidate in (character, decomposed, unicodedata.normalize("NFKD", decomposed.casefold())):
            kept = "".join(c for c in candidate if c in self._numbers or not unicodedata.combining(c))
            if all(c in self._numbers for c in kept):
                return kept
        return character

    @functools.cached_property
    def compositions(self) -> dict[str, str]:
        """Tokens that can also be written as a letter with combining marks, by that form (NFD), longest first."""
        decomposed = {unicodedata.normalize("NFD", token): token for token in self.tokens if not self.separator}
        marked = (text for text in decomposed if len(text) > 1 and all(map(unicodedata.combining, text[1:])))
        return {text: decomposed[text] for text in sorted(marked, key=len, reverse=True)}

    def split(self, text: str) -> list[str]:
        """The tokens of a text, after replacing characters as described above."""
        if self.separator:
            return text.split()
        for decomposed, token in self.compositions.items():
            text = text.replace(decomposed, token)
        return [*"".join(map(self._spelling, text))]

    def numbers(self, texts: Sequence[str]) -> np.ndarray:
        """Texts `(B,)` to int32 `(B, T)`: tokens, `<end>`, then `<pad>` up to the longest text.

        Raises:
            ValueError: a text of more than `length` tokens.
        """
        rows = []
        for number, text in enumerate(texts):
            row = [self._numbers.get(token, UNKNOWN) for token in self.split(text)]
            if len(row) > self.length:
                raise ValueError(
                    f"Expected at most {self.length} tokens. Received: {len(row)} in row {number}, {text[:40]!r}. "
                    "Try a shorter text."
                )
            rows.append([*row, END])
        table = np.zeros((len(rows), max(map(len, rows), default=1)), "int32")
        for row, numbers in zip(table, rows, strict=True):
            row[: len(numbers)] = numbers
        return table

    def texts(self, numbers: np.ndarray) -> np.ndarray:
        """int32 `(…, T)` to texts `(…)`: the tokens before the first `<end>`, without padding."""
        numbers = np.asarray(numbers)
        names = np.array([*SPECIAL, *self.tokens])
        rows = []
        for row in numbers.reshape(-1, numbers.shape[-1]):
            ends = np.flatnonzero(row == END)
            kept = row[: ends[0]] if len(ends) else row
            rows.append(self.separator.join(names[kept[kept != PAD]]))
        return np.array(rows, dtype=str).reshape(numbers.shape[:-1])

    @functools.cached_property
    def _spelling(self):
        return functools.cache(self.spelling)

    # Saving, and comparing what was saved

    def get_config(self) -> dict:
        return {"tokens": list(self.tokens), "length": self.length, "separator": self.separator}

    @classmethod
    def from_config(cls, config: dict) -> "Vocabulary":
        return cls(**config)

    def __eq__(self, other) -> bool:
        return isinstance(other, Vocabulary) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.tokens, self.length, self.separator))


def stray(text: str) -> str:
    """The first character that does not belong in a line of text, or "": control characters (line ends and tabs too), line and
    paragraph separators, invisible formatting such as a byte order mark or a zero-width space (but not the two joiners), lone
    surrogates, and traces of a wrong decoding."""
    found = (c for c in text if c in LOST or (unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in JOINERS))
    return next(found, "")
