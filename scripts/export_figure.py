"""Writes one figure of an executed chapter to a file.

python scripts/export_figure.py low_fidelity fig-fidelity-accuracy book/_assets/low-fidelity.svg
"""

import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def main(chapter, figure, target):
    notebook = nbformat.read(ROOT / "book" / "chapters" / f"{chapter}.ipynb", as_version=4)
    cells = {c.metadata.get("mystnb", {}).get("figure", {}).get("name"): c for c in notebook.cells}
    if figure not in cells:
        sys.exit(f"{chapter} has no figure {figure}. Figures: {', '.join(filter(None, cells))}.")
    svg = next(
        o.data["image/svg+xml"]
        for o in cells[figure].outputs
        if "image/svg+xml" in o.get("data", {})
    )
    Path(target).write_text(svg)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
