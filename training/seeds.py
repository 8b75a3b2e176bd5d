"""Seeds for the random parts of a run."""

import zlib

import numpy as np


def derived(seed: int, part: str) -> int:
    """The seed, in [0, 2³¹), for one part of a run with the given seed; it differs between parts and between runs."""
    return int(np.random.SeedSequence([seed, zlib.crc32(part.encode())]).generate_state(1)[0] >> 1)
