"""What prose pages show of book/results/verdicts.json.

{verdicts} GROUP        the claims of a paper, or on photographs, as a table, intervals drawn
{claim-strip}           all claims at once, a mark each
{answer} CHAPTER        a card: question, answer, one number, thumbnail, reading time
{claim}`ID`             a claim's estimate, linked to its entry on the page of verdicts
"""

import html
from collections import Counter

from docutils import nodes
from docutils.parsers.rst import directives
from kd_layers import words
from sphinx.util.docutils import SphinxDirective, SphinxRole

from kdcore.book import claims

FILE = claims.PUBLISHED
PAGE = "book/chapters/verdicts"
# Not by colour alone: full marks are decided, hollow ones leave something open.
MARKS = {
    "reproduced": "●",
    "holds only without the control": "◆",
    "control undecided": "◇",
    "no effect": "■",
    "not seen": "□",
    "undecided": "▽",
    "contradicted": "▲",
    "demonstration": "✦",
}
SPEED = 220  # words a minute


def anchor(claim_id: str) -> str:
    """The id of a claim's entry on the page of verdicts."""
    return f"claim-{claim_id}"


def lines_of(group: str) -> list[dict]:
    return [line for line in claims.published(FILE)["claims"] if claims.group(line) == group]


def css(word: str) -> str:
    return "kd-" + word.replace(" ", "-")


def line_of(claim_id: str) -> dict | None:
    """A claim's entry in verdicts.json; None where there is none."""
    return next((x for x in claims.published(FILE)["claims"] if x["id"] == claim_id), None)


def twins(claim_id: str) -> list[dict]:
    """The entries of claims that ask the same on photographs."""
    return [x for x in claims.published(FILE)["claims"] if x["garments"] == claim_id]


def said_of(claim_id: str, numbers: dict) -> str:
    """An estimate of a claim, its own or a control's, with unit and interval."""
    claim = next(c for c in claims.load() if c.id == claim_id)
    return claims.say(claim, claims.interval(numbers))


def weakest(line: dict) -> tuple[str, dict]:
    """The control that speaks most against the claim, and its numbers."""
    return min(line["controls"].items(), key=lambda one: line["direction"] * one[1]["estimate"])


# ------------------------------------------------------------------------- intervals as pictures


def drawn(line: dict) -> str:
    """An SVG of an estimate in margins, the claimed side on the right: the band is what would not
    matter, the tick the control that speaks most against the claim. Beyond 4 margins the axis ends.
    """
    if line["exact"] or line["demonstration"]:
        return ""
    scale, wide = line["direction"] / line["margin"], 4.0

    def x(value):
        return 60 + 14 * max(-wide, min(wide, scale * value))

    low, high = sorted((x(line["ci_low"]), x(line["ci_high"])))
    shapes = '<rect class="kd-band" x="46" y="0" width="28" height="20"/>'
    shapes += '<line class="kd-zero" x1="60" x2="60" y1="0" y2="20"/>'
    shapes += f'<line class="kd-bar" x1="{low:.1f}" x2="{high:.1f}" y1="10" y2="10"/>'
    shapes += f'<circle class="kd-dot" cx="{x(line["estimate"]):.1f}" cy="10" r="3.5"/>'
    said = f"estimate {scale * line['estimate']:.1f} margins"
    if line["controls"]:
        at = weakest(line)[1]["estimate"]
        shapes += f'<line class="kd-control" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="3" y2="17"/>'
        said += f", weakest control {scale * at:.1f}"
    return (
        f'<svg class="kd-drawn" viewBox="0 0 120 20" role="img" aria-label="{said}">{shapes}</svg>'
    )


def table(group: str) -> str:
    """Markdown: how many claims have each verdict; then claim, verdict, estimate, its picture, n
    and where its evidence is.
    """
    lines = lines_of(group)
    known = {claim.id: claim for claim in claims.load()}
    rows = [
        f"{len(lines)} claims: {claims.counted(lines)}.",
        "",
        "| claim | verdict | estimate [95 %] | in margins | n | see |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        cells = claims.shown(known[line["id"]], line)
        see = (
            f"{{numref}}`{line['figure']}`"
            if line["figure"]
            else f"{{doc}}`/book/chapters/{line['chapter']}`"
        )
        rows.append(
            f"| [{line['title']}](#{anchor(line['id'])}) | {MARKS[line['verdict']]} "
            f"{line['verdict']} | {cells['estimate [95 %]']} | {drawn(line)} | {cells['n']} | "
            f"{see} |"
        )
    return "\n".join(rows)


class Verdicts(SphinxDirective):
    required_arguments = 1  # one of claims.GROUPS

    def run(self):
        self.env.note_dependency(str(FILE))
        found = nodes.container(classes=["kd-verdicts"])
        found += self.parse_text_to_nodes(table(self.arguments[0]))
        return [found]


# --------------------------------------------------------------------------------------- the strip


class ClaimStrip(SphinxDirective):
    """Each claim a mark that links to its entry, by group and verdict; a key with counts."""

    def run(self):
        self.env.note_dependency(str(FILE))
        up = "../" * self.env.docname.count("/")
        page = f"{up}{PAGE}.html" if self.env.docname != PAGE else ""
        parts, count = [], Counter()
        for group, name in claims.GROUPS.items():
            lines = sorted(lines_of(group), key=lambda line: list(MARKS).index(line["verdict"]))
            if not lines:
                continue
            count.update(line["verdict"] for line in lines)
            marks = "".join(
                f'<li><a class="{css(line["verdict"])}" href="{page}#{anchor(line["id"])}" '
                f'title="{html.escape(line["title"])}: {line["verdict"]}" '
                f'aria-label="{html.escape(line["title"])}: {line["verdict"]}">'
                f"{MARKS[line['verdict']]}</a></li>"
                for line in lines
            )
            parts.append(
                f'<p class="kd-strip-name">{name}: {claims.counted(lines)}</p>'
                f'<ul class="kd-strip-marks">{marks}</ul>'
            )
        key = "".join(
            f'<li><span class="{css(word)}">{mark}</span> {word} ({count[word]})</li>'
            for word, mark in MARKS.items()
            if count[word]
        )
        body = f'<ul class="kd-strip-key">{key}</ul>' + "".join(parts)
        return [nodes.raw("", f'<div class="kd-strip">{body}</div>', format="html")]


# --------------------------------------------------------------------------------------- the cards


class Thumbnail(nodes.General, nodes.Element):
    """Stands for a chapter's figure until all pages are read."""


class Minutes(nodes.General, nodes.Element):
    """Stands for the reading time of a chapter's open part."""


class Answer(SphinxDirective):
    """A card that links to a chapter; its content is the answer."""

    required_arguments = 1  # the chapter, as a document
    option_spec = {
        "question": directives.unchanged_required,
        "figure": directives.unchanged_required,
        "claim": directives.unchanged_required,
    }
    has_content = True

    def run(self):
        chapter = self.arguments[0]
        card = nodes.container(classes=["kd-card"])
        card += Thumbnail(chapter=chapter, figure=self.options["figure"])
        question = f"**{{doc}}`{self.options['question']} </{chapter}>`**"
        card += self.parse_text_to_nodes(question)
        card += self.parse_content_to_nodes()
        claim = self.options["claim"]
        line = line_of(claim)
        if line is None:
            raise self.error(f"there is no claim {claim}")
        last = nodes.paragraph(classes=["kd-card-number"])
        said = f"{MARKS[line['verdict']]} *{line['title']}*: {line['verdict']}, {{claim}}`{claim}`"
        if line["controls"]:
            name, control = weakest(line)
            said += f"; after the control ({name}) {said_of(claim, control).partition(' [')[0]}"
        for twin in twins(claim):
            said += f"; on photographs: {twin['verdict']}, {{claim}}`{twin['id']}`"
        last += self.parse_inline(said)[0]
        last += Minutes(chapter=chapter)
        card += last
        return [card]


def minutes(doctree: nodes.document) -> int:
    """Reading time of what is open on a page, at least 1."""
    folded = [s for s in doctree.findall(nodes.section) if "evidence" in s["classes"]]
    return max(1, round((words(doctree) - sum(map(words, folded))) / SPEED))


def fill_cards(app, doctree, docname):
    """Puts the chapters' figures and reading times into the cards."""
    for place in list(doctree.findall(Thumbnail)):
        figures = app.env.get_doctree(place["chapter"]).findall(nodes.figure)
        figure = next((f for f in figures if place["figure"] in f["names"]), None)
        image = figure and next(iter(figure.findall(nodes.image)), None)
        if image is None:
            place.parent.remove(place)
            continue
        copy = image.deepcopy()
        copy["classes"] = ["dark-light", "kd-thumbnail"]
        place.replace_self(copy)
    for place in list(doctree.findall(Minutes)):
        found = minutes(app.env.get_doctree(place["chapter"]))
        place.replace_self(nodes.Text(f" · {found} min"))


# ------------------------------------------------------------------------------ a claim's number


class ClaimRole(SphinxRole):
    """{claim}`guo-kl`: "+0.077 nats [+0.075, +0.080]", linked to the claim."""

    def run(self):
        self.env.note_dependency(str(FILE))
        line = line_of(self.text)
        if line is None:
            message = self.inliner.reporter.error(
                f"there is no claim {self.text}", line=self.lineno
            )
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        up = "../" * self.env.docname.count("/")
        return [
            nodes.reference(
                "",
                said_of(self.text, line),
                refuri=f"{up}{PAGE}.html#{anchor(self.text)}",
                internal=True,
                classes=["kd-number"],
            )
        ], []


def setup(app):
    app.add_directive("verdicts", Verdicts)
    app.add_directive("claim-strip", ClaimStrip)
    app.add_directive("answer", Answer)
    app.add_role("claim", ClaimRole())
    app.add_node(Thumbnail)
    app.add_node(Minutes)
    app.connect("doctree-resolved", fill_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
