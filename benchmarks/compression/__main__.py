"""Compression of MNIST's test digits, beside codecs of pictures and of bytes; and the picture of docs/compression.md.

    TFDS_DATA_DIR=… python benchmarks/compression [--rows=10000] [--output=compression-benchmark]

Sizes are those of whole files, with everything in them but the model. Codecs of pictures get contact sheets, in which the head
of a file counts for nothing; codecs of bytes get the same digits, as bytes and, if they have two levels, as bits: the shorter
counts. Binarized digits are drawn with NumPy's seed 0. The table is written to `compression.md` in the output folder, how the
stack grows to `bits_back.png`.
"""

import argparse
import bz2
import itertools
import lzma
import pathlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import sheets
import zstandard
from matplotlib.figure import Figure

import training
import zoo
from training import kinds
from training.reporting import pictures
from zoo import presets
from zoo.coding.bits_back import BitsBack
from zoo.coding.stack import Stack

BYTES = {
    "zstd -19": zstandard.ZstdCompressor(level=19).compress,
    "lzma -9": lambda data: lzma.compress(data, preset=9),
    "bz2 -9": lambda data: bz2.compress(data, 9),
}
SHEETS = {  # Pillow's formats, lossless
    "PNG": {"optimize": True},
    "WebP": {"lossless": True, "quality": 100, "method": 6},
    "JXL": {"lossless": True, "effort": 9},
}
WAYS = {"": {}, ", 8 particles": {"particles": 8}, ", not portable": {"portable": False}}
STEPS = {"pop z": "tab:red", "push x": "tab:blue", "push z": "tab:green"}
SHOWN = 10  # digits in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--output", default="compression-benchmark")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    grey = kinds.open_data(training.EXPERIMENTS["conv_mnist_k16"]).test.arrays["x"][: options.rows]
    grey = np.rint(grey * 255).astype("uint8")
    binary = np.random.default_rng(0).random(grey.shape) < grey / np.float32(255)
    lines = ["| | bits a pixel | of the bound | images/s in | images/s out | even from |", "|---|---|---|---|---|---|"]
    for title, name, x in (("binarized", "vae_mnist", binary), ("8 bit", "vae_mnist_8bit", grey)):
        lines.append(f"| **{title}** | | | | | |")
        lines += _others(x)
        if name in zoo.list():
            lines += _ours(name, x)
    output.mkdir(parents=True, exist_ok=True)
    (output / "compression.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (output / "bits_back.png").write_bytes(pictures.png(_picture(binary[:SHOWN])))


def _others(x: np.ndarray) -> Iterator[str]:
    """Rows of the table: other codecs."""
    for name, codec in BYTES.items():
        forms = [x.tobytes(), np.packbits(x).tobytes()] if x.dtype == bool else [x.tobytes()]
        yield _line(name, min(len(codec(form)) for form in forms), x)
    picture = sheets.sheet(x)
    for form, settings in SHEETS.items():
        yield _line(f"{form}, a sheet", sheets.size(picture, form, **settings), x)


def _ours(name: str, x: np.ndarray) -> Iterator[str]:
    model, own = zoo.load(name), (presets.FOLDER / name / presets.WEIGHTS).stat().st_size
    bound = float(np.sum([np.sum(model.bits(part)) for part in np.array_split(x, max(1, len(x) // 1000))]))
    zstd = len(BYTES["zstd -19"](np.packbits(x).tobytes() if x.dtype == bool else x.tobytes()))
    for way, settings in WAYS.items():
        file, into = _timed(lambda settings=settings: zoo.compress(model, x, name, **settings))
        again, out = _timed(lambda file=file: zoo.decompress(file, model))
        assert np.array_equal(again, x)
        even = len(x) * own / (zstd - len(file))
        speeds = f"{len(x) / into:,.0f} | {len(x) / out:,.0f}"
        yield _line(f"`{name}`{way}", len(file), x, f"{8 * len(file) / bound - 1:+.2%} | {speeds} | {even:,.0f} rows")


def _line(name: str, size: int, x: np.ndarray, rest: str = " | | | ") -> str:
    line = f"| {name} | {8 * size / x.size:.4f} | {rest} |"
    print(line, flush=True)
    return line


def _timed(function: Callable) -> tuple[object, float]:
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def _picture(x: np.ndarray) -> Figure:
    """How the stack of a chunk shrinks and grows, while digits are coded one by one."""
    mode = BitsBack.prepared(zoo.load("vae_mnist"), x)
    stack, levels = Stack(known=64), mode.integers(x)
    start, heights = stack.bits, [0.0]
    for each in np.split(levels, len(levels)):
        cells = mode.posterior(each).pop(stack)
        heights.append(stack.bits - start)
        mode.push(stack, cells, each)
        heights.append(stack.bits - start)
        mode.prior.push(stack, cells)
        heights.append(stack.bits - start)
    figure = Figure((9, 4), layout="constrained")
    ax = figure.subplots()
    for number, (low, high) in enumerate(itertools.pairwise(heights)):
        step = list(STEPS)[number % 3]
        ax.bar(number, high - low, bottom=low, color=STEPS[step], label=step if number < 3 else None)
    ax.plot(range(len(heights) - 1), heights[1:], drawstyle="steps-mid", color="black", linewidth=0.6)
    for number, each in enumerate(x):
        inset = ax.inset_axes((3 * number - 0.5, heights[3 * number + 3] + 60, 3, 150), transform=ax.transData)
        inset.imshow(each[..., 0], cmap="gray_r")
        inset.axis("off")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xticks([])
    ax.set_ylim(top=heights[-1] + 240)
    ax.set_ylabel("bits on the stack, beside the known ones")
    ax.legend(loc="upper left", frameon=False)
    return figure


if __name__ == "__main__":
    main()
