"""Live models, pictures that a reader moves: what those of live_ruler, live_judge, live_tilt and
live_stop share, of which each has a function that returns one for the end of a cell.

A model is one container of HTML: controls, the first frame as inline SVG or as a table, a sentence,
and its numbers as JSON. All of it is written here, so that it can be read without scripts; a script
of book/_assets, named by the container and loaded by book/_ext/kd_book.py, shows the controls and
moves what is drawn. tests/test_live.py compares what the scripts compute with kdcore.
"""

import html
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kdcore.book import figure_data
from kdcore.book.svg import tag


@dataclass(frozen=True)
class Live:
    """A finished model: its HTML, what it shows first in a sentence, and its numbers as a table."""

    html: str
    alt: str
    data: pd.DataFrame

    def _repr_mimebundle_(self, include=None, exclude=None):
        table = figure_data.csv(self.data)
        bundle = {"text/html": self.html, "text/plain": self.alt}
        return bundle | ({"text/csv": table} if table else {})


def slider(label: str, name: str, low, high, value, step=1) -> str:
    """A control that the script asks for by `name`; what it says beside it is the script's."""
    field = f'<input type="range" name="{name}" min="{low}" max="{high}" step="{step}" '
    field += f'value="{value}">'
    shown = tag("span", aria_hidden="true", class_="kd-live-shown")
    return tag("label", tag("span", html.escape(label)), field, shown, class_="kd-live-row")


def choice(label: str, name: str, options: dict[str, str]) -> str:
    """Radio buttons, {value: text}; the first is chosen."""
    buttons = (
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" * (i == 0)}> '
        f"{html.escape(text)}</label>"
        for i, (value, text) in enumerate(options.items())
    )
    return tag("fieldset", tag("legend", html.escape(label)), *buttons, class_="kd-live-choice")


def reset(label: str) -> str:
    """A button that puts all controls back where they were."""
    return tag("button", html.escape(label), type="reset")


def tick(label: str, name: str) -> str:
    """A box that is ticked."""
    return tag("label", f'<input type="checkbox" name="{name}" checked> {html.escape(label)}')


def container(model: str, controls: list[str], frame: str, words: str, data: dict, *scripts) -> str:
    """The HTML of a model. `frame`: its first picture; `words`: what it says first, read aloud when
    it changes; `data`: what the script is given; scripts: those that it needs beside its own.
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text = text.replace("</", "<\\/")
    names = " ".join([*scripts, "live.js", f"live_{model}.js"])
    return tag(
        "div",
        tag("form", *controls, class_="kd-live-controls", hidden=True),
        tag(
            "div",
            frame,
            tag("p", html.escape(words), class_="kd-live-words", role="status"),
            class_="kd-live-frame",
        ),
        f'<script type="application/json">{text}</script>',
        class_="kd-live",
        data_model=model,
        data_scripts=names,
    )


def rounded(values, digits=2) -> list:
    """Numbers as a script is given them."""
    return np.round(np.asarray(values, dtype=float), digits).tolist()


def as_text(rows: pd.DataFrame, columns=figure_data.COLUMNS) -> pd.DataFrame:
    """A model's table: these columns, six digits that count, "" where nothing is known."""
    table = rows.reindex(columns=columns, fill_value="")
    return table.map(lambda value: value if isinstance(value, str) else f"{value:.6g}")
