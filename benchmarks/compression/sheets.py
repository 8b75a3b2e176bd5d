"""Contact sheets: many small pictures in one, in whose file the head counts for nothing."""

import io

import numpy as np
from PIL import Image

SIDE = 100  # pictures in a row


def sheet(x: np.ndarray) -> Image.Image:
    """A contact sheet of images `(n, height, width, 1)`, which is filled up with black ones."""
    rows = -(-len(x) // SIDE)
    full = np.zeros((rows * SIDE, *x.shape[1:3]), x.dtype)
    full[: len(x)] = x[..., 0]
    return Image.fromarray(full.reshape(rows, SIDE, *x.shape[1:3]).swapaxes(1, 2).reshape(rows * x.shape[1], -1))


def size(picture: Image.Image, form: str, **settings) -> int:
    """How many bytes a picture takes in a format of Pillow."""
    if form == "JXL":
        import pillow_jxl  # noqa: F401 - adds the format to Pillow

        picture = picture.convert("L")  # it knows no pictures of bits
    buffer = io.BytesIO()
    picture.save(buffer, form, **settings)
    return len(buffer.getvalue())
