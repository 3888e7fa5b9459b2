"""The whole book as one PDF: Jupyter Book's single page, printed by Chromium with tags, an outline
and page numbers.

    python scripts/print_book.py [BOOK [TARGET]]

BOOK is by default _build/pdf/_build/singlehtml, TARGET _build/pdf/book.pdf.

`make pdf` builds that page first. Sliders show their first picture, code that is folded away on the
pages is left out, and links into the book lead to its pages in the file.
"""

import html
import re
import shutil
import sys
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright

from kdcore.provenance import commit

ROOT = Path(__file__).resolve().parent.parent
ROOM = 657  # CSS pixels between the margins of book.css, 174 mm
FOOTER = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center">'
    '<span class="pageNumber"></span></div>'
)


def cover() -> str:
    """Title page and list of chapters, as HTML with an empty list: title, authors, version, date,
    commit where there is one.
    """
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    title, _, subtitle = citation["title"].partition("? ")
    made_by = commit(ROOT)
    lines = [
        subtitle,
        ", ".join(
            a.get("name") or f"{a['given-names']} {a['family-names']}" for a in citation["authors"]
        ),
        f"Version {citation['version']}, {citation['date-released']}"
        + f", commit {made_by}" * (not made_by.startswith("unknown")),
        "Code MIT, text and figures CC BY 4.0. The pages themselves, with sliders and data, are "
        "the file index.html of the built book.",
    ]
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return (
        f'<div class="kd-cover"><h1>{html.escape(title)}?</h1>{paragraphs}</div>'
        '<nav class="kd-contents"><p>Contents</p><ol></ol></nav>'
    )


def to_pdf(browser, page: Path, target: Path, front: str = "") -> None:
    """Print one HTML file on A4 with a Playwright browser, `front` before its content."""
    tab = browser.new_page(
        color_scheme="light", offline=True, viewport={"width": ROOM, "height": 1000}
    )
    tab.emulate_media(media="print")
    tab.set_default_timeout(300_000)
    tab.goto(page.as_uri())
    tab.wait_for_function(
        "!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)"
    )
    tab.evaluate(PREPARE, front)
    tab.evaluate(FIT, ROOM)
    tab.pdf(
        path=target,
        tagged=True,
        outline=True,
        prefer_css_page_size=True,
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
    )
    tab.close()
    target.write_bytes(mend_outline(target.read_bytes()))


def mend_outline(pdf: bytes) -> bytes:
    """Chromium names a heading twice in the outline when it stands at the top of a page; the second
    time becomes blanks, so that nothing moves.
    """
    for start, once, end in ((b"(", rb"[^()]+", b")"), (b"<FEFF", rb"(?:[0-9A-F]{4})+", b">")):
        twice = re.compile(b"/Title " + re.escape(start) + b"(" + once + rb")\1" + re.escape(end))
        pdf = twice.sub(
            lambda title, start=start, end=end: (
                b"/Title " + start + title[1] + end + b" " * len(title[1])
            ),
            pdf,
        )
    return pdf


# Light whatever the reader chose. References inside the book name its one file, other files are not
# in the PDF. Then the title page and the chapters by name; each of them starts on a page of its
# own.
PREPARE = """front => {
  document.documentElement.dataset.theme = "light";
  // the theme's own title of a printed page
  document.querySelector("#jb-print-docs-body")?.remove();
  document.querySelectorAll("details.sd-sphinx-override").forEach(e => { e.open = true; });
  for (const link of document.querySelectorAll("a[href]")) {
    if (new URL(link.href).protocol !== "file:") continue;
    const inside = link.hash && document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (inside) link.setAttribute("href", link.hash);
    else link.removeAttribute("href");
  }
  const article = document.querySelector("article");
  if (!front || !article) return;
  article.insertAdjacentHTML("afterbegin", front);
  const list = article.querySelector(".kd-contents ol");
  for (const file of article.querySelectorAll("[id^='document-']")) {
    const below = `[id='${file.id}'] ~ section`;
    const heading = file.parentElement.querySelector(`${below} h2, ${below} h1`);
    if (!heading) continue;
    heading.closest("section").style.breakBefore = "page";
    const name = heading.cloneNode(true);
    name.querySelectorAll(".headerlink").forEach(e => e.remove());
    list.insertAdjacentHTML("beforeend", `<li><a href="#${file.id}">${name.innerHTML}</a></li>`);
  }
}"""


# One thing wider than the page would make Chromium shrink all pages: each is made as small as it
# has to be.
FIT = """room => {
  const wide = "article :is(table, mjx-container[display=true], img)";
  for (const e of document.querySelectorAll(wide)) {
    const box = e.getBoundingClientRect();
    if (box.right > room) e.style.zoom = Math.max((room - box.left) / box.width, 0.3);
  }
}"""


def main(
    book=ROOT / "_build" / "pdf" / "_build" / "singlehtml",
    target=ROOT / "_build" / "pdf" / "book.pdf",
) -> int:
    source, page = Path(book).resolve() / "book" / "intro.html", Path(book).resolve() / "print.html"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not source.is_file():
        print(
            "print_book:",
            f"{source} is missing; make pdf makes it"
            if chromium
            else "Chromium is not installed (Debian: apt-get install chromium)",
        )
        return 1
    shutil.copy(source, page)  # Sphinx writes its addresses as if it stood there
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        to_pdf(browser, page, Path(target), cover())
        browser.close()
    print(f"{target}: {Path(target).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
