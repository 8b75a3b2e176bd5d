"""Codes in the plane: every example at the place of its code, and clusters with their centres."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from PIL import Image

from training.reporting import pictures

NAMED = 20  # most classes with a label
CANVAS = 1500  # width and height, in pixels, of the picture of the codes
THUMBNAIL = 40  # width and height of a thumbnail, in pixels


def positions(codes: np.ndarray) -> np.ndarray:
    """Positions `(n, 2)` of codes `(n, k)`: the codes for k = 2, padded with zeros for k = 1, otherwise their two leading
    principal components."""
    if codes.shape[1] == 2:
        return codes
    if codes.shape[1] == 1:
        return np.concatenate([codes, np.zeros_like(codes)], axis=1)
    centred = codes - codes.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def embedding(
    x: np.ndarray, codes: np.ndarray, labels: np.ndarray | None = None, classes: Sequence[str] | None = None
) -> Figure:
    """Every example at the position of its code, coloured by class: as a thumbnail if there is room, otherwise as a dot."""
    figure, axes = pictures.single(9, 9)
    places = positions(codes)
    low, high = frame(places)
    inside = np.all((places >= low) & (places <= high), axis=1)
    colours = _colours(labels, len(codes))
    axes.scatter(*places.T, s=4, c=colours, linewidths=0, zorder=1)
    if pictures.is_image(x.shape[1:]):
        spots = (places - low) / (high - low) * (CANVAS - THUMBNAIL)  # lower left corners, pixels
        shown = [i for i in np.flatnonzero(inside) if not np.isnan(spots[i]).any()]
        canvas = _thumbnails(x, spots.astype(int), colours, _apart(spots, shown))
        axes.imshow(canvas, extent=(low[0], high[0], low[1], high[1]), aspect="auto", zorder=2)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
    axes.set_xlabel("first code dimension" if codes.shape[1] <= 2 else "first principal component of the codes")
    axes.set_ylabel("second code dimension" if codes.shape[1] <= 2 else "second principal component of the codes")
    if labels is not None:
        _legend(axes, labels, classes)
        for label in np.unique(labels)[:NAMED]:
            middle = np.median(places[labels == label], axis=0)
            _name(axes, middle, classes[label] if classes else str(label), pictures.colour(label))
    return figure


def clusters(codes: np.ndarray, assigned: np.ndarray, centres: np.ndarray, captions: list[str], colours: list[str]) -> Figure:
    """Numbered clusters in the plane, and next to them their decoded centres.

    Args:
        codes: `(n, k)`.
        assigned: the cluster of each code, `(n,)`, from 0 to c − 1.
        centres: decoded, `(c, *shape)`.
        captions, colours: of the clusters; several clusters may have the same colour.
    """
    figure = pictures.sheet(11, 5.6)
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    axes = left.subplots()
    pictures.frameless(axes)
    flat = positions(codes)
    low, high = frame(flat)
    columns = min(5, len(centres))
    grid = right.subplots(-(-len(centres) // columns), columns, squeeze=False)
    for ax in grid.flat:
        ax.axis("off")
    for i, (ax, centre, caption) in enumerate(zip(grid.flat, centres, captions, strict=False)):
        places = flat[assigned == i]
        axes.scatter(*places.T, s=12, color=colours[i], marker=pictures.MARKERS[i % len(pictures.MARKERS)], linewidths=0)
        if len(places):
            _name(axes, np.median(places, axis=0), str(i + 1), colours[i])
        pictures.draw(ax, centre)
        ax.set_title(f"{i + 1}: {caption}", fontsize=8, color=colours[i])
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], title="codes, by cluster")
    right.suptitle("decoded cluster centres", fontsize=11)
    return figure


def frame(places: np.ndarray, outermost: float = 0.003) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corners of a frame around all but the outermost points `(n, 2)`, a share of them on each side."""
    low, high = np.quantile(places, (outermost, 1 - outermost), axis=0)
    margin = 0.04 * (high - low) + 1e-6
    return low - margin, high + margin


def _apart(spots: np.ndarray, candidates: list[int]) -> list[int]:
    """The candidates, in order, whose thumbnails do not overlap with those of earlier ones."""
    chosen, cells = [], {}
    for i in candidates:
        column, row = (spots[i] // THUMBNAIL).astype(int)
        around = [cells.get((column + a, row + b)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        if all(j is None or np.abs(spots[i] - spots[j]).max() >= THUMBNAIL for j in around):
            cells[column, row] = i
            chosen.append(i)
    return chosen


def _thumbnails(x: np.ndarray, spots: np.ndarray, colours: np.ndarray, chosen: list[int]) -> np.ndarray:
    """An RGBA canvas with the chosen examples; grey ones have the colour of their class, with the ink as opacity."""
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


def _colours(labels: np.ndarray | None, count: int) -> np.ndarray:
    return to_rgba_array([pictures.colour(int(i)) for i in (labels if labels is not None else np.zeros(count))])


def _name(axes: Axes, place: np.ndarray, name: str, colour: str) -> None:
    """Writes a name on a white label in the plane, so that it is legible and not mistaken for data."""
    label = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "linewidth": 1.2}
    axes.annotate(name, place, ha="center", va="center", fontsize=10, fontweight="bold", color=colour, bbox=label, zorder=3)


def _legend(axes: Axes, labels: np.ndarray, classes: Sequence[str] | None) -> None:
    for i in np.unique(labels)[:NAMED]:
        axes.scatter([], [], color=pictures.colour(i), label=classes[i] if classes else str(i))
    columns = min(10, len(np.unique(labels)))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.06), ncols=columns, frameon=False, handletextpad=0.1)
