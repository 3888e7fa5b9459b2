"""One number under one name: a claim as published, as its chapter's page says it, and in the figure
that it names.

Pages are those of book/chapters that were executed as published; on a machine that has none, or
that trained them anew, there is nothing to compare.
"""

import io
import json
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from kdcore.book import claims

ROOT = claims.FILE.parents[1]
LINES = {line["id"]: line for line in claims.published()["claims"]}
CLAIMS = {claim.id: claim for claim in claims.load() if claim.id in LINES}
SHOWN = [claim for claim in CLAIMS.values() if claim.figure]


@lru_cache
def executed(name: str) -> list[dict]:
    return json.loads((ROOT / "book" / "chapters" / f"{name}.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]


@lru_cache
def records() -> dict:
    return claims.read(ROOT / "book" / "chapters")


def page(name: str) -> list[dict]:
    """The cells of an executed chapter; skips where there is none with the published numbers."""
    record = records().get(name, {})
    if record.get("preset") != "published":
        pytest.skip(f"book/chapters holds no published {name}: run make book first")
    for i, entry in record["claims"].items():
        if i in LINES and entry["estimate"] != LINES[i]["estimate"]:
            pytest.skip(f"{name} was trained anew on this machine: its numbers are its own")
    return executed(name)


def outputs(cells, kind):
    return [
        "".join(o["data"][kind])
        for c in cells
        for o in c.get("outputs", [])
        if kind in o.get("data", {})
    ]


def table_of(cells, figure) -> pd.DataFrame:
    """The numbers of a figure as the page offers them."""
    drawn = [
        c
        for c in cells
        if (c["metadata"].get("mystnb", {}).get("figure", {}).get("name")) == figure
    ]
    (text,) = outputs(drawn, "text/csv")
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def plain(text: str) -> str:
    return " ".join(text.split())  # a line may be broken anywhere, blanks may be unbreakable


def shows(table: pd.DataFrame, claim, line) -> bool:
    """Whether the estimate is written in the table, or stands there as a number with six digits.

    A slope is claimed as its distance from 1, and drawn so or as it is.
    """
    if plain(claims.say(claim, claims.interval(line))) in plain(" ".join(table.to_numpy().ravel())):
        return True
    drawn = pd.to_numeric(table.stack(), errors="coerce").dropna().to_numpy()
    values = line["estimate"] + np.array([0, 1] if claim.unit == "slope" else [0])
    return bool(np.isclose(drawn[:, None], values, rtol=1e-5, atol=0).any())


def test_a_number_is_found_in_a_table_as_text_or_as_a_number():
    claim = next(c for c in CLAIMS.values() if c.unit == "points")
    line = {"estimate": 2.0 / 3, "ci_low": 0.5, "ci_high": 1.0, "n": 5}
    written = pd.DataFrame({"panel": ["mixed\n+0.67 points [+0.50,\N{NO-BREAK SPACE}+1.00]"]})
    assert shows(written, claim, line)
    assert shows(pd.DataFrame({"x": ["0.666667"]}), claim, line)
    assert not shows(pd.DataFrame({"x": ["0.6667"], "note": ["+0.67 points"]}), claim, line)


@pytest.mark.parametrize("claim", SHOWN, ids=[claim.id for claim in SHOWN])
def test_the_figure_that_a_claim_names_shows_its_number(claim):
    table = table_of(page(claim.chapter), claim.figure)
    assert shows(table, claim, LINES[claim.id])


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_the_page_says_a_claim_in_the_words_of_the_published_verdicts(claim):
    """Title, estimate, number of seeds, each control and the verdict, in one row of one table."""
    tables = outputs(page(claim.chapter), "text/markdown")
    rows = [plain(row) for table in tables for row in table.splitlines() if row.startswith("|")]
    (row,) = [row for row in rows if row.startswith(f"| {claim.title} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    said = claims.shown(claim, LINES[claim.id])
    assert cells[1:] == [plain(text) for text in said.values()]
    assert said["verdict"] == LINES[claim.id]["verdict"]


def test_the_page_of_verdicts_says_the_same():
    if not (ROOT / "book" / "chapters" / "verdicts.ipynb").is_file():
        pytest.skip("book/chapters holds no page of verdicts: run make book first")
    text = plain("".join(outputs(executed("verdicts"), "text/markdown")))
    for claim in CLAIMS.values():
        said = claims.shown(claim, LINES[claim.id])
        assert f"**{plain(claim.title)}**: *{said['verdict']}*" in text
        assert plain(said["estimate [95 %]"]) in text
