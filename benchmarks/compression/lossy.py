"""Lossy compression of MNIST's test digits: bits a pixel and signal-to-noise ratio, beside codecs of pictures.

    TFDS_DATA_DIR=… python benchmarks/compression/lossy.py [--rows=10000] [--output=compression-benchmark]

Trains `rounded_mnist` with several rates unless that is in `runs/`. Sizes are those of whole files, with everything in them but
the model; codecs of pictures get contact sheets. The ratio is that of all pixels, to the peak of 255. What a codec takes at a
ratio is read off the straight line between two of its points. The table is written to `lossy.md` in the output folder, the
curves to `rate_distortion.png`.
"""

import argparse
import io
import pathlib

import numpy as np
import sheets
from matplotlib.figure import Figure
from PIL import Image

import training
import zoo
from training import kinds
from training.reporting import pictures

QUALITIES = {"AVIF": (0, 10, 20, 30, 40, 50), "WebP": (0, 5, 10, 20, 40, 60), "JPEG": (5, 10, 20, 30, 50, 70)}
RATES = (0.15, 0.06, 0.03, 0.015, 0.0025, 0.0003)
TARGETS = (24.0, 28.0)  # dB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--output", default="compression-benchmark")
    options = parser.parse_args()
    grey = kinds.open_data(training.EXPERIMENTS["rounded_mnist"]).test.arrays["x"][: options.rows]
    write(np.rint(grey * 255).astype("uint8"), pathlib.Path(options.output))


def write(grey: np.ndarray, output: pathlib.Path) -> None:
    """The table and the picture, for images `(n, height, width, 1)` of 8 bits."""
    curves = {form: np.array([_sheet_point(grey, form, each) for each in each_of]) for form, each_of in QUALITIES.items()}
    curves["rounded_mnist"] = np.array([_rounded_point(grey, rate) for rate in RATES])
    lines = ["| | bits a pixel at " + " | at ".join(f"{each:g} dB" for each in TARGETS) + " |", "|---|---|---|"]
    for name, points in curves.items():
        bits, decibels = points[np.argsort(points[:, 1])].T
        reached = [_at(each, bits, decibels) for each in TARGETS]
        lines.append(f"| {name} | " + " | ".join("" if each is None else f"{each:.3f}" for each in reached) + " |")
    output.mkdir(parents=True, exist_ok=True)
    (output / "lossy.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (output / "rate_distortion.png").write_bytes(pictures.png(_curves(curves)))


def _curves(curves: dict[str, np.ndarray]) -> Figure:
    """Bits a pixel and dB, `(n, 2)` by name."""
    figure = Figure((7, 4.2), layout="constrained")
    ax = figure.subplots()
    for name, points in curves.items():
        ax.plot(*points[np.argsort(points[:, 0])].T, marker="o", ms=4, label=name)
    ax.set(xlabel="bits a pixel", ylabel="signal-to-noise ratio in dB", xscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.25, which="both")
    ax.legend(frameon=False)
    return figure


def _at(target: float, bits: np.ndarray, decibels: np.ndarray) -> float | None:
    """Bits at which a curve reaches a ratio, between its points; None where it does not."""
    return float(np.interp(target, decibels, bits)) if decibels[0] <= target <= decibels[-1] else None


def _sheet_point(x: np.ndarray, form: str, quality: int) -> tuple[float, float]:
    """Bits a pixel, and dB, of a contact sheet."""
    picture, buffer = sheets.sheet(x), io.BytesIO()
    picture.save(buffer, form, quality=quality)
    with Image.open(buffer) as again:
        return _point(f"{form}, quality {quality}", len(buffer.getvalue()), x, _digits(np.asarray(again.convert("L")), len(x)))


def _digits(picture: np.ndarray, count: int) -> np.ndarray:
    """The images `(n, height, width, 1)` of a contact sheet."""
    side = picture.shape[1] // sheets.SIDE
    return picture.reshape(-1, side, sheets.SIDE, side).swapaxes(1, 2).reshape(-1, side, side, 1)[:count]


def _rounded_point(x: np.ndarray, rate: float) -> tuple[float, float]:
    """As `_sheet_point`, of a file of `rounded_mnist`."""
    experiment = training.EXPERIMENTS["rounded_mnist"].override(rate=rate, prior="normal")
    model = training.train(experiment, f"runs/rounded_mnist_{rate}", report=False).load_model()
    file = zoo.compress(model, x, lossy=True)
    return _point(f"rounded_mnist, rate {rate}", len(file), x, zoo.decompress(file, model))


def _point(name: str, size: int, x: np.ndarray, again: np.ndarray) -> tuple[float, float]:
    error = np.mean(np.square((x.astype("float64") - again) / 255))
    point = 8 * size / x.size, float(-10 * np.log10(error))
    print(f"{name:<32}{point[0]:>8.4f} bits a pixel{point[1]:>8.2f} dB", flush=True)
    return point


if __name__ == "__main__":
    main()
