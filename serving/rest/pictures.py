"""Picture files among the values of a request: the memory that they take unpacked, by their heads, before the model runs."""

import io
import warnings
from collections.abc import Iterable

import numpy as np
import PIL.Image

from serving.rest.bodies import TooLarge
from serving.rest.budget import BODIES
from serving.status import invalid

OPENINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")  # of PNG, JPEG, GIF, BMP, WebP
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MOST_PIXELS = 89_478_485  # of one picture, as in `serving.picture_files`
PIXEL = 3  # bytes


def files(values: Iterable[np.ndarray]) -> list[bytes]:
    """The picture files in arrays of bytes."""
    return [file for array in values if array.dtype.hasobject for file in array.flat if file.startswith(OPENINGS)]


def unpacked_size(files: Iterable[bytes]) -> int:
    """The bytes of all pixels; of a damaged file, which is left to the model, 0.

    Raises:
        TooLarge: they take more than all requests may at once.
        RequestError: one has more pixels than are read.
    """
    size = PIXEL * sum(map(_pixels, files))
    if size > BODIES.limit:
        raise TooLarge(BODIES.limit, f"Try several requests, or smaller pictures: these take {size} bytes unpacked.")
    return size


def _pixels(file: bytes) -> int:
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(file), formats=FORMATS) as picture:
            width, height = picture.size
    except PIL.Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except Exception:  # of any kind: the file may hold anything
        return 0
    if width * height > MOST_PIXELS:
        raise invalid(f"Expected pictures of at most {MOST_PIXELS} pixels. Received: more. Try a smaller one.")
    return width * height
