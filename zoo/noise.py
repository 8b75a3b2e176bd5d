"""Counter-based noise: a row's random bits depend on its seed and the position alone, not on the batch around it.

It is integer arithmetic, so every backend and the exported graph draw the same bits; normals may differ by rounding.
"""

import math

import keras
from keras import ops

DROPPED = 11  # low bits of a float32's mantissa that `key` ignores, since rounding may change them
GOLDEN = 0x9E3779B9  # 2**32 divided by the golden ratio: its multiples are spread evenly


def bits(seed: keras.KerasTensor, count: int, stream: int = 0) -> keras.KerasTensor:
    """Random bits: a hash of each seed and each position 0 … count − 1.

    Args:
        seed: int32 tensor `(B,)`, one per row.
        count: numbers per row.
        stream: different streams give independent numbers for the same seeds.

    Returns:
        uint32 tensor `(B, count)`.
    """
    row = _mix(ops.cast(seed, "uint32") + _uint32(_mix_int(stream + 1)))  # (B,)
    position = ops.cast(ops.arange(1, count + 1, dtype="int32"), "uint32") * _uint32(GOLDEN)  # (count,)
    return _mix(_mix(row[:, None] + position[None, :]) ^ row[:, None])


def uniform(seed: keras.KerasTensor, count: int, stream: int = 0) -> keras.KerasTensor:
    """float32 tensor `(B, count)`, uniform on the open interval (0, 1), in steps of 2⁻²³."""
    top = ops.cast(ops.right_shift(bits(seed, count, stream), _uint32(9)), "int32")
    return (ops.cast(top, "float32") + 0.5) * 2.0**-23


def normal(seed: keras.KerasTensor, count: int, stream: int = 0) -> keras.KerasTensor:
    """float32 tensor `(B, count)` of standard normals, by the transform of Box and Muller (1958)."""
    u = uniform(seed, 2 * count, stream)
    radius = ops.sqrt(-2.0 * ops.log(u[:, :count]))
    return radius * ops.cos(2.0 * math.pi * u[:, count:])


def key(x: keras.KerasTensor) -> keras.KerasTensor:
    """A seed for each row of float32 data `(B, …)`, int32 `(B,)`: a hash of its values, rounded to 12 bits of mantissa.

    Equal rows have equal seeds. Rows that differ only by rounding errors almost always have equal seeds too, and always if
    their values are 8-bit levels.
    """
    x = ops.reshape(x, (-1, math.prod(x.shape[1:])))  # (B, d)
    x = ops.where(ops.equal(x, 0.0), 0.0, x)  # −0 becomes 0
    rounded = ops.right_shift(ops.view(x, "uint32") + _uint32(1 << (DROPPED - 1)), _uint32(DROPPED))
    position = ops.cast(ops.arange(1, x.shape[1] + 1, dtype="int32"), "uint32") * _uint32(GOLDEN)  # (d,)
    hashed = _mix(rounded + position[None, :])
    while (width := hashed.shape[1]) > 1:  # XOR of all, by halves: not every device can sum integers
        half = -(-width // 2)
        hashed = hashed[:, :half] ^ ops.pad(hashed[:, half:], [[0, 0], [0, 2 * half - width]])
    return ops.view(_mix(hashed), "int32")[:, 0]


def _mix(x):
    # The 32-bit finalizer "lowbias32" found by C. Wellons' search: xor-shift and multiply, twice.
    x = (x ^ ops.right_shift(x, _uint32(16))) * _uint32(0x7FEB352D)
    x = (x ^ ops.right_shift(x, _uint32(15))) * _uint32(0x846CA68B)
    return x ^ ops.right_shift(x, _uint32(16))


def _mix_int(x: int) -> int:
    return (x * GOLDEN) & 0xFFFFFFFF


def _uint32(value: int):
    return ops.convert_to_tensor(value, dtype="uint32")
