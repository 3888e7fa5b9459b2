"""Marks that every chapter draws, each once: an estimate with its interval, rows of them, curves,
a map over a picture, a legend.

A series is drawn by its `Look`. A number stands as it is; an Interval of kdcore.stats gets its bars
where it rests on more than two values (that of two is wider than the figure). What is drawn is read
back from the figure by kdcore.book.figure_data, so that nothing drawn, here or by matplotlib
itself, can be missing from the table that a reader downloads.
"""

from typing import NamedTuple

import numpy as np
from matplotlib import pyplot as plt

from kdcore.book.figures import COLOUR, INK, style
from kdcore.stats import Interval


class Look(NamedTuple):
    """How a series is drawn: a colour, or its name in figures.COLOUR; marker and line."""

    colour: str = INK
    marker: str = "o"
    line: str = ""
    filled: bool = True
    size: float = 5.5


def look_of(look) -> Look:
    """A Look; of a text, the Look of that colour."""
    look = Look(look) if isinstance(look, str) else look
    return look._replace(colour=COLOUR.get(look.colour, look.colour))


def panels(rows=1, height=3.8, columns=1, **options):
    """(figure, list of its axes), as wide as the page, in the book's style; options: those of
    plt.subplots.
    """
    style()
    fig, axes = plt.subplots(rows, columns, figsize=(5.4, height), squeeze=False, **options)
    return fig, list(axes.flat)


def value(x) -> float:
    """The estimate of an Interval, or the number itself."""
    return x.estimate if hasattr(x, "estimate") else x


def bars(x):
    """Lengths of the bars to both sides, as errorbar wants them; None for a number and where an
    interval rests on less than three values.
    """
    if not isinstance(x, Interval) or not x.n > 2 or x.low == x.high:
        return None
    return [[x.estimate - x.low], [x.high - x.estimate]]


def mark(axis, x, y, look="", label=None, **options):
    """A point at (x, y), each a number or an Interval; options: those of axis.errorbar."""
    look = look_of(look or Look())
    options = {"capsize": 2, "elinewidth": 1.1, "markersize": look.size} | options
    return axis.errorbar(
        value(x),
        value(y),
        yerr=bars(y),
        xerr=bars(x),
        fmt=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if look.filled else "none",
        label=label,
        **options,
    )


def curve(axis, x, ys, look="", label=None, aside=0.0, **options):
    """A line through the estimates `ys` at the numbers `x`, moved by `aside`, with intervals."""
    look = look_of(look or Look(line="-"))
    options = {"linewidth": 1.4} | options
    at = np.asarray(x, dtype=float) + aside
    axis.plot(
        at, [value(y) for y in ys], look.line or "-", color=look.colour, label=label, **options
    )
    for u, y in zip(at, ys):
        mark(axis, u, y, look)


def forest(axis, rows, looks, apart=0.3, at=0.0):
    """Rows of estimates side by side, the first on top, and a thin line at the value `at`.

    rows: {name of the row: {series: Interval, number or None}}; looks: {series: Look}, in the order
    in which the series of a row are drawn from above, `apart` in all. Every mark has its series'
    name as label; `legend` shows each once.
    """
    places = np.linspace(-apart / 2, apart / 2, len(looks)) if len(looks) > 1 else [0.0]
    for y, series in enumerate(rows.values()):
        for place, (name, look) in zip(places, looks.items()):
            if series.get(name) is not None:
                mark(axis, series[name], y + place, look, name)
    if at is not None:
        level(axis, x=at)
    axis.set(yticks=range(len(rows)), yticklabels=list(rows))
    axis.set_ylim(max(len(rows), 1) - 0.5, -0.5)


def groups(axis, columns, looks, apart=0.3):
    """Columns of estimates side by side: {name of the column: {series: Interval or number}}."""
    places = np.linspace(-apart / 2, apart / 2, len(looks)) if len(looks) > 1 else [0.0]
    for x, series in enumerate(columns.values()):
        for place, (name, look) in zip(places, looks.items()):
            if series.get(name) is not None:
                mark(axis, x + place, series[name], look, name)
    axis.set(xticks=range(len(columns)), xticklabels=list(columns), xlim=(-0.6, len(columns) - 0.4))


def level(axis, x=None, y=None, **options):
    """A thin line across the panel, e.g. at no effect."""
    options = {"color": INK, "linewidth": 0.8, "alpha": 0.5} | options
    if x is not None:
        axis.axvline(x, **options)
    if y is not None:
        axis.axhline(y, **options)


def key(axis, looks):
    """Entries of the legend that no mark brings: {label: Look}."""
    for label, look in looks.items():
        look = look_of(look)
        axis.plot(
            [],
            [],
            linestyle=look.line,
            marker=look.marker,
            color=look.colour,
            markerfacecolor=look.colour if look.filled else "none",
            label=label,
        )


def legend(fig, title=None, columns=2, where="upper center", size=9):
    """One legend beside the panels, each label of any panel once; `title` says n."""
    found = {}
    for axis in fig.axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            found.setdefault(label, handle)
    fig.legend(
        found.values(),
        found,
        loc=f"outside {where}",
        ncols=columns,
        fontsize=size,
        title=title,
        title_fontsize=9,
    )


def log_ticks(axis, ticks):
    """A logarithmic horizontal axis with these ticks and no others."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def overlay(axis, image, small=None, threshold=None, title=None):
    """An image, uint8 (C, H, W), and over it a map (h, w) as kdcore.metrics.saliency makes them,
    with the line where it crosses `threshold`. Colour images are darkened where the map is low.
    """
    import torch

    from kdcore.metrics import saliency

    shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    full = None
    if small is not None:
        grown = saliency.upsample(torch.as_tensor(np.asarray(small))[None], image.shape[1:])
        full = saliency.rescale(grown)[0].numpy()
    if full is not None and len(image) == 3:
        shown = np.rint(shown * (0.25 + 0.75 * full[..., None])).astype(np.uint8)
    axis.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="none")
    if full is not None and len(image) == 1:
        axis.imshow(full, cmap="inferno", alpha=0.8 * full, vmin=0, vmax=1)
    if full is not None and threshold is not None and full.min() < threshold < full.max():
        axis.contour(full, [threshold], colors="white", linewidths=1.1)
    if title is not None:
        axis.set_title(title, fontsize=9)
    axis.axis("off")


def told(values, digits=2, unit="") -> str:
    """Numbers for an alternative text: {name: number or Interval} as "a 0.52, b 0.31"; of nested
    names "x: a 0.52, b 0.31; y: a 0.40, b 0.20".
    """
    if any(isinstance(v, dict) for v in values.values()):
        return "; ".join(f"{name}: {told(v, digits, unit)}" for name, v in values.items())
    return ", ".join(f"{name} {value(v):.{digits}f}{unit}" for name, v in values.items())
