"""Seeds for the parts of a run in which there is chance."""

import zlib

import numpy as np


def derived(seed: int, part: str) -> int:
    """A seed of its own for a part of a run with this seed, in [0, 2³¹): other parts, and other runs, have others."""
    return int(np.random.SeedSequence([seed, zlib.crc32(part.encode())]).generate_state(1)[0] >> 1)
