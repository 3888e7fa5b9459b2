"""Tables of a chapter: what its plan measured, lines as Markdown, many numbers of prose at once."""

import pandas as pd

from kdcore import results
from kdcore.book import chapter
from kdcore.stats import Correlation, Interval


class Page:
    """Collects rows as kdcore.results.collect does, and keeps them all: what a page rests on."""

    def __init__(self):
        self.collected = []

    def collect(self, measurement, plan, labels=(), **arguments) -> pd.DataFrame:
        """One row for each line (label, ..., spec) of the plan: its labels in the columns `labels`,
        then what was measured. Without labels the plan is a list of specs.
        """
        plan, labels = list(plan), list(labels)
        specs = [line[-1] for line in plan] if labels else plan
        rows = results.collect(measurement, specs, **arguments)
        self.collected.append(rows)
        named = pd.DataFrame([line[:-1] for line in plan] if labels else [], columns=labels)
        return pd.concat([named, rows], axis=1) if labels else rows

    @property
    def rows(self) -> pd.DataFrame:
        """Everything collected, one table below the other, for claims.record and provenance."""
        return pd.concat(self.collected)


def said(cell, digits=2, unit="") -> str:
    """A cell: an Interval or Correlation as in prose, None as a dash, anything else as it is."""
    if cell is None:
        return "–"
    return chapter.say(cell, digits, unit) if isinstance(cell, (Interval, Correlation)) else cell


def show(lines, note="", digits=2, unit="", **options):
    """Lines, dicts of cells or a DataFrame, as a Markdown table below a note on unit and n.

    Intervals are written with these digits and this unit. Options: those of DataFrame.to_markdown;
    numbers without a `floatfmt` are shown as they are.
    """
    from IPython.display import Markdown

    frame = lines if isinstance(lines, pd.DataFrame) else pd.DataFrame(list(lines))
    frame = frame.map(lambda cell: said(cell, digits, unit))
    options = {"index": False} | options
    if "floatfmt" not in options:
        options |= {"disable_numparse": True}
    return Markdown(f"{note}\n\n" * bool(note) + chapter.markdown(frame, **options))


def together(*parts):
    """Tables of `show` and sentences, one below the other, as one output of a cell."""
    from IPython.display import Markdown

    return Markdown("\n\n".join(part if isinstance(part, str) else part.data for part in parts))


def glue(prefix, values, digits=2, unit=" points"):
    """Numbers for the prose, {name: value}, as <prefix>_<name>: an Interval as chapter.say writes
    it, anything else as it is.
    """
    for name, found in values.items():
        if isinstance(found, (Interval, Correlation)):
            found = chapter.say(found, digits, unit)
        chapter.glue(f"{prefix}_{name}", found)
