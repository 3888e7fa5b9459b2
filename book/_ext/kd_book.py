"""Sphinx extension of this book: scripts served from the book itself, text alternatives taken from the figures."""
import html
import re
from pathlib import Path

from docutils import nodes

ASSETS = Path(__file__).resolve().parent.parent / "_assets"
MATHJAX = "vendor/mathjax/es5/tex-svg.js"
WIDGETS = ["vendor/requirejs/require.js", "vendor/@jupyter-widgets/html-manager/dist/embed-amd.js"]


def use_vendored_scripts(app, config):
    """Point maths and widgets at the files of scripts/vendor_js.py; where those are missing, the CDN addresses stay."""
    if all((ASSETS / name).is_file() for name in [MATHJAX, *WIDGETS]):
        config.mathjax_path = MATHJAX
        config.nb_ipywidgets_js = {name: {} for name in WIDGETS}


def describe_figures(app, doctree):
    """Give each image of a figure made by kdcore.figures the text alternative that its <title> holds.

    The class dark-light tells the theme that the image is legible on a dark page as it is.
    """
    for image in doctree.findall(nodes.image):
        file = Path(app.srcdir, image["uri"])
        if file.suffix != ".svg" or not file.is_file():
            continue
        title = re.search(r'<title id="alt">(.*?)</title>', file.read_text(encoding="utf-8"), re.DOTALL)
        if title:
            image["alt"] = image.get("alt") or html.unescape(title[1])
            image["classes"].append("dark-light")


def drop_scripts(app, pagename, templatename, context, doctree):
    """Remove Thebe (it needs a server, and names a CDN on every page) and inline scripts that are listed twice."""
    kept, bodies = [], set()
    for script in context.get("script_files", []):
        body = (getattr(script, "attributes", None) or {}).get("body") or ""
        name = str(getattr(script, "filename", script) or "")
        if "thebe" in name or "THEBE" in body or (body and body in bodies):
            continue
        bodies.add(body)
        kept.append(script)
    context["script_files"] = kept


def load_toy_model(app, pagename, templatename, context, doctree):
    """The script of the interactive toy model, on pages that hold its container."""
    if 'class="kd-toy"' in context.get("body", ""):
        app.add_js_file("toy_model.js")  # here, while a page is made: for this page only


def setup(app):
    app.connect("config-inited", use_vendored_scripts)
    app.connect("doctree-read", describe_figures)
    app.connect("html-page-context", load_toy_model)
    app.connect("html-page-context", drop_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
