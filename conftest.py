"""What "the same output" means to nbval: words and whole numbers exactly, other numbers within
tests/tolerances.toml. At the end, fixtures that several test files share.
"""

import math
import re
import shutil
import tomllib
from pathlib import Path

import pytest

TOLERANCES = tomllib.loads((Path(__file__).parent / "tests" / "tolerances.toml").read_text())
WHOLE = r"[-+]?\d+"
NUMBER = re.compile(
    rf"(?<![\w.+-])(?:[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE]{WHOLE})?|{WHOLE}|[-+]?(?:nan|inf)\b)(?!\w)",
    re.I,
)
RECORD = "application/papermill.record/"  # what myst_nb.glue emits
PICTURES = tuple(
    prefix + kind
    for prefix in ("", RECORD)
    for kind in ("image/svg+xml", "image/png", "application/pdf")
)


def metric_of(text):
    """The last word of `text` that names a metric with a tolerance, or None."""
    return next(
        (
            word
            for word in reversed(re.split(r"[^a-z]+", text.lower()))
            if word in TOLERANCES["trained"]
        ),
        None,
    )


def column_of(number, line, header):
    """The part of `header` above `number`: the same cell of a markdown table, else the word that
    its column ends with.
    """
    if "|" in line:
        return "".join(header.split("|")[line[: number.start()].count("|") :][:1])
    return next((word[0] for word in re.finditer(r"\S+", header) if word.end() >= number.end()), "")


def numbers(text):
    """[(number as text, metric or None)]: the metric is named by the column, else by the words
    before on the line.
    """
    found, headers, after_row = [], [], False
    for line in text.splitlines():
        here = list(NUMBER.finditer(line))
        if not here:  # may head a table; pandas prints two such lines when the index has a name
            headers = [line] + ([] if after_row else headers)
        after_row = bool(here)
        for number in here:
            places = [column_of(number, line, header) for header in headers] + [
                line[: number.start()]
            ]
            found.append((number[0], next(filter(None, map(metric_of, places)), None)))
    return found


def close(ours, theirs, metric):
    if re.fullmatch(WHOLE, ours) or re.fullmatch(WHOLE, theirs):
        return ours == theirs
    a, b = float(ours), float(theirs)
    rtol, atol = (0, TOLERANCES["trained"][metric]) if metric else TOLERANCES["default"].values()
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rtol, abs_tol=atol)


class Tolerant(str):
    """A text that equals another when the words agree and the numbers are close."""

    def __new__(cls, text, trained):
        self = super().__new__(cls, text)
        self.trained = trained
        return self

    def __eq__(self, other):
        # Widths follow the numbers: blanks and table rules are folded.
        words = [re.sub(r"\s+|--+", " ", NUMBER.sub(" # ", text)).split() for text in (self, other)]
        ours, theirs = numbers(self), numbers(other)
        return words[0] == words[1] and all(
            close(a, b, m if self.trained else None) for (a, m), (b, _) in zip(ours, theirs)
        )

    def __ne__(self, other):  # str has its own
        return not self == other

    __hash__ = str.__hash__


def prepared(output, trained):
    """A display output where a glued number reads "name = number", and a trained table is compared
    once, as text.
    """
    if "data" not in output:
        return output
    data, name = dict(output["data"]), output["metadata"].get("scrapbook", {}).get("name")
    if name and RECORD + "text/plain" in data:
        data[RECORD + "text/plain"] = f"{name} = {data[RECORD + 'text/plain']}"
    if trained and not data.get("text/plain", "<").startswith("<"):
        data.pop("text/html", None)
    return type(output)({**output, "data": data})


def pytest_configure(config):
    from nbval.plugin import IPyNbCell

    compare, sanitize = IPyNbCell.compare_outputs, IPyNbCell.sanitize

    def trained(cell):
        return "nbval-trained" in cell.cell.metadata.get("tags", [])

    def tolerant(cell, text):
        return Tolerant(sanitize(cell, text), trained(cell)) if isinstance(text, str) else text

    def compare_outputs(cell, test, ref, skip_compare=None):
        return compare(
            cell,
            *([prepared(o, trained(cell)) for o in outs] for outs in (test, ref)),
            skip_compare,
        )

    IPyNbCell.sanitize, IPyNbCell.compare_outputs = tolerant, compare_outputs


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += PICTURES + ("stderr",)


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A run store for the tests of one file, and one thread; `pytestmark =
    pytest.mark.usefixtures("own_store")` asks for it.
    """
    import torch

    from kdcore.train import frozen

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDCORE_STORE", str(tmp_path_factory.mktemp("store")))
        frozen.cache_clear()
        torch.set_num_threads(1)
        yield
    frozen.cache_clear()


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        yield chromium
        chromium.close()
