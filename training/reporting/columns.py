"""Pictures of the columns of tables, as matplotlib figures."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.reporting import pictures, plane
from training.reporting.pictures import DATA, MODEL, PCA, QUIET
from zoo import dates

NAME = 24  # longest name of a column, in characters
CLASS = 16  # and of a class
BARS = 9  # most classes of a column with bars of their own
BINS = 30
WHOLE = 25  # most different whole numbers with a bin each
WIDE = 50.0  # ratio of the highest to the lowest positive number from which their axis is logarithmic
FEW = 12  # columns up to which the strength of every trend is written


class Column(NamedTuple):
    """The values of one column in real and in generated rows: numbers, dates as seconds with a `format`, or places among
    `classes`; NaN where one is missing."""

    name: str
    real: np.ndarray
    generated: np.ndarray
    classes: Sequence[str] | None = None
    format: str | None = None
    logarithmic: bool = False


def marginals(columns: Sequence[Column]) -> Figure:
    """How the values of each column are distributed: real ones in grey, generated ones in blue."""
    across = min(len(columns), 4 if len(columns) <= 12 else 5)
    down = -(-len(columns) // across)
    longest = max((len(short(name, CLASS)) for column in columns for name in column.classes or ()), default=0)
    labels = 0.25 + 0.062 * longest  # inches on the left of a panel
    width, height, top = 1.75 + labels, 1.75, 0.55
    size = (max(width * across, 5.0) + 0.1, height * down + top)
    figure = Figure(figsize=size, dpi=130, facecolor="white")  # whose layout is not searched for, which takes long
    edges = {"left": labels / size[0], "right": 1 - 0.15 / size[0], "bottom": 0.3 / size[1], "top": 1 - (top + 0.05) / size[1]}
    spaces = {"wspace": labels / 1.6, "hspace": 0.55 / 1.2}
    panels = figure.subplots(down, across, squeeze=False, gridspec_kw={**edges, **spaces})
    for ax in panels.flat[len(columns) :]:
        ax.axis("off")
    for ax, column in zip(panels.flat, columns, strict=False):
        ax.set_title(short(column.name, NAME), fontsize=9)
        (_bars if column.classes else _histogram)(ax, column)
        ax.tick_params(labelsize=7, length=2)
        pictures.frameless(ax)
    handles = [panels.flat[0].fill_between([], [], color=QUIET, alpha=0.6), *panels.flat[0].plot([], [], color=MODEL, lw=2)]
    figure.legend(handles, ["real", "generated"], loc="upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _histogram(ax: Axes, column: Column) -> None:
    real, generated = (values[~np.isnan(values)] for values in (column.real, column.generated))
    edges = _edges(real if len(real) else generated, column.logarithmic)
    shares = [100 * np.histogram(values, edges)[0] / max(len(values), 1) for values in (real, generated)]
    ax.stairs(shares[0], edges, fill=True, color=QUIET, alpha=0.6)
    ax.stairs(shares[1], edges, color=MODEL, lw=1.5)
    if column.logarithmic:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ends = np.array([edges[0], edges[-1]])
    if column.format:
        ax.set_xticks(ends, dates.texts(ends, _date_format(ends)), ha="center")
    elif column.logarithmic:
        places = [ends[0], np.sqrt(ends[0] * ends[1]), ends[1]]
        ax.set_xticks(places, [_rounded(place, place) for place in places])
    else:
        whole = len(edges) - 1 < WHOLE and edges[0] % 1 == 0.5  # the bins of whole numbers have them in their middles
        places = np.array([ends[0] + 0.5, ends[1] - 0.5] if whole else [ends[0], ends.mean(), ends[1]])
        ax.set_xticks(places, [_rounded(place, np.inf if whole else ends[1] - ends[0]) for place in places])


def _date_format(ends: np.ndarray) -> str:
    """In which the ends of a period, in seconds, differ."""
    days = (ends[1] - ends[0]) / 86_400
    return "%Y" if days > 1_500 else "%Y-%m" if days > 90 else "%Y-%m-%d" if days > 3 else "%d %H:%M"


def _rounded(value: float, span: float) -> str:
    """A number as exactly as a span of them asks for."""
    if abs(value) >= 1e6 or span < 1e-3:
        text = re.sub(r"e([+-])0*", lambda sign: "e" if sign[1] == "+" else "e-", f"{value:.2g}")
    else:
        decimals = int(np.clip(np.ceil(-np.log10(span)) + 1, 0, 4))
        text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return text.replace("-", "−")


def _edges(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Of bins that hold all but the outermost hundredth of numbers."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, (0.005, 0.995))
    if high <= low:
        low, high = values.min(), values.max()
    if high <= low:
        return np.array([low - 0.5, low + 0.5])
    if np.abs(values - np.round(values)).max() < 1e-3 and 0.5 < high - low < WHOLE:  # cells are float32
        return np.arange(np.round(low), np.round(high) + 2) - 0.5
    return np.geomspace(low, high, BINS + 1) if logarithmic else np.linspace(low, high, BINS + 1)


def _bars(ax: Axes, column: Column) -> None:
    """Shares of the classes, in their order; where there are many, of the most common ones, and of all others together."""
    counts = [np.bincount(values[~np.isnan(values)].astype(int), minlength=len(column.classes) + 1) for values in column[1:3]]
    shares = np.stack([100 * count[: len(column.classes) + 1] / max(count.sum(), 1) for count in counts])  # the last: unknown
    names = [short(name, CLASS) for name in column.classes]
    shown = np.arange(len(names))
    if len(names) > BARS:
        shown = np.argsort(-shares[0, : len(names)], kind="stable")[: BARS - 1]
        rest = 100 - shares[:, shown].sum(axis=1, keepdims=True)
        names = [*(names[place] for place in shown), f"{len(names) - len(shown)} others"]
        bars = np.concatenate([shares[:, shown], rest], axis=1)
    else:
        bars = shares[:, shown]
    places = np.arange(len(names))[::-1]
    ax.barh(places + 0.2, bars[0], height=0.4, color=QUIET, alpha=0.6)
    ax.barh(places - 0.2, bars[1], height=0.4, color=MODEL)
    ax.set_yticks(places, names)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")


def errors(names: Sequence[str], model: np.ndarray, baseline: np.ndarray, numbers: np.ndarray, label: str) -> Figure:
    """The error with which hidden cells of each column are filled in `(n,)`, and that of the mean or mode, largest gain first.

    Args:
        numbers: which columns are of numbers, `(n,)`.
        label: of the model.
    """
    order = np.argsort(gains(model, baseline), kind="stable")
    figure = pictures.sheet(8.5, 0.24 * len(names) + 1.3)
    axes = figure.subplots()
    pictures.frameless(axes)
    places = np.arange(len(names))
    better = model[order] <= baseline[order]
    axes.hlines(places, baseline[order], model[order], color=np.where(better, MODEL, PCA), lw=2, alpha=0.35, zorder=1)
    axes.scatter(baseline[order], places, marker="|", s=80, color=DATA, lw=1.8, zorder=2, label="mean or mode")
    for chosen, marker, words in ((numbers[order], "o", "numbers"), (~numbers[order], "s", "classes")):
        if chosen.any():
            colours = np.where(better, MODEL, PCA)[chosen]
            axes.scatter(model[order][chosen], places[chosen], marker=marker, s=34, color=colours, zorder=3)
            axes.scatter([], [], marker=marker, s=34, color=MODEL, label=f"{label}, {words}")
    axes.set_yticks(places, [short(names[place], NAME) for place in order], fontsize=8 if len(names) <= 30 else 7)
    axes.set_xlabel("error: of numbers in standard deviations, of classes the share that is wrong")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def gains(model: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """The share of the mean's or mode's error that a model does not make, `(n,)`; 0 where that makes none."""
    return np.where(baseline > 0, 1 - model / np.where(baseline > 0, baseline, 1.0), 0.0)


def trends(names: Sequence[str], real: np.ndarray, generated: np.ndarray) -> Figure:
    """The strengths of pair trends `(C, C)` in real and in generated rows, and the differences."""
    count = len(names)
    figure = pictures.sheet(12.4, 4.3) if count <= FEW else pictures.sheet(12.4, 11.2)
    difference = generated - real
    widest = max(0.2, float(np.nanmax(np.abs(difference), initial=0.0)))
    if count <= FEW:
        panels = figure.subplots(1, 3)
    else:
        *panels, last = figure.subplots(2, 2).flat
        _compared(last, real, generated)
    shown = [("real", real, "Blues", 0.0, 1.0), ("generated", generated, "Blues", 0.0, 1.0)]
    shown.append(("generated − real", difference, "PuOr", -widest, widest))
    ticks, labels, letters = np.arange(count), [short(name, NAME) for name in names], 8 if count <= FEW else 7
    for number_, (ax, (title, values, colours, low, high)) in enumerate(zip(panels, shown, strict=True)):
        image = ax.imshow(values, cmap=colours, vmin=low, vmax=high)
        ax.set_facecolor("#e4e7ec")  # where a column does not vary
        ax.set_title(title, fontsize=11)
        ax.set_xticks(ticks, labels, rotation=90, fontsize=letters)
        ax.set_yticks(ticks, [] if number_ == 1 or (number_ and count <= FEW) else labels, fontsize=letters)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if count <= FEW:
            _written(ax, values, low, high, signed=number_ == 2)
        if number_ or count > FEW:
            bar = figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=8)
    return figure


def _compared(ax: Axes, real: np.ndarray, generated: np.ndarray) -> None:
    """The strength of every trend in real and in generated rows, as dots."""
    pairs = np.triu_indices(len(real), 1)
    ax.plot([0, 1], [0, 1], color=DATA, lw=1, ls=":")
    ax.scatter(real[pairs], generated[pairs], s=9, color=MODEL, alpha=0.5, linewidths=0)
    ax.set(xlabel="real", ylabel="generated", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_title("every pair", fontsize=11)
    ax.grid(alpha=0.25)
    pictures.frameless(ax)


def _written(ax: Axes, values: np.ndarray, low: float, high: float, signed: bool) -> None:
    """Writes numbers in two digits after the point into the cells of a matrix, but not on its diagonal."""
    dark = 0.5 * max(abs(low), abs(high))
    for i, j in np.ndindex(values.shape):
        if i != j and not np.isnan(values[i, j]):
            text = f"{values[i, j]:+.2f}" if signed else f"{values[i, j]:.2f}"
            text = text.replace("0.", ".", 1).replace("-", "−") if abs(values[i, j]) < 0.995 else text
            ax.text(j, i, text, ha="center", va="center", fontsize=6.5, color="white" if abs(values[i, j]) > dark else DATA)


class Colouring(NamedTuple):
    """What the dots of a map are coloured by: numbers, dates as seconds with a `format`, or places among `classes`, which may
    be `ordered`; NaN where one is missing."""

    name: str
    values: np.ndarray
    classes: Sequence[str] | None = None
    ordered: bool = False
    format: str | None = None


def maps(positions: np.ndarray, colourings: Sequence[Colouring], axes: tuple[str, str]) -> Figure:
    """Rows at their positions `(n, 2)`, once for each colouring."""
    across = min(2, len(colourings))
    down = -(-len(colourings) // across)
    figure = pictures.sheet(6.4 * across, 4.6 * down)
    panels = figure.subplots(down, across, squeeze=False)
    low, high = plane.frame(positions, outermost=0.003 if len(positions) > 1_000 else 0.0)
    dots = float(np.clip(20_000 / max(len(positions), 1), 5, 22))
    for ax in panels.flat[len(colourings) :]:
        ax.axis("off")
    for ax, colouring in zip(panels.flat, colourings, strict=False):
        ax.set_title(short(colouring.name, NAME), fontsize=11)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], xlabel=axes[0], ylabel=axes[1])
        pictures.frameless(ax)
        known = ~np.isnan(colouring.values)
        ax.scatter(*positions[~known].T, s=dots, c="#c9ced6", linewidths=0)
        points, values = positions[known], colouring.values[known]
        if colouring.classes is None:
            ends = np.quantile(values, (0.02, 0.98)) if len(values) else (0, 1)
            marks = ax.scatter(*points.T, s=dots, c=values, cmap="viridis", vmin=ends[0], vmax=ends[1], linewidths=0)
            bar = figure.colorbar(marks, ax=ax, shrink=0.75, pad=0.02)
            bar.outline.set_visible(False)
            if colouring.format:
                bar.set_ticks(ends, labels=dates.texts(np.array(ends), _date_format(ends)))
        else:
            colours = _colours(colouring)
            ax.scatter(*points.T, s=dots, c=[colours[int(value)] for value in values], linewidths=0, alpha=0.8)
            for place in np.unique(values).astype(int):
                ax.scatter([], [], s=30, color=colours[place], label=short(colouring.classes[place], CLASS))
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, handletextpad=0.1)
    return figure


def _colours(colouring: Colouring) -> list:
    """Of the classes; those in an order go from dark to light."""
    count = len(colouring.classes)
    if colouring.ordered:
        return list(colormaps["viridis"](np.linspace(0, 0.9, count)))
    return [pictures.colour(place) for place in range(count)]


def few_labels(shares: Sequence[float], codes: np.ndarray, scratch: np.ndarray, baseline: float, ylabel: str) -> Figure:
    """A head on the codes, and the same network from scratch, by the share of the labels that they were given."""
    figure = pictures.sheet(6.5, 3.8)
    axes = figure.subplots()
    pictures.frameless(axes)
    places = np.arange(len(shares))
    for offset, values, colour, label in ((-0.18, codes, MODEL, "on the codes"), (0.18, scratch, PCA, "from scratch")):
        bars = axes.bar(places + offset, values, width=0.34, color=colour, label=label)
        axes.bar_label(bars, [f"{value:.1f}".replace("-", "−") for value in values], padding=2, fontsize=9)
    axes.axhline(baseline, color=DATA, lw=1.2, ls=":", label=f"always the same: {baseline:.1f}".replace("-", "−"))
    axes.set_xticks(places, [f"{100 * share:g} % of the labels" for share in shares])
    axes.set(ylabel=ylabel)
    axes.margins(y=0.12)
    if min(*codes, *scratch) < 0:
        axes.axhline(0, color=QUIET, lw=0.8)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def short(text: str, most: int) -> str:
    """A text of at most so many characters, in one line, that matplotlib does not take for a formula."""
    text = " ".join(str(text).split())
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")
