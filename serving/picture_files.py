"""Picture files to pixels, in TensorFlow operations, by one function for training and the exported graph.

It adds what TensorFlow's decoders lack: the EXIF orientation, BMP palettes, one formula for grey. It also refuses files for
which they raise an error that names no row, return wrong pixels, or end the process.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

MOST_PIXELS = 89_478_485  # as in Pillow: a file of some KiB can claim gigabytes
MOST_PARTS = 300  # of a file that are searched for its EXIF data
EXPECTED = "Expected an image (PNG, JPEG, GIF, BMP or WebP). Received: "
TRY = ". Try saving it as PNG."
OPENINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF....WEBP")  # of PNG, JPEG, GIF, BMP, WebP
ANY = ord(".")
ORIENTATION = 0x0112  # of EXIF 2.32, 4.6.4: 1 to 8


@functools.cache
def reader(channels: int, size: tuple[int, int] | None = None) -> Callable:
    """`read` as one graph, which takes a second or two to trace and is then shared by signatures and data sets."""
    return tf.function(lambda file: read(file, channels, size), [tf.TensorSpec((), tf.string)], autograph=False)


def read(file: tf.Tensor, channels: int, size: tuple[int, int] | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a picture file: upright by its EXIF orientation, without alpha; of a GIF the first frame.

    Grey is (19595 R + 38470 G + 7471 B + 32768) >> 16, as in Pillow; of 16-bit channels the upper 8 bits are used.

    Args:
        file: its bytes, a scalar string.
        channels: 1 or 3.
        size: height and width to crop to, around the middle, and resize to (triangle filter); None for neither.

    Returns:
        Pixels, uint8 `(height, width, channels)`, and what is wrong with the file, an empty string if nothing is.
    """
    data = tf.concat([tf.io.decode_raw(file, tf.uint8), tf.zeros(64, tf.uint8)], 0)  # reads past the end give 0
    length = tf.strings.length(file)

    def pixels(look, decode):
        height, width, orientation, problem = look(data, tf.cast(length, tf.int64))
        problem = tf.where(problem == "", _too_many(height, width), problem)
        image = tf.cond(problem == "", lambda: decode(file, data), lambda: tf.zeros((1, 1, 3), tf.uint8))
        return tf.ensure_shape(image, (None, None, 3)), orientation, problem

    readers = ((_png, _decoded_png), (_jpeg, _decoded_jpeg), (_gif, _decoded_gif), (_bmp, _decoded_bmp), (_webp, _decoded_webp))
    branches = [lambda reader=reader: pixels(*reader) for reader in (*readers, (_other, _decoded_png))]
    image, orientation, problem = tf.switch_case(_kind(data), branches)
    image = tf.cond(orientation > 1, lambda: _upright(image, orientation), lambda: image)
    image = _grey(image) if channels == 1 else image
    return image if size is None else _fitted(image, size), problem


def refusal(problems: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The error message for files, from the problem of each, `(B,)`, as `read` returns it, and its place, such as "row 3"."""
    wrong = tf.where(problems != "")[:3, 0]
    reasons = tf.strings.join([tf.gather(problems, wrong), " in ", tf.gather(places, wrong)])
    return tf.strings.join([EXPECTED, tf.strings.reduce_join(reasons, separator=", "), TRY])


def _kind(data):
    """The index in OPENINGS of the first bytes of a file; `len(OPENINGS)` if there is none."""
    octets = np.zeros((len(OPENINGS), max(map(len, OPENINGS))), "uint8")
    matters = np.zeros(octets.shape, bool)
    for row, fixed, opening in zip(octets, matters, OPENINGS, strict=True):
        row[: len(opening)], fixed[: len(opening)] = list(opening), [octet != ANY for octet in opening]
    found = tf.reduce_all((data[: octets.shape[1]] == octets) | ~matters, 1)
    return tf.argmax(tf.concat([found, [True]], 0), output_type=tf.int32)


def _too_many(height, width):
    received = tf.strings.format("{} x {} pixels, where 1 to {} are read", (width, height, tf.constant(MOST_PIXELS)))
    return tf.where((tf.minimum(height, width) > 0) & (height <= MOST_PIXELS // tf.maximum(width, 1)), "", received)


def _code(name: str) -> int:
    return int.from_bytes(name.encode("latin-1"), "big")


def _numbers(data, at, fields: dict[int, int], little: bool = False):
    """Integers (int64) after a position: `fields` maps their distance from it to their size in bytes."""
    span = max(distance + size for distance, size in fields.items())
    octets = tf.slice(data, [tf.minimum(tf.cast(at, tf.int64), tf.size(data, tf.int64) - span)], [span])
    return tf.unstack(_weighed(octets, fields, little), axis=-1)


def _weighed(octets, fields: dict[int, int], little: bool):
    """Bytes `(…, span)` as numbers `(…, fields)`."""
    weights = np.zeros((len(fields), octets.shape[-1]), "int64")
    for row, (start, size) in zip(weights, fields.items(), strict=True):
        powers = 256 ** np.arange(size)
        row[start : start + size] = powers if little else powers[::-1]
    return tf.reduce_sum(tf.cast(octets, tf.int64)[..., None, :] * weights, -1)


def _damaged(name: str, complete) -> tf.Tensor:
    return tf.where(complete, "", f"a {name} that is cut short or damaged")


# Metadata of a file: height, width, EXIF orientation, and what is wrong with it


def _png(data, length):
    first, width, height = _numbers(data, 12, {0: 4, 4: 4, 8: 4})
    complete = (_position(data, b"IEND\xae") >= 0) & (first == _code("IHDR"))
    return height, width, _orientation(data, _position(data, b"eXIf") + 4), _damaged("PNG", complete)


def _jpeg(data, length):
    scan, exif, frame = _jpeg_parts(data, length)
    height, width = _numbers(data, frame, {5: 2, 7: 2})
    complete = (frame > 0) & (_position(data[scan:], b"\xff\xd9") >= 0)
    return height, width, _orientation(data, exif), _damaged("JPEG", complete)


def _jpeg_parts(data, length):
    """Where the scan, the first EXIF data and the first frame begin; 0 if there is none."""

    def step(at, exif, frame, going):
        marker, size, name = _numbers(data, at, {0: 2, 2: 2, 4: 4})
        is_exif = (exif == 0) & (marker == 0xFFE1) & (name == _code("Exif"))
        is_frame = (frame == 0) & ((marker > 0xFFC0) & (marker <= 0xFFCF) & (marker % 4 != 0) | (marker == 0xFFC0))
        last = (marker == 0xFFDA) | (marker < 0xFF01)
        following = tf.where(marker == 0xFFFF, at + 1, tf.where(last, at, at + 2 + size))
        return following, tf.where(is_exif, at + 4, exif), tf.where(is_frame, at, frame), ~last & (following < length)

    state = (tf.constant(2, tf.int64), _nowhere(), _nowhere(), tf.constant(True))
    return tf.while_loop(lambda *state: state[-1], step, state, maximum_iterations=MOST_PARTS)[:3]


def _gif(data, length):
    width, height = _numbers(data, 6, {0: 2, 2: 2}, little=True)
    return height, width, _nowhere(), _damaged("GIF", data[length - 1] == ord(";"))


def _bmp(data, length):
    start, header, width, height, bits, compression, *masks, _ = _bmp_header(data)
    masked = (bits == 32) & tf.reduce_all(tf.stack(masks) == [0xFF0000, 0xFF00, 0xFF])
    known = (header >= 40) & ((compression == 0) | (compression == 3) & masked) & tf.reduce_any(bits == [1, 4, 8, 24, 32])
    fits = height <= (length - start) // tf.maximum((width * bits + 31) // 32 * 4, 1)
    problem = tf.where(known, _damaged("BMP", fits), "a BMP that is compressed or of an unusual kind")
    return height, width, _nowhere(), problem


def _webp(data, length):
    name = _numbers(data, 12, {0: 4})[0]
    fields = {4: 4, 21: 4, 24: 3, 26: 2, 27: 3, 28: 2}
    size, packed, canvas_width, lossy_width, canvas_height, lossy_height = _numbers(data, 0, fields, little=True)
    side = 1 << 14
    sizes = {  # of the lossy, the lossless and the extended format
        "VP8 ": [lossy_height % side, lossy_width % side],
        "VP8L": [packed // side % side + 1, packed % side + 1],
        "VP8X": [canvas_height + 1, canvas_width + 1],
    }
    height, width = tf.unstack(tf.add_n([tf.where(name == _code(key), pair, 0) for key, pair in sizes.items()]))
    moves = (name == _code("VP8X")) & (data[20] & 2 > 0)  # some make TensorFlow 2.21 end the process
    problem = tf.where(moves, "an animated WebP", _damaged("WebP", 8 + size <= length))
    return height, width, _orientation(data, _position(data, b"EXIF") + 8), problem


def _other(data, length):
    problem = tf.where(length == 0, "an empty file", "a file of another format")
    return _nowhere() + 1, _nowhere() + 1, _nowhere(), problem


def _nowhere():
    """No position; a constant of the module would start TensorFlow before it can be told of other workers."""
    return tf.constant(0, tf.int64)


def _position(data, pattern: bytes):
    """The position of the first match of a pattern; -100 if there is none."""
    count = tf.maximum(tf.size(data) - len(pattern) + 1, 0)
    found = tf.reduce_all([data[i : i + count] == octet for i, octet in enumerate(pattern)], 0)
    return tf.where(tf.reduce_any(found), tf.argmax(tf.concat([tf.cast(found, tf.uint8), [0]], 0)), -100)


def _orientation(data, at):
    """The orientation in the EXIF data at a position; 0 if there is none."""
    return tf.cond(at > 0, lambda: _read_orientation(data, at), _nowhere)


def _read_orientation(data, at):
    """Reads the orientation from the first directory of EXIF data, which are a TIFF file in either byte order."""
    at = tf.where(_numbers(data, at, {0: 4})[0] == _code("Exif"), at + 6, at)
    order = _numbers(data, at, {0: 2})[0]

    def value(little: bool):
        directory = at + _numbers(data, at, {4: 4}, little)[0]
        count = tf.minimum(_numbers(data, directory, {0: 2}, little)[0], tf.size(data[directory + 2 :], tf.int64) // 12)
        entries = tf.reshape(data[directory + 2 :][: 12 * count], (-1, 12))
        tags, values = tf.unstack(_weighed(entries, {0: 2, 8: 2}, little), axis=-1)
        return tf.reduce_max(tf.concat([tf.where(tags == ORIENTATION, values, 0), [0]], 0))

    found = tf.case([(order == _code("II"), lambda: value(True)), (order == _code("MM"), lambda: value(False))], _nowhere)
    return tf.where(found <= 8, found, 0)


# Pixels, uint8 (height, width, 3)


def _decoded_png(file, data):
    return tf.io.decode_png(file, 3)


def _decoded_jpeg(file, data):
    return tf.io.decode_jpeg(file, 3)


def _decoded_gif(file, data):
    return tf.io.decode_image(file, 3, expand_animations=False)


def _decoded_webp(file, data):
    # With an operation for WebP alone, older TensorFlow Serving could not load the graph.
    image = tf.io.decode_image(file, 0, expand_animations=False)
    return tf.ensure_shape(image, (None, None, None))[..., :3]


def _bmp_header(data):
    """Start of the pixels, size of the header, width, height, bits, compression, masks, and whether the top row is first."""
    fields = {10: 4, 14: 4, 18: 4, 22: 4, 28: 2, 30: 4, 54: 4, 58: 4, 62: 4}
    start, header, width, height, *others = _numbers(data, 0, fields, little=True)
    return start, header, width, tf.minimum(height, (1 << 32) - height), *others, height >= 1 << 31


def _decoded_bmp(file, data):
    """Decodes an uncompressed BMP file; TensorFlow's decoder takes palette indices for grey, and refuses 1 and 4 bits."""
    start, header, width, height, bits, *_, from_above = _bmp_header(data)
    stride = (width * bits + 31) // 32 * 4
    rows = tf.reshape(data[start : start + stride * height], (height, stride))

    def palette_colours():
        shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
        parts = tf.bitwise.right_shift(rows[..., None], shifts) & tf.cast(2**bits - 1, tf.uint8)
        palette = tf.concat([data[14 + header :], tf.zeros(1024, tf.uint8)], 0)[:1024]
        return tf.gather(tf.reshape(palette, (256, 4)), tf.cast(tf.reshape(parts, (height, -1))[:, :width], tf.int32))

    def colours():
        return tf.reshape(rows[:, : width * bits // 8], (height, width, bits // 8))

    image = tf.cond(bits <= 8, palette_colours, colours)[..., 2::-1]  # from blue, green, red
    return tf.cond(from_above, lambda: image, lambda: image[::-1])


def _upright(image, orientation):
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(tf.reduce_any(orientation == [2, 3, 6, 7]), lambda: image[:, ::-1], lambda: image)
    return tf.cond(tf.reduce_any(orientation == [3, 4, 7, 8]), lambda: image[::-1], lambda: image)


def _grey(image):
    weighted = tf.cast(image, tf.int32) * [19595, 38470, 7471]  # ITU-R BT.601, as 65536ths
    return tf.cast(tf.bitwise.right_shift(tf.reduce_sum(weighted, -1, keepdims=True) + 32768, 16), tf.uint8)


def _fitted(image, size: tuple[int, int]):
    height, width = size
    tall, wide = tf.unstack(tf.shape(image, tf.int64)[:2])
    cut_tall = tf.clip_by_value(wide * height // width, 1, tall)
    cut_wide = tf.clip_by_value(tall * width // height, 1, wide)
    top, left = (tall - cut_tall) // 2, (wide - cut_wide) // 2
    image = image[top : top + cut_tall, left : left + cut_wide]
    return tf.cast(tf.round(tf.image.resize(image, size, antialias=True)), tf.uint8)
