"""What prose pages show of verdicts.json: the strip of all claims, cards, intervals in cells."""

import json
import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from kdcore.book import claims

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html" / "book"
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import kd_verdicts  # noqa: E402

LINES = json.loads(claims.PUBLISHED.read_text())["claims"]
built = pytest.mark.skipif(not (HTML / "intro.html").is_file(), reason="run make book first")


def line(estimate, low, high, direction=1, **controls):
    controls = {what: {"estimate": value} for what, value in controls.items()}
    numbers = {"estimate": estimate, "ci_low": low, "ci_high": high, "controls": controls}
    kind = {"direction": direction, "margin": 0.5, "exact": False, "demonstration": False}
    return numbers | kind


def test_an_interval_is_drawn_in_margins_with_the_claimed_side_on_the_right():
    svg = kd_verdicts.drawn(line(-1.0, -1.5, -0.5, direction=-1, calm=0.25))
    bar = re.search(r'kd-bar" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert [float(v) for v in bar.groups()] == [60 + 14 * 1, 60 + 14 * 3]
    assert 'cx="88.0"' in svg  # two margins to the right
    assert 'kd-control" x1="53.0"' in svg  # half a margin to the left
    assert "estimate 2.0 margins, weakest control -0.5" in svg


def test_what_is_beyond_the_axis_is_drawn_at_its_end():
    assert 'cx="116.0"' in kd_verdicts.drawn(line(9.0, 8.0, 10.0))
    assert kd_verdicts.drawn(line(9.0, 8.0, 10.0) | {"exact": True}) == ""


def test_every_word_has_a_mark_of_its_own():
    assert set(kd_verdicts.MARKS) == {*claims.WORDS, "demonstration"}
    assert len(set(kd_verdicts.MARKS.values())) == len(kd_verdicts.MARKS)


@built
def test_the_strip_has_every_claim_once_and_leads_to_its_entry():
    soup = BeautifulSoup((HTML / "intro.html").read_text(encoding="utf-8"), "html.parser")
    marks = soup.select(".kd-strip-marks a")
    assert sorted(m["href"].partition("#")[2] for m in marks) == sorted(
        kd_verdicts.anchor(x["id"]) for x in LINES
    )
    page = (HTML / "chapters" / "verdicts.html").read_text(encoding="utf-8")
    ids = {node["id"] for node in BeautifulSoup(page, "html.parser").find_all(id=True)}
    assert {m["href"].partition("#")[2] for m in marks} <= ids
    words = {kd_verdicts.anchor(x["id"]): x["verdict"] for x in LINES}
    for mark in marks:
        assert mark["aria-label"].endswith(": " + words[mark["href"].partition("#")[2]])


@built
def test_a_card_has_question_answer_number_picture_and_reading_time():
    soup = BeautifulSoup((HTML / "intro.html").read_text(encoding="utf-8"), "html.parser")
    cards = soup.select(".kd-card")
    assert len(cards) == 7
    for card in cards:
        assert card.select_one("strong a")["href"].startswith("chapters/")
        assert card.select_one(".finding")
        assert card.select_one("img")["alt"].strip()
        number = card.select_one(".kd-card-number")
        assert re.search(
            r"\[.+\]; after the control \(.+\) .+ · \d+ min$", number.get_text().strip()
        )
        claim = number.a["href"].partition("#claim-")[2]
        again = [x for x in LINES if x["garments"] == claim]
        assert number.get_text().count("; on photographs: ") == len(again)
        assert all(f"on photographs: {x['verdict']}, " in number.get_text() for x in again)


# --------------------------------------------------------------------------- around a page's text


@pytest.fixture
def kd_page():
    import kd_page

    kd_page.as_mathml.macros = {"KL": r"\operatorname{KL}"}
    return kd_page


def test_a_formula_is_there_without_scripts(kd_page):
    page = r'<span class="math notranslate nohighlight">\(\KL(p\,\|\,q) &lt; \tau^2\)</span>'
    shown = kd_page.MATH.sub(kd_page.as_mathml, page)
    assert shown.startswith(page + "<noscript><math")
    math = BeautifulSoup(shown, "html.parser").find("math")
    assert math["display"] == "inline"
    assert math.get_text().replace(" ", "") == "KL(p‖q)<τ2"


def test_what_cannot_be_converted_stays_as_it_is_written(kd_page):
    page = r'<div class="math">\[x^\]</div>'
    assert "<noscript><code>x^</code></noscript>" in kd_page.MATH.sub(kd_page.as_mathml, page)


@built
def test_every_page_of_the_book_describes_itself_and_every_chapter_says_how_to_run_it():
    for path in HTML.rglob("*.html"):
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        assert soup.select_one('meta[name="description"]')["content"].strip(), path.name
        if path.parent.name == "chapters":
            line = soup.select_one(".kd-run")
            assert f"make chapter NAME={path.stem}" in line.get_text()
            assert (path.parent / line.a["href"]).resolve().is_file()
