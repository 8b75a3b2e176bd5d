"""Pictures of data and of the outputs of models, as matplotlib figures without global state.

Examples of shape `(H, W, 1)` or `(H, W, 3)` are drawn as images, all others as lines over their dimensions. A single channel is
drawn as ink on paper: 0 is white and 1 is black.
"""

import io
import logging
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it prints a message about its cache

MODEL, PCA, DATA = "#2a6fdb", "#cf6324", "#30343b"
QUIET = "#868d99"  # secondary marks
# The colours of classes, in every picture. All have a contrast of at least 3:1 on white. The two most similar ones are 33 apart
# in CIELAB, even for eyes without red or green cones; matplotlib's default ten come as close as 5.
CLASSES = (
    "#0a8ffc", "#ff4b12", "#772800", "#7c92ac", "#1b018f", "#c18068", "#264781", "#000023", "#6f3e48", "#0b2af1",
)  # fmt: skip
MARKERS = "osD^vPX<>p"  # of clusters and curves, in addition to their colours


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape are drawn as images."""
    return len(shape) == 3 and shape[-1] in (1, 3) and min(shape[:2]) > 1


def reconstructions(x: np.ndarray, rows: dict[str, np.ndarray]) -> Figure:
    """Examples, and below them their reconstructions by each model; `rows` has the reconstructions by caption."""
    stacked = {"input": x, **rows}
    if not is_image(x.shape[1:]):
        figure, axes = _grid(2, (len(x) + 1) // 2, 3.2, 1.8)
        for i, ax in enumerate(axes.flat[: len(x)]):
            for (name, values), colour in zip(stacked.items(), (DATA, MODEL, PCA), strict=False):
                ax.plot(values[i].ravel(), color=colour, lw=1, label=name)
        axes.flat[0].legend(fontsize=7, frameon=False)
        return figure
    return mosaic(np.stack([*stacked.values()]), [*stacked])


def learning_curve(
    history: list[dict[str, float]],
    metric: str,
    test: float | None = None,
    pca: float | None = None,
    ylabel: str | None = None,
    scale: Literal["log", "linear"] = "log",
) -> Figure:
    """A metric by epoch, with its value on the test split and that of PCA; next to it the parts of the loss in nats, if any.
    `ylabel` and `scale` are those of the metric's axis."""
    parts = [name for name in ("reconstruction", "kl") if name in history[0]]
    figure = sheet(12 if parts else 8, 4.2)
    axes, *more = figure.subplots(1, 2 if parts else 1, squeeze=False)[0]
    epochs = np.arange(1, len(history) + 1)
    for name, label, style in ((metric, "training", "-"), (f"val_{metric}", "validation", "--")):
        if name in history[0]:
            axes.plot(epochs, [row[name] for row in history], style, color=MODEL, lw=1.6, label=label)
    if test is not None:
        axes.axhline(test, color=DATA, lw=1.2, ls=":", label=f"test: {test:.4g}")
    if pca is not None:
        axes.axhline(pca, color=PCA, lw=1.2, ls="-.", label=f"PCA of equal k, test: {pca:.4g}")
    axes.set(xlabel="epoch", ylabel=ylabel or metric.replace("_", " ") + " per example", yscale=scale)
    for name, colour in zip(parts, (MODEL, PCA), strict=False):
        label = {"reconstruction": "−log p(x | code)", "kl": "KL divergence"}[name]
        more[0].plot(epochs, [row[name] for row in history], color=colour, lw=1.6, label=label)
        more[0].set(xlabel="epoch", ylabel="nats per example", yscale="log")
    for ax in (axes, *more):
        frameless(ax)
        ax.grid(alpha=0.25, which="both")
        ax.legend(frameon=False)
    return figure


def lines(series: dict[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """Curves `(x, y)` by name."""
    figure, axes = single(8, 4.2)
    for i, (name, (x, y)) in enumerate(series.items()):
        axes.plot(x, y, marker=MARKERS[i % len(MARKERS)], ms=5, lw=1.6, color=(MODEL, PCA, DATA)[i % 3], label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def attention(maps: list[np.ndarray], rows: list[list[str]], columns: list[list[str]]) -> Figure:
    """Attention weights `(written tokens, read tokens)` in [0, 1] of several pairs, with their tokens, side by side."""
    across = min(3, len(maps))
    figure, axes = _grid(-(-len(maps) // across), across, 3.4, 3.4)
    for ax, weights, written, read in zip(axes.flat, maps, rows, columns, strict=False):
        ax.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(np.arange(len(read)), read, fontsize=9)
        ax.set_yticks(np.arange(len(written)), written, fontsize=9)
        ax.tick_params(length=0)
    return figure


def confusion(targets: np.ndarray, answers: np.ndarray, classes: tuple[str, ...]) -> Figure:
    """Numbers of examples by class (rows) and answer (columns)."""
    count = len(classes)
    table = np.bincount(targets * count + answers, minlength=count * count).reshape(count, count)
    size = max(4.0, min(0.5 * count, 14.0))
    figure, axes = single(size + 1, size)
    shades = np.log1p(table)
    axes.imshow(shades, cmap="Blues")
    if count <= 20:
        for i, j in np.ndindex(count, count):
            ink = "white" if shades[i, j] > 0.6 * shades.max() else DATA
            axes.text(j, i, f"{table[i, j]:,}", ha="center", va="center", fontsize=7, color=ink)
    ticks = np.arange(count)
    axes.set(xlabel="answer", ylabel="class")
    axes.set_xticks(ticks, classes, rotation=0 if max(map(len, classes)) < 4 else 90)
    axes.set_yticks(ticks, classes)
    return figure


def scatter(x: np.ndarray, y: np.ndarray, xlabel: str, ylabel: str) -> Figure:
    """Points, and the line where both coordinates are equal."""
    figure, axes = single(5.5, 5.5)
    axes.scatter(x, y, s=6, color=MODEL, alpha=0.35, linewidths=0)
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=DATA, lw=1, ls=":")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.25)
    return figure


def active_units(variances: np.ndarray, limit: float) -> Figure:
    """Bars for variances `(k,)`, the largest first, and the limit below which a unit is not active."""
    figure, axes = single(max(5.0, min(0.22 * len(variances), 14.0)), 3.4)
    variances = np.sort(variances)[::-1]
    axes.bar(np.arange(1, len(variances) + 1), variances, color=np.where(variances > limit, MODEL, QUIET))
    axes.axhline(limit, color=DATA, lw=1, ls=":")
    axes.set(xlabel="code dimensions", ylabel="variance of the mean", yscale="log")
    return figure


def traversals(decoded: np.ndarray, captions: list[str] | None = None) -> Figure:
    """A row of decoded examples `(k, steps, *shape)` for each code dimension, from low to high; captions are a₁, a₂, … unless
    given."""
    k, steps = decoded.shape[:2]
    captions = captions or [dimension(j) for j in range(k)]
    if not is_image(decoded.shape[2:]):
        figure, axes = _grid(-(-k // 4), min(k, 4), 3, 1.8)
        colours = colormaps["viridis"](np.linspace(0, 0.55, steps))  # lighter colours are hard to see on white
        for caption, example, ax in zip(captions, decoded, axes.flat, strict=False):
            for line, colour in zip(example, colours, strict=True):
                ax.plot(line.ravel(), color=colour, lw=0.9)
            ax.set_title(caption, fontsize=8)
        return figure
    figure = mosaic(decoded, captions)
    middles = (np.array([0, steps // 2, steps - 1]) + 0.4) * _pitch(decoded)[1]
    figure.axes[0].set_xticks(middles, ["low", "median", "high"])
    figure.axes[0].tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    return figure


def dimension(j: int) -> str:
    """The name of code dimension j ≥ 0: a₁, a₂, …"""
    return f"a{_subscript(j + 1)}"


def mosaic(examples: np.ndarray, captions: list[str] | None = None, titles: list[str] | None = None) -> Figure:
    """A grid `(rows, columns, *shape)` of examples, with captions for the rows and titles above the examples, in order."""
    rows, columns = examples.shape[:2]
    if not is_image(examples.shape[2:]):
        figure, axes = _grid(rows, columns, 1.2, 1.05 if titles else 0.8)
        for ax, example in zip(axes.flat, examples.reshape(rows * columns, *examples.shape[2:]), strict=True):
            draw(ax, example)
        for ax, caption in zip(axes[:, 0], captions or (), strict=False):
            ax.set_ylabel(caption, rotation=0, ha="right", va="center", fontsize=8)
        for ax, title in zip(axes.flat, titles or (), strict=False):
            ax.set_title(title, fontsize=7)
        return figure
    height, width = _pitch(examples)
    above = width // 4 if titles else 0  # pixels for a title
    height += above
    padding = ((0, 0), (0, 0), (above, height - above - examples.shape[2]), (0, width - examples.shape[3]), (0, 0))
    tiles = np.pad(
        examples, padding, constant_values=_paper(examples)
    )  # a single image, because one axes object per example would take minutes
    image = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, -1)
    inches = min(0.75, 12 / columns)
    figure = sheet(inches * columns + (1.0 if captions else 0.2), min(inches * rows * height / width, 300) + 0.4)
    axes = figure.subplots()
    draw(axes, image)
    axes.spines[:].set_visible(False)
    axes.set_yticks((np.arange(rows) + 0.4) * height if captions else [], captions)
    axes.tick_params(length=0)
    for i, title in enumerate(titles or ()):
        middle = (i % columns) * width + examples.shape[3] / 2
        axes.text(middle, i // columns * height + 0.8 * above, title, ha="center", va="bottom", fontsize=7)
    return figure


def samples(x: np.ndarray, columns: int = 12, captions: list[str] | None = None) -> Figure:
    """Examples `(n, *shape)` in rows, with captions above them."""
    missing = -len(x) % columns
    blank = np.full((missing, *x.shape[1:]), _paper(x) if is_image(x.shape[1:]) else np.nan, x.dtype)
    return mosaic(np.concatenate([x, blank]).reshape(-1, columns, *x.shape[1:]), titles=captions)


def architecture(stages: list[tuple[str, int, str]], weights: int) -> Figure:
    """The network as a chain of bars (caption, units, colour); the height of a bar grows with the logarithm of its units."""
    figure, axes = single(max(6.0, 1.15 * len(stages)), 3.6)
    heights = [0.35 + np.log2(1 + units) / 6 for _, units, _ in stages]
    for i, ((caption, units, colour), height) in enumerate(zip(stages, heights, strict=True)):
        axes.bar(i, height, width=0.42, bottom=-height / 2, color=colour, zorder=2)
        axes.text(i, -height / 2 - 0.08, f"{units:,}", ha="center", va="top", fontsize=10, fontweight="bold")
        axes.text(i, -max(heights) / 2 - 0.38, caption, ha="center", va="top", fontsize=8.5)
        if i:
            x, y = (i - 1 + 0.21, i - 0.21), (heights[i - 1] / 2, height / 2)
            axes.fill_between(x, [-y[0], -y[1]], y, color="#d9dee7", zorder=1, lw=0)
    axes.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-max(heights) / 2 - 0.85, max(heights) / 2 + 0.1))
    axes.set_title(f"{weights:,} weights, including those of the prior", fontsize=10)
    axes.axis("off")
    return figure


def png(figure: Figure) -> bytes:
    """The contents of a PNG file of the figure; `IPython.display.Image` shows it in a notebook."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def colour(label: int) -> str:
    """The colour of a class or cluster, by its number."""
    return CLASSES[label % len(CLASSES)]


def draw(axes: Axes, example: np.ndarray) -> None:
    """Draws one example in axes of its own."""
    if is_image(example.shape):
        axes.imshow(example.squeeze(-1) if example.shape[-1] == 1 else example.clip(0, 1), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color("#d5d9e0")
    else:
        axes.plot(example.ravel(), color=MODEL, lw=1)
        axes.set(xticks=[], yticks=[])


def _paper(examples: np.ndarray) -> float:
    """The value of empty pixels: no ink, or white."""
    return 0.0 if examples.shape[-1] == 1 else 1.0


def _pitch(examples: np.ndarray) -> tuple[int, int]:
    """Height and width in pixels of an image `(…, height, width, channels)` in a mosaic, including the gap after it."""
    gap = max(1, examples.shape[-2] // 8)
    return examples.shape[-3] + gap, examples.shape[-2] + gap


def _subscript(number: int) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))


def sheet(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height), dpi=130, layout="constrained", facecolor="white")


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one pair of axes."""
    figure = sheet(width, height)
    axes = figure.subplots()
    frameless(axes)
    return figure, axes


def frameless(axes: Axes) -> None:
    """Removes the upper and the right edge of axes."""
    axes.spines[["top", "right"]].set_visible(False)


def _grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = sheet(columns * width + 1.2, rows * height + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes
