"""Every notebook in notebooks/ can be parameterised, is compared by nbval, and shows nothing of the
machine it ran on.
"""

import re
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

import conftest
from kdcore import data
from kdcore.book import chapter

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# no second "=": papermill then does not see the parameter
LINE = re.compile(r"[a-z]\w*: [^=#]+ = [^=]+?  # [^=]*\S")
FOREIGN = re.compile(r"(?<![\w.:/<>+=-])/\w[\w.-]*/[\w.-]+|\b[A-Z]:\\|file://| at 0x[0-9a-f]{6,}")


def tags(cell):
    return cell.metadata.get("tags", [])


def problems(path):
    """What is wrong with a notebook, one sentence each; empty when it may be committed."""
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    parameters = [cell for cell in code if "parameters" in tags(cell)]
    found = []
    if (nb.nbformat, nb.nbformat_minor) < (4, 5):
        found.append("The format is older than 4.5: cells have no ids.")
    if (
        nb.metadata.get("kernelspec", {}).get("name") != "python3"
        or nb.metadata.kernelspec.get("language") != "python"
    ):
        found.append("kernelspec is not python3 with language python.")
    if len(parameters) != 1:
        found.append(f"{len(parameters)} cells are tagged parameters, not 1.")
    for line in (line for cell in parameters for line in cell.source.splitlines()):
        if not LINE.fullmatch(line) and line != "# fmt: off":
            found.append(f"Not `name: type = value  # meaning`: {line}")
    if any("injected-parameters" in tags(cell) for cell in code):
        found.append("There is an injected cell: refresh with --in-place.")
    if [cell.execution_count for cell in code if cell.source.strip()] != list(
        range(1, len(code) + 1)
    ):
        found.append(
            "Not executed once from top to bottom; nbval compares no cell that has not run."
        )
    if not outputs:
        found.append("There are no outputs: nbval would compare nothing.")
    if any(output.output_type == "error" for output in outputs):
        found.append("A cell shows an error.")
    if any(output.get("name") == "stderr" for output in outputs):
        found.append("A cell shows stderr.")
    if "FloatProgress" in str(nb.metadata.get("widgets", "")):
        found.append(
            "A progress bar was kept as a widget: plain tqdm writes to stderr, which is shown "
            "live and not kept."
        )
    if any("papermill" in part.metadata for part in [nb, *nb.cells]):
        found.append("papermill's times are in it: write it with scripts/execute_chapter.py.")
    for cell in code:
        if "chapter.provenance(" in cell.source and "nbval-ignore-output" not in tags(cell):
            found.append("The cell with chapter.provenance is not tagged nbval-ignore-output.")
    for cell in code:
        if "nbval-trained" in tags(cell):
            found += [
                f"{number} in {cell.id}, a trained number, has no word with a tolerance."
                for number in untolerated(cell)
            ]
    foreign = FOREIGN.search("\n".join(text for cell in nb.cells for text in texts(cell)))
    if foreign:
        found.append(f"An absolute path or address: {foreign[0]}")
    return found


def untolerated(cell):
    """Numbers with two decimals or more that nbval would want to the fifth digit."""
    for output in (conftest.prepared(output, trained=True) for output in cell.outputs):
        for kind, text in output.get("data", {}).items():
            if kind not in conftest.PICTURES and isinstance(text, str):
                found = conftest.numbers(text)
                yield from (n for n, metric in found if not metric and re.search(r"\.\d\d", n))


def texts(cell):
    yield cell.source
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/") or kind.endswith("xml"):
                yield str(content)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_sees_what_the_chapter_declares(path):
    seen = {name: entry["help"] for name, entry in papermill.inspect_notebook(path).items()}
    assert seen == {name: meaning for name, (_, meaning) in chapter.declared(path).items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_presets_fit(path, monkeypatch):
    """Every preset's names, types and ranges, whether or not its data are on this machine."""
    monkeypatch.setattr(data, "check", lambda name: None)
    monkeypatch.setattr(data, "available", lambda examples: (10**7, 10**7))
    code = [
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    ]
    # also what stands before, such as the settings that a parameter may name
    read = next(i for i, source in enumerate(code) if "chapter.read(" in source)
    class_and_imports = "\n".join([*code[:read], code[read].split("p = chapter.read(")[0]])
    quick = {name: default for name, (default, _) in chapter.declared(path).items()}
    for preset in [None, *sorted(ROOT.glob(f"presets/*/{path.stem}.yaml"))]:
        values = quick | (yaml.safe_load(preset.read_text()) if preset else {})
        scope = {"__name__": path.stem}
        exec(class_and_imports, scope)
        # The same value back, so that a page can tell its preset: write 0.001, not 1e-3, which is
        # text in YAML.
        assert chapter.read(scope["Parameters"], dict(values)).model_dump(mode="json") == values


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tables_are_written_by_one_function_and_hold_no_signed_zero(path):
    """kdcore.book.chapter.markdown: missing values, zeros and names of metrics are the same in
    every table; stored outputs are what it writes.
    """
    nb = nbformat.read(path, as_version=4)
    assert [
        cell.source
        for cell in nb.cells
        if cell.cell_type == "code" and ".to_markdown(" in cell.source
    ] == []
    shown = [
        output.data["text/markdown"]
        for cell in nb.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    for table in shown:
        assert chapter.tidy(table) == table


def test_presets_belong_to_chapters():
    others = ("datasets", "executors")  # laid over a preset; no preset
    presets = [p for p in (ROOT / "presets").glob("*/*.yaml") if p.parent.name not in others]
    assert {preset.stem for preset in presets} <= {path.stem for path in NOTEBOOKS}


# ------------------------------------------------------------------------------ the checks, checked


def sound():
    cells = [
        new_code_cell(
            "seeds: int = 2  # how many", metadata={"tags": ["parameters"]}, execution_count=1
        ),
        new_code_cell(
            "print(seeds)",
            execution_count=2,
            outputs=[new_output("stream", name="stdout", text="2\n")],
        ),
        new_code_cell(
            "chapter.provenance(p, rows)",
            metadata={"tags": ["nbval-ignore-output"]},
            execution_count=3,
        ),
    ]
    return new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )


def stripped(nb):
    for cell in nb.cells:
        cell.outputs, cell.execution_count = [], None


def broken(where, **changes):
    def change(nb):
        for key, value in changes.items():
            nb.cells[where][key] = value

    return change


OUTSIDE = "/".join(["", "home", "me"])  # in parts, so that no absolute path stands in this file
BROKEN = {
    "stripped": (stripped, "There are no outputs: nbval would compare nothing."),
    "not run": (broken(1, execution_count=None), "Not executed once from top to bottom"),
    "out of order": (broken(1, execution_count=5), "Not executed once from top to bottom"),
    "no parameters": (broken(0, metadata={}), "0 cells are tagged parameters"),
    "two parameter cells": (
        broken(1, metadata={"tags": ["parameters"]}),
        "2 cells are tagged parameters",
    ),
    "no type": (
        broken(0, source="seeds = 2  # how many"),
        "Not `name: type = value  # meaning`: seeds = 2",
    ),
    "no meaning": (
        broken(0, source="seeds: int = 2"),
        "Not `name: type = value  # meaning`: seeds: int",
    ),
    "two on a line": (
        broken(0, source="a: int = 0; b: int = 1  # both"),
        "Not `name: type = value  # meaning`: a",
    ),
    "stderr": (
        broken(1, outputs=[new_output("stream", name="stderr", text="50 %")]),
        "A cell shows stderr.",
    ),
    "error": (
        broken(1, outputs=[new_output("error", ename="E", evalue="", traceback=[])]),
        "A cell shows an error.",
    ),
    "a trained number held to the fifth digit": (
        broken(
            1,
            metadata={"tags": ["nbval-trained"]},
            outputs=[new_output("display_data", {"text/plain": "excess: 0.27"})],
        ),
        "0.27 in ",
    ),
    "path": (
        broken(1, source=f'open("{OUTSIDE}/data.csv")'),
        f"An absolute path or address: {OUTSIDE}",
    ),
    "address": (
        broken(1, outputs=[new_output("stream", text="<A object at 0x7f0011>")]),
        "An absolute path or address",
    ),
    "provenance compared": (
        broken(2, metadata={}),
        "The cell with chapter.provenance is not tagged",
    ),
    "kernel": (
        lambda nb: nb.metadata.kernelspec.update(name="conda-env"),
        "kernelspec is not python3",
    ),
    "progress": (
        lambda nb: nb.metadata.update(widgets={"x": "FloatProgressModel"}),
        "A progress bar was kept as a widget",
    ),
    "times": (lambda nb: nb.metadata.update(papermill={}), "papermill's times are in it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_notebook_is_refused(name, tmp_path):
    path = tmp_path / "x.ipynb"
    nbformat.write(sound(), path)
    assert problems(path) == []
    nb = sound()
    change, expected = BROKEN[name]
    change(nb)
    nbformat.write(nb, path)
    assert any(problem.startswith(expected) for problem in problems(path)), problems(path)
