"""Coding with loss: the whole numbers to which codes are rounded, by the histograms that are stored in the model."""

import numpy as np
from keras import ops

from zoo.autoencoder import Autoencoder
from zoo.coding.fingerprint import ROUNDING
from zoo.coding.mode import Mode
from zoo.coding.stack import Distribution, Stack
from zoo.entropy import TOTAL

ZERO = 2**30  # what the number 0 is as one of the integers, which are not negative
LENGTHS = 32  # of binary numbers, in the code of an escape
ROWS = 1000  # that are encoded or decoded at once


class Rounded(Mode):
    """Rows as the decoder makes them of rounded codes. What is coded comes back to the bit; the pixels that the decoder makes
    of it may differ between machines by its rounding errors."""

    name = "rounded"
    lossless = False
    parts = ROUNDING

    def __init__(self, model: Autoencoder, settings: dict):
        super().__init__(model, settings)
        require_entropy(model)
        lowest, shares, frequencies = model.entropy.tables()
        self._lowest, self._size, self._length = lowest.astype("int64"), model.entropy.size, len(lowest)
        self._shares, self._cumulative = _cumulative(shares), _cumulative(frequencies)

    @classmethod
    def prepared(cls, model: Autoencoder, x: np.ndarray) -> "Rounded":
        """As `Mode.prepared`. Rows of 8-bit integers become such rows again, others float32."""
        return cls(model, {"dtype": dtype_of(x)})

    def integers(self, x: np.ndarray) -> np.ndarray:
        numbers = self.model.entropy.numbers(symbols(self.model, x))
        if np.any(np.abs(numbers) >= ZERO // 2):
            raise ValueError(f"Expected codes below {ZERO // 2} steps. Received: larger ones. Try training.fit_entropy anew.")
        return numbers + ZERO

    def values(self, integers: np.ndarray) -> np.ndarray:
        found = self.model.entropy.symbols(integers - ZERO)
        found = found.astype("int32") if self.model.bottleneck.discrete else found
        return decoded(self.model, found, self.settings["dtype"])

    def encode(self, integers: np.ndarray) -> bytes:
        numbers = integers - ZERO
        return self._encoded(numbers, self.model.entropy.clustered(numbers))

    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        if len(payload) % 4:
            raise ValueError("a chunk that is no stack of words")
        stack = Stack(np.frombuffer(payload, "<u4"))
        cluster = stack.pop(self._clusters(rows))
        places = stack.pop(self._places(cluster)).reshape(rows, self._length)
        escaped = places == self._size
        above, length = np.divmod(stack.pop(_uniform(int(escaped.sum()), 2 * LENGTHS)), LENGTHS)
        distance = stack.pop(_rest(length)) + 2**length
        places[escaped] = np.where(above > 0, self._size - 1 + distance, -distance)
        stack.require_known()
        return places + self._lowest + ZERO

    def bits(self, integers: np.ndarray) -> np.ndarray:
        """The bits that each row's integers take, ideally, `(n,)`."""
        return self.model.entropy.bits(integers - ZERO)

    def probe(self) -> bytes:
        numbers = np.arange(2 * self._length).reshape(2, -1) * 40_503 % (2 * self._size) - self._size // 2
        return self._encoded(self._lowest + numbers, np.arange(2) % len(self._shares))

    def _encoded(self, numbers: np.ndarray, cluster: np.ndarray) -> bytes:
        places = self.model.entropy.places(numbers)
        escaped = (numbers - self._lowest)[places == self._size]
        above = escaped >= self._size
        distance = np.where(above, escaped - self._size + 1, -escaped)
        length = np.frexp(distance.astype("float64"))[1].astype("int64") - 1  # ⌊log₂ d⌋
        stack = Stack(known=0)
        stack.push(_rest(length), distance - 2**length)
        stack.push(_uniform(len(length), 2 * LENGTHS), length + LENGTHS * above)
        stack.push(self._places(cluster), places.ravel())
        stack.push(self._clusters(len(numbers)), cluster)
        return stack.words().astype("<u4").tobytes()

    def _clusters(self, rows: int) -> Distribution:
        return Distribution(rows, 0, len(self._shares), lambda edges, places: self._shares[edges - 1] / TOTAL)

    def _places(self, cluster: np.ndarray) -> Distribution:
        """Of the places of rows in these clusters `(B,)`."""

        def below(edges, at):
            row, dimension = np.divmod(at, self._length)
            return self._cumulative[cluster[row], dimension, edges - 1] / TOTAL

        return Distribution(len(cluster) * self._length, 0, self._size + 1, below)


def require_entropy(model: Autoencoder) -> None:
    """Raises ValueError unless a model has fitted histograms."""
    if getattr(model, "entropy", None) is None or not model.entropy.fitted:
        raise ValueError(
            "Expected a model with histograms of rounded codes, to compress with loss. Received: none that are fitted. "
            "Try --entropy=histograms in training, or training.fit_entropy(model, x)."
        )


def symbols(model: Autoencoder, x: np.ndarray) -> np.ndarray:
    """The symbols `(n, m)` of the codes of rows x `(n, *shape)`."""
    starts = range(0, max(len(x), 1), ROWS)
    return np.concatenate(
        [ops.convert_to_numpy(model.bottleneck.symbols(model.encode(x[start : start + ROWS]))) for start in starts]
    )


def decoded(model: Autoencoder, symbols: np.ndarray, dtype: str) -> np.ndarray:
    """What the codes that consist of symbols `(n, m)` are decoded to, float32, or uint8 from 0 to 255."""
    starts = range(0, max(len(symbols), 1), ROWS)
    codes = (model.bottleneck.codes(symbols[start : start + ROWS]) for start in starts)
    x = np.concatenate([ops.convert_to_numpy(model.decode(part)) for part in codes])
    return np.rint(np.clip(x, 0.0, 1.0) * 255).astype(dtype) if dtype == "uint8" else x


def dtype_of(x: np.ndarray) -> str:
    """The dtype of what is decoded: rows of 8-bit integers become such rows again."""
    return "uint8" if x.dtype == "uint8" else "float32"


def _cumulative(frequencies: np.ndarray) -> np.ndarray:
    return np.cumsum(frequencies.astype("int64"), axis=-1).astype("float64")


def _uniform(size: int, count: int) -> Distribution:
    """Of whole numbers from 0 to below `count`, all equally frequent."""
    return Distribution(size, 0, count, lambda edges, places: edges / count)


def _rest(length: np.ndarray) -> Distribution:
    """Of whole numbers from 0 to below 2 to the power of each length `(n,)`."""
    return Distribution(
        len(length), 0, 2 ** (LENGTHS - 1), lambda edges, places: np.minimum(edges / 2.0 ** length[places], 1.0)
    )
