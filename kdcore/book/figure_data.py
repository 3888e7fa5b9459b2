"""The numbers of a figure as a table, read back from what matplotlib has drawn, so that a reader
can have them without the code.

One row is one mark: a point, a bar, a segment, an edge of a band at one x, a cell. Columns that no
mark fills are left out.
"""

import re

import numpy as np
import pandas as pd
from matplotlib import collections as mc
from matplotlib import container, image, lines, patches, ticker
from matplotlib.category import StrCategoryFormatter
from matplotlib.colors import same_color, to_hex
from matplotlib.text import Annotation

COLUMNS = [
    "panel",
    "x axis",
    "y axis",
    "series",
    "mark",
    "x",
    "x low",
    "x high",
    "y",
    "y low",
    "y high",
    "value",
    "note",
]
NUMBER = r"[+-]?[\d.]+(e[+-]?\d+)?"  # as `_cell` writes it
LIMIT = (
    400_000  # bytes of one figure's table; what needs more is a picture rather than a measurement
)


def table(fig, ink: str) -> pd.DataFrame:
    """What a drawn figure shows: a table of texts with the columns `COLUMNS`, numbers with six
    significant digits, "" where there is none.

    `panel` is the title of the axes, else their number. `series` is the label of the mark, else
    what the legend says of its colour and, for entries drawn in `ink`, of its shape. `x low` to `y
    high` are error bars, bands and segments, `value` is what a colour scale codes, `note` an
    annotation at that point. Where the ticks of an axis say something else than their position, x
    or y is the word of the nearest tick. Axes that are switched off (an image, a map over it),
    images in RGB, contours and colour bars are illustrations and give no rows.
    """
    legend = _legend(fig)
    axes = [axis for axis in fig.axes if axis.axison and axis.get_label() != "<colorbar>"]
    rows = []
    for number, axis in enumerate(axes, 1):
        panel = axis.get_title() or (str(number) if len(axes) > 1 else "")
        head = {"panel": panel, "x axis": _label(fig, axis, "x"), "y axis": _label(fig, axis, "y")}
        words = {which: _words(getattr(axis, f"{which}axis")) for which in "xy"}
        notes = {text.xy: text.get_text() for text in axis.texts if isinstance(text, Annotation)}
        marks = [
            (label if label and not label.startswith("_") else _series(look, legend, ink), mark)
            for label, look, mark in _marks(axis)
        ]
        # a point on a named line belongs to it
        named = {(mark.get("x"), mark.get("y")): series for series, mark in marks if series}
        for series, mark in marks:
            series = series or named.get((mark.get("x"), mark.get("y")), "")
            row = head | {"series": series, "note": notes.get((mark.get("x"), mark.get("y")), "")}
            rows.append(row | {key: _cell(value) for key, value in _worded(mark, words).items()})
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object).fillna("")


def empty() -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame(columns=COLUMNS)


def csv(frame: pd.DataFrame) -> str:
    """The table as CSV text without empty columns; "" where it has no row or the text exceeds
    `LIMIT` bytes.

    An axis label that all rows share goes into the head: x becomes "x: time (s)". A text that a
    spreadsheet would take for a formula gets an apostrophe in front.
    """
    for which in "xy":
        labels = frame[f"{which} axis"].unique()
        if len(labels) == 1 and labels[0]:
            frame = frame.drop(columns=f"{which} axis").rename(
                columns={which: f"{which}: {labels[0]}"}
            )
    frame = frame.map(_harmless).rename(columns=_harmless)
    text = (
        frame.replace("", np.nan).dropna(axis=1, how="all").to_csv(index=False, lineterminator="\n")
    )
    return text if len(frame) and len(text.encode()) <= LIMIT else ""


def _cell(value):
    # -0 + 0 is 0
    return (
        value
        if isinstance(value, str)
        else ""
        if np.ma.is_masked(value) or not np.isfinite(value)
        else f"{value + 0.0:.6g}"
    )


def _harmless(cell):
    cell = cell.replace(r"\$", "$")  # kdcore.book.figures.literal
    return "'" + cell if re.match(r"[=+@\t\r-]", cell) and not re.fullmatch(NUMBER, cell) else cell


# ------------------------------------------------------------------------------------ what is drawn


def _marks(axis):
    """(label, look, {column: number}) of each mark on one axes; a look is (colour, shape of the
    marker, filled).
    """
    in_container = set()
    for group in axis.containers:
        if isinstance(group, container.ErrorbarContainer) and group.lines[0] is not None:
            in_container |= {id(child) for child in group.get_children()}
            yield from _error_bars(group)
        elif isinstance(group, container.BarContainer):
            in_container |= set(map(id, group.patches))
            yield from _bars(group)
    for artist in [*axis.lines, *axis.patches, *axis.collections, *axis.images]:
        if id(artist) in in_container or not artist.get_visible():
            continue
        read = next((read for kind, read in READERS if isinstance(artist, kind)), None)
        if read:
            for look, mark in read(artist, axis):
                yield artist.get_label(), look, mark


def _error_bars(group):
    line, _, bars = group.lines
    bars = iter(bars)  # those of x come first
    spans = {
        which: [s[:, k] for s in next(bars).get_segments()]
        for k, (which, has) in enumerate((("x", group.has_xerr), ("y", group.has_yerr)))
        if has
    }
    for i, (x, y) in enumerate(zip(*line.get_data(orig=False))):
        ends = {
            f"{which} {end}": value
            for which, each in spans.items()
            for end, value in zip(("low", "high"), each[i])
        }
        yield group.get_label(), _look(line), {"mark": "point", "x": x, "y": y} | ends


def _bars(group):
    across, along = ("x", "y") if group.orientation == "vertical" else ("y", "x")
    for bar in group.patches:
        box = bar.get_bbox()
        middle = {"x": (box.x0 + box.x1) / 2, "y": (box.y0 + box.y1) / 2}[across]
        start, end = (box.y0, box.y1) if along == "y" else (box.x0, box.x1)
        stacked = {f"{along} low": start} if start else {}
        yield (
            group.get_label(),
            (to_hex(bar.get_facecolor()), "", True),
            {"mark": "bar", across: middle, along: end} | stacked,
        )


def _line(line, axis):
    if isinstance(line, lines.AxLine):
        return  # a guide without ends
    in_x, in_y = line.get_transform().contains_branch_seperately(axis.transData)
    x, y = line.get_data(orig=False)
    kind = "point" if line.get_linestyle() == "None" else "line"
    if in_x and in_y:
        yield from ((_look(line), {"mark": kind, "x": a, "y": b}) for a, b in zip(x, y))
    elif in_x or in_y:  # axvline, axhline: from one end of the panel to the other
        yield _look(line), {"mark": kind, "x": x[0]} if in_x else {"mark": kind, "y": y[0]}


def _segments(drawn, axis):
    if not all(drawn.get_transform().contains_branch_seperately(axis.transData)):
        return
    for segment in drawn.get_segments():
        mark = {"mark": "segment"}
        for which, ends in zip("xy", segment.T):
            mark |= (
                {which: ends[0]}
                if np.ptp(ends) == 0
                else {f"{which} low": ends.min(), f"{which} high": ends.max()}
            )
        yield (to_hex(drawn.get_colors()[0]), "", True), mark


def _scatter(drawn, axis):
    faces = drawn.get_facecolors()
    colours = faces if len(faces) else drawn.get_edgecolors()
    values = drawn.get_array()
    for i, (x, y) in enumerate(drawn.get_offsets()):
        value = {} if values is None else {"value": values[i]}
        yield (
            (to_hex(colours[i % len(colours)]), "o", bool(len(faces))),
            {"mark": "point", "x": x, "y": y} | value,
        )


def _polygons(drawn, axis):
    if drawn.get_array() is not None:  # hexbin
        for (x, y), value in zip(drawn.get_offsets(), drawn.get_array()):
            yield (None, "", True), {"mark": "cell", "x": x, "y": y, "value": value}
        return
    for path in drawn.get_paths():  # fill_between: each x has a lower and an upper corner
        corners = (
            pd.DataFrame(path.vertices, columns=["x", "y"]).groupby("x")["y"].agg(["min", "max"])
        )
        for x, (low, high) in zip(corners.index, corners.to_numpy()):
            yield (
                (to_hex(drawn.get_facecolors()[0]), "", True),
                {"mark": "band", "x": x, "y low": low, "y high": high},
            )


def _stairs(patch, axis):
    values, edges, _ = patch.get_data()
    colour = patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor()
    for low, high, value in zip(edges, edges[1:], values):
        yield (to_hex(colour), "", True), {"mark": "step", "x low": low, "x high": high, "y": value}


def _mesh(drawn, axis):
    corners = drawn.get_coordinates()
    middle = (corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]) / 4
    yield from _cells(middle[..., 0], middle[..., 1], drawn.get_array().reshape(middle.shape[:2]))


def _image(drawn, axis):
    values = drawn.get_array()
    if values.ndim != 2:
        return
    left, right, bottom, top = drawn.get_extent()
    first, last = (bottom, top) if drawn.origin == "lower" else (top, bottom)
    x, y = (
        a + (np.arange(n) + 0.5) * (b - a) / n
        for a, b, n in ((left, right, values.shape[1]), (first, last, values.shape[0]))
    )
    yield from _cells(*np.meshgrid(x, y), values)


def _cells(x, y, values):
    for a, b, value in zip(x.ravel(), y.ravel(), values.ravel()):
        if not np.ma.is_masked(value) and np.isfinite(value):
            yield (None, "", True), {"mark": "cell", "x": a, "y": b, "value": value}


READERS = [
    (lines.Line2D, _line),
    (patches.StepPatch, _stairs),
    (mc.LineCollection, _segments),
    (mc.PathCollection, _scatter),
    (mc.PolyCollection, _polygons),
    (mc.QuadMesh, _mesh),
    (image.AxesImage, _image),
]


# -------------------------------------------------------------------------------- what it is called


def _look(line):
    """(colour, shape, filled) of a Line2D, also of one that stands in a legend."""
    shape = line.get_marker()
    return (
        to_hex(line.get_color()),
        "" if shape in ("None", None, " ") else shape,
        str(line.get_markerfacecolor()) != "none",
    )


def _legend(fig):
    """[(label, look)] of all entries of all legends; those that are neither lines nor patches say
    nothing about marks.
    """
    found = []
    for legend in [*fig.legends, *filter(None, (axis.get_legend() for axis in fig.axes))]:
        for text, handle in zip(legend.get_texts(), legend.legend_handles):
            if isinstance(handle, lines.Line2D):
                found.append((text.get_text(), _look(handle)))
            elif isinstance(handle, patches.Patch):
                found.append((text.get_text(), (to_hex(handle.get_facecolor()), "", True)))
    return found


def _series(look, legend, ink):
    """The entry of the same colour (of several, the one of the same shape), then the entry that
    explains the shape in ink.
    """
    colour, shape, filled = look
    alike = [
        (label, rest)
        for label, (c, *rest) in legend
        if colour and same_color(c, colour) and not same_color(c, ink)
    ]
    if len(alike) > 1:
        alike = [(label, rest) for label, rest in alike if rest == [shape, filled]]
    shapes = [label for label, (c, s, _) in legend if same_color(c, ink) and shape and s == shape]
    return ", ".join(dict.fromkeys([label for label, _ in alike][:1] + shapes[:1]))


def _label(fig, axis, which):
    """The axis label; inner panels of a shared axis have that of the outer one."""
    shared = getattr(axis, f"get_shared_{which}_axes")()
    own = [a for a in fig.axes if a is axis] + [a for a in fig.axes if shared.joined(a, axis)]
    return next(
        filter(None, (getattr(a, f"get_{which}label")() for a in own)),
        getattr(fig, f"get_sup{which}label")(),
    )


def _words(axis):
    """[(position, word)] of the ticks of an axis that says something else there than the position,
    else [].
    """
    if not isinstance(
        axis.get_major_formatter(),
        (ticker.FixedFormatter, ticker.FuncFormatter, StrCategoryFormatter),
    ):
        return []
    texts = [" ".join(tick.get_text().split()) for tick in axis.get_majorticklabels()]
    found = [(place, text) for place, text in zip(axis.get_majorticklocs(), texts) if text]
    return [] if all(_says(text, place) for place, text in found) else found


def _says(text, place):
    try:
        return np.isclose(float(text.replace("−", "-")), place, rtol=0.01)
    except ValueError:
        return False


def _worded(mark, words):
    """`mark` with the word of the nearest tick in place of a position that only sets series side by
    side.
    """
    mark = dict(mark)
    for which, ticks in words.items():
        places = [
            mark.pop(key)
            for key in (which, f"{which} low", f"{which} high")
            if ticks and key in mark
        ]
        if places:
            middle = places[0] if len(places) != 2 else sum(places) / 2
            mark[which] = min(ticks, key=lambda tick: abs(tick[0] - middle))[1]
    return mark
