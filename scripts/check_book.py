"""Gate after the HTML build: what Sphinx does not notice even with -n -W.

Checks the executed chapters for failed cells, every page for links, anchors and images that lead
nowhere and for images without a text alternative, how heavy each page is, how much a chapter keeps
open, and, where Chromium is installed, that MathJax typesets all mathematics. Prints one line per
fault and returns 1 when there is any. With --site, for a book that is published: also for what a
page would load from elsewhere.

    python scripts/check_book.py [--site] [BOOK = _build/html]
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import warnings
from pathlib import Path
from urllib.parse import unquote, urlsplit

import vendor_js
from bs4 import BeautifulSoup, Comment, NavigableString, XMLParsedAsHTMLWarning

ROOT = Path(__file__).resolve().parent.parent
# an SVG is searched as a page is
warnings.filterwarnings("ignore", category=XMLParsedAsHTMLWarning)
HEAVIEST = 4_000_000  # bytes of one page with its own images; a slider's frames are most of it
# What may stand open on a chapter's page: words, figures, tables; and intervals in 1,000 words.
OPEN = {"words": 2000, "figures": 5, "tables": 2, "intervals": 3}
FOLDED = {"toggle", "dropdown", "cell_input", "kd-downloads", "headerlink"}  # classes
INTERVAL = re.compile(r"\[[−+-]?[\d.,]+,\s[−+-]?[\d.,]+\]")


def check_chapters(folder: Path) -> list[str]:
    """Executed notebooks with an error output, or with a code cell that was never run."""
    faults = []
    for path in sorted(folder.glob("*.ipynb")):
        for i, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
                continue
            errors = [
                f"{o['ename']}: {o['evalue']}"
                for o in cell["outputs"]
                if o["output_type"] == "error"
            ]
            faults += [f"{path.name}, cell {i}: {error}" for error in errors]
            if cell["execution_count"] is None and not errors:
                faults.append(f"{path.name}, cell {i}: not executed")
    return faults


def facts_of(text: str) -> dict:
    """What the checks below ask a page: its ids, addresses, images [src, alt] and those of its
    content, whether it has formulas, and what it keeps open.
    """
    soup = BeautifulSoup(text, "html.parser")
    linked = soup.find_all(["a", "link", "script", "img", "source", "iframe"])
    addresses = [node.get("href") or node.get("src") or "" for node in linked]
    images = {
        what: [[image.get("src", ""), image.get("alt", "").strip()] for image in soup.select(what)]
        for what in ("img", "article img, main img")
    }
    return {
        "ids": [node["id"] for node in soup.find_all(id=True)],
        "addresses": list(dict.fromkeys(addresses)),
        "images": images["img"],
        "described": images["article img, main img"],
        "formulas": soup.find(class_="math") is not None,
        "open": open_parts(soup) if soup.find("article") else {},
    }


def read_pages(book: Path) -> dict[Path, dict]:
    """{page: its facts}. A page that was read before, byte for byte and by this code, is not read
    again.
    """
    memory = book.parent / f"{book.name}.read.json"
    known = json.loads(memory.read_text()) if memory.is_file() else {}
    code, pages, facts = Path(__file__).read_bytes(), {}, {}
    for page in sorted(book.rglob("*.html")):
        if {"_static", "_sources"} & set(page.relative_to(book).parts):
            continue
        content = page.read_bytes()
        digest = hashlib.sha256(code + content).hexdigest()
        facts[digest] = known.get(digest) or facts_of(content.decode("utf-8"))
        pages[page] = facts[digest]
    memory.write_text(json.dumps(facts))
    return pages


def check_references(book: Path, pages: dict[Path, dict]) -> list[str]:
    """Every href and src that stays inside the book must name a file, and an id in it where there
    is a #.
    """
    ids = {page: set(facts["ids"]) for page, facts in pages.items()}
    faults = []
    for page, facts in pages.items():
        for address in facts["addresses"]:
            parts = urlsplit(address)
            if not address or parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            fragment = unquote(parts.fragment)
            if not target.is_file():
                faults.append(f"{page.relative_to(book)}: {address} is not in the book")
            elif fragment and target in ids and fragment not in ids[target]:
                faults.append(f"{page.relative_to(book)}: {address} has no such anchor")
    return faults


# Attributes whose address is loaded with the page; an href only of these links (others, such as
# "next" or "canonical", are followed or read).
LOADED = {
    "src",
    "srcset",
    "poster",
    "data",
    "background",
    "xlink:href",
    "data-jupyter-widgets-cdn",
    "data-main",
}
RELATIONS = {
    "stylesheet",
    "preload",
    "prefetch",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
    "icon",
    "apple-touch-icon",
    "manifest",
    "mask-icon",
}
OUTSIDE = re.compile(r"\s*(?:(?:https?|wss?|ftp):|//|\\\\)", re.I)
ELSEWHERE = r"""\s*["'`]?\s*(?:(?:https?|wss?):)?//"""
IN_CSS = re.compile(rf"(?:@import\s+|url\(){ELSEWHERE}", re.I)
IN_SCRIPT = re.compile(
    rf"""(?:\bimport\s*(?:[\w*{{}}\s,$]+\bfrom\b)?|\bimport\s*\(|\bexport\b[^;"'`]*\bfrom\b|importScripts\(|new\s+(?:Shared)?Worker\(|\bfetch\(|"""
    rf"""\.src\s*=|new\s+(?:WebSocket|EventSource)\()(?=\s*["'`]){ELSEWHERE}""",
    re.I,
)


def _excerpt(found):
    return " ".join(found.string[found.start() : found.start() + 80].split())


def loaded_from_outside(soup: BeautifulSoup) -> list[str]:
    """What a page asks other places for by itself: scripts, styles, images, frames, fonts, imports;
    not the links that a reader may follow.
    """
    found = []
    for node in soup.find_all(True):
        for name, value in node.attrs.items():
            values = [value] if isinstance(value, str) else value
            if name == "srcset":
                values = [part.strip() for text in values for part in text.split(",")]
            followed = name == "href" and (
                node.name == "image"
                or node.name == "use"
                or node.name == "link"
                and RELATIONS & set(node.get("rel", []))
            )
            if name in LOADED or followed:
                found += [
                    f"{node.name} {name} {text[:80]}" for text in values if OUTSIDE.match(text)
                ]
            if name == "style":
                found += [
                    f"{node.name} style {_excerpt(m)}"
                    for text in values
                    for m in IN_CSS.finditer(text)
                ]
            if (
                name == "content"
                and node.name == "meta"
                and node.get("http-equiv", "").lower() == "refresh"
                and re.search(f"url={ELSEWHERE}", value, re.I)
            ):
                found.append(f"meta refresh {value[:80]}")
        if node.name == "base" and OUTSIDE.match(node.get("href", "")):
            found.append(f"base href {node['href'][:80]}")
        if node.name == "style":
            found += [f"style {_excerpt(m)}" for m in IN_CSS.finditer(node.get_text())]
        if node.name == "script" and "json" not in node.get("type", ""):
            found += [f"script {_excerpt(m)}" for m in IN_SCRIPT.finditer(node.get_text())]
    return found


def check_self_contained(book: Path) -> list[str]:
    """Every page, also search and index, every style, script and SVG of the book: what would be
    loaded from elsewhere. The files of scripts/vendor_js.py are known by their SHA-256; what they
    can load is set by the pages, and is checked there and in a browser.
    """
    faults, vendored = [], vendor_js.recorded()
    for file in sorted(path for path in book.rglob("*") if path.is_file()):
        name = file.relative_to(book)
        digest = vendored.get(name.as_posix().removeprefix("_static/vendor/"))
        if digest:
            faults += [f"{name}: is not the file that scripts/vendor_js.py records"] * (
                hashlib.sha256(file.read_bytes()).hexdigest() != digest
            )
        if (
            digest
            or "_sources" in name.parts
            or file.suffix not in (".html", ".css", ".js", ".mjs", ".svg")
        ):
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix in (".html", ".svg"):
            found = loaded_from_outside(BeautifulSoup(text, "html.parser"))
        else:
            found = [
                _excerpt(m) for m in (IN_CSS if file.suffix == ".css" else IN_SCRIPT).finditer(text)
            ]
        faults += [f"{name}: loads from elsewhere: {what}" for what in dict.fromkeys(found)]
    return faults


def check_alternatives(book: Path, pages: dict[Path, dict]) -> list[str]:
    """Every image of the content needs an alt text; Sphinx fills a missing one with the file's
    address.
    """
    return [
        f"{page.relative_to(book)}: image {src[:60]} has no text alternative"
        for page, facts in pages.items()
        for src, alt in facts["described"]
        if not alt or alt == src or Path(alt).suffix in (".svg", ".png", ".jpeg", ".jpg")
    ]


def weights(pages: dict[Path, dict]) -> dict[Path, int]:
    """Bytes of each page with its own images; scripts and styles, which all pages share, are not
    counted.
    """
    own = {
        page: {
            (page.parent / unquote(src)).resolve() for src, _ in facts["images"] if ":" not in src
        }
        for page, facts in pages.items()
    }
    return {
        page: page.stat().st_size + sum(image.stat().st_size for image in images if image.is_file())
        for page, images in own.items()
    }


def check_weights(book: Path, pages: dict[Path, dict]) -> list[str]:
    """States the weights; a page above `HEAVIEST` is a fault."""
    bytes_of = weights(pages)
    heaviest = max(bytes_of, key=bytes_of.get)
    shared = sum(
        file.stat().st_size
        for file in book.glob("_static/**/*")
        if file.suffix in (".js", ".css", ".woff2")
    )
    print(
        "check_book: a page with its images weighs "
        f"{sorted(bytes_of.values())[len(bytes_of) // 2] / 1e3:.0f} kB (median), at most "
        f"{bytes_of[heaviest] / 1e6:.1f} MB ({heaviest.relative_to(book)}); all scripts, styles "
        f"and fonts {shared / 1e6:.1f} MB, loaded once"
    )
    return [
        f"{page.relative_to(book)}: weighs {size / 1e6:.1f} MB, more than {HEAVIEST / 1e6:g}"
        for page, size in bytes_of.items()
        if size > HEAVIEST
    ]


def open_parts(soup: BeautifulSoup) -> dict[str, float]:
    """What a reader of a page meets without unfolding anything: words (tables and formulas not
    counted), figures, tables, intervals in 1,000 words.
    """
    texts, count = [], {"figure": 0, "table": 0}

    def read(node):
        for child in node.children:
            if isinstance(child, NavigableString):
                texts.append("" if isinstance(child, Comment) else str(child))
                continue
            kinds = set(child.get("class", []))
            if child.name in ("script", "style", "details", "noscript") or kinds & FOLDED:
                continue
            if child.name in count:
                count[child.name] += 1
            if child.name not in ("table", "mjx-container", "svg") and "math" not in kinds:
                read(child)

    read(soup.select_one("article"))
    text = " ".join(texts)
    words = len(text.split())
    intervals = 1000 * len(INTERVAL.findall(text)) / max(words, 1)
    return {
        "words": words,
        "figures": count["figure"],
        "tables": count["table"],
        "intervals": intervals,
    }


def check_open(book: Path, pages: dict[Path, dict]) -> list[str]:
    """A chapter that keeps more open than `OPEN` allows."""
    return [
        f"{page.relative_to(book)}: {found:.4g} {what}{' in 1,000 words' * (what == 'intervals')} "
        f"open, at most {OPEN[what]} are; fold some"
        for page, facts in pages.items()
        if page.parent.name == "chapters"
        for what, found in facts["open"].items()
        if found > OPEN[what]
    ]


def check_mathematics(book: Path, pages: dict[Path, dict]) -> list[str]:
    """After scripts have run, each formula is one mjx-container and none holds an error. A page
    that passed, byte for byte, is not opened again.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("check_book: no Chromium, so the typesetting of formulas is not checked")
        return []
    from playwright.sync_api import sync_playwright

    memory = book.parent / f"{book.name}.typeset.json"
    passed = set(json.loads(memory.read_text())) if memory.is_file() else set()
    digests = {
        page: hashlib.sha256(page.read_bytes()).hexdigest()
        for page, facts in pages.items()
        if facts["formulas"]
    }
    new, faults = [page for page, digest in digests.items() if digest not in passed], []
    if not new:
        return faults
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for page in new:
            tab = browser.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function("window.MathJax?.startup?.promise", timeout=60_000)
            tab.evaluate("MathJax.startup.promise")
            found, formulas = (
                tab.locator(kind).count() for kind in (".math mjx-container", ".math")
            )
            errors = tab.locator("[data-mjx-error]")
            wrong = [f"formula: {node.get_attribute('data-mjx-error')}" for node in errors.all()]
            if found != formulas:
                wrong.append(f"{formulas} formulas, {found} typeset")
            faults += [f"{page.relative_to(book)}: {fault}" for fault in wrong]
            if wrong:
                del digests[page]
            tab.close()
        browser.close()
    memory.write_text(json.dumps(sorted(digests.values())))
    return faults


def main(book: Path, site: bool = False) -> int:
    if not (book / "index.html").is_file():
        print(f"check_book: {book} holds no built book; run make book first")
        return 1
    book = book.resolve()
    pages = read_pages(book)
    faults = check_chapters(ROOT / "book" / "chapters")
    for check in (
        check_references,
        check_alternatives,
        check_weights,
        check_open,
        check_mathematics,
    ):
        faults += check(book, pages)
    if site:
        faults += check_self_contained(book)
    print(*faults, f"check_book: {len(pages)} pages, {len(faults)} faults", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("book", nargs="?", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument(
        "--site", action="store_true", help="also a fault: what a page would load from elsewhere"
    )
    arguments = parser.parse_args()
    sys.exit(main(arguments.book, arguments.site))
