"""What a chapter would cost, before anything is trained: `make plan NAME=... PRESET=...
PARAMS="..."`.

    python scripts/plan_chapter.py low_fidelity --preset paper

The chapter's own code is run, statement by statement, with a collector in place of training: rows
that are there are handed over, those that are missing have values that are nan. A statement that
cannot go on without a value is passed over; if it would have asked for rows, the plan says so.
Nothing is trained, stored or published; a few seconds go into measuring each network.
"""

import argparse
import ast
import contextlib
import io
import math
import os
import sys
import warnings
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
ASKS = {"collect", "sweep"}  # names by which rows, or runs, are asked for
PEAK = 67e12  # operations in a second, float32 without tensor cores: data sheet of an H100 SXM
REACHED = (0.6, 0.1)  # shares of it: large networks, small ones


# -------------------------------------------------------------------------- what the chapter asks for


def names(tree: ast.AST) -> set[str]:
    """Every name and attribute that stands in a piece of code."""
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)
    }


def asking(statements: list[ast.stmt]) -> set[str]:
    """The names by which a notebook asks for rows: also its own functions that do."""
    functions = {f.name: names(f) for f in statements if isinstance(f, ast.FunctionDef)}
    found = set(ASKS)
    while more := {name for name, inside in functions.items() if inside & found} - found:
        found |= more
    return found


def run(cells: list[str], parameters: dict, asked: list) -> list[str]:
    """Runs the code of a notebook, the first cell being that of its parameters; what could not be
    asked for, a sentence each.
    """
    trees = [(number, ast.parse(source)) for number, source in enumerate(cells, 1)]
    asks = asking([statement for _, tree in trees for statement in tree.body])
    last = max((n for n, tree in trees if names(tree) & asks), default=0)
    scope, unknown = {"__name__": "__main__"}, []
    for number, tree in trees[:last]:
        for statement in tree.body:
            calls = not isinstance(statement, ast.FunctionDef) and names(statement) & asks
            try:
                exec(compile(ast.Module([statement], []), f"cell {number}", "exec"), scope)
            except Exception as error:
                if not any(not row.there for row in asked):
                    raise  # nothing is missing: it is a fault
                if calls:
                    unknown.append(
                        f"cell {number}, line {statement.lineno} needs results that are not there "
                        f"({type(error).__name__}: {str(error).splitlines()[0][:80]})"
                    )
        scope |= parameters if number == 1 else {}
    return unknown
