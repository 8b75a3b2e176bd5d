"""Bits-back coding with asymmetric numeral systems (Townsend, Bird and Barber, 2019).

To code x, a code z is *popped* from the stack under q(z | x): bits that are there already choose it. Then x is pushed under
p(x | z), and z under p(z). A reader pops z and x, computes q(z | x), and pushes z under it, which puts back the bits that had
chosen z. So a row costs log q(z | x) − log p(x | z) − log p(z), on the average the negative bound on log p(x).
"""

from collections.abc import Iterator

import numpy as np

from zoo.autoencoder import Autoencoder
from zoo.bottlenecks import Gaussian
from zoo.coding import codes, networks
from zoo.coding.levels import Levels
from zoo.coding.mode import Mode
from zoo.coding.stack import Distribution, Stack
from zoo.likelihoods import Discrete

PROBED = 256  # rows by which settings are chosen
MOST = 256  # rows that are coded at once
PROBE = 3  # rows of the probe
MARGIN, SLOWEST = 0.8, 0.02  # of the growth of batches, in rows for each row that is coded
KNOWN = 64  # known words of a stack, at first; twice as many where these do not do


class BitsBack(Mode):
    """Codes of a Gaussian bottleneck; data on the levels of a `Discrete` likelihood."""

    name = "bits_back"
    lossless = True

    def __init__(self, model: Autoencoder, settings: dict):
        super().__init__(model, settings)
        self._network = networks.Portable(model) if settings["network"] == "portable" else networks.Native(model)
        self.grid = codes.Grid(np.array(settings["exponents"]), settings["bits"])
        self.prior = codes.prior(model.prior, self.grid)
        self._levels = Levels(model.likelihood.levels, settings["dtype"])

    @classmethod
    def prepared(cls, model: Autoencoder, x: np.ndarray, portable: bool = True) -> "BitsBack":
        """As `Mode.prepared`.

        Args:
            portable: whether the file can be read on any machine; else only on those that compute as this one does.
        """
        require_lossless(model)
        network = (networks.Portable if portable else networks.Native)(model)
        levels = Levels.of(x, model.likelihood.levels)
        integers = levels.numbers(x[:: -(-len(x) // PROBED) or 1])
        grid = codes.Grid(np.zeros(model.k, int), 4)
        if len(integers):
            mean, log_variance = network.posterior(_inputs(integers, levels.count))
            grid = codes.Grid.around(mean, np.exp(0.5 * log_variance))
        settings = {"network": network.name, "dtype": levels.dtype, "exponents": grid.exponents.tolist(), "bits": grid.bits}
        mode = cls(model, {**settings, "growth": 1.0})
        mode.settings["growth"] = mode._growth(integers)
        return mode

    @property
    def parallel(self) -> bool:
        return self.settings["network"] == "portable"

    def integers(self, x: np.ndarray) -> np.ndarray:
        return self._levels.numbers(x)

    def values(self, integers: np.ndarray) -> np.ndarray:
        return self._levels.rows(integers)

    def encode(self, integers: np.ndarray) -> bytes:
        known = KNOWN
        while (stack := self._encoded(integers, known)).exhausted:
            known *= 2
        return stack.words().astype("<u4").tobytes()

    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        if len(payload) % 4 or len(payload) < 8:
            raise ValueError("a chunk that is no stack of words")
        stack = Stack(np.frombuffer(payload, "<u4"))
        integers = np.empty((rows, *self.model.shape), "int64")
        for part in reversed([*self._batches(rows)]):
            cells = self.prior.pop(stack, part.stop - part.start)
            integers[part] = stack.pop(self.data(cells)).reshape(len(cells), *self.model.shape)
            self.posterior(integers[part]).push(stack, cells)
        stack.require_known()
        return integers

    def probe(self) -> bytes:
        shape, levels = (PROBE, *self.model.shape), self.model.likelihood.levels
        integers = np.arange(np.prod(shape)).reshape(shape) * 40_503 // 64 % levels
        return self.encode(integers)

    def _encoded(self, integers: np.ndarray, known: int) -> Stack:
        stack = Stack(known=known)
        for part in self._batches(len(integers)):
            cells = self.posterior(integers[part]).pop(stack)
            stack.push(self.data(cells), integers[part].ravel())
            self.prior.push(stack, cells)
        return stack

    def _growth(self, integers: np.ndarray) -> float:
        """How many rows can be coded at once for each that is on the stack, so that there are bits to choose their codes by."""
        if not len(integers):
            return 1.0
        stack = Stack(known=-(-len(integers) * self.model.k * self.grid.bits // 32) + KNOWN)
        before = stack.bits
        cells = self.posterior(integers).pop(stack)
        taken = before - stack.bits
        stack.push(self.data(cells), integers.ravel())
        self.prior.push(stack, cells)
        return float(np.clip(round(MARGIN * (stack.bits - before) / taken, 2), SLOWEST, 1.0))

    def _batches(self, rows: int) -> Iterator[slice]:
        """Which rows are coded together: few at first, while the stack has few bits to choose their codes by."""
        done = 0
        while done < rows:
            count = int(min(max(1, done * self.settings["growth"]), MOST, rows - done))
            yield slice(done, done + count)
            done += count

    def posterior(self, integers: np.ndarray) -> codes.Posterior:
        """Of the codes of rows of levels `(B, *shape)`."""
        return codes.Posterior(self.grid, *self._network.posterior(_inputs(integers, self._levels.count)))

    def data(self, cells: np.ndarray) -> Distribution:
        """Of the levels of rows, given the cells of their codes `(B, k)`."""
        likelihood = self.model.likelihood
        parameters = self._network.parameters(self.grid.middles(cells))  # (B, *shape), or (B, *shape, p)
        flat = parameters.reshape(-1, likelihood.parameters) if likelihood.parameters > 1 else parameters.ravel()

        def below(edges, places):
            return likelihood.below(flat[places], edges)

        return Distribution(len(flat), 0, likelihood.levels, below, ends_first=likelihood.levels > 16)


def require_lossless(model: Autoencoder) -> None:
    """Raises ValueError unless data can be compressed with a model without loss."""
    wrong = None
    if not isinstance(model, Autoencoder):
        wrong = f"a {type(model).__name__}"
    elif not isinstance(model.likelihood, Discrete):
        wrong = f"{type(model.likelihood).__name__}, which gives no probabilities of levels"
    elif not isinstance(model.bottleneck, Gaussian):
        wrong = f"a {type(model.bottleneck).__name__} bottleneck, whose codes are not drawn"
    elif model.scaling is not None:
        wrong = f"{type(model.scaling).__name__} before the encoder"
    if wrong:
        raise ValueError(
            f"Expected an autoencoder with a Gaussian bottleneck and a likelihood of levels, such as Bernoulli or "
            f"DiscretizedGaussian, to compress without loss. Received: {wrong}. Try --lossy (lossy=True)."
        )


def _inputs(levels: np.ndarray, count: int) -> np.ndarray:
    """Levels as the encoder takes them, whatever dtype the rows have."""
    return levels.astype("float32") / np.float32(count - 1)
