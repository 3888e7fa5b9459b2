"""Sphinx extension of this book: scripts served from the book itself, text alternatives and tables
taken from the figures.
"""

import gc
import hashlib
import html
import json
import re
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

from docutils import nodes
from sphinx.domains.std import StandardDomain

ASSETS = Path(__file__).resolve().parent.parent / "_assets"
MATHJAX = "vendor/mathjax/es5/tex-svg.js"
TIPS = {  # file of scripts/vendor_js.py: where it is else; before require.js, which would take them
    "vendor/@popperjs/core/dist/umd/popper.min.js": "https://unpkg.com/@popperjs/core@2.11.8",
    "vendor/tippy.js/dist/tippy-bundle.umd.min.js": "https://unpkg.com/tippy.js@6.3.7",
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
JSTAT = "vendor/jstat/dist/jstat.min.js"
JSTAT_CDN = "https://cdn.jsdelivr.net/npm/jstat@1.9.6/dist/jstat.min.js"
WIDGETS = ["vendor/requirejs/require.js", "vendor/@jupyter-widgets/html-manager/dist/embed-amd.js"]


class Numbers(StandardDomain):
    """Sphinx's own domain of labels, which reads the whole page of a target from disk again for
    each reference to its number: half of the time that a book of many figures takes.
    """

    def __init__(self, env):
        super().__init__(env)
        self.page = lru_cache(env.get_doctree)

    def _resolve_numref_xref(self, env, *reference):
        with patch.object(env, "get_doctree", self.page):  # elsewhere pages are read to be changed
            return super()._resolve_numref_xref(env, *reference)


def pass_over_tables(app, config):
    """A figure's table is an output that MyST-NB does not know; `offer_downloads` does."""
    config.suppress_warnings = [*config.suppress_warnings, "mystnb.unknown_mime_type"]


def use_vendored_scripts(app, config):
    """Point maths, widgets and previews of links at the files of scripts/vendor_js.py; where those
    are missing, the CDN addresses stay.
    """
    for number, (name, address) in enumerate(TIPS.items()):
        app.add_js_file(name if (ASSETS / name).is_file() else address, priority=90 + number)
    if all((ASSETS / name).is_file() for name in [MATHJAX, *WIDGETS]):
        config.mathjax_path = MATHJAX
        config.nb_ipywidgets_js = {name: {} for name in WIDGETS}


def describe_figures(app, doctree):
    """Give each image of a figure made by kdcore.book.figures the text alternative that its <title>
    holds.

    The class dark-light tells the theme that the image is legible on a dark page as it is.
    """
    for image in doctree.findall(nodes.image):
        file = Path(app.srcdir, image["uri"])
        if file.suffix != ".svg" or not file.is_file():
            continue
        title = re.search(
            r'<title id="alt">(.*?)</title>', file.read_text(encoding="utf-8"), re.DOTALL
        )
        if title:
            image["alt"] = image.get("alt") or html.unescape(title[1])
            image["classes"].append("dark-light")


def outputs_of_figures(path, kind):
    """{label of a figure: text} of a notebook's outputs of this MIME type, where figures are drawn
    or glued (kdcore.book.figures).
    """
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    found = {}
    for cell in cells:
        drawn = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if glued := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                name, text = glued, data.get(f"application/papermill.record/{kind}")
            else:
                name, text = drawn, data.get(kind)
            if name and text:
                found[name] = "".join(text)
    return found


def tables_of_figures(path):
    """{label of a figure: CSV} of a notebook whose figures bring their numbers; {} for other
    pages.
    """
    return outputs_of_figures(path, "text/csv") if Path(path).suffix == ".ipynb" else {}


def offer_downloads(app, doctree):
    """Links under each figure of a chapter: its table, and the picture itself unless a slider
    changes it.
    """
    docname = app.env.docname
    tables, up = tables_of_figures(app.env.doc2path(docname)), "../" * docname.count("/")
    for figure in doctree.findall(nodes.figure):
        links = [
            (f"{up}_static/data/{name}.csv", "Data of this figure (CSV)")
            for name in figure["names"]
            if name in tables
        ]
        pictures = [
            image for image in figure.findall(nodes.image) if "jupyter_execute" in image["uri"]
        ]
        if pictures and not any(
            node.get("mime_type") == WIDGET_VIEW for node in figure.findall(nodes.container)
        ):
            links.append((f"{up}_images/{Path(pictures[0]['uri']).name}", "SVG"))
        if links:
            line = nodes.paragraph(classes=["kd-downloads"])
            for number, (address, text) in enumerate(links):
                line += [nodes.Text(" · ")] * bool(number) + [
                    nodes.reference("", text, refuri=address, internal=True)
                ]
            figure += nodes.legend("", line)


def write_tables(app, exception):
    """The tables that `offer_downloads` links to."""
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir, "_static", "data")
    for docname in app.env.found_docs:
        for name, table in tables_of_figures(app.env.doc2path(docname)).items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.csv").write_text(table, encoding="utf-8")


def drop_old_tips(app, exception):
    """sphinx-tippy writes a page's previews under a new name in each build: only the file that the
    page loads stays.
    """
    for file in Path(app.outdir, "_static", "tippy").rglob("*.js"):
        page = file.relative_to(Path(app.outdir, "_static", "tippy")).as_posix().split(".")[0]
        html_file = Path(app.outdir, f"{page}.html")
        if not html_file.is_file() or file.name not in html_file.read_text(encoding="utf-8"):
            file.unlink()


def mend_roles(app, pagename, templatename, context, doctree):
    """What screen readers are told wrongly by markup from upstream: entries of the bibliography are
    items of its list (their role was withdrawn from ARIA), and the empty corner of a table heads
    nothing.
    """
    body = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    context["body"] = re.sub(r"<th\b[^>]*>(?:<p></p>)?</th>", "<td></td>", body)


def merge_visitors(app):
    """One page for print: sphinx_exercise registers visitors for singlehtml, which hides those that
    others register for all of HTML.
    """
    handlers = app.registry.translation_handlers
    handlers["singlehtml"] = handlers.get("html", {}) | handlers.get("singlehtml", {})


def drop_scripts(app, pagename, templatename, context, doctree):
    """Remove Thebe (it needs a server, and names a CDN on every page) and inline scripts that are
    listed twice.
    """
    kept, bodies = [], set()
    for script in context.get("script_files", []):
        body = (getattr(script, "attributes", None) or {}).get("body") or ""
        name = str(getattr(script, "filename", script) or "")
        if "thebe" in name or "THEBE" in body or (body and body in bodies):
            continue
        bodies.add(body)
        kept.append(script)
    context["script_files"] = kept


def load_live_models(app, pagename, templatename, context, doctree):
    """The scripts that the containers of a page name (kdcore.book.live), in their order."""
    named = re.findall(r'<div[^>]* data-scripts="([^"]+)"', context.get("body", ""))
    for script in dict.fromkeys(" ".join(named).split()):
        if script == JSTAT and not (ASSETS / script).is_file():
            script = JSTAT_CDN
        # here, while a page is made: for this page only; before require.js, which would take jStat
        # for a module of its own
        app.add_js_file(script, priority=90)


def code() -> str:
    """SHA-256 of these extensions: with other ones every page is read again."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def setup(app):
    # Pages are large trees whose parts know each other: to look through them for what can be
    # thrown away takes longer than all the rest, so that is done less often.
    gc.set_threshold(100_000, 50, 100)
    app.add_domain(Numbers, override=True)
    app.add_config_value("kd_code", code(), "env")
    app.connect("config-inited", use_vendored_scripts)
    app.connect("config-inited", pass_over_tables)
    app.connect("builder-inited", merge_visitors)
    app.connect("doctree-read", describe_figures)
    app.connect("doctree-read", offer_downloads)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", load_live_models)
    app.connect("html-page-context", drop_scripts, priority=900)
    app.connect("build-finished", write_tables)
    app.connect("build-finished", drop_old_tips, priority=900)  # after those of the day are written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
