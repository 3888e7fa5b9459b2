"""Names the chapters whose page has to be executed again.

    python scripts/stale_chapters.py PRESET NAME...

A page says what it was executed from (execute_chapter.inputs). Where that is unchanged, nothing is
executed: new prose and captions are put around the outputs that are there.
"""

import sys

import nbformat
from execute_chapter import (
    ROOT,
    inputs,
    normalise,
    notebook_of,
    parameters_of,
    preset_options,
    write,
)


def renewed(page, source):
    """The executed page with the prose, tags and captions of the notebook that it came from."""
    done = iter([cell for cell in page.cells if cell.cell_type == "code"])
    cells = []
    for cell in source.cells:
        cell.metadata.setdefault("tags", [])  # as papermill leaves it
        if cell.cell_type == "code":
            ran = next(done)
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
        cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            following = page.cells[[c.id for c in page.cells].index(cell.id) + 1]
            if "injected-parameters" in following.metadata.get("tags", []):
                cells.append(next(done))
    return nbformat.from_dict({**page, "cells": cells})


def is_current(name, preset):
    """Whether the page needs no execution; its prose is renewed on the way."""
    output = ROOT / "book" / "chapters" / f"{name}.ipynb"
    if not output.is_file():
        return False
    page = nbformat.read(output, 4)
    parameters = parameters_of(name, preset_options(name, preset))
    said, notebook = page.metadata.get("kdcore", {}), notebook_of(name)
    if said.get("inputs") != inputs(name, parameters):
        return False
    if said.get("notebook") != notebook:
        page.metadata["kdcore"] = {**said, "notebook": notebook}
        source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
        write(normalise(renewed(page, source)), output)
    return True


if __name__ == "__main__":
    preset, *names = sys.argv[1:]
    print(*[name for name in names if not is_current(name, preset)], sep="\n")
