"""Coding of pairs of texts: the sources by a plain codec, and each target, given its source, token by token.

A chunk is the length of its plain part, that part, and a stack of tokens. The plain part is the sources by Zstandard, a line
each. A target that the model cannot write as it is, or whose source it cannot read, follows its source there, after a tab.

The model computes in floating point. So batches have one shape and tokens are decoded one by one in both directions, by the
same operations, and a file can only be read where these come out as they did when it was written.
"""

import struct
from collections.abc import Callable, Mapping

import numpy as np
import zstandard
from keras import ops

from zoo import inputs
from zoo.coding import curves
from zoo.coding.mode import Mode
from zoo.coding.stack import Distribution, Stack
from zoo.rows import Raw
from zoo.search import FORBIDDEN, longer
from zoo.transformer import Transformer
from zoo.vocabulary import END, SPECIAL, START, UNKNOWN, Vocabulary, stray

SIDES = ("source", "target")
BATCH = 256  # pairs that are decoded at once
SHARE = 2.0**24  # of the likeliest token: frequencies are whole numbers
ZSTD_LEVEL = 19
PROBE = 64  # pairs of the probe
_LENGTH = struct.Struct("<I")

Choose = Callable[[Distribution, np.ndarray, int], np.ndarray]


class Pairs(Mode):
    """Pairs `{"source": (n,), "target": (n,)}` of texts. As integers, a pair is the code points of its line in the plain part,
    then the token numbers of its target, each padded with 0."""

    name = "pairs"
    lossless = True
    parallel = False  # the backend has threads of its own
    chunk = 8192  # the plain part is the shorter, the more lines it has
    parts = (
        "source_vocabulary",
        "target_vocabulary",
        "source_embedding",
        "target_embedding",
        "encoder",
        "norm_encoder",
        "decoder",
        "norm_decoder",
    )

    @classmethod
    def prepared(
        cls, model: Transformer, x: Mapping, portable: bool = True, lossy: bool = False, particles: int = 1
    ) -> "Pairs":
        """As `Mode.prepared`. The network has no exact arithmetic: a file that is to be `portable` is refused."""
        if portable:
            raise ValueError(
                "Expected portable=False, since a transformer computes in floating point. Received: portable=True. Try "
                "--portable=false (portable=False) for a file that is read only where the same numbers come out: with the "
                "packages and the settings that there are now, on this kind of processor."
            )
        if lossy or particles != 1:
            raise ValueError(
                "Expected pairs of texts to be compressed without loss and without particles. Received: "
                f"lossy={lossy}, particles={particles}. Try without them."
            )
        lines, _ = _coded(model, *_columns(x))
        return cls(model, {"line": max([1, *map(len, lines)])})

    def integers(self, x: Mapping) -> np.ndarray:
        lines, tokens = _coded(self.model, *_columns(x))
        return np.concatenate([self._points(lines), tokens], axis=1)

    def values(self, integers: np.ndarray) -> Raw:
        lines = [line.partition("\t") for line in self._lines(integers)]
        written = self.model.target_vocabulary.texts(self._tokens(integers)).tolist()
        targets = [target if tab else text for (_, tab, target), text in zip(lines, written, strict=True)]
        return {"source": np.array([source for source, _, _ in lines], str), "target": np.array(targets, str)}

    def encode(self, integers: np.ndarray) -> bytes:
        lines = self._lines(integers)
        plain = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress("".join(f"{line}\n" for line in lines).encode())
        sources, rows = self._read(lines)
        return _LENGTH.pack(len(plain)) + plain + self._encoded(sources, self._tokens(integers)[rows])

    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        plain, words = self.divided(payload)
        lines = zstandard.ZstdDecompressor().decompress(plain).decode().split("\n")[:-1]
        if len(lines) != rows or len(words) % 4:
            raise ValueError("a chunk of other lines or words")
        sources, coded = self._read(lines)
        stack, tokens = Stack(np.frombuffer(words, "<u4")), np.zeros((rows, self._steps), "int64")
        for start in range(0, len(coded), BATCH):
            part = slice(start, start + BATCH)
            tokens[coded[part]] = self._followed(sources[part], lambda distribution, open_, t: stack.pop(distribution))
        stack.require_known()
        return np.concatenate([self._points(lines), tokens], axis=1)

    def probe(self) -> bytes:
        read, written = (
            len(SPECIAL) + np.arange(PROBE * each.length).reshape(PROBE, -1) * 40_503 // 64 % len(each.tokens)
            for each in (self.model.source_vocabulary, self.model.target_vocabulary)
        )
        ends = np.full((PROBE, 1), END)
        return self._encoded(np.concatenate([read, ends], axis=1), np.concatenate([written, ends], axis=1))

    @staticmethod
    def divided(payload: bytes) -> tuple[bytes, bytes]:
        """The plain part of a chunk, and its stack."""
        end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
        return payload[_LENGTH.size : end], payload[end:]

    @property
    def _steps(self) -> int:
        return self.model.target_vocabulary.length + 1

    def _tokens(self, integers: np.ndarray) -> np.ndarray:
        return integers[:, self.settings["line"] :]

    def _lines(self, integers: np.ndarray) -> list[str]:
        """The lines of the plain part."""
        width = self.settings["line"]
        return np.ascontiguousarray(integers[:, :width], "<u4").view(f"<U{width}")[:, 0].tolist()

    def _points(self, lines: list[str]) -> np.ndarray:
        """The code points `(n, line)` of lines."""
        width = self.settings["line"]
        return np.array(lines, f"<U{width}").view("<u4").reshape(-1, width).astype("int64")

    def _read(self, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The token numbers `(m, S)` of the sources whose targets are on the stack, and the numbers `(m,)` of their lines."""
        rows = [row for row, line in enumerate(lines) if "\t" not in line]
        return _numbers(self.model.source_vocabulary, [lines[row] for row in rows]), np.array(rows, int)

    def _encoded(self, sources: np.ndarray, targets: np.ndarray) -> bytes:
        """The stack of target tokens `(m, T)`, given source tokens `(m, S)`."""
        stack = Stack(known=0)
        for start in reversed(range(0, len(sources), BATCH)):
            known, chosen = targets[start : start + BATCH], []

            def choose(distribution, open_, t, known=known, chosen=chosen):
                chosen.append((distribution, known[open_, t]))
                return known[open_, t]

            self._followed(sources[start : start + BATCH], choose)
            for distribution, numbers in reversed(chosen):
                stack.push(distribution, numbers)
        return stack.words().astype("<u4").tobytes()

    def _followed(self, sources: np.ndarray, choose: Choose) -> np.ndarray:
        """Target tokens `(m, T)`, given source tokens `(m, S)`, m at most `BATCH`: at each step `choose(distribution, open, t)`
        says how the rows `open` go on, which have not ended."""
        batch = np.full((BATCH, sources.shape[1]), END, "int32")
        batch[: len(sources)] = sources
        step, cache, _, steps = self.model._stepper(ops.convert_to_tensor(batch))
        cache = longer(cache, steps)
        token, tokens = np.full(BATCH, START, "int32"), np.zeros((len(sources), steps), "int64")
        open_, t = np.arange(len(sources)), 0
        while len(open_) and t < steps:
            logits, cache = step(ops.convert_to_tensor(token), ops.convert_to_tensor(t, "int32"), cache)
            following = _following(ops.convert_to_numpy(logits)[open_], last=t == steps - 1)
            tokens[open_, t] = token[open_] = choose(following, open_, t)
            open_, t = open_[token[open_] != END], t + 1
        return tokens


def _following(logits: np.ndarray, last: bool) -> Distribution:
    """Of the next token, given logits `(B, V)`; the last one is the end."""
    logits = logits.astype("float64")
    frequencies = np.rint(curves.exp(logits - logits.max(axis=1, keepdims=True)) * SHARE)
    frequencies[:, [*FORBIDDEN]] = 0.0
    if last:
        frequencies[:] = np.arange(logits.shape[1]) == END
    edges = np.cumsum(frequencies, axis=1)  # (B, V), whole numbers
    total = np.maximum(edges[:, -1], 1.0)
    return Distribution(len(logits), 0, logits.shape[1], lambda found, places: edges[places, found - 1] / total[places])


def _columns(x: Mapping) -> tuple[list[str], list[str]]:
    """The sources and the targets of pairs.

    Raises:
        ValueError: something else; texts with characters that a line cannot hold.
    """
    if not isinstance(x, Mapping) or {*x} != {*SIDES}:
        received = ", ".join(map(str, x)) if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(f"Expected texts as source and target. Received: {received}. Try {{'source': […], 'target': […]}}.")
    source, target = (inputs.texts(x[name]) for name in SIDES)
    if len(source) != len(target):
        raise ValueError(
            f"Expected a target for each source. Received: {len(source):,} sources, {len(target):,} targets. Try pairs."
        )
    for row, text in enumerate(map("".join, zip(source, target, strict=True))):
        if found := stray(text):
            raise ValueError(
                f"Expected texts of one line. Received: U+{ord(found):04X} in row {row}, {text[:40]!r}. Try removing it."
            )
    return source, target


def _coded(model: Transformer, source: list[str], target: list[str]) -> tuple[list[str], np.ndarray]:
    """The lines of the plain part, and target tokens `(n, T)`, 0 where the target is in its line."""
    tokens = _numbers(model.target_vocabulary, target)
    same = (model.target_vocabulary.texts(tokens) == np.array(target, str)) & ~np.any(tokens == UNKNOWN, axis=1)
    same &= np.array([_fits(model.source_vocabulary, text) for text in source], bool)
    lines = [text if plain else f"{text}\t{other}" for text, other, plain in zip(source, target, same, strict=True)]
    return lines, np.where(same[:, None], tokens, 0).astype("int64")


def _fits(vocabulary: Vocabulary, text: str) -> bool:
    return len(vocabulary.split(text)) <= vocabulary.length


def _numbers(vocabulary: Vocabulary, texts: list[str]) -> np.ndarray:
    """Token numbers `(n, length + 1)`, of a text that is too long those of none."""
    numbers = vocabulary.numbers([text if _fits(vocabulary, text) else "" for text in texts])
    return np.pad(numbers, [(0, 0), (0, vocabulary.length + 1 - numbers.shape[1])])
