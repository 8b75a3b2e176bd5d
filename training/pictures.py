"""Pictures of data and of what a model makes of them, as matplotlib figures without global state.

Examples of shape `(H, W, 1)` or `(H, W, 3)` are drawn as images, all others as lines over their dimensions.
"""

import logging

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of its cache on the terminal

MODEL, PCA, DATA = "#2a6fdb", "#e07b39", "#30343b"
CANVAS = 1500  # pixels of the codes' picture, each way
THUMBNAIL = 40  # pixels of a thumbnail, each way


def is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] in (1, 3) and min(shape[:2]) > 1


def plane(codes: np.ndarray) -> np.ndarray:
    """Positions `(n, 2)` of codes `(n, k)`: themselves for k = 2, beside zeros for k = 1, else their two leading components."""
    if codes.shape[1] == 2:
        return codes
    if codes.shape[1] == 1:
        return np.concatenate([codes, np.zeros_like(codes)], axis=1)
    centred = codes - codes.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def codes_in_the_plane(x: np.ndarray, codes: np.ndarray, labels=None, classes=None) -> Figure:
    """Every example at its place: thumbnails where there is room for one, dots for the others, coloured by class."""
    figure, axes = _single(9, 9)
    positions = plane(codes)
    low, high = _frame(positions)
    inside = np.all((positions >= low) & (positions <= high), axis=1)
    colours = _colours(labels, len(codes))
    axes.scatter(*positions.T, s=5, c=colours, alpha=0.35, linewidths=0, zorder=1)
    if is_image(x.shape[1:]):
        spots = (positions - low) / (high - low) * (CANVAS - THUMBNAIL)  # lower left corners, pixels
        shown = [i for i in np.flatnonzero(inside) if not np.isnan(spots[i]).any()]
        canvas = _thumbnails(x, spots.astype(int), colours, _apart(spots, shown))
        axes.imshow(canvas, extent=(low[0], high[0], low[1], high[1]), aspect="auto", zorder=2)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
    axes.set_xlabel("first code dimension" if codes.shape[1] <= 2 else "first principal component of the codes")
    axes.set_ylabel("second code dimension" if codes.shape[1] <= 2 else "second principal component of the codes")
    if labels is not None:
        _legend(axes, labels, classes)
    return figure


def reconstructions(x: np.ndarray, rows: dict[str, np.ndarray]) -> Figure:
    """Examples above what each model makes of them: `rows` has the reconstructions by their caption."""
    stacked = {"input": x, **rows}
    if not is_image(x.shape[1:]):
        figure, axes = _grid(2, (len(x) + 1) // 2, 3.2, 1.8)
        for i, ax in enumerate(axes.flat[: len(x)]):
            for (name, values), colour in zip(stacked.items(), (DATA, MODEL, PCA), strict=False):
                ax.plot(values[i].ravel(), color=colour, lw=1, label=name)
        axes.flat[0].legend(fontsize=7, frameon=False)
        return figure
    figure, axes = _grid(len(stacked), len(x), 0.85, 0.85)
    for row, (name, values) in zip(axes, stacked.items(), strict=True):
        for ax, example in zip(row, values, strict=True):
            draw(ax, example)
        row[0].text(-0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=10)
    return figure


def learning_curve(history: list[dict[str, float]], test: float, pca: float | None) -> Figure:
    """Squared error per example by epoch, against the test error and PCA's."""
    figure, axes = _single(8, 4.2)
    epochs = np.arange(1, len(history) + 1)
    for name, label, style in (("squared_error", "training", "-"), ("val_squared_error", "validation", "--")):
        if history and name in history[0]:
            axes.plot(epochs, [row[name] for row in history], style, color=MODEL, lw=1.6, label=label)
    axes.axhline(test, color=DATA, lw=1.2, ls=":", label=f"test: {test:.4g}")
    if pca is not None:
        axes.axhline(pca, color=PCA, lw=1.2, ls="-.", label=f"PCA of equal k, test: {pca:.4g}")
    axes.set(xlabel="epoch", ylabel="squared error per example", yscale="log")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    return figure


def clusters(codes: np.ndarray, assigned: np.ndarray, centres: np.ndarray, captions: list[str]) -> Figure:
    """Clusters in the plane beside the decoded centre `(c, *shape)` of each."""
    figure = _figure(11, 5.6)
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    axes = left.subplots()
    _frameless(axes)
    positions = plane(codes)
    low, high = _frame(positions)
    axes.scatter(*positions.T, s=9, c=_colours(assigned, len(codes)), alpha=0.7, linewidths=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], title="codes, coloured by cluster")
    columns = min(5, len(centres))
    grid = right.subplots(-(-len(centres) // columns), columns, squeeze=False)
    for ax in grid.flat:
        ax.axis("off")
    for i, (ax, centre, caption) in enumerate(zip(grid.flat, centres, captions, strict=False)):
        draw(ax, centre)
        ax.set_title(caption, fontsize=8, color=_palette(i))
    right.suptitle("decoded cluster centres", fontsize=11)
    return figure


def traversals(decoded: np.ndarray) -> Figure:
    """A row for each code dimension, from low to high; `decoded` is `(k, steps, *shape)`."""
    k, steps = decoded.shape[:2]
    if not is_image(decoded.shape[2:]):
        figure, axes = _grid(-(-k // 4), min(k, 4), 3, 1.8)
        colours = colormaps["viridis"](np.linspace(0, 1, steps))
        for j, ax in enumerate(axes.flat[:k]):
            for line, colour in zip(decoded[j], colours, strict=True):
                ax.plot(line.ravel(), color=colour, lw=0.9)
            ax.set_title(f"dimension {j + 1}", fontsize=8)
        return figure
    height, width, channels = decoded.shape[2:]
    gap = max(1, width // 8)
    tiles = np.pad(decoded, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)))  # one picture: axes for each would take minutes
    mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(k * (height + gap), steps * (width + gap), channels)
    tall = 0.75 * steps * k * (height + gap) / (steps * (width + gap))
    figure = _figure(0.75 * steps + 0.6, min(tall, 300) + 0.4)
    axes = figure.subplots()
    draw(axes, mosaic)
    axes.spines[:].set_visible(False)
    axes.set_yticks((np.arange(k) + 0.4) * (height + gap), [f"a{_subscript(j + 1)}" for j in range(k)])
    middles = (np.array([0, steps // 2, steps - 1]) + 0.4) * (width + gap)
    axes.set_xticks(middles, ["low", "median", "high"])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    return figure


def samples(x: np.ndarray, columns: int = 12) -> Figure:
    """Generated examples, one for a seed."""
    figure, axes = _grid(-(-len(x) // columns), columns, 0.8 if is_image(x.shape[1:]) else 1.6, 0.8)
    for ax, example in zip(axes.flat, x, strict=False):
        draw(ax, example)
    return figure


def architecture(stages: list[tuple[str, int, str]], weights: int) -> Figure:
    """The network as a chain of bars whose height follows the logarithm of their width: (caption, units, colour)."""
    figure, axes = _single(max(6.0, 1.15 * len(stages)), 3.6)
    heights = [0.35 + np.log2(1 + units) / 6 for _, units, _ in stages]
    for i, ((caption, units, colour), height) in enumerate(zip(stages, heights, strict=True)):
        axes.bar(i, height, width=0.42, bottom=-height / 2, color=colour, zorder=2)
        axes.text(i, -height / 2 - 0.08, f"{units:,}", ha="center", va="top", fontsize=10, fontweight="bold")
        axes.text(i, -max(heights) / 2 - 0.38, caption, ha="center", va="top", fontsize=8.5)
        if i:
            x, y = (i - 1 + 0.21, i - 0.21), (heights[i - 1] / 2, height / 2)
            axes.fill_between(x, [-y[0], -y[1]], y, color="#d9dee7", zorder=1, lw=0)
    axes.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-max(heights) / 2 - 0.85, max(heights) / 2 + 0.1))
    axes.set_title(f"{weights:,} weights", fontsize=10)
    axes.axis("off")
    return figure


def draw(axes: Axes, example: np.ndarray) -> None:
    """One example into axes that carry nothing else."""
    if is_image(example.shape):
        axes.imshow(example.squeeze(-1) if example.shape[-1] == 1 else example.clip(0, 1), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color("#d5d9e0")
    else:
        axes.plot(example.ravel(), color=MODEL, lw=1)
        axes.set(xticks=[], yticks=[])


def _apart(spots: np.ndarray, candidates: list[int]) -> list[int]:
    """Those of the candidates, in their order, whose thumbnail overlaps none that was chosen before."""
    chosen, cells = [], {}
    for i in candidates:
        column, row = (spots[i] // THUMBNAIL).astype(int)
        around = [cells.get((column + a, row + b)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        if all(j is None or np.abs(spots[i] - spots[j]).max() >= THUMBNAIL for j in around):
            cells[column, row] = i
            chosen.append(i)
    return chosen


def _thumbnails(x: np.ndarray, spots: np.ndarray, colours: np.ndarray, chosen: list[int]) -> np.ndarray:
    """An RGBA canvas with the chosen examples: grey ones in the colour of their class, the ink as opacity."""
    canvas = np.zeros((CANVAS, CANVAS, 4))
    for i in chosen:
        pixels = np.stack([_resized(x[i, :, :, c]) for c in range(x.shape[-1])], axis=-1)
        patch = np.ones((THUMBNAIL, THUMBNAIL, 4))
        if x.shape[-1] == 3:
            patch[..., :3] = pixels
        else:
            patch[..., :3], patch[..., 3:] = colours[i][:3], pixels
        column, row = spots[i]
        canvas[CANVAS - row - THUMBNAIL : CANVAS - row, column : column + THUMBNAIL] = patch
    return canvas


def _resized(channel: np.ndarray) -> np.ndarray:
    image = Image.fromarray(channel.clip(0, 1).astype("float32"))
    return np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def _frame(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners that hold all but the farthest of the points."""
    low, high = np.quantile(positions, (0.003, 0.997), axis=0)
    margin = 0.04 * (high - low) + 1e-6
    return low - margin, high + margin


def _colours(labels, count: int) -> np.ndarray:
    return np.array([_palette(int(i)) for i in (labels if labels is not None else np.zeros(count))])


def _palette(i: int):
    return colormaps["tab10"](i % 10)


def _legend(axes: Axes, labels, classes) -> None:
    for i in np.unique(labels)[:20]:
        axes.scatter([], [], color=_palette(i), label=classes[i] if classes else str(i))
    columns = min(10, len(np.unique(labels)))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.06), ncols=columns, frameon=False, handletextpad=0.1)


def _subscript(number: int) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=130, layout="constrained", facecolor="white")


def _single(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _figure(width, height)
    axes = figure.subplots()
    _frameless(axes)
    return figure, axes


def _frameless(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _grid(rows: int, columns: int, width: float, height: float):
    figure = _figure(columns * width + 1.2, rows * height + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes
