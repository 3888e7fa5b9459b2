"""The shape of kdcore: what may import what, what the front door names, one meaning for a name."""

import ast
import graphlib
import re
from collections import defaultdict
from pathlib import Path

import kdcore

PACKAGE = Path(__file__).parents[1] / "kdcore"


def name_of(path):
    parts = ("kdcore", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


MODULES = {
    name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")
}


def imported(tree):
    """The modules of kdcore that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES) or {node.module}
            if names - set(MODULES):  # a name that is no module is the package's own
                found.add(node.module)
    return found & set(MODULES)


IMPORTS = {name: imported(tree) for name, tree in MODULES.items()}


def of_book(name):
    return name == "kdcore.book" or name.startswith("kdcore.book.")


def test_nothing_outside_the_book_imports_the_book():
    assert [
        (name, other)
        for name, others in IMPORTS.items()
        for other in others
        if of_book(other) and not of_book(name)
    ] == []
    # and the check sees what is there
    assert "kdcore.train" in IMPORTS["kdcore.sweep"] and "kdcore.data" in IMPORTS["kdcore.train"]


def test_imports_have_no_circle():
    """Not even by imports inside functions: a circle hidden there is one all the same."""
    order = list(graphlib.TopologicalSorter(IMPORTS).static_order())
    assert order.index("kdcore.spec") < order.index("kdcore.train") < order.index("kdcore.sweep")


# ----------------------------------------------------------------------------------- the front door


def listed():
    """The modules that the docstring of kdcore names, in its order: "    name   what it is"."""
    return [f"kdcore.{name}" for name in re.findall(r"(?m)^    ([a-z_.]+)  ", kdcore.__doc__)]


def test_the_front_door_names_every_module_once():
    public = [
        name
        for name in MODULES
        if name != "kdcore"
        and "._" not in name
        and not name.startswith("kdcore.book.contrasts.")  # a file for each chapter
    ]
    assert sorted(listed()) == sorted(public)


def test_the_front_door_is_a_reading_order():
    """What a module imports stands above it."""
    order = listed()
    for name in order:
        for other in IMPORTS[name] & set(order):
            assert order.index(other) < order.index(name), f"{name} rests on {other}, below it"


def test_the_front_door_imports_nothing():
    assert len(MODULES["kdcore"].body) == 1 and ast.get_docstring(MODULES["kdcore"])


# ------------------------------------------------------------------------------ one name, one thing

# name -> why it stands in several modules
ALLOWED = {
    "check": "data.check(name): are the files here; settings.check(s): is the setting possible",
    "load": "data.load(data) and claims.load(): each is read with its module",
    "picture": "of a data set's entry, and of a photograph",
    "student": "a run (trials, settings), and the weights of the theory (eigen)",
    "teacher": "a run of trials, and one of settings: the two papers' regimes side by side",
    "optim": "as teacher",
    "glue": "the book's own HTML, in chapter and tables",
    "read": "the book's own: parameters, and the file of claims",
    "say": "the book's own: a number, and a verdict",
    "show": "the book's own: a figure, and a table",
    "table": "the book's own: of a page, and of a figure",
}


def definitions():
    found = defaultdict(set)
    for module, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(module)
    return found


def test_a_public_name_means_one_thing():
    """Statistics of claims are left out: each is named by its claim, and read as contrasts.NAME."""
    found = {
        name: {m for m in modules if not m.startswith("kdcore.book.contrasts")}
        for name, modules in definitions().items()
    }
    several = {name: sorted(modules) for name, modules in found.items() if len(modules) > 1}
    assert {name: modules for name, modules in several.items() if name not in ALLOWED} == {}
    # a name that is left in the list by mistake
    assert set(ALLOWED) <= set(several)
