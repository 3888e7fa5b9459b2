"""What counts as the same output: one real nbval run over a notebook whose every cell is a case."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
TABLE = (
    "            accuracy    gap  epochs\n"
    "arm                                 \n"
    "weak weak      {:.3f}  {:.3f}      {}\n"
)
PIPES = (
    "| arm    | MI (nats)        |\n|:-------|:-----------------|\n| strong | {} [0.31, 0.45] |\n"
)

# name: (the notebook has, the run prints, cell is tagged nbval-trained, is the same)
CASES = {
    "last bits": ("x = 0.12345678", "x = 0.12345679", False, True),
    "third digit": ("x = 0.12345678", "x = 0.12358025", False, False),
    "tolerance of a metric needs the tag": ("accuracy: 0.812", "accuracy: 0.815", False, False),
    "word": ("loss 0.5 falls", "loss 0.5 rises", False, False),
    "whole number": ("correct 412", "correct 413", False, False),
    "whole number for a decimal": ("x = 1.0", "x = 1", False, False),
    "nan": ("x = nan, inf", "x = nan, inf", False, True),
    "nan for a number": ("x = 0.5", "x = nan", False, False),
    "noise around zero": ("x = 0.0", "x = 1e-12", False, True),
    "padding of an array": ("[ 0.1 -0.2]", "[ 0.10000001 -0.2]", False, True),
    "missing number": ("0.1 0.2", "0.1", False, False),
    "hash": ("spec 3f9e12", "spec 3f9e13", False, False),
    "trained, within": ("student accuracy: 0.812", "student accuracy: 0.829", True, True),
    "trained, beyond": ("student accuracy: 0.812", "student accuracy: 0.842", True, False),
    "trained, no metric named": ("temperature = 4.0", "temperature = 4.01", True, False),
    "trained, whole number": ("accuracy over 100 images", "accuracy over 101 images", True, False),
    "trained, word": ("accuracy 0.8: reproduced", "accuracy 0.8: contradicted", True, False),
    "trained table, within": (
        TABLE.format(0.812, 0.091, 8),
        TABLE.format(0.820, 0.1, 8),
        True,
        True,
    ),
    "trained table, beyond": (
        TABLE.format(0.812, 0.091, 8),
        TABLE.format(0.812, 0.12, 8),
        True,
        False,
    ),
    "trained table, whole number": (
        TABLE.format(0.812, 0.091, 8),
        TABLE.format(0.812, 0.091, 9),
        True,
        False,
    ),
    "trained pipes, within": (PIPES.format(0.38), PIPES.format(0.42), True, True),
    "trained pipes, beyond": (PIPES.format(0.38), PIPES.format(0.44), True, False),
}
GLUE = "from myst_nb import glue; glue({!r}, {}, display=False)"
FRAME = "import pandas; pandas.DataFrame({{'accuracy': [{}]}})"
SVG = (
    "from IPython.display import SVG, display; "
    'display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg" id="{}"/>\'))'
)

# name: (source of the notebook's output, source that is run, tagged, is the same)
SOURCES = {
    "glued, within": (GLUE.format("gap_weak", 0.1), GLUE.format("gap_weak", 0.11), True, True),
    "glued, beyond": (GLUE.format("gap_weak", 0.1), GLUE.format("gap_weak", 0.13), True, False),
    "glued under another name": (
        GLUE.format("gap_weak", 0.1),
        GLUE.format("gap_strong", 0.1),
        True,
        False,
    ),
    "frame, within": (FRAME.format(0.812), FRAME.format(0.82), True, True),
    "frame, beyond": (FRAME.format(0.812), FRAME.format(0.85), True, False),
    "frame, not trained": (FRAME.format(0.812), FRAME.format(0.82), False, False),
    "picture": (SVG.format("a"), SVG.format("b"), False, True),
    "progress": (
        "print('done')",
        "import sys; print('50 %', file=sys.stderr); print('done')",
        False,
        True,
    ),
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """{case: passed} of `pytest --nbval` with this project's conftest."""
    folder = tmp_path_factory.mktemp("nbval")
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "conftest.py", folder)
    shutil.copy(ROOT / "tests" / "tolerances.toml", folder / "tests")
    nb = new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    for has, _, _, _ in SOURCES.values():
        nb.cells.append(new_code_cell(has))
    nb = executed(nb)
    for cell, (_, runs, _, _) in zip(nb.cells, SOURCES.values()):
        cell.source = runs
    for has, prints, _, _ in CASES.values():
        output = new_output("stream", name="stdout", text=has + "\n")
        nb.cells.append(new_code_cell(f"print({prints!r})", outputs=[output], execution_count=1))
    for cell, (_, _, trained, _) in zip(nb.cells, [*SOURCES.values(), *CASES.values()]):
        cell.metadata["tags"] = ["nbval-trained"] * trained
    nbformat.write(nb, folder / "cases.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "--junitxml=result.xml",
        "-q",
        ".",
    ]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTEST_ADDOPTS": ""}
    )
    assert (folder / "result.xml").exists(), run.stdout + run.stderr
    cases = ET.parse(folder / "result.xml").iter("testcase")
    return dict(
        zip([*SOURCES, *CASES], [case.find("failure") is None for case in cases], strict=True)
    )


def executed(nb):
    from nbclient import NotebookClient

    return NotebookClient(nb).execute()


@pytest.mark.parametrize("case", [*SOURCES, *CASES])
def test_same_output(case, outcome):
    assert outcome[case] == (SOURCES | CASES)[case][3]
