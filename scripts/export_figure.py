"""Writes one figure of an executed chapter to a file.

python scripts/export_figure.py low_fidelity fig-two-rulers book/_assets/low-fidelity.svg
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from kd_book import outputs_of_figures  # noqa: E402


def main(chapter, figure, target):
    page = ROOT / "book" / "chapters" / f"{chapter}.ipynb"
    drawings = outputs_of_figures(page, "image/svg+xml")
    if figure not in drawings:
        sys.exit(f"{chapter} has no figure {figure}. Figures: {', '.join(drawings)}.")
    Path(target).write_text(drawings[figure])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
