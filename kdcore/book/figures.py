"""The book's look: one palette, figures that follow the reader's light or dark scheme, sliders that
need no kernel.

A figure is drawn once by matplotlib. `show` turns it into one SVG whose ink is a CSS variable, so
the same file is legible on white and on black; the text alternative is written once and travels
inside the file.
"""

import base64
import html
import io
from dataclasses import dataclass, field

import ipywidgets as widgets
import matplotlib
import pandas as pd
from matplotlib import pyplot as plt

from kdcore.book import chapter, figure_data

# Ink is drawn in a colour nobody would choose and becomes a variable in the SVG. 3:1 contrast
# against both page colours holds for ink and for every named colour; tests/test_figures.py measures
# it, also as seen with colour-blindness.
INK = "#010203"
INK_LIGHT, INK_DARK = "#1f2328", "#e6e9ef"
COLOUR = {
    "weak teacher": "#1B6CA8",
    "strong teacher": "#E8591C",
    "mixed teachers": "#6E6E6E",
    "weak view": "#0FA294",
    "strong view": "#C75CF0",
    "one-hot": INK,
}


def style():
    """Set matplotlib's defaults for a figure of the book; call once, before drawing. Sizes in
    inches and points.
    """
    matplotlib.rcParams.update(matplotlib.rcParamsDefault)
    matplotlib.rcParams.update(
        {
            "figure.figsize": (5.4, 3.4),  # stays readable when a phone shrinks it to 350 pixels
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
            "mathtext.fontset": "dejavusans",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.alpha": 0.15,
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 6,
            "axes.prop_cycle": matplotlib.cycler(color=[c for c in COLOUR.values() if c != INK]),
            # text stays text: searchable, small, and coloured by the variable
            "svg.fonttype": "none",
            "svg.hashsalt": "kdcore",  # the same figure is the same bytes
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            **{
                name: INK
                for name in (
                    "text.color",
                    "axes.labelcolor",
                    "axes.edgecolor",
                    "axes.titlecolor",
                    "xtick.color",
                    "ytick.color",
                    "grid.color",
                    "hatch.color",
                    "boxplot.flierprops.color",
                    "boxplot.whiskerprops.color",
                    "boxplot.capprops.color",
                    "boxplot.boxprops.color",
                )
            },
        }
    )


def literal(text: str) -> str:
    """A text in which matplotlib takes no $ for the beginning of mathematics: what is not written
    here, such as the name of a class.
    """
    return text.replace("$", r"\$")


@dataclass(frozen=True)
class Picture:
    """A finished figure: `svg` is the file's text, `alt` what it shows in one or two sentences,
    `data` its numbers (kdcore.book.figure_data).
    """

    svg: str
    alt: str
    data: pd.DataFrame = field(default_factory=figure_data.empty, compare=False)

    def _repr_mimebundle_(self, include=None, exclude=None):
        table = figure_data.csv(self.data)
        return {"image/svg+xml": self.svg, "text/plain": self.alt} | (
            {"text/csv": table} if table else {}
        )


def show(fig, alt: str) -> Picture:
    """Close `fig` and return it as one SVG that follows light and dark. `alt` says what the figure
    shows, for readers who do not see it.

    What is drawn goes along as a table (kdcore.book.figure_data), a notebook output of its own that
    the page offers as a download. Axes that are switched off (images, attention maps over them) are
    illustrations and are not in the table; above 400 kB there is none. Numbers in `alt` become
    those of prose (kdcore.book.chapter.tidy).
    """
    if not alt.strip():
        raise ValueError("alt is empty: say in a sentence or two what the figure shows")
    alt = chapter.tidy(alt)
    file = io.StringIO()
    fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    data = figure_data.table(fig, INK)
    plt.close(fig)
    svg = file.getvalue()
    head = (
        f'<title id="alt">{html.escape(alt)}</title>'
        f"<style>:root{{--ink:{INK_LIGHT}}}@media(prefers-color-scheme:dark){{:root{{--ink:{INK_DARK}}}}}</style>"
    )
    start = svg.index("<svg")
    end = svg.index(">", start)
    tag = svg[start:end] + ' role="img" aria-labelledby="alt">'
    return Picture(tag + head + svg[end + 1 :].replace(INK, "var(--ink)"), alt, data)


class Frames(widgets.VBox):
    """A slider over figures drawn beforehand; the browser swaps them, so it works in a static page
    and under a kernel.

    `pictures[i]` (from `show`) is what the reader sees at `values[i]`; `description` names the
    slider, in Unicode (τ, α). Where no widget can run (print, GitHub), the first picture stands in.
    The table has the frames' tables one below the other, with a first column for the slider's
    value.
    """

    def __init__(self, pictures: list[Picture], values: list, description: str):
        pictures, values = list(pictures), list(values)
        if not pictures or len(pictures) != len(values):
            raise ValueError(
                f"Frames got {len(pictures)} pictures and {len(values)} values: give one value "
                "for each picture, at least one"
            )
        names = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        slider = widgets.SelectionSlider(
            options=[(name, i) for i, name in enumerate(names)],
            description=description,
            style={"description_width": "initial"},
            layout={"width": "auto", "max_width": "34em"},
        )
        stack = widgets.Stack(
            [widgets.HTML(_img(picture)) for picture in pictures], selected_index=0
        )
        super().__init__([slider, stack])
        self._link = widgets.jslink((slider, "index"), (stack, "selected_index"))
        tables = [
            picture.data.assign(**{description: name}) for name, picture in zip(names, pictures)
        ]
        self._still = Picture(
            pictures[0].svg, pictures[0].alt, pd.concat(tables)[[description, *figure_data.COLUMNS]]
        )

    def _repr_mimebundle_(self, **kwargs):
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **self._still._repr_mimebundle_()}


def _img(picture: Picture) -> str:
    # An <img>, not inline SVG: ids of frames cannot clash, and the colour scheme is that of the
    # page around it.
    data = base64.b64encode(picture.svg.encode()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img class="dark-light" alt="{html.escape(picture.alt)}" src="{source}">'
