"""Bits-back coding with asymmetric numeral systems (Townsend, Bird and Barber, 2019).

To code x, a code z is *popped* from the stack under q(z | x): bits that are there already choose it. Then x is pushed under
p(x | z), and z under p(z). A reader pops z and x, computes q(z | x), and pushes z under it, which puts back the bits that had
chosen z. So a row costs log q(z | x) − log p(x | z) − log p(z), on the average the negative bound on log p(x).

Any q will do. Of a bottleneck whose codes are not drawn it is a normal distribution around the code, as wide as makes files
short.

With several particles N (Ruan et al., 2021) codes z₁ … z_N are popped under q, then one of them, j, with a probability in
proportion to its weight w = p(x, z) / q(z | x). All but z_j are put back under q; x, z_j and j are pushed, j as one of N. A
row then costs −log of the mean weight: the importance-weighted bound, which is nearer to log p(x).
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from zoo.arguments import require_whole
from zoo.autoencoder import Autoencoder
from zoo.bottlenecks import LOG_VARIANCE, Deterministic
from zoo.coding import codes, curves, networks
from zoo.coding.cells import Cells
from zoo.coding.levels import Levels
from zoo.coding.mode import Mode
from zoo.coding.stack import BIT, Distribution, Stack
from zoo.mixed import Mixed
from zoo.rows import Raw

PROBED = 256  # rows by which settings are chosen
WIDTHS = (-1, -2, -3, -4, -5)  # tried for posteriors of codes that are not drawn: powers of two of the codes' deviation
PRIORS = ("model", "normal")  # the model's own, and the one that its bottleneck was trained against: the shorter one is used
MOST = 256  # rows that are coded at once
PROBE = 3  # rows of the probe
MARGIN, SLOWEST = 0.8, 0.02  # of the growth of batches, in rows for each row that is coded
KNOWN = 64  # known words of a stack, at first; twice as many where these do not do


class BitsBack(Mode):
    """Codes in R^k, drawn or not; data on the levels of a `Discrete` likelihood, or rows of a table of discrete columns."""

    name = "bits_back"
    lossless = True

    def __init__(self, model: Autoencoder, settings: dict):
        super().__init__(model, settings)
        self._particles = settings.get("particles", 1)
        self._network = _network(model, settings["network"])
        self.grid = codes.Grid(np.array(settings["exponents"]), settings["bits"])
        self.prior = codes.NormalPrior(self.grid) if settings["prior"] == "normal" else codes.prior(model.prior, self.grid)
        self._data = _data(model, settings["dtype"])

    @classmethod
    def prepared(cls, model: Autoencoder, x: np.ndarray | Raw, portable: bool = True, particles: int = 1) -> "BitsBack":
        """As `Mode.prepared`.

        Args:
            portable: whether the file can be read on any machine; else only on those that compute as this one does.
            particles: codes of which one is chosen for each row.
        """
        require_whole(1, particles=particles)
        network, dtype = "portable" if portable else "native", None if isinstance(x, dict) else x.dtype.name
        settings = {"network": network, "dtype": dtype, "particles": particles}
        data = _data(model, settings["dtype"])
        integers = data.numbers(x)
        integers = integers[:: -(-len(integers) // PROBED) or 1]
        tried = [cls._with(model, settings, integers, *each) for each in itertools.product(PRIORS, _widths(model))]
        return min(tried, key=lambda found: found[0])[1]

    @classmethod
    def _with(cls, model, settings, integers, prior: str, width: int | None) -> tuple[float, "BitsBack"]:
        """The mode with this prior and this width of posteriors, and how many bits rows take in it."""
        settings = {**settings, "prior": prior, "growth": 1.0, "exponents": [0] * model.k, "bits": 4}
        if width is not None:
            settings["widths"] = [width] * model.k
        mode = cls(model, settings)
        if not len(integers):
            return 0.0, mode
        mean, deviation = mode.moments(integers)
        if width is not None:
            spread = np.floor(np.log2(np.maximum(mean.std(axis=0), 2.0**codes.FINEST))).astype(int)
            settings["widths"] = (spread + width).tolist()
            deviation = np.broadcast_to(np.ldexp(1.0, spread + width), mean.shape)
        grid = codes.Grid.around(mean, deviation)
        settings |= {"exponents": grid.exponents.tolist(), "bits": grid.bits}
        mode = cls(model, settings)
        taken, added = mode._bits(integers)
        settings["growth"] = float(np.clip(round(MARGIN * added / taken, 2), SLOWEST, 1.0))
        return added, mode

    @property
    def parallel(self) -> bool:
        return self.settings["network"] == "portable"

    def integers(self, x: np.ndarray | Raw) -> np.ndarray:
        return self._data.numbers(x)

    def values(self, integers: np.ndarray) -> np.ndarray | Raw:
        return self._data.rows(integers)

    def encode(self, integers: np.ndarray) -> bytes:
        known = KNOWN
        while (stack := self._encoded(integers, known)).exhausted:
            known *= 2
        return stack.words().astype("<u4").tobytes()

    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        if len(payload) % 4 or len(payload) < 8:
            raise ValueError("a chunk that is no stack of words")
        stack = Stack(np.frombuffer(payload, "<u4"))
        integers = np.empty((rows, *self._data.example[0]), "int64")
        for part in reversed([*self._batches(rows)]):
            chosen = stack.pop(self._any(part.stop - part.start))
            cells = self.prior.pop(stack, part.stop - part.start)
            integers[part] = self._data.pop(stack, self._parameters(cells))
            self._put_back(stack, integers[part], chosen, cells)
        stack.require_known()
        return integers

    def probe(self) -> bytes:
        shape, count = self._data.example
        numbers = np.arange(PROBE * math.prod(shape), dtype="int64").reshape(PROBE, *shape)
        return self.encode(numbers * 40_503 // 64 % count)

    def _encoded(self, integers: np.ndarray, known: int) -> Stack:
        stack = Stack(known=known)
        for part in self._batches(len(integers)):
            self._add(stack, integers[part])
        return stack

    def _add(self, stack: Stack, integers: np.ndarray) -> float:
        """Codes rows `(B, …)`; how many bits the stack had at least meanwhile."""
        posterior = self.posterior(integers)
        drawn = np.stack([posterior.pop(stack) for _ in range(self._particles)])  # (N, B, k)
        chosen = stack.pop(self._weighted(posterior, integers, drawn))
        least = stack.bits
        cells, *others = _chosen_first(drawn, chosen)
        for each in others:
            posterior.push(stack, each)
        self.push(stack, cells, integers)
        self.prior.push(stack, cells)
        stack.push(self._any(len(integers)), chosen)
        return least

    def _put_back(self, stack: Stack, integers: np.ndarray, chosen: np.ndarray, cells: np.ndarray) -> None:
        """Pushes what `_add` popped for rows `(B, …)`, of whose particles those with the numbers `chosen` `(B,)` have the cells
        `(B, k)`."""
        posterior = self.posterior(integers)
        others = [posterior.pop(stack) for _ in range(self._particles - 1)][::-1]
        drawn = _in_order(np.stack([cells, *others]), chosen)
        stack.push(self._weighted(posterior, integers, drawn), chosen)
        for each in drawn[::-1]:
            posterior.push(stack, each)

    def _any(self, rows: int) -> Distribution:
        """Of a particle's number for each row, all alike."""
        return codes.shares(np.ones((rows, self._particles)))

    def _weighted(self, posterior: codes.Posterior, integers: np.ndarray, drawn: np.ndarray) -> Distribution:
        """Of a particle's number for each row, by the weights of their cells `(N, B, k)`."""
        if self._particles == 1:
            return self._any(len(integers))
        logs = [posterior.costs(cells) - self.prior.costs(cells) for cells in drawn]  # log₂ of w, in multiples of 1 / BIT
        logs = [log - self._data.costs(self._parameters(cells), integers) for log, cells in zip(logs, drawn, strict=True)]
        logs = np.stack(logs, axis=1)  # (B, N)
        return codes.shares(curves.exp(codes.LOG_2 / BIT * (logs - logs.max(axis=1, keepdims=True))))

    def _bits(self, integers: np.ndarray) -> tuple[float, float]:
        """How many bits the codes of rows take from the stack, and how many the rows add to it in all."""
        known = -(-len(integers) * self._particles * self.model.k * self.grid.bits // 32)
        stack = Stack(known=known + KNOWN)
        before = stack.bits
        least = self._add(stack, integers)
        return before - least, stack.bits - before

    def _batches(self, rows: int) -> Iterator[slice]:
        """Which rows are coded together: few at first, while the stack has few bits to choose their codes by."""
        done = 0
        while done < rows:
            count = int(min(max(1, done * self.settings["growth"]), MOST, rows - done))
            yield slice(done, done + count)
            done += count

    def posterior(self, integers: np.ndarray) -> codes.Posterior:
        """Of the codes of rows `(B, …)`."""
        return codes.Posterior(self.grid, *self.moments(integers))

    def moments(self, integers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the codes of rows `(B, …)`, `(B, k)` each."""
        outputs = self._network.outputs(self._data.inputs(integers))
        if "widths" in self.settings:
            return outputs, np.broadcast_to(np.ldexp(1.0, self.settings["widths"]), outputs.shape)
        mean, log_variance = np.split(outputs, 2, axis=-1)
        return mean, curves.exp(0.5 * np.clip(log_variance, -LOG_VARIANCE, LOG_VARIANCE))

    def push(self, stack: Stack, cells: np.ndarray, integers: np.ndarray) -> None:
        """Adds rows `(B, …)` to a stack, given the cells of their codes `(B, k)`."""
        self._data.push(stack, self._parameters(cells), integers)

    def _parameters(self, cells: np.ndarray) -> np.ndarray:
        return self._network.parameters(self.grid.middles(cells))


def _chosen_first(drawn: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Particles `(N, B, k)` with those whose numbers are `chosen` `(B,)` before the others."""
    first = np.arange(len(drawn))[:, None] == chosen
    return np.take_along_axis(drawn, np.argsort(~first, axis=0, kind="stable")[..., None], axis=0)


def _in_order(found: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Undoes `_chosen_first`."""
    first = np.arange(len(found))[:, None] == chosen
    drawn = np.empty_like(found)
    np.put_along_axis(drawn, np.argsort(~first, axis=0, kind="stable")[..., None], found, axis=0)
    return drawn


def _network(model: Autoencoder, name: str) -> networks.Network:
    return (networks.Portable if name == "portable" else networks.Native)(model)


def _data(model: Autoencoder, dtype: str | None) -> Levels | Cells:
    if isinstance(model.likelihood, Mixed):
        return Cells(model.likelihood)
    return Levels(model.likelihood, model.shape, dtype)


def _widths(model: Autoencoder) -> tuple[int | None, ...]:
    """Those to try; None where the bottleneck has its own."""
    return WIDTHS if isinstance(model.bottleneck, Deterministic) else (None,)
