"""Sentences that state what was found say so as long as the numbers do.

In a notebook or a page of book/ such a sentence, title or caption is [...]{.finding rests="..."},
and `rests` holds what it stands on, separated by semicolons:

    guo-kl: reproduced          the claim's verdict in book/results/verdicts.json
    guo-kl = 0.07               its estimate, rounded as it is written
    within_r > 0                a number of the page (chapter.glue), its whole interval; < 0 too
    within_r ~ 0                its interval holds zero
    n_seeds = 20                a number of the page, rounded as it is written
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESTS = re.compile(r"\{\.finding rests=\"([^\"]*)\"\}")
SPAN = re.compile(r"\{\.finding\b")
NUMBER = r"[-−+]?\d[\d,]*(?:\.\d+)?"
VERDICTS = {
    line["id"]: line
    for line in json.loads((ROOT / "book/results/verdicts.json").read_text())["claims"]
}


PAGES = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.md")])


def prose(path):
    """Markdown and captions of a page."""
    if path.suffix == ".md":
        yield path.read_text(encoding="utf-8")
        return
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])
        yield cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")


def findings():
    for path in PAGES:
        for text in prose(path):
            for rests in RESTS.findall(text):
                for one in rests.split(";"):
                    yield pytest.param(path.stem, one.strip(), id=f"{path.stem}: {one.strip()}")


def unquoted(shown):
    """A text from its repr, as myst_nb keeps it; the blank inside an interval is a no-break one."""
    return shown.strip("'\"").replace(r"\xa0", "\N{NO-BREAK SPACE}")


def glued(name):
    """{key: text} of the numbers of a published page."""
    path = ROOT / "book" / "chapters" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip(f"{path.name} is not executed: run make book first")
    text = path.read_text(encoding="utf-8")
    if "<dt>Preset</dt><dd>published</dd>" not in text:
        pytest.skip(f"{path.name} is not the published page: run make book first")
    found = {}
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            if key := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                data = output["data"].get("application/papermill.record/text/plain", "")
                found[key] = unquoted("".join(data))
    return found


def as_number(text):
    return float(text.replace("−", "-").replace(",", ""))


def is_rounded(value, written):
    """Whether `value`, in as many digits as `written` has, is what is written."""
    digits = len(written.partition(".")[2])
    return f"{value:.{digits}f}" == f"{as_number(written):.{digits}f}"


def interval(text):
    """(estimate, low, high) of a number as chapter.say writes it; all the same without bounds."""
    if bounds := re.search(rf"\[({NUMBER}),\s({NUMBER})\]", text):
        low, high = map(as_number, bounds.groups())
    estimate = as_number(re.search(NUMBER, text)[0])
    return (estimate, low, high) if bounds else (estimate, estimate, estimate)


def holds(name, rests):
    """Whether a sentence of the page `name` may still rest on this."""
    if match := re.fullmatch(r"([\w-]+): ([\w ]+)", rests):
        return VERDICTS[match[1]]["verdict"] == match[2]
    key, sign, number = re.fullmatch(rf"([\w-]+) ([<>=~]) ({NUMBER})", rests).groups()
    if key in VERDICTS:
        line = VERDICTS[key]
        estimate, low, high = line["estimate"], line["ci_low"], line["ci_high"]
    else:
        estimate, low, high = interval(glued(name)[key])
    if sign == "=":
        return is_rounded(estimate, number)
    bound = as_number(number)
    return {"<": high < bound, ">": low > bound, "~": low <= bound <= high}[sign]


@pytest.mark.parametrize("name, rests", list(findings()))
def test_what_a_sentence_rests_on_is_still_so(name, rests):
    assert holds(name, rests), f"{name}: a sentence rests on {rests!r}, which is no longer so"


def test_every_finding_says_what_it_rests_on():
    for path in PAGES:
        text = "\n".join(prose(path))
        assert len(SPAN.findall(text)) == len(RESTS.findall(text)), path.name


def test_a_claim_that_changed_and_a_number_that_moved_are_seen():
    claim = next(line for line in VERDICTS.values() if line["verdict"] == "contradicted")
    assert holds("verdicts", f"{claim['id']}: contradicted")
    assert not holds("verdicts", f"{claim['id']}: reproduced")
    assert holds("verdicts", f"{claim['id']} = {claim['estimate']:.2f}")
    assert not holds("verdicts", f"{claim['id']} = {claim['estimate'] + 0.1:.2f}")
    side = "<" if claim["ci_high"] < 0 else ">"
    assert holds("verdicts", f"{claim['id']} {side} 0")
    assert not holds("verdicts", f"{claim['id']} ~ 0")


def test_numbers_are_read_as_they_are_said():
    assert interval("−0.36 points [−0.61, −0.12]") == (-0.36, -0.61, -0.12)
    shown = repr("+0.02 points [−0.15,\N{NO-BREAK SPACE}+0.19]")
    assert interval(unquoted(shown)) == (0.02, -0.15, 0.19)
    assert interval("1,204") == (1204.0, 1204.0, 1204.0)
    assert is_rounded(-6.98, "−7.0") and not is_rounded(-6.92, "−7.0")
