"""Two layers of a chapter: what is read, and the evidence that is folded below its heading.

A section whose heading carries the class `evidence` ({.evidence} in the line above it) keeps its
heading and folds the rest behind a line that says what is inside. Sentences in [...]{.finding
rests="..."} are those of the published run: tests/test_findings.py holds them against the claims
and numbers that they rest on, and a page executed with other parameters says that they are not its
own.
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes

from kdcore.book.chapter import plural

OTHER = (
    "This page was executed with other parameters than the published ones. Its numbers, tables and "
    "figures are its own. Sentences underlined with dots, titles and captions state what was found "
    "in the published run."
)


def words(node: nodes.Node) -> int:
    """Words of the prose below a node: without code, tables, formulas and raw output."""
    skipped = (nodes.literal_block, nodes.table, nodes.math_block, nodes.raw, nodes.comment)
    inside = {id(part) for kind in skipped for top in node.findall(kind) for part in top.findall()}
    texts = (part for part in node.findall(nodes.Text) if id(part) not in inside)
    return sum(len(text.astext().split()) for text in texts)


def inside(section: nodes.section) -> str:
    """What a folded section holds: "2 figures, 1 table, 350 words"."""
    parts = [
        plural(len(list(section.findall(kind))), name)
        for kind, name in ((nodes.figure, "figure"), (nodes.table, "table"))
        if any(section.findall(kind))
    ]
    return ", ".join([*parts, plural(round(words(section), -1), "word")])


def fold(app, doctree, docname):
    """Evidence sections become <details> below their headings; in print they are open."""
    if app.builder.format != "html":
        return
    is_open = " open" * (app.builder.name == "singlehtml")
    for section in list(doctree.findall(nodes.section)):
        if "evidence" in section["classes"]:
            first = section.index(next(iter(section.findall(nodes.title)))) + 1
            head = (
                f'<details class="kd-evidence"{is_open}><summary>Evidence: {inside(section)}'
                "</summary>"
            )
            section.insert(first, nodes.raw("", head, format="html"))
            section.append(nodes.raw("", "</details>", format="html"))


def published(path: str) -> bool:
    """Whether a page was executed with its published preset, as its last section says; true of
    pages that are no chapters.
    """
    if Path(path).suffix != ".ipynb":
        return True
    text = json.dumps(json.loads(Path(path).read_text(encoding="utf-8"))["cells"])
    preset = re.search(r"<dt>Preset</dt><dd>(.*?)</dd>", text)
    return not preset or html.unescape(preset[1]) == "published"


def warn(app, doctree):
    """Says on top of a page with other parameters which sentences are not its own."""
    if published(app.env.doc2path(app.env.docname)):
        return
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None:
        note = nodes.warning("", nodes.paragraph("", OTHER), classes=["kd-other-parameters"])
        title.parent.insert(title.parent.index(title) + 1, note)


def setup(app):
    app.connect("doctree-read", warn)
    app.connect("doctree-resolved", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
