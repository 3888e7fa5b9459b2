"""What a page has around its text: how to run it, a description for search engines, previews of
what its links lead to, a key of abbreviations; and what it shows where no script runs.
"""

import base64
import html
import json
import re
from pathlib import Path

from docutils import nodes
from kd_verdicts import minutes
from latex2mathml.converter import convert

CHAPTERS = "book/chapters/"
WITH_KEY = ("low_fidelity", "attention_divergence", "zscore_kd", "cifar100")  # of trials
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MATH = re.compile(r'<(span|div) class="math[^"]*"[^>]*>(.*?)</\1>', re.DOTALL)
LABELS = re.compile(r"\\(label|tag)\{[^}]*\}")


def run_line(app, doctree, docname):
    """Below a chapter's title: reading time, the command that makes the page, the notebook that
    was executed.
    """
    if not docname.startswith(CHAPTERS) or app.builder.name != "html":
        return
    name = docname.removeprefix(CHAPTERS)
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None:
        line = (
            f'<p class="kd-run">{minutes(doctree)} minutes · run this page: <code>make chapter '
            f'NAME={name}</code> · <a href="../../_sources/{docname}.ipynb" download>the executed '
            "notebook</a></p>"
        )
        title.parent.insert(title.parent.index(title) + 1, nodes.raw("", line, format="html"))


def description(doctree: nodes.document) -> str:
    """The first admonition of a page, which has its answer, or else its first paragraph, as text
    of at most 300 characters.
    """
    found = next(iter(doctree.findall(nodes.Admonition)), doctree)
    texts = (" ".join(p.astext().split()) for p in found.findall(nodes.paragraph))
    text = next(filter(None, texts), "")
    return text if len(text) <= 300 else text[:300].rsplit(" ", 1)[0] + " …"


def describe(app, pagename, templatename, context, doctree):
    if doctree is not None and (text := description(doctree)):
        tag = f'<meta name="description" content="{html.escape(text)}">'
        context["metatags"] = context.get("metatags", "") + tag


def show_key(app, pagename, templatename, context, doctree):
    """The key of trials beside the chapters that use it."""
    if pagename.removeprefix(CHAPTERS) in WITH_KEY:
        items = context.get("secondary_sidebar_items", [])
        context["secondary_sidebar_items"] = ["kd-key.html", *items]


# ------------------------------------------------------------------------------- without any script


def as_mathml(found: re.Match) -> str:
    """A formula's element, followed by the same formula in MathML for readers without scripts."""
    tex = html.unescape(re.sub(r"<[^>]*>", "", found[2])).strip()
    tex = re.sub(r"^\\[(\[]|\\[)\]]$", "", tex)
    for macro, meaning in as_mathml.macros.items():
        tex = re.sub(rf"\\{macro}(?![A-Za-z])", meaning.replace("\\", r"\\"), tex)
    try:
        display = "block" if found[1] == "div" else "inline"
        shown = convert(LABELS.sub("", tex), display=display)
    except Exception:  # whatever the converter does not know stays TeX
        shown = f"<code>{html.escape(tex)}</code>"
    return f"{found[0]}<noscript>{shown}</noscript>"


def first_frames(path: str) -> list[str]:
    """The first picture of each slider of a notebook, as an image."""
    frames = []
    if Path(path).suffix == ".ipynb":
        for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if WIDGET_VIEW in data and "image/svg+xml" in data:
                    svg = base64.b64encode("".join(data["image/svg+xml"]).encode()).decode()
                    alt = html.escape("".join(data.get("text/plain", "")))
                    frames.append(f'<img alt="{alt}" src="data:image/svg+xml;base64,{svg}">')
    return frames


def without_scripts(app, pagename, templatename, context, doctree):
    """Formulas as MathML and sliders as their first picture, in <noscript>."""
    body = context.get("body", "")
    if app.builder.name != "html" or doctree is None:
        return
    as_mathml.macros = app.config.mathjax3_config["tex"]["macros"]
    body = MATH.sub(as_mathml, body)
    frames = iter(first_frames(app.env.doc2path(pagename)))
    view = re.compile(rf'<script type="{re.escape(WIDGET_VIEW)}">.*?</script>', re.DOTALL)
    body = view.sub(lambda m: f"{m[0]}<noscript>{next(frames, '')}</noscript>", body)
    context["body"] = body
    hidden = "<noscript><style>.math { display: none; }</style></noscript>"
    context["metatags"] = context.get("metatags", "") + hidden


def setup(app):
    app.connect("doctree-resolved", run_line, priority=600)  # after cards and folds
    app.connect("html-page-context", describe)
    app.connect("html-page-context", show_key, priority=800)  # after the theme
    app.connect("html-page-context", without_scripts, priority=600)  # after tips are collected
    return {"parallel_read_safe": True, "parallel_write_safe": True}
