"""The live models: their scripts compute what kdcore computes, and they work from a file, by
keyboard, in both schemes, on a phone, and as a still without scripts.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdcore import stats
from kdcore.book import chapter, claims, live, live_judge, live_ruler, live_stop, live_tilt, svg
from kdcore.book.contrasts import fidelity, gains
from kdcore.measure import confidence
from kdcore.metrics import eigen

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "book" / "_assets"
PAGES = sorted(ROOT.glob("_build/html/book/**/*.html"))
NUMBER = re.compile(r"-?\d+\.?\d*")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@pytest.fixture
def visit(browser, tmp_path):
    """visit(model, scheme, width, script) -> (page, faults): a page with one model."""
    contexts = []

    def opened(model, scheme="light", width=1280, script=True):
        names = re.search(r'data-scripts="([^"]+)"', model.html)[1].split()
        files = (f'<script src="{(ASSETS / name).as_uri()}"></script>' for name in names)
        (tmp_path / "page.html").write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><title>x</title><link rel="stylesheet" '
            f'href="{(ASSETS / "book.css").as_uri()}"><style>:root{{color-scheme:light '
            f"dark}}</style>{''.join(files)}"
            f'<main class="bd-article">{model.html}</main></html>'
        )
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 844},
            offline=True,
            java_script_enabled=script,
            reduced_motion="reduce",
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


def students(seeds=5):
    """Eight trials of each seed with random accuracies and agreements."""
    chance = np.random.default_rng(0)
    rows = [
        {"seed": seed, "teachers": pair, "view": view, "accuracy": 0.8 + chance.normal() / 100}
        | {f"agreement {where}": chance.uniform(0.7, 0.99) for where in ("own", "clean")}
        for seed in range(seeds)
        for pair, view in fidelity.TRIALS
    ]
    return pd.DataFrame(rows)


RULERS = {"their own view": "agreement own", "clean test images": "agreement clean"}

PUBLISHED = claims.published()["claims"]
SEEDS = json.loads(claims.SEEDS.read_text())


def ruler():
    return live_ruler.changing(students(), RULERS)


def judge():
    return live_judge.judging(PUBLISHED, SEEDS)


MODELS = {"ruler": ruler, "judge": judge, "tilt": live_tilt.choosing, "stop": live_stop.stopping}


def places(page, selector):
    """Where marks stand, in units of the picture."""
    return page.locator(selector).evaluate_all(
        "marks => marks.map(m => new DOMMatrix(getComputedStyle(m).transform)).map(m => [m.e, m.f])"
    )


def given(model):
    """What the script of a model is given."""
    return json.loads(re.search(r'application/json">(.*?)</script>', model.html, re.S)[1])


# --- all of them ---


@needs_chromium
@pytest.mark.parametrize("name", MODELS)
def test_each_control_is_named_and_moves_picture_and_words_by_keyboard(visit, name):
    page, faults = visit(MODELS[name]())
    for kind in ("slider", "radio", "checkbox"):
        for control in page.get_by_role(kind).all():
            seen = page.locator(".kd-live").inner_html()
            control.focus()
            at_end = control.evaluate("c => c.max !== '' && c.value === c.max")
            page.keyboard.press(
                "Space" if kind == "checkbox" else "ArrowLeft" if at_end else "ArrowRight"
            )
            page.wait_for_timeout(300)
            assert control.evaluate("c => c.labels[0].textContent.trim().length > 2")
            assert kind != "slider" or control.get_attribute("aria-valuetext")
            assert page.locator(".kd-live").inner_html() != seen
    assert page.get_by_role("slider").count() and faults == []


@needs_chromium
@pytest.mark.parametrize("name", MODELS)
def test_the_first_frame_is_what_the_script_draws(visit, name):
    """A script that starts does not change the picture and the words that Python wrote."""
    model = MODELS[name]()
    page, _ = visit(model, script=False)
    assert page.locator(".kd-live-frame").is_visible()
    assert not page.locator(".kd-live-controls").is_visible()
    still = page.locator(".kd-live-frame").inner_html()
    page, faults = visit(model)
    drawn = page.locator(".kd-live-frame").inner_html()
    ours, theirs = ([float(v) for v in NUMBER.findall(html)] for html in (still, drawn))
    assert theirs == pytest.approx(ours, abs=0.11) and len(ours) > 50 and faults == []
    ours, theirs = (re.sub(rf"{NUMBER.pattern}|[\s;]", "", html) for html in (still, drawn))
    assert theirs == ours


@needs_chromium
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit, name, scheme):
    page, faults = visit(MODELS[name](), scheme, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and faults == []
    sizes = page.locator(".kd-live svg text").evaluate_all(
        """texts => texts.map(t => parseFloat(getComputedStyle(t).fontSize)
            * t.ownerSVGElement.getScreenCTM().a)"""
    )
    assert min(sizes, default=12) >= 12
    inks = page.locator(".kd-live svg text").evaluate_all(
        "texts => texts.map(t => getComputedStyle(t).fill)"
    )
    assert set(inks) <= {"rgb(0, 0, 0)" if scheme == "light" else "rgb(255, 255, 255)"}


@needs_chromium
def test_print_shows_no_controls(visit):
    page, _ = visit(ruler())
    page.emulate_media(media="print")
    assert not page.locator(".kd-live-controls").is_visible()
    assert page.locator(".kd-live svg").is_visible()


def test_a_model_brings_its_numbers_as_a_table():
    bundle = ruler()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", "text/csv"}
    assert {"mark", "x", "y"} <= {
        name.split(":")[0] for name in bundle["text/csv"].split("\n")[0].split(",")
    }


def test_what_a_script_is_given_cannot_end_its_element():
    html = live.container("x", [], "", "a < b", {"title": "</script>"})
    assert html.count("</script>") == 1 and "a &lt; b" in html


@pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first")
def test_scripts_are_loaded_where_a_container_names_them_and_nowhere_else():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(" ".join(re.findall(r'data-scripts="([^"]+)"', text)).split())
        loaded = re.findall(r"_static/(live\w*\.js|toy_model\.js|vendor/jstat/[\w./]+)", text)
        assert set(loaded) == named


# --- change the ruler ---


@needs_chromium
def test_the_ruler_moves_each_trial_to_its_mean_and_says_the_effect(visit):
    table, model = students(), ruler()
    page, faults = visit(model)
    plane = svg.Plane(*(given(model)["plane"][axis] for axis in "xy"))
    up = fidelity.by_trial(table, "accuracy")
    for name, metric in RULERS.items():
        found = fidelity.by_trial(table, metric)
        expected = [plane.at(*point) for point in zip(found.mean(0), up.mean(0))]
        assert np.array(places(page, "[data-trial]")) == pytest.approx(np.array(expected), abs=0.11)
        dots = zip(fidelity.within_seed(found).T.flat, fidelity.within_seed(up).T.flat)
        expected = np.array([plane.at(*point) for point in dots])
        assert np.array(places(page, "circle")) == pytest.approx(expected, abs=0.3)
        half = stats.mean_interval(fidelity.within_seed(found)[:, 0])
        reach = plane.at(plane.x[0] + half.high - half.estimate, 80)[0] - svg.LEFT
        across = page.locator(".kd-live-across").first.get_attribute("d")
        assert float(across.split("H")[1]) == pytest.approx(reach, abs=0.11)
        words = page.locator("[role=status]").inner_text()
        assert name in words and chapter.say(fidelity.effect(table, metric)) in words
        page.get_by_role("slider").press("ArrowRight")
        page.wait_for_timeout(300)
    assert faults == []


def test_the_ruler_says_what_is_less_than_would_matter():
    table = students()
    table["agreement clean"] = 0.9 + table["accuracy"] / 100
    model = live_ruler.changing(table, {"clean test images": "agreement clean"})
    assert (
        "do not differ by as much as would matter (1 point)" in given(model)["rulers"][0]["words"]
    )


def test_one_seed_has_no_bars_and_two_none_that_leave_the_picture():
    for seeds in (1, 2):
        steps = given(live_ruler.changing(students(seeds), RULERS))["rulers"]
        assert all(half == 0 for step in steps for half in step["half"])


# --- judge it yourself ---


def first(numbers, by_seed, seeds):
    """The interval over the first seeds, by Python; the published one where there are no more."""
    if len(by_seed) <= seeds:
        return claims.interval(numbers)
    if isinstance(by_seed[0], list):
        return stats.Interval(*stats.of_seeds(by_seed[:seeds]), seeds)
    return stats.mean_interval(by_seed[:seeds])


def again(line, times, seeds, counts):
    """A claim's word by kdcore.stats."""
    if line["exact"] or line["demonstration"]:
        return line["verdict"]
    found, named = SEEDS[line["id"]], line["controls"].items()
    controls = [first(v, found["controls"][name], seeds) for name, v in named]
    effect = first(line, found["statistic"], seeds)
    margin = times * line["margin"]
    return stats.verdict(effect, line["direction"], margin, *controls * counts)


def test_the_seeds_of_every_judged_claim_are_kept_and_give_its_numbers():
    for line in PUBLISHED:
        if line["exact"]:
            continue
        kept = SEEDS[line["id"]]
        assert list(kept["controls"]) == list(line["controls"]), line["id"]
        pairs = [(line, kept["statistic"])]
        pairs += [(line["controls"][name], by_seed) for name, by_seed in kept["controls"].items()]
        for numbers, by_seed in pairs:
            assert len(by_seed) == numbers["n"], line["id"]
            is_r = isinstance(by_seed[0], list)
            found = stats.of_seeds(by_seed) if is_r else stats.mean_interval(by_seed)
            published = claims.interval(numbers)[:3]
            assert found[:3] == pytest.approx(published, rel=1e-9, abs=1e-9), line["id"]


@needs_chromium
def test_every_word_is_the_published_one_and_pythons_at_other_settings(visit):
    page, faults = visit(judge())
    asked = """([times, seeds, counts]) => JSON.parse(document.querySelector('.kd-live script')
        .textContent).claims.map(claim => judged(claim, times, seeds, counts))"""
    for times, name in ((1, "verdict"), (0.5, "half margin"), (2, "twice the margin")):
        kept = [line[name] or line["verdict"] for line in PUBLISHED]
        assert page.evaluate(asked, [times, 99, True]) == kept
    for times in (0.25, 0.5, 1, 2, 4):
        for seeds in (2, 3, 5, 8, 19, 20):
            for counts in (True, False):
                words = [again(line, times, seeds, counts) for line in PUBLISHED]
                assert page.evaluate(asked, [times, seeds, counts]) == words
    assert faults == []


@needs_chromium
def test_the_rule_and_the_interval_are_those_of_python(visit):
    page, _ = visit(judge())
    chance = np.random.default_rng(0)
    cases = []
    for _ in range(500):
        drawn = [
            chance.normal(scale=2) + np.array([0, -1, 1]) * chance.exponential() for _ in "123"
        ]
        several = [list(map(float, i)) for i in drawn[: chance.integers(1, 4)]]
        cases.append(
            [several[0], int(chance.choice([-1, 1])), float(chance.exponential()), several[1:]]
        )
    words = [
        stats.verdict(stats.Interval(*i, 5), d, m, *(stats.Interval(*c, 5) for c in controls))
        for i, d, m, controls in cases
    ]
    assert page.evaluate("cases => cases.map(c => verdict(...c))", cases) == words
    assert len(set(words)) == 7
    for n in range(2, 41):
        values = chance.normal(size=n).tolist()
        found = page.evaluate("meanInterval", values)
        expected = stats.mean_interval(values)
        half = expected.high - expected.estimate  # jStat's quantile has eight digits
        assert found == pytest.approx(expected[:3], abs=1e-7 * half)


@needs_chromium
def test_what_changes_is_counted_marked_and_listed_and_goes_back(visit):
    page, _ = visit(judge())
    published = [line["verdict"] for line in PUBLISHED]

    def seen():
        rows = page.locator("tr[data-word]").evaluate_all(
            "rows => rows.map(r => [r.dataset.word, r.querySelectorAll('i').length, "
            "+r.children[2].textContent, +r.children[3].textContent])"
        )
        return {word: tuple(counts) for word, *counts in rows}

    assert seen() == {word: (published.count(word),) * 3 for word in claims.WORDS}
    page.get_by_role("slider").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.get_by_role("checkbox").press("Space")
    page.wait_for_timeout(300)
    words = [again(line, 2, 99, False) for line in PUBLISHED]
    changed = [k for k, word in enumerate(words) if word != published[k]]
    assert seen() == {
        word: (words.count(word), words.count(word), published.count(word)) for word in claims.WORDS
    }
    assert page.locator("i.kd-live-changed").count() == len(changed) > 10
    page.locator("summary").press("Enter")
    lines = page.locator("details li").all_inner_texts()
    k = changed[0]
    assert lines[0] == f"{PUBLISHED[k]['title']}: {published[k]} → {words[k]}"
    assert len(lines) == len(changed)
    assert (
        "Margins × 2, seeds: all, controls do not count"
        in page.locator("[role=status]").inner_text()
    )
    page.get_by_role("button", name="as published").press("Enter")
    page.wait_for_timeout(300)
    assert seen() == {word: (published.count(word),) * 3 for word in claims.WORDS}
    assert (
        page.locator("[role=status]").inner_text() == f"As published: {claims.counted(PUBLISHED)}."
    )


# --- tilt from choosing ---

CHOICES = [
    (chooser, luck, shared)
    for chooser in ("teacher", "third")
    for luck in (0.1, 0.7, 1.0, 1.5)
    for shared in (0.0, 0.3, 1.0)
]


@needs_chromium
def test_what_is_chosen_tilts_as_kdcore_measures_it(visit):
    model = live_tilt.choosing()
    page, faults = visit(model)
    draw = "JSON.parse(document.querySelector('.kd-live script').textContent)"
    for case in CHOICES:
        found = live_tilt.chosen_by(*case)
        got = page.evaluate(f"given => chosenBy({draw}, ...given)", case)
        for name, values in found.items():
            assert got[name] == pytest.approx(values, abs=1e-9), (name, case)
        assert got["low"] == found["low"].tolist()
    assert faults == []


def test_the_first_numbers_are_those_of_the_measurement_of_log_odds():
    for chooser, luck, shared in CHOICES:
        row = confidence.versus(*live_tilt.lucky(luck, shared), {})
        slope, third = ("slope", "") if chooser == "teacher" else ("instrument slope", "third ")
        found = live_tilt.chosen_by(chooser, luck, shared)
        expected = [row[slope], row[f"{third}below low"], row[f"{third}shift low"]]
        assert [found[k] for k in ("slope", "below", "shift")] == pytest.approx(expected, abs=1e-12)


def test_choosing_alone_tilts_and_a_third_model_does_not():
    tilted, level = (live_tilt.chosen_by(who, 1.0, 0.0) for who in ("teacher", "third"))
    assert tilted["slope"] < 0.9 and tilted["below"] > 0.6 and tilted["shift"] < -0.3
    assert level["slope"] == pytest.approx(1) and level["shift"] == pytest.approx(0, abs=1e-12)
    copy = live_tilt.chosen_by("teacher", 1.0, 1.0)
    assert copy["slope"] == pytest.approx(1) and copy["below"] == 0


# --- stop the teacher early ---


@needs_chromium
def test_the_closed_form_is_that_of_kdcore(visit):
    page, faults = visit(live_stop.stopping())
    data = "JSON.parse(document.querySelector('.kd-live script').textContent)"
    for number, world in enumerate((gains.NOISY, gains.QUIET)):
        for T in (0.4, 1.0, 30.0, 1000.0, 20_000.0):
            for t in (1.0, 300.0, 20_000.0):
                got = page.evaluate(f"given => stopped({data}, ...given)", [number, T, t])
                found = live_stop.stopped(world, T, t)
                for who, g in found["g"].items():
                    assert got["g"][who] == pytest.approx(g, rel=1e-12, abs=1e-15)
                    assert found["risk"][who] == pytest.approx(gains.risk(world, g), rel=1e-12)
                assert got["risk"] == pytest.approx(found["risk"], rel=1e-12)
                best = eigen.optimal_filter(gains.EIGENVALUES, *gains.WORLDS[world])
                assert got["best"] == pytest.approx(best, rel=1e-12)
                nearer = np.abs(found["g"]["student"] - best) < np.abs(found["g"]["alone"] - best)
                apart = found["g"]["alone"] - found["g"]["student"] > 1e-9  # beyond rounding
                assert (nearer == found["better"])[apart].all()
                assert (np.array(got["better"]) == found["better"])[apart].all()
    assert faults == []


@needs_chromium
def test_the_marks_stand_at_the_teachers_time_and_the_words_say_the_risks(visit):
    page, _ = visit(live_stop.stopping())
    page.get_by_role("radio").first.press("ArrowRight")
    slider = page.get_by_role("slider").first
    for _ in range(10):
        slider.press("ArrowLeft")
    page.wait_for_timeout(300)
    T = float(slider.get_attribute("aria-valuetext"))
    found = live_stop.stopped(gains.QUIET, 10**0.5, 1000.0)
    assert pytest.approx(10**0.5, abs=0.005) == T
    expected = [live_stop.RISKS.at(10**0.5, found["risk"][who]) for who in ("teacher", "student")]
    assert np.array(places(page, "circle")) == pytest.approx(np.array(expected), abs=0.11)
    words = page.locator("[role=status]").inner_text()
    assert all(f"{found['risk'][who]:.3f}" in words for who in found["risk"])
    assert f"along {found['better'].sum()} of 200" in words and "not in all" in words
