"""Writes one figure of an executed chapter to a file.

python scripts/export_figure.py low_fidelity fig-two-rulers book/_assets/low-fidelity.svg
"""

import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def main(chapter, figure, target):
    notebook = nbformat.read(ROOT / "book" / "chapters" / f"{chapter}.ipynb", as_version=4)
    drawings = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            name = output.get("metadata", {}).get("scrapbook", {}).get("name", name)  # glued
            for kind, svg in output.get("data", {}).items():
                if kind.endswith("image/svg+xml"):
                    drawings[name] = svg
    if figure not in drawings:
        known = ", ".join(filter(None, drawings))
        sys.exit(f"{chapter} has no figure {figure}. Figures: {known}.")
    Path(target).write_text(drawings[figure])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
