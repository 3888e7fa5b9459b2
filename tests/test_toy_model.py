"""The interactive toy model: its numbers are those of kdcore, and it works from a file, by
keyboard, in both schemes, on a phone.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kdcore.metrics import eigen, tilt

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "book" / "_assets"
PAGES = sorted(ROOT.glob("_build/html/book/**/*.html"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)
LAM = np.array([4.0, 1.0])  # as in the script


@pytest.fixture
def visit(browser, tmp_path):
    """visit(scheme, width, script) -> (page, faults): a page with one container, nothing else."""
    contexts = []
    body = (
        '<div class="kd-toy" data-start="3 0 20">'
        '<img class="kd-toy-still dark-light" alt="still picture"></div>'
    )

    def opened(scheme="light", width=1280, script=True):
        source = f'<script src="{(ASSETS / "toy_model.js").as_uri()}"></script>' if script else ""
        (tmp_path / "page.html").write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><title>x</title>'
            '<link rel="stylesheet" '
            f'href="{(ASSETS / "book.css").as_uri()}"><style>:root{{color-scheme:light '
            f"dark}}</style>{source}"
            f'<main class="bd-article">{body}</main></html>'
        )
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 844}, offline=True
        )
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on(
            "request", lambda r: faults.append(r.url) if not r.url.startswith("file:") else None
        )
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on(
            "console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None
        )
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_timeout(300)
        return page, faults

    yield opened
    for context in contexts:
        context.close()


def test_numbers_are_those_of_the_closed_forms(visit):
    page, faults = visit()
    cases = [
        (T, t, r) for T in (0.1, 0.7, 2.0, 10.0) for t in (0.1, 1.0, 10.0) for r in (0.0, 0.2, 0.45)
    ]
    for (T, t, r), got in zip(
        cases, page.evaluate("cases => cases.map(c => toyModel(...c))", cases)
    ):
        teacher, student = eigen.gradient_flow(LAM, T), eigen.rounds(LAM, t, T)
        assert got["teacher"] == pytest.approx(teacher, abs=1e-12) and got[
            "student"
        ] == pytest.approx(student, abs=1e-12)
        assert got["oneHot"] == pytest.approx(
            float(eigen.gradient_flow(1.0, eigen.effective_time(4.0, t, T))), abs=1e-9
        )
        (clean, wrong) = tilt.toy_margins(r, *teacher)
        (clean_, wrong_) = tilt.toy_margins(r, *student)
        assert (got["clean"], got["wrong"]) == (
            pytest.approx([clean, clean_]),
            pytest.approx([wrong, wrong_]),
        )
        assert got["slope"] == pytest.approx(float(tilt.toy_slope(r, teacher, student)), rel=1e-9)
        assert got["sign"] == (1 if wrong > 0 else -1)
    assert faults == []


def test_each_slider_is_named_and_moves_numbers_and_pictures_by_keyboard(visit):
    page, faults = visit()
    assert (
        page.locator(".kd-toy-panels svg").count() == 4
        and not page.locator(".kd-toy-still").is_visible()
    )
    for slider in page.get_by_role("slider").all():
        name = slider.evaluate("s => s.labels[0].textContent")
        before = (
            slider.get_attribute("aria-valuetext"),
            page.locator(".kd-toy-panels").inner_html(),
            page.locator("[role=status]").inner_text(),
        )
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        after = (
            slider.get_attribute("aria-valuetext"),
            page.locator(".kd-toy-panels").inner_html(),
            page.locator("[role=status]").inner_text(),
        )
        assert name.strip() and all(b != a for b, a in zip(before, after)), name
    assert page.get_by_role("slider").count() == 3 and faults == []


def test_every_position_can_be_drawn(visit):
    page, faults = visit()
    drawn = page.evaluate("""() => {
        const [T, t, r] = document.querySelectorAll('.kd-toy input'), seen = [];
        for (const a of [-20, 0, 20]) for (const b of [-20, 0, 20]) for (const c of [0, 20, 45]) {
            [T.value, t.value, r.value] = [a, b, c];
            T.dispatchEvent(new Event('input'));
            seen.push(document.querySelector('.kd-toy-panels').innerHTML);
        }
        return seen;
    }""")
    assert (
        len(set(drawn)) == 27
        and not any("NaN" in svg or "Infinity" in svg for svg in drawn)
        and faults == []
    )
    for svg in drawn:  # nothing is drawn outside its panel
        x = [float(v) for v in re.findall(r'c[xy]="([-\d.]+)"', svg)]
        assert 0 <= min(x) and max(x) <= 220


def test_what_is_read_aloud_follows_the_formulas(visit):
    page, _ = visit()
    assert "Slope" in page.locator("[role=status]").inner_text()
    assert "exaggerates" in page.locator("[role=status]").inner_text()  # learnt noise
    page.get_by_role("slider").first.evaluate(
        "s => { s.value = -20; s.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_timeout(300)
    assert "has not learnt" in page.locator("[role=status]").inner_text()
    # learnt noise, T = 0.32, but a student that has hardly begun
    for slider, value in zip(page.get_by_role("slider").all(), (-10, -20, 20)):
        slider.evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", value)
    page.wait_for_timeout(300)
    assert page.evaluate("toyModel(10 ** -0.5, 0.1, 0.2)")["sign"] == 1
    assert (
        "Slope 0.47" in page.locator("[role=status]").inner_text()
        and "less confident of both kinds and does not"
        in page.locator("[role=status]").inner_text()
    )
    page.get_by_role("slider").last.evaluate(
        "s => { s.value = 0; s.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_timeout(300)
    assert (
        "no slope" in page.locator("[role=status]").inner_text()
        and "slope –" in page.locator(".kd-toy-panels").inner_text()
    )


def test_below_slope_one_both_kinds_are_less_confident_and_the_shared_direction_is_unfinished(
    visit,
):
    page, _ = visit()
    cases = [
        (10 ** (i / 20), 10 ** (j / 20), r / 100)
        for i in range(-20, 21, 2)
        for j in range(-20, 21, 2)
        for r in range(5, 50, 10)
    ]
    found = [
        m
        for m in page.evaluate("cases => cases.map(c => toyModel(...c))", cases)
        if m["sign"] > 0 and m["slope"] < 0.995
    ]
    assert found, "the sliders reach it"
    for m in found:
        assert (
            m["clean"][1] < m["clean"][0]
            and m["wrong"][1] < m["wrong"][0]
            and m["student"][0] < 0.95 * m["teacher"][0]
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit, scheme):
    page, faults = visit(scheme, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    size = page.locator(".kd-toy-panels svg text").first.evaluate(
        "t => t.getBoundingClientRect().height"
    )
    assert size > 9, "labels stay legible"
    ink = page.locator(".kd-toy-panels svg text").first.evaluate("t => getComputedStyle(t).fill")
    assert ink == ("rgb(0, 0, 0)" if scheme == "light" else "rgb(255, 255, 255)") and faults == []


def test_print_and_pages_without_scripts_show_the_still(visit):
    page, _ = visit(script=False)
    assert page.locator(".kd-toy-still").is_visible()
    page, _ = visit()
    page.emulate_media(media="print")
    assert (
        page.locator(".kd-toy-still").is_visible() and not page.locator(".kd-toy-live").is_visible()
    )


@pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first")
def test_the_script_is_loaded_where_its_container_is_and_nowhere_else():
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert all(("_static/toy_model.js" in text) == ('class="kd-toy"' in text) for text in texts)
