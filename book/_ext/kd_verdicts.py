"""The directive {verdicts}: the claims of one paper counted and as a short table, from
book/results/verdicts.json.
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from kdcore.book import claims

FILE = claims.PUBLISHED


def written(paper):
    """Markdown: how many claims have each verdict, and a table of claim, estimate, seeds, verdict
    and where its evidence is.
    """
    lines = [line for line in claims.published(FILE)["claims"] if line["paper"] == paper]
    known = {claim.id: claim for claim in claims.load()}
    table = [
        f"{len(lines)} claims: {claims.counted(lines)}.",
        "",
        "| claim | verdict | ours [95 %] | n | see |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        cells = claims.shown(known[line["id"]], line)
        see = (
            f"{{numref}}`{line['figure']}`"
            if line["figure"]
            else f"{{doc}}`chapters/{line['chapter']}`"
        )
        table.append(
            f"| {line['title']} | {line['verdict']} | {cells['estimate [95 %]']} | {cells['n']} | "
            f"{see} |"
        )
    return table


class Verdicts(SphinxDirective):
    required_arguments = 1  # guo2024, nagarajan2023 or audit

    def run(self):
        self.env.note_dependency(str(FILE))
        found = nodes.container(classes=["kd-verdicts"])
        self.state.nested_parse(written(self.arguments[0]), self.content_offset, found)
        return [found]


def setup(app):
    app.add_directive("verdicts", Verdicts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
