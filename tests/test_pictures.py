"""Picture files of all kinds: training and the exported graph read the same pixels."""

import io
import re
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from serving.export.images import _from_files
from training.data.folders import _read, _reader

SHAPES = {"grey": (8, 8, 1), "colour": (8, 8, 3), "wide": (6, 11, 3)}


def _file(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _turned(orientation: int, order: str) -> bytes:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "a camera", orientation
    return exif.tobytes()


def _good() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (13, 22, 3), "uint8"))
    alpha = Image.fromarray(rng.integers(0, 256, (13, 22, 4), "uint8"))
    photo = Image.fromarray(np.kron(rng.integers(0, 256, (5, 9, 3), "uint8"), np.ones((16, 16, 1), "uint8")))
    palette, grey, line = noise.convert("P", palette=Image.Palette.ADAPTIVE), noise.convert("L"), noise.convert("1")
    deep = Image.fromarray(rng.integers(0, 65536, (13, 22), "uint16"))
    bmp = _file(noise, "BMP")
    above = bmp[:22] + struct.pack("<i", -13) + bmp[26:]  # its rows from above
    icons = palette.quantize(16)
    files = {
        "rgb.png": _file(noise, "PNG"),
        "grey.png": _file(grey, "PNG"),
        "grey_alpha.png": _file(noise.convert("LA"), "PNG"),
        "rgb_alpha.png": _file(alpha, "PNG"),
        "line.png": _file(line, "PNG"),
        "deep.png": _file(deep, "PNG"),
        "palette.png": _file(palette, "PNG"),
        "clear_palette.png": _file(palette, "PNG", transparency=bytes([0, 100, 255])),
        "one.png": _file(Image.new("RGB", (1, 1), (10, 200, 30)), "PNG"),
        "tall.png": _file(noise.resize((1, 1000)), "PNG"),
        "long.png": _file(noise.resize((1000, 1)), "PNG"),
        "trailing.png": _file(noise, "PNG") + b"something else",
        "jpeg.png": _file(photo, "JPEG"),
        "grey.jpg": _file(photo.convert("L"), "JPEG"),
        "cmyk.jpg": _file(photo.convert("CMYK"), "JPEG"),
        "progressive.jpg": _file(photo, "JPEG", progressive=True, icc_profile=bytes(70_000)),
        "trailing.jpg": _file(photo, "JPEG") + b"a film" * 100,
        "empty_exif.jpg": _file(photo, "JPEG", exif=b"Exif\0\0"),
        "bad_exif.jpg": _file(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "still.gif": _file(noise, "GIF"),
        "grey.gif": _file(grey, "GIF"),
        "film.gif": _file(noise, "GIF", save_all=True, append_images=[noise.rotate(180)]),
        "rgb.bmp": bmp,
        "above.bmp": above,
        "grey.bmp": _file(grey, "BMP"),
        "palette.bmp": _file(palette, "BMP"),
        "line.bmp": _file(line, "BMP"),
        "alpha.bmp": _file(alpha, "BMP"),
        "icons.bmp": _sixteen_colours(icons),
        "lossy.webp": _file(photo, "WEBP"),
        "lossless.webp": _file(noise, "WEBP", lossless=True),
        "alpha.webp": _file(alpha, "WEBP", lossless=True, exact=True),
    }
    for orientation in range(1, 9):
        order = "<>"[orientation % 2]
        files[f"{orientation}.jpg"] = _file(photo, "JPEG", exif=_turned(orientation, order), quality=95)
        files[f"{orientation}.png"] = _file(noise, "PNG", exif=_turned(orientation, order))
        files[f"{orientation}.webp"] = _file(noise, "WEBP", lossless=True, exif=_turned(orientation, order))
    files["6_other_order.jpg"] = _file(photo, "JPEG", exif=_turned(6, ">"), quality=95)
    return files


def _sixteen_colours(image: Image.Image) -> bytes:
    """A BMP of four bits a pixel, which Pillow reads and does not write."""
    places = np.pad(np.asarray(image), ((0, 0), (0, -image.width % 8)))[::-1]
    colours = np.pad(np.array(image.getpalette(), "uint8").reshape(-1, 3)[:16, ::-1], ((0, 0), (0, 1)))
    colours = np.pad(colours, ((0, 16 - len(colours)), (0, 0)))
    pixels = (places[:, ::2] << 4 | places[:, 1::2]).tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, image.width, image.height, 1, 4, 0, len(pixels), 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 118 + len(pixels), 0, 0, 118) + head + colours.tobytes() + pixels


def _bad() -> dict[str, tuple[bytes, str]]:
    """Files, and what is wrong with them."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (13, 22, 3), "uint8"))
    png, jpeg, webp = _file(noise, "PNG"), _file(noise, "JPEG", exif=_turned(6, "<")), _file(noise, "WEBP")
    film = _file(noise, "WEBP", save_all=True, append_images=[noise.rotate(180)], lossless=True)
    flipped = png[:60] + bytes([png[60] ^ 255]) + png[61:]
    claims = png[:16] + struct.pack(">II", 30_000, 30_000) + png[24:]
    bmp = _file(noise, "BMP")
    return {
        "nothing.png": (b"", "an empty file"),
        "text.png": (b"not an image", "another format"),
        "three.jpg": (b"\xff\xd8\xff", "JPEG that is cut short"),
        "eight.png": (png[:8], "PNG that is cut short"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "another format"),
        "scan.tif": (_file(noise, "TIFF"), "another format"),
        "float.tif": (_file(Image.fromarray(np.ones((4, 4), "float32")), "TIFF"), "another format"),
        "half.png": (png[: len(png) // 2], "PNG that is cut short"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "JPEG that is cut short"),
        "half.gif": (_file(noise, "GIF")[:400], "GIF that is cut short"),
        "half.bmp": (bmp[:400], "BMP that is cut short"),
        "half.webp": (webp[:100], "WebP that is cut short"),
        "flipped.png": (flipped, "Invalid PNG data"),
        "film.webp": (film, "an animated WebP"),
        "packed.bmp": (bmp[:30] + b"\1" + bmp[31:], "BMP that is compressed"),
        "bomb.png": (claims, "30000 x 30000 pixels"),
        "flat.png": (png[:16] + struct.pack(">II", 0, 5) + png[24:], "0 x 5 pixels"),
    }


GOOD, BAD = _good(), _bad()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Per shape, the pixels that a signature of an export hands to its model, in a graph Session."""
    path, functions = str(tmp_path_factory.mktemp("served")), {}
    for name, shape in SHAPES.items():
        call = _from_files(lambda x: {"x": x}, (None, *shape))
        functions[name] = tf.function(call, [tf.TensorSpec((None,), tf.string, "files")], autograph=False)
    tf.saved_model.save(tf.Module(), path, signatures=functions)
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def

    def pixels(name: str, *files: bytes) -> np.ndarray:
        signature = signatures[name]
        return session.run(signature.outputs["x"].name, {signature.inputs["files"].name: np.array(files, object)})

    yield pixels
    session.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    for name, file in (GOOD | {name: file for name, (file, _) in BAD.items()}).items():
        (folder / name).write_bytes(file)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """Per shape, the pixels that a run is trained on, of files of the folder."""
    names = sorted(path.name for path in folder.iterdir())

    def pixels(shape: str, *files: str) -> np.ndarray:
        blocks = _reader([folder / name for name in names], SHAPES[shape], cropped=True)
        return np.concatenate(list(blocks(np.array([names.index(file) for file in files])).as_numpy_iterator()))

    return pixels


@pytest.mark.parametrize("shape", SHAPES)
def test_training_and_the_exported_graph_see_the_same_pixels(shape, served, trained):
    pixels = 255 * served(shape, *GOOD.values())
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-4)
    np.testing.assert_array_equal(np.round(pixels), trained(shape, *GOOD))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_seen_as_pillow_shows_them(channels, folder):
    for name, file in GOOD.items():
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
        shown = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(image.height, image.width, -1)
        seen = _read(folder / name, channels)
        exact = Image.open(io.BytesIO(file)).format != "JPEG" and name != "lossy.webp"
        np.testing.assert_allclose(seen.astype(int), shown, atol=0 if exact else 8, err_msg=name)


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_picture_is_refused_by_both_with_the_same_message(name, served, trained):
    file, problem = BAD[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=problem) as refused:
        served("colour", GOOD["rgb.png"], file)
    with pytest.raises(tf.errors.OpError, match=problem) as told:
        trained("colour", "rgb.png", name)
    words = re.search(rf"ValueError: (Expected an image .* in .*{name}. Try .*PNG\.)", str(told.value))[1]
    if problem != "Invalid PNG data":  # found by TensorFlow's decoder, which knows of no rows
        assert re.sub(f" in [^ ]*{name}", " in row 1", words) in str(refused.value)


def test_every_bad_row_is_named(served):
    files = [GOOD["rgb.png"], b"", GOOD["rgb.png"], b"text"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"an empty file in row 1, a file of another format in row 3\."):
        served("grey", *files)


def test_no_files_are_no_pictures(served):
    assert served("wide").shape == (0, 6, 11, 3)
