"""Sphinx extension: links that open a chapter's notebook in Google Colab or Binder, on a page that
is built for a public repository.

GitHub Actions names the repository in GITHUB_REPOSITORY and the commit in GITHUB_SHA. Built
anywhere else the book has no such links, because none would work. Chapters get theirs below the
title; the directive `kd-launch` makes a list of all chapters.
"""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHAPTERS = "book/chapters/"


def hosted():
    """(owner/name, commit or branch) of the public repository, or None."""
    repository, commit = os.environ.get("GITHUB_REPOSITORY", ""), os.environ.get("GITHUB_SHA", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        return None
    return repository, commit if re.fullmatch("[0-9a-f]{7,40}", commit) else "main"


def addresses(repository, commit, notebook):
    """{service: address} that opens notebooks/<notebook>.ipynb of that commit."""
    file = f"notebooks/{notebook}.ipynb"
    return {
        "Colab": f"https://colab.research.google.com/github/{repository}/blob/{commit}/{file}",
        "Binder": f"https://mybinder.org/v2/gh/{repository}/{commit}?urlpath=lab/tree/{file}",
    }


def install_line(repository, commit):
    """What the first cell in Colab has to run: the checkout into the working folder, and what
    kdcore needs beside Colab's own packages.
    """
    return (
        f"!git init -q && git pull -q https://github.com/{repository} {commit} "
        "&& pip install -q '.[notebook]'"
    )


def links(repository, commit, notebook, text):
    """The links of one notebook, as nodes; `text` holds {} for the service."""
    found = []
    for service, address in addresses(repository, commit, notebook).items():
        found += [nodes.Text(" · ")] * bool(found) + [
            nodes.reference("", text.format(service), refuri=address, internal=False)
        ]
    return found


def on_chapter(app, doctree):
    """Below a chapter's title: the links, and the line that Colab needs first."""
    page, place = app.env.docname, hosted()
    if not (place and page.startswith(CHAPTERS)):
        return
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        return
    line = install_line(*place)
    opened = links(*place, page.removeprefix(CHAPTERS), "Open in {}")
    words = nodes.Text(". In Colab, run this line before the first cell:")
    title.parent[1:1] = [
        nodes.paragraph("", "", *opened, words),
        nodes.literal_block(line, line, language="none"),
    ]


class KdLaunch(SphinxDirective):
    def run(self):
        place = hosted()
        if not place:
            return [
                nodes.paragraph(
                    "", "This copy was built outside of a public repository and has no such links."
                )
            ]
        items = []
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            name = [nodes.literal(text=path.stem), nodes.Text(" in ")]
            items.append(
                nodes.list_item("", nodes.paragraph("", "", *name, *links(*place, path.stem, "{}")))
            )
        line = install_line(*place)
        return [
            nodes.bullet_list("", *items),
            nodes.paragraph("", "The first cell in Colab:"),
            nodes.literal_block(line, line, language="none"),
        ]


def setup(app):
    app.add_directive("kd-launch", KdLaunch)
    app.connect("doctree-read", on_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
