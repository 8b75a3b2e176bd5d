"""Elementary functions that every machine computes alike, to the bit.

`exp` and its kin differ between processors and libraries in the last bit, which a decoder cannot bear. Here each function is a
table of cubic pieces. The table comes from decimal arithmetic, whose results are defined digit by digit; a piece is evaluated
by single products and sums of float64, which IEEE 754 rounds everywhere in the same way.
"""

import decimal
import functools
import itertools
from collections.abc import Callable
from decimal import Decimal

import numpy as np

PIECES = 64  # in an interval of length 1
DIGITS = 30
_ROOT = Decimal("2.506628274631000502415765284811")  # √(2π)
_QUARTER = Decimal("1.570796326794896619231321691640")  # π / 2
_LOG_2 = Decimal("0.693147180559945309417232121458")

ValueAndSlope = Callable[[Decimal], tuple[Decimal, Decimal]]


class Curve:
    """A function on float64 arrays of any shape: cubic pieces through its values and slopes at multiples of 1 / 64, whose error
    is h⁴ / 384 of the fourth derivative, below 1e-9. Outside [low, high] it goes on as a straight line.

    Args:
        function: value and slope at a decimal number.
        low, high: integers, where the pieces begin and end.
        before, after: slopes of the lines below `low` and above `high`.
    """

    def __init__(self, function: ValueAndSlope, low: int, high: int, before: float = 0.0, after: float = 0.0):
        self.function = function
        self.low, self.high, self.before, self.after = low, high, before, after

    def __call__(self, x: np.ndarray) -> np.ndarray:
        inside = np.clip(x, self.low, self.high)
        place = (inside - self.low) * PIECES
        piece = np.minimum(place.astype("int32"), len(self._pieces[0]) - 1)
        t = place - piece  # exact, in [0, 1]
        constant, linear, square, cube = (part[piece] for part in self._pieces)
        y = ((cube * t + square) * t + linear) * t + constant
        return y + (x - inside) * np.where(x < self.low, self.before, self.after) if self.before or self.after else y

    @functools.cached_property
    def _pieces(self) -> np.ndarray:
        """Coefficients `(4, pieces)` by power of the place within a piece, in [0, 1]."""
        with decimal.localcontext(decimal.Context(prec=DIGITS)):
            count = (self.high - self.low) * PIECES
            nodes = [self.function(self.low + Decimal(place) / PIECES) for place in range(count + 1)]
            pieces = [_cubic(*left, *right) for left, right in itertools.pairwise(nodes)]
            return np.array([[float(part) for part in piece] for piece in pieces]).T.copy()


def _cubic(y, slope, next_y, next_slope) -> tuple[Decimal, ...]:
    slope, next_slope, rise = slope / PIECES, next_slope / PIECES, next_y - y
    return y, slope, 3 * rise - 2 * slope - next_slope, slope + next_slope - 2 * rise


def _exp(x):
    return (y := x.exp()), y


def _sigmoid(x):
    y = 1 / (1 + (-x).exp())
    return y, y * (1 - y)


def _tanh(x):
    y = 1 - 2 / (1 + (2 * x).exp())
    return y, 1 - y * y


def _softplus(x):
    return (1 + x.exp()).ln(), 1 / (1 + (-x).exp())


def _normal(x):
    """Φ(x) = ½ + φ(x) Σ x²ⁿ⁺¹ / (2n + 1)!!, whose terms have one sign (Marsaglia, 2004), and φ(x)."""
    density = (-x * x / 2).exp() / _ROOT
    term, total, n = x, x, 1
    while abs(term) > Decimal("1e-40"):
        n += 2
        term = term * x * x / n
        total += term
    return Decimal("0.5") + density * total, density


def _gelu(x):
    below, density = _normal(x)
    return x * below, below + x * density


def _silu(x):
    y, slope = _sigmoid(x)
    return x * y, y + x * slope


def _log2(x):
    return x.ln() / _LOG_2, 1 / (x * _LOG_2)


def _sine(x):
    """sin(π x / 2) and its slope, by their power series."""
    angle = _QUARTER * x
    term, sine, cosine, n = Decimal(1), Decimal(0), Decimal(0), 0
    while n < 4 * abs(angle) or abs(term) > Decimal("1e-40"):
        turn = 1 if n % 4 < 2 else -1
        sine, cosine = (sine + turn * term, cosine) if n % 2 else (sine, cosine + turn * term)
        n += 1
        term = term * angle / n
    return sine, _QUARTER * cosine


exp = Curve(_exp, -40, 8)
sigmoid = Curve(_sigmoid, -32, 32)
tanh = Curve(_tanh, -16, 16)
softplus = Curve(_softplus, -32, 32, after=1.0)
normal_cdf = Curve(_normal, -9, 9)
gelu = Curve(_gelu, -9, 9, after=1.0)
silu = Curve(_silu, -32, 32, after=1.0)
sine = Curve(_sine, 0, 4)  # one turn
_octave = Curve(_log2, 1, 2)


def log2(x: np.ndarray) -> np.ndarray:
    """log₂ x for x > 0, with an error below 2e-9."""
    mantissa, exponent = np.frexp(x)  # exact, in [½, 1)
    return _octave(2.0 * mantissa) + (exponent - 1)
