"""What prose pages say of the book itself: sections that they name, what was read, what was run."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import faults  # noqa: E402

SOURCES = {
    path.stem: path.read_text(encoding="utf-8")
    if path.suffix == ".md"
    else "\n\n".join(
        "".join(cell["source"])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    )
    for path in [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
}
LABELS = {
    label: page
    for page, text in SOURCES.items()
    for label in re.findall(r"^\(([\w-]+)\)=\n(?:\{\.evidence\}\n)?#", text, re.MULTILINE)
}
ROWS = [line for line in SOURCES["checklist"].splitlines() if re.match(r"\| \d+ \|", line)]
READ = (
    "Of {cite:t}`nagarajan2023` we read the abstracts, the introduction's first lines and "
    "passages quoted elsewhere, not the body."
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.split("|")[1:3]))
def test_a_section_named_in_the_checklists_is_there_under_todays_heading(row):
    named = re.findall(r"\{ref\}`([^`]*)`", row)
    assert set(named) <= set(LABELS), "a heading with this label, whose own words are shown"
    assert not re.search(r"`,? \*[A-Z]", row), "a heading by its words does not follow its changes"
    pages = set(re.findall(r"\{doc\}`chapters/(\w+)`", row)) | {"notation", "reproduce"}
    assert {LABELS[label] for label in named} <= pages, "the chapter of each section is named"


@pytest.mark.parametrize(
    "page",
    ["intro", "verdicts", "checklist", "confidence_exaggeration", "notation", "when_to_disobey"],
)
def test_what_was_read_of_the_second_paper_is_said_in_one_sentence(page):
    assert READ in SOURCES[page]


def test_the_counts_of_faults_are_those_of_the_command_beside_them():
    told = (ROOT / "book" / "results" / "faults.sh").read_text(encoding="utf-8")
    allowed = set(re.findall(r"\b[A-Z]+=(\d+)", told))
    with (ROOT / "book" / "results" / "faults.csv").open(encoding="utf-8") as file:
        tried = {
            line["fault"]: line["tried"]
            for line in csv.DictReader(file)
            if not line["fault"].startswith(("two users", "bad parameters"))
        }
    assert tried and set(tried.values()) <= allowed


def test_the_command_of_a_run_of_faults_names_every_number(monkeypatch):
    monkeypatch.setenv("KILLS", "7")
    assert faults.command(["kills", "flips"]) == (
        "KILLS=7 FLIPS=100 python tests/faults.py _build/faults.csv kills flips\n"
    )
    assert faults.command(faults.KINDS).endswith(" make faults\n")
    assert "PUBLICATIONS=10" in faults.command(faults.KINDS)
