"""The reference of kdcore, book/api.md: complete, and each docstring is shown as it was written."""

import ast
import re
from pathlib import Path

import kd_api
import pytest
from docutils import nodes

ROOT = Path(__file__).parents[1]


def name_of(path):
    parts = path.relative_to(ROOT / "kdcore").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = sorted(
    name
    for path in (ROOT / "kdcore").rglob("*.py")
    if (name := name_of(path)) and not name.startswith("_")
)


def listed():
    page = (ROOT / "book" / "api.md").read_text()
    return re.search(r"```\{kd-api\}\n(.*?)```", page, re.DOTALL)[1].split()


def test_every_module_is_on_the_page_once():
    assert sorted(listed()) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    tree = ast.parse(kd_api.source_of(module).read_text())
    assert ast.get_docstring(tree)
    assert [d.name for d in kd_api.public(tree.body) if not ast.get_docstring(d)] == []


# ------------------------------------------------------------------------- how a docstring is shown


def shown(docstring):
    """[(kind of node, its text)]; of a definition list its terms and descriptions."""
    found = []
    for node in kd_api.rendered(docstring):
        parts = (
            node.findall(lambda n: isinstance(n, (nodes.term, nodes.definition)))
            if isinstance(node, nodes.definition_list)
            else [node]
        )
        found += [(type(part).__name__, part.astext()) for part in parts]
    return found


def test_lines_of_a_paragraph_are_joined_and_quoted_names_are_code():
    assert shown("Mean of\n`x` over n.\n\nA `b  c` d.") == [
        ("paragraph", "Mean of x over n."),
        ("paragraph", "A b  c d."),
    ]
    (first, *_) = kd_api.rendered("Mean of\n`x` over n.")
    assert [node.astext() for node in first.findall(nodes.literal)] == ["x"]


def test_two_columns_are_definitions_that_go_on_below_themselves():
    text = "Kinds:\n    one    the first,\n           and more\n    two    the second\nAfter."
    assert shown(text) == [
        ("paragraph", "Kinds:"),
        ("term", "one"),
        ("definition", "the first, and more"),
        ("term", "two"),
        ("definition", "the second"),
        ("paragraph", "After."),
    ]


@pytest.mark.parametrize(
    "aligned", ["n    t   BCa\n2  .95  .51", "    f(x)    # comment\n    g(x)"]
)
def test_other_alignment_is_kept_as_it_is(aligned):
    assert shown("Table:\n\n" + aligned) == [("paragraph", "Table:"), ("literal_block", aligned)]


def words(text):
    return text.replace("`", "").split()


@pytest.mark.parametrize("module", MODULES)
def test_no_word_of_a_docstring_is_lost(module):
    tree = ast.parse(kd_api.source_of(module).read_text())
    for docstring in filter(None, map(ast.get_docstring, [tree, *kd_api.public(tree.body)])):
        assert words(" ".join(text for _, text in shown(docstring))) == words(docstring)


def test_the_comment_on_a_field_is_on_its_line_or_right_above_it():
    code = "class C:\n    a: int  # one\n    # two\n    # and more\n    b: int = 0\n    c: int\n"
    body = ast.parse(code).body[0].body
    comments = {2: ("one", False), 3: ("two", True), 4: ("and more", True)}
    assert [kd_api.comment_of(line, comments) for line in body] == ["one", "two and more", ""]


# --------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize(
    "code, line",
    [
        (
            "def f(a, b: int = 2, *c, d, e=None, **k) -> float: ...",
            "m.f(a, b: int = 2, *c, d, e=None, **k) -> float",
        ),
        ("def f(a, *, b=1): ...", "m.f(a, *, b=1)"),
        ("def f(self, a): ...", "m.f(a)"),
        ("@property\ndef f(self) -> str: ...", "property m.f -> str"),
        ("class C(Base): ...", "class m.C(Base)"),
        ("class C: ...", "class m.C"),
    ],
)
def test_signature(code, line):
    assert kd_api.signature(ast.parse(code).body[0], "m.").astext() == line
