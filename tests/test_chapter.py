"""A chapter's parameters, page blocks and execution, on a tiny chapter made here."""

import html
import importlib.metadata
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import nbformat
import pandas
import papermill
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_notebook
from papermill.cli import papermill as papermill_command
from pydantic import AfterValidator, Field, model_validator

from kdcore.book import chapter, claims, settings
from kdcore.stats import Interval

ROOT = Path(__file__).parents[1]

DECLARED = """\
dataset: str = "digits"  # which images
student: str = "resnet-8-16-32"  # network that is distilled
temperature: float = 4.0  # softens both outputs
seeds: int = 2  # independent students
loss: str = "kl"  # what pulls the student
strengths: list = [0.0, 0.5]  # augmentation strengths
"""
READ = """\
from typing import Literal
from pydantic import Field
from kdcore.book import chapter
class Parameters(chapter.Parameters):
    dataset: chapter.ImageDataset
    student: chapter.ModelName
    temperature: float = Field(gt=0)
    seeds: int = Field(ge=1, le=200)
    loss: Literal["kl", "mse"]
    strengths: list[float]
p = chapter.read(Parameters, globals())
chapter.table(p, "tiny")
"""
WORK = """\
import sys, warnings, numpy, ipywidgets
from tqdm import tqdm
for _ in tqdm(range(3), desc="training"): print("epoch", flush=True)
chapter.glue("mean_temperature", numpy.float64(p.temperature))
slider = ipywidgets.IntSlider(value=p.seeds)
ipywidgets.VBox([slider])
"""
ROWS = [
    {"spec": "a" * 64, "date": "2026-01-02T03:04", "seconds": 30.0},
    {"spec": "b" * 64, "date": "2026-01-03T03:04", "seconds": 10.0},
    {"spec": "b" * 64, "date": "2026-01-03T04:04", "seconds": 12.0},
]
RECORD = {
    "commit": "c0ffee",
    "torch": "2.13.0",
    "python": "3.11.7",
    "cpu": "a <fast> CPU",
    "threads": 1,
}
ROWS = [{"spec": row["spec"], "provenance": RECORD | row} for row in ROWS]
END = f'import pandas\nchapter.provenance(p, pandas.DataFrame({ROWS!r}), chapter="tiny")'


class Small(chapter.Parameters):
    dataset: chapter.ImageDataset
    student: chapter.ModelName
    temperature: float = Field(gt=0)
    seeds: int = Field(ge=1, le=200)
    loss: Literal["kl", "mse"]
    strengths: list[float]


# fmt: skip
GOOD = {
    "dataset": "digits",
    "student": "resnet-8-16-32",
    "temperature": 4.0,
    "seeds": 2,
    "loss": "kl",
    "strengths": [0.0, 0.5],
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with notebooks/tiny.ipynb and a published preset, and execute_chapter.py at work in
    it.
    """
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "presets" / "published").mkdir(parents=True)
    (tmp_path / "presets" / "published" / "tiny.yaml").write_text("seeds: 5\ntemperature: 2\n")
    cells = [new_code_cell(source) for source in (DECLARED, READ, WORK, END)]
    cells[0].metadata["tags"] = ["parameters"]
    nb = new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(nb, tmp_path / "notebooks" / "tiny.ipynb")
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def execute(project, monkeypatch):
    source = importlib.util.spec_from_file_location(
        "execute_chapter", ROOT / "scripts" / "execute_chapter.py"
    )
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    monkeypatch.setattr(script, "ROOT", project)

    def run(*arguments):
        return script.main(["tiny", *map(str, arguments)])

    run.script = script
    return run


def refusal(**changes):
    with pytest.raises(chapter.ParameterError) as caught:
        chapter.read(Small, GOOD | changes)
    return str(caught.value)


class Entry(chapter.Parameters):
    name: str
    size: int | None = Field(ge=1)


class Listed(chapter.Parameters):
    entries: list[Entry]


def test_data_too_few_for_the_parameters_are_told_without_reading_or_importing_anything_slow():
    """Nor does the one data set that comes from scikit-learn need it to be imported."""
    code = """import sys, pytest
from kdcore import data, spec
for name, row in data.SOURCES.items():
    train, test, _ = row.counts
    refused = f"n_train = {train + 1} is not allowed: {name} has 1 to {train} "
    for n_train, n_test, says in ((train + 1, test, refused), (train, test + 1, f"1 to {test} ")):
        with pytest.raises(ValueError, match=says):
            data.available(spec.Data(name=name, n_train=n_train, n_test=n_test, seed=0))
assert data._whole.cache_info().misses == 0
digits = data.load(spec.Data(name="digits", n_train=None, n_test=None, seed=0))
assert len(digits.train_y) == data.SOURCES["digits"].counts[0]
print([m for m in ("torch", "sklearn", "scipy") if m in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


# fmt: skip
@pytest.mark.parametrize(
    "entry, says",
    [
        ({"name": "a", "size": 0}, "entries[0].size = 0: must be at least 1."),
        ({"name": "a", "size": "x"}, "entries[0].size = 'x': must be a whole number."),
        ({"name": "a"}, "entries[0].size has no value: it must be given."),
    ],
)
def test_a_field_inside_a_list_is_named(entry, says):
    with pytest.raises(chapter.ParameterError) as caught:
        chapter.read(Listed, {"entries": [entry]})
    assert says in str(caught.value)


# fmt: skip
@pytest.mark.parametrize(
    "entries, where",
    [
        ([{"name": "x" * 10_000, "size": "y" * 10_000}], "entries[0].size = "),
        (
            [{"name": "a", "size": 1}, {"name": "a", "size": 1, "sizes": list(range(10_000))}],
            "entries[1].sizes = ",
        ),
        ([list(range(10_000))], "entries[0] = "),
        ("z" * 10_000, "entries = "),
    ],
)
def test_a_wrong_entry_is_named_and_not_printed_whole(entries, where):
    with pytest.raises(chapter.ParameterError) as caught:
        chapter.read(Listed, {"entries": entries})
    sentence = str(caught.value)
    assert sentence.startswith(where) and len(sentence) < 200 and sentence.count("\n") == 0


def test_a_value_is_shown_with_its_blanks_and_a_sentence_stays_on_one_line():
    def twice(value):
        raise ValueError("two\n   lines")

    class Text(chapter.Parameters):
        text: Annotated[str, AfterValidator(twice)]

    with pytest.raises(chapter.ParameterError) as caught:
        chapter.read(Text, {"text": "a  b"})
    assert str(caught.value) == "text = 'a  b': two lines."


def test_many_problems_end_after_some():
    lines = refusal(**{f"wrong_{i}": i for i in range(500)}).splitlines()
    assert len(lines) == 21 and lines[-1] == "There are 480 more such problems."
    assert (
        len("\n".join(lines)) < 3000
        and lines[0].endswith("loss, strengths.")
        and not lines[1].endswith("strengths.")
    )


def test_problems_of_a_model_that_a_validator_builds_are_sentences_of_their_own():
    class Outer(chapter.Parameters):
        size: int

        @model_validator(mode="after")
        def inner(self):
            Entry(name="a", size=self.size)
            return self

    with pytest.raises(chapter.ParameterError, match=r"^size = 0: must be at least 1\.$"):
        chapter.read(Outer, {"size": 0})


def test_nothing_slow_is_checked_where_a_name_is_unknown():
    class Slow(chapter.Parameters):
        size: int

        @model_validator(mode="after")
        def slow(self):
            raise AssertionError("data were loaded")

    with pytest.raises(
        chapter.ParameterError, match="^sizes is not a parameter of this chapter; did you mean size"
    ):
        chapter.read(Slow, {"size": 1, "sizes": 2})


UNSAFE = [
    "",
    " a",
    "a ",
    "a  b",
    "a|b",
    "<script>x</script>",
    "=1+1",
    "+a",
    "-a",
    "@a",
    "a*b*",
    "a `b`",
    "[a](b)",
    "$x$",
    "{ref}`x`",
    "a\nb",
    "a\tb",
    "_a_",
    "a _b_ c",
    # fmt: skip
    "a&lt;",
    "a\\b",
    "a#b",
    "a~b",
    "a^b",
    "nan",
    "a nan",
    "inf",
    "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "x" * 61,
]
SAFE = [
    "a",
    "nano net",
    "semi mi infant",
    "text: bag of words",
    "MLP, 10 % noise (w = 0.5)",
    "fashion_mnist, a/b",
    "Größe 2.5+",
    "text: transformer, too few epochs",
]


@pytest.mark.parametrize("name", UNSAFE + SAFE)
def test_names_of_settings_mean_nothing_in_markdown_html_figures_and_spreadsheets(name):
    given = dict(
        name=name,
        dataset="digits",
        n_train=100,
        n_test=50,
        label_noise=0.0,
        **settings.USUAL["images"],
    )
    if name in SAFE:
        assert settings.Setting(**given).name == name
        assert name in chapter.markdown(pandas.DataFrame({"setting": [name]}), index=False)
    else:
        with pytest.raises(ValueError, match="a name is 1 to 60 letters"):
            settings.Setting(**given)


@pytest.mark.parametrize(
    "text",
    [
        "a|b",
        "<script>x</script>",
        "`a`",
        "*a*",
        "_a_",
        "[a](b)",
        "$x$",
        "{ref}`x`",
        "a\\",
        "a\n# b",
        "&lt;",
    ],
)
def test_what_is_not_written_here_is_shown_as_it_is(text):
    page = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"| c |\n|---|\n| x {chapter.plain(text)} y |\n")
    )
    shown = " ".join(text.split())
    assert f"<td>x {html.escape(shown, quote=False)} y</td>" in page
    assert "<script" not in page


def test_import_is_light():
    code = (
        "import sys, kdcore.book.chapter\n"
        "print([m for m in ('torch', 'timm', 'pandas', 'sklearn') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "[]\n"
    )


def test_values_are_read_and_converted():
    # In, Out, private names and anything that is not plain data belong to IPython and the imports.
    p = chapter.read(
        Small,
        GOOD | {"temperature": 10, "strengths": [1, "1e-3"], "In": [""], "_x": 1, "json": json},
    )
    assert (p.temperature, p.strengths, p.seeds) == (10.0, [1.0, 0.001], 2)
    assert isinstance(p.temperature, float)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": 0}, "seeds = 0: must be at least 1."),
        ({"seeds": 201}, "seeds = 201: must be at most 200."),
        ({"seeds": "abc"}, "seeds = 'abc': must be a whole number."),
        ({"seeds": 2.5}, "seeds = 2.5: must be a whole number."),
        ({"seeds": True}, "seeds = True: must be a number."),
        ({"temperature": 0}, "temperature = 0: must be greater than 0.0."),
        ({"temperature": float("nan")}, "temperature = nan: must be a finite number."),
        ({"loss": "l2"}, "loss = 'l2': must be 'kl' or 'mse'."),
        ({"dataset": 5}, "dataset = 5: must be text."),
        ({"strengths": [0.5, "x"]}, "strengths[1] = 'x': must be a number."),
        ({"strengths": 0.5}, "strengths = 0.5: must be a list."),
    ],
)
def test_refusals_are_one_sentence(changes, sentence):
    assert refusal(**changes) == sentence


def test_all_problems_are_named_at_once():
    lines = refusal(seeds=0, temprature=5, loss="l2").splitlines()
    assert lines[0] == (
        "temprature is not a parameter of this chapter; did you mean temperature? "
        "Allowed: dataset, student, temperature, seeds, loss, strengths."
    )
    assert [line.split()[0] for line in lines] == ["temprature", "seeds", "loss"]
    without = {name: value for name, value in GOOD.items() if name != "seeds"}
    with pytest.raises(
        chapter.ParameterError, match="^seeds has no value: the parameters cell must assign it.$"
    ):
        chapter.read(Small, without)


def test_unknown_data_set_and_model():
    assert refusal(dataset="nowhere").startswith("dataset = 'nowhere': ")
    assert refusal(student="resnet-9").startswith("student = 'resnet-9': ")
    assert refusal(dataset="digits ").startswith("dataset = 'digits ': ")
    assert "known are digits" in (long := refusal(dataset="x" * 10_000)) and len(long) < 500


def test_second_run_of_the_cell_ignores_variables_of_later_cells():
    first = chapter.read(Small, GOOD)
    assert chapter.read(Small, GOOD | {"p": first, "epoch": 3, "seeds": 7}).seeds == 7


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "quick"),
        ({"seeds": 5, "temperature": 2.0}, "published"),
        ({"seeds": 5, "temperature": 5.0}, "custom: published with temperature = 5.0"),
        ({"strengths": [0.25], "loss": "mse"}, "custom: quick with loss = mse, strengths = [0.25]"),
    ],
)
def test_printed_command_rebuilds_the_page(project, monkeypatch, changes, label):
    p = chapter.read(Small, GOOD | changes)
    said, command = chapter.origin(p, "tiny")
    assert said == label
    (project / "book" / "chapters").mkdir(parents=True)
    monkeypatch.chdir(project)
    # The shell splits the command, papermill reads it; --prepare-only injects and runs nothing.
    words = subprocess.run(
        ["sh", "-c", f'printf "%s\\n" {command}'], capture_output=True, text=True
    ).stdout.splitlines()
    ran = CliRunner().invoke(papermill_command, [*words[1:], "--prepare-only"])
    assert ran.exit_code == 0, ran.output
    injected = nbformat.read("book/chapters/tiny.ipynb", 4).metadata.papermill.parameters
    assert chapter.read(Small, GOOD | dict(injected)) == p


def test_table_shows_value_default_range_and_the_comment(project):
    page = chapter.table(chapter.read(Small, GOOD | {"seeds": 9}), "tiny").data
    row = next(line for line in page.splitlines() if "<code>seeds</code>" in line)
    assert re.findall("<td>(.*?)</td>", row) == [
        "9",
        "2",
        "whole number ≥ 1 and ≤ 200",
        "independent students",
    ]
    assert page.count("<tr>") == 1 + len(GOOD)


def test_provenance_names_the_runs(project):
    page = chapter.provenance(
        chapter.read(Small, GOOD), pandas.DataFrame(ROWS), chapter="tiny"
    ).data
    # the run measured twice counts once
    assert "2 runs, 2026-01-02, 2026-01-03" in page and "42 s" in page
    assert "a &lt;fast&gt; CPU; threads: 1; precision: fp32" in page  # of rows that do not say it
    assert "a" * 64 in page and "c0ffee" in page
    row = {"spec": "c" * 64, "provenance": RECORD | ROWS[0]["provenance"] | {"precision": "bf16"}}
    page = chapter.provenance(
        chapter.read(Small, GOOD), pandas.DataFrame([*ROWS, row]), chapter="tiny"
    ).data
    assert "precision: bf16, fp32" in page
    empty = chapter.provenance(chapter.read(Small, GOOD), pandas.DataFrame(), chapter="tiny").data
    assert "papermill notebooks/tiny.ipynb" in empty and "Measured" not in empty


def test_page_is_not_lost_where_something_about_it_cannot_be_told(project, monkeypatch):
    """All this is asked after training: a folder's file that is no preset, kdcore used without
    being installed.
    """
    for name, content in (("mine", b"seeds: [1"), ("list", b"- 1"), ("bytes", b"\xff\xfe\x00")):
        (project / "presets" / name).mkdir()
        (project / "presets" / name / "tiny.yaml").write_bytes(content)

    def absent(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(chapter.importlib.metadata, "version", absent)
    page = chapter.provenance(
        chapter.read(Small, GOOD | {"seeds": 5, "temperature": 2}),
        pandas.DataFrame(ROWS),
        chapter="tiny",
    ).data
    assert "<dd>published</dd>" in page and "timm of unknown version" in page


def test_what_a_row_says_is_escaped(project):
    row = {
        "spec": "<b>",
        "provenance": dict.fromkeys(RECORD | ROWS[0]["provenance"], "<script>") | {"seconds": 1.0},
    }
    page = chapter.provenance(
        chapter.read(Small, GOOD), pandas.DataFrame([row]), chapter="tiny"
    ).data
    assert "<script>" not in page and "<b>" not in page and "&lt;b&gt;" in page


# ------------------------------------------------------------------------------------------ numbers

NAN = float("nan")


# fmt: skip
@pytest.mark.parametrize(
    "interval, options, text",
    [
        (Interval(0.3, 0.13, 0.48, 5), {}, "+0.30 points [+0.13,\xa0+0.48]"),
        (Interval(-0.3, -0.48, 0.1, 5), {}, "−0.30 points [−0.48,\xa0+0.10]"),
        (Interval(-0.001, -0.004, 0.002, 5), {}, "0.00 points [0.00,\xa00.00]"),
        (Interval(-0.04, -0.5, 0.0, 5), dict(digits=1, unit=""), "0.0 [−0.5,\xa00.0]"),
        (Interval(-0.4, -0.5, 0.0, 5), dict(digits=0), "0 points [0,\xa00]"),
        (Interval(1.0, NAN, NAN, 1), {}, "+1.00 points (one seed)"),
        (Interval(NAN, NAN, NAN, 1), dict(unit=" in slope"), "–"),
    ],
)
def test_interval_in_prose_has_no_signed_zero_and_no_nan(interval, options, text):
    assert chapter.say(interval, **options) == text


# fmt: skip
@pytest.mark.parametrize(
    "given, text",
    [
        ("agree -0.0 points, +0.00.", "agree 0.0 points, 0.00."),
        ("−0.000 [−0.029, +0.000]", "0.000 [−0.029, 0.000]"),
        ("+nan in slope, nan", "– in slope, –"),
        (
            "-0.05 and 10-0.0 and 2026-01-02, 1e-0, a-0, T-0.0x",
            "-0.05 and 10-0.0 and 2026-01-02, 1e-0, a-0, T-0.0x",
        ),
        ("nano banana", "nano banana"),
    ],
)
def test_numbers_in_a_text_are_tidied_and_nothing_else(given, text):
    assert chapter.tidy(given) == text


def test_table_changes_missing_cells_names_of_metrics_and_zeros_only():
    frame = pandas.DataFrame(
        {
            "setting": ["nano net", "text: kl mi x", "a -0.0 b"],
            "kl own": [0.5, NAN, -0.0001],
            "pair": ["−0.00 / −0.01", "nan / 1", "+0.0"],
            "mi": 1,
        }
    )
    lines = chapter.markdown(frame, index=False, floatfmt=".3f").splitlines()
    assert [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])
    ] == [
        ["setting", "KL own", "pair", "MI"],
        ["nano net", "0.500", "0.00 / −0.01", "1"],
        ["text: kl mi x", "–", "– / 1", "1"],
        ["a -0.0 b", "0.000", "0.0", "1"],
    ]
    assert len(set(map(len, lines))) == 1, "the columns stand as they stood"
    plain = pandas.DataFrame({"accuracy": [0.25, -1.5], "n": [3, 4]}, index=["a", "b"])
    assert chapter.markdown(plain, floatfmt=".2f") == plain.to_markdown(floatfmt=".2f")


def test_claim_without_an_estimate_is_kept_and_said():
    claim = next(c for c in claims.load() if not c.exact and c.unit != "r")
    numbers = claims._numbers(Interval(NAN, NAN, NAN, 1))
    assert numbers == {"estimate": None, "ci_low": None, "ci_high": None, "n": 1}
    assert claims.shown(claim, numbers | {"controls": {}}) | {"controls": ""} == {
        "n": "1",
        "estimate [95 %]": "–",
        "controls": "",
        "verdict": "undecided",
    }
    exact = next(c for c in claims.load() if c.exact)
    assert claims.say(exact, Interval(NAN, -0.0, NAN, 3)) == "0 to –"


@pytest.mark.parametrize(
    "value, kept", [("-0.00", "0.00"), ("nan", "–"), ("nano", "nano"), (-0.5, -0.5)]
)
def test_glued_texts_are_tidied(monkeypatch, value, kept):
    found = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: found.update({name: value}))
    chapter.glue("x", value)
    assert found == {"x": kept}


def test_two_runs_give_the_same_bytes(project, execute, capfd):
    execute("--preset", "published", "-p", "temperature", "5")
    target = project / "book" / "chapters" / "tiny.ipynb"
    first = target.read_bytes()
    said = capfd.readouterr()
    assert "training: 100%" in said.err and str(target) in said.out  # progress reached the terminal
    execute("--preset", "published", "-p", "temperature", "5")
    assert target.read_bytes() == first

    nb = nbformat.reads(first.decode(), 4)
    nbformat.validate(nb)
    _, injected, read, work, end = nb.cells
    assert "custom: published with temperature = 5.0" in end.outputs[0].data["text/html"]
    assert "seeds = 5" in injected.source and "remove-cell" in injected.metadata.tags
    assert [o.name for o in work.outputs if o.output_type == "stream"] == ["stdout"]
    assert work.outputs[0].text == "epoch\n" * 3
    glued = next(o for o in work.outputs if "scrapbook" in o.get("metadata", {}))
    assert glued.data["application/papermill.record/text/plain"] == "5.0"  # no np.float64(5.0)
    view = work.outputs[-1].data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert view in nb.metadata.widgets["application/vnd.jupyter.widget-state+json"].state


def test_in_place_refreshes_the_source_only_on_success(project, execute):
    source = project / "notebooks" / "tiny.ipynb"
    before = nbformat.read(source, 4)
    execute("--in-place")
    nb = nbformat.read(source, 4)
    assert [(c.id, c.source) for c in nb.cells] == [(c.id, c.source) for c in before.cells]
    assert [c.execution_count for c in nb.cells] == [1, 2, 3, 4] and "quick" in nb.cells[3].outputs[
        0
    ].data["text/html"]

    nb.cells[2].source = "raise RuntimeError('no memory left')"
    nbformat.write(nb, source)
    committed = source.read_bytes()
    with pytest.raises(
        SystemExit, match=r"(?s)tiny: cell \[3\] failed.*RuntimeError: no memory left"
    ):
        execute("--in-place")
    assert source.read_bytes() == committed and len(list(source.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-p", "temprature", "5"],
            "tiny has no parameter temprature. Parameters: dataset, student, temperature, ",
        ),
        (["-y", "{1: 2}"], "tiny has no parameter 1. Parameters: dataset, "),
        (
            ["-p", "seeds"],
            "papermill does not understand -p seeds: Option '-p' requires 2 arguments.",
        ),
        (
            ["-f", "absent.yaml"],
            "papermill cannot read -f absent.yaml: [Errno 2] No such file or directory: "
            "'absent.yaml'. Parameters are a YAML mapping",
        ),
        (["-y", "seeds: [1"], "papermill cannot read -y 'seeds: [1': while parsing"),
        (["-y", "[1, 2]"], "papermill cannot read -y '[1, 2]': "),
        (["-y", "5"], "papermill cannot read -y 5: "),
        (["-b", "x"], "papermill cannot read -b x: "),
        (["--words", "-p seeds 'x"], "-p seeds 'x cannot be taken apart: No closing quotation."),
        (
            ["--words", "-p seeds 1;"],
            "tiny: these parameters do not fit.\nseeds = '1;': must be a whole number.",
        ),
        (
            ["-p", "seeds", "0", "-p", "loss", "l2"],
            "tiny: these parameters do not fit.\nseeds = 0: must be at least 1.\nloss = 'l2': "
            "must be 'kl' or 'mse'.",
        ),
        (["--preset", "publshed"], "tiny has no preset publshed. Presets: quick, published."),
        (["--in-place", "-p", "seeds", "3"], "--in-place keeps the outputs of the defaults"),
    ],
)
def test_nothing_starts_with_a_mistyped_request(execute, monkeypatch, arguments, message):
    monkeypatch.setattr(papermill, "execute_notebook", None)
    with pytest.raises(SystemExit, match=re.escape(message)) as caught:
        execute(*arguments)
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content", [b"- 1\n- 2\n", b"seeds: [1\n", b"\xff\xfe\x00", b"just text", b"seeds: 3: 4"]
)
def test_a_file_that_holds_no_parameters_is_one_sentence(project, execute, content):
    for path in (project / "mine.yaml", project / "presets" / "published" / "tiny.yaml"):
        path.write_bytes(content)
    for arguments in (["-f", project / "mine.yaml"], ["--preset", "published"]):
        with pytest.raises(
            SystemExit,
            match=r"^papermill cannot read -f .*\. "
            r"Parameters are a YAML mapping of names to values\.$",
        ):
            execute(*arguments)


WORDS = [
    "None",
    "010",
    "12:30",
    "1e-3",
    "-1e-3",
    "-5",
    "1_000",
    "1.5e3",
    "True",
    "true",
    "yes",
    "null",
    "",
    " 7",
    "0x10",
    "nan",
    "inf",
    "2026-01-02",
    "[1, 2]",
    "~",
    "'3'",
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("option", ["-p", "-r"])
def test_both_front_ends_read_a_value_alike(project, execute, monkeypatch, option, word):
    page = project / "papermill.ipynb"
    ran = CliRunner().invoke(
        papermill_command,
        [
            str(project / "notebooks" / "tiny.ipynb"),
            str(page),
            "--prepare-only",
            option,
            "dataset",
            word,
        ],
    )
    assert ran.exit_code == 0, ran.output
    direct = json.loads(page.read_text())["metadata"]["papermill"]["parameters"]
    both = [
        execute.script.parameters_of("tiny", words)
        for words in ([option, "dataset", word], shlex.split(shlex.join([option, "dataset", word])))
    ]
    assert repr(both) == repr([direct, direct])


def test_page_that_cannot_be_written_is_said_before_anything_is_trained(
    project, execute, monkeypatch
):
    monkeypatch.setattr(papermill, "execute_notebook", None)
    (project / "file").write_text("")
    with pytest.raises(SystemExit, match=r"file/out\.ipynb cannot be written: "):
        execute("--output", project / "file" / "out.ipynb")


def test_papermill_itself_is_stopped_within_two_seconds(project):
    """papermill only logs unknown names: the chapter refuses them, with a message and no stack,
    before torch is loaded.
    """
    page = project / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            "tiny.ipynb", page, {"temprature": 5, "seeds": 0}, progress_bar=False
        )
    assert caught.value.ename == "ParameterError" and len(caught.value.traceback) == 3
    assert (
        "did you mean temperature?" in caught.value.evalue
        and "seeds = 0: must be at least 1." in caught.value.evalue
    )
    failed = next(
        c for c in nbformat.read(page, 4).cells if c.metadata.get("papermill", {}).get("exception")
    )
    assert failed.source == READ and failed.metadata.papermill.duration < 2


# --------------------------------------------------------------- what need not be executed again


def edit(project, change):
    """Changes the cells of notebooks/tiny.ipynb."""
    path = project / "notebooks" / "tiny.ipynb"
    nb = nbformat.read(path, 4)
    change(nb.cells)
    nbformat.write(nb, path)


@pytest.fixture
def is_current(execute, monkeypatch):
    """stale_chapters.is_current of the tiny chapter, with its published page executed."""
    monkeypatch.setitem(sys.modules, "execute_chapter", execute.script)
    source = importlib.util.spec_from_file_location(
        "stale_chapters", ROOT / "scripts" / "stale_chapters.py"
    )
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    assert not script.is_current("tiny", "published")  # there is no page
    execute("--preset", "published")
    return lambda: script.is_current("tiny", "published")


def test_new_prose_is_put_around_outputs_that_stay(project, is_current):
    page = project / "book" / "chapters" / "tiny.ipynb"
    before = page.read_bytes()
    assert is_current() and page.read_bytes() == before
    edit(project, lambda cells: cells.insert(1, nbformat.v4.new_markdown_cell("# Said anew")))
    edit(project, lambda cells: cells[-1].metadata.update(tags=["hide-input"]))
    assert is_current()
    after = nbformat.read(page, 4)
    assert "# Said anew" in [cell.source for cell in after.cells]
    assert after.cells[-1].metadata["tags"] == ["hide-input"]
    assert "injected-parameters" in [cell.id for cell in after.cells]
    old = [cell for cell in nbformat.reads(before.decode(), 4).cells if cell.cell_type == "code"]
    new = [cell for cell in after.cells if cell.cell_type == "code"]
    assert [c.outputs for c in new] == [c.outputs for c in old]
    assert [c.source for c in new] == [c.source for c in old]


@pytest.mark.parametrize(
    "change",
    [
        lambda project: edit(project, lambda cells: cells[-2].update(source="1 + 1")),
        lambda project: (project / "presets/published/tiny.yaml").write_text("seeds: 6\n"),
        lambda project: (project / "book/claims.yml").write_text("[]\n"),
        lambda project: (project / "book/chapters/tiny.ipynb").unlink(),
    ],
    ids=["code", "parameters", "claims", "no page"],
)
def test_what_a_page_follows_from_makes_it_stale(project, is_current, change):
    assert is_current()
    change(project)
    assert not is_current()


def test_published_rows_make_a_page_stale(project, is_current, monkeypatch, tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    monkeypatch.setenv("KDCORE_RESULTS", str(rows))
    assert not is_current()  # executed from the committed ones


def test_a_page_that_reads_others_asks_what_they_follow_from_and_not_their_prose(execute, tmp_path):
    page = tmp_path / "a.ipynb"
    page.write_text(json.dumps({"metadata": {"kdcore": {"inputs": "of its code and rows"}}}))
    assert execute.script.inputs_said_by(page) == "of its code and rows"
    page.write_text(json.dumps({"metadata": {}, "cells": ["anything"]}))
    assert "anything" in execute.script.inputs_said_by(page)
