"""What a hosting service reads: the workflow that tests and publishes the book, the environment of
Binder, links to notebooks, the citation.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import kd_launch
import pytest
import yaml

ROOT = Path(__file__).parents[1]
EXTENSIONS = ROOT / "book" / "_ext"

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
PLACE = "someone/a-book", "0123abc"


# ----------------------------------------------------------------------------------------- workflow


def test_workflow_runs_the_commands_of_this_repository_and_nothing_else():
    commands = [step["run"] for step in STEPS if "run" in step]
    targets = re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text())
    own = {".ci/run", "chromium --version"} | {f"make {target}" for target in targets}
    assert ".ci/run" in commands and set(commands) <= own
    assert all((ROOT / command).is_file() for command in commands if command.startswith("."))


def test_actions_are_the_official_ones_and_pinned_by_commit():
    """A tag can be moved to other code, a commit cannot; the version stands in a comment."""
    used = re.findall(r"(?m)uses: (.*)$", (ROOT / ".github" / "workflows" / "book.yml").read_text())
    assert len(used) >= 6 and all(
        re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used
    ), used
    assert len(set(used)) == len({action.split("@")[0] for action in used}), (
        "one commit for each action"
    )


def test_published_pages_have_to_be_complete():
    """The switch of `make site` is on for all steps, so for the build whose pages are uploaded."""
    assert WORKFLOW["env"]["KDCORE_SITE"] == "1"
    told = subprocess.run(
        ["make", "-n", "book", "-o", ".venv/.stamp"],
        cwd=ROOT,
        env=os.environ | {"KDCORE_SITE": "1"},
        capture_output=True,
        text=True,
    )
    assert "vendor_js.py --required" in told.stdout and "check_book.py --site" in told.stdout
    plain = subprocess.run(
        ["make", "-n", "book", "-o", ".venv/.stamp"],
        cwd=ROOT,
        env=os.environ | {"KDCORE_SITE": ""},
        capture_output=True,
        text=True,
    )
    assert (
        "vendor_js.py" in plain.stdout
        and "--required" not in plain.stdout
        and "--site" not in plain.stdout
    )


def test_changes_are_tested_and_only_main_is_published():
    on = WORKFLOW[True]  # YAML reads the word `on` as true
    assert {"push", "pull_request"} <= set(on)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    granted = {name: job.get("permissions") for name, job in WORKFLOW["jobs"].items()}
    assert granted == {"book": None, "publish": {"pages": "write", "id-token": "write"}}
    publish = WORKFLOW["jobs"]["publish"]
    assert "github.ref == 'refs/heads/main'" in publish["if"] and publish["needs"] == "book"


def test_python_of_the_workflow_and_of_binder_is_the_one_pinned_for():
    minor = re.search(r"Python (3\.\d+)", (ROOT / "requirements.txt").read_text())[1]
    setup = next(
        step["with"] for step in STEPS if step.get("uses", "").startswith("actions/setup-python")
    )
    assert setup["python-version"] == minor
    assert (ROOT / ".binder" / "runtime.txt").read_text().strip() == f"python-{minor}"


def test_binder_installs_the_requirements_and_kdcore():
    lines = (ROOT / ".binder" / "requirements.txt").read_text().split("\n")
    assert (
        ROOT / ".binder" / next(line.split()[1] for line in lines if line.startswith("-r "))
    ).resolve() == ROOT / "requirements.txt"
    script = ROOT / ".binder" / "postBuild"
    assert "--editable ." in script.read_text() and script.stat().st_mode & 0o100, (
        "postBuild must be executable"
    )
    subprocess.run(["bash", "-n", script], check=True)


# ----------------------------------------------------------------------------------------- Makefile

STUB = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    own = {{k: v for k, v in os.environ.items() if k.startswith("KDCORE_")}}
    print(json.dumps([sys.argv[1:], own]), file=log)
"""


@pytest.fixture
def made(tmp_path):
    """made(*words) -> what `make` with these words calls Python with, in a folder whose name is
    hard on a shell: [(arguments, KDCORE_ variables)].
    """
    folder = tmp_path / "a b'c\"d$HOME`e`;&(f"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "tiny.ipynb").touch()
    (folder / "_toc.yml").write_text(
        "chapters:\n  - file: book/chapters/tiny\n  - file: book/chapters/verdicts\n"
    )
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    log, stub = tmp_path / "log", folder / ".venv" / "bin" / "python"
    stub.write_text(STUB.format(python=sys.executable, log=str(log)))
    stub.chmod(0o755)
    (folder / ".venv" / ".stamp").touch()

    def make(*words, **variables):
        log.unlink(missing_ok=True)
        env = {
            k: v for k, v in os.environ.items() if not k.startswith(("KDCORE_", "MAKE"))
        } | variables
        run = subprocess.run(
            ["make", "-C", folder, *words], env=env, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return [tuple(json.loads(line)) for line in log.read_text().splitlines()]

    make.folder = folder
    return make


def test_make_works_in_a_folder_with_any_name(made):
    here = str(made.folder)
    assert made("publish", "NAME=tiny")[0] == (
        ["scripts/execute_chapter.py", "--preset", "published", "--", "tiny"],
        {"KDCORE_PUBLISH": f"{here}/book/results"},
    )
    own = {
        "KDCORE_TRAIN": "1",
        "KDCORE_RESULTS": "",
        "KDCORE_STORE": f"{here}/_build/reproduce/store",
        "KDCORE_PUBLISH": f"{here}/_build/reproduce/results",
    }
    calls = made("reproduce")
    assert len(calls) == 5 and all(environment == own for _, environment in calls)
    # what is stale is asked; here nothing is
    assert [arguments[-1] for arguments, _ in calls[1:3]] == ["tiny", "verdicts"]
    # a page is made from what is published
    assert [environment for _, environment in made("book")][1:2] == [{"KDCORE_TRAIN": "0"}]
    for target, first in (
        ("book", "scripts/vendor_js.py"),
        ("pdf", "-c"),
        ("bench", "benchmarks/bench.py"),
        ("test", "-m"),
    ):
        assert made(target)[0][0][0] == first
    (refreshed,) = made("refresh", "NAME=tiny", TMPDIR=here)
    assert (
        refreshed[0][-1] == "tiny"
        and refreshed[1]["KDCORE_STORE"].startswith(here)
        and not Path(refreshed[1]["KDCORE_STORE"]).exists()
    )


@pytest.mark.parametrize(
    "text",
    [
        "-p a 'b c'",
        "-p a $HOME",
        "-p a `id`",
        "-p a 1; touch made",
        '-y "{a: [1, 2]}"',
        "-p a *",
        "-p a 1 # b",
        "-p a \\",
        "-p a 1\n-p b 2",
    ],
)
def test_make_hands_on_what_it_is_given_as_it_is(made, text):
    (((*_, words, _, name), _),) = made("chapter", f"NAME={text}", f"PARAMS={text}")
    assert (words, name) == (f"--words={text}", text)
    (((*_, words, _, _), _),) = made("chapter", NAME="tiny", PARAMS=text)
    assert words == f"--words={text}"
    assert not (made.folder / "made").exists()


# ------------------------------------------------------------------------------- links to notebooks


def build(folder, repository):
    """A page that stands for a chapter and one that stands for book/reproduce.md, built with and
    without a public repository: their HTML.
    """
    hosting = {"GITHUB_REPOSITORY": repository, "GITHUB_SHA": PLACE[1]} if repository else {}
    env = (
        {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
        | hosting
        | {"PYTHONPATH": str(EXTENSIONS)}
    )
    (folder / "book" / "chapters").mkdir(parents=True)
    (folder / "conf.py").write_text(
        "extensions = ['myst_parser', 'kd_launch']\nhtml_theme = 'basic'\n"
    )
    (folder / "index.md").write_text(
        "# All\n\n```{toctree}\nbook/chapters/low_fidelity\n```\n\n```{kd-launch}\n```\n"
    )
    (folder / "book" / "chapters" / "low_fidelity.md").write_text(
        "# Low fidelity\n\nFirst words.\n"
    )
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-n", "-W", folder, folder / "out"],
        env=env,
        check=True,
    )
    return [
        (folder / "out" / name).read_text()
        for name in ("book/chapters/low_fidelity.html", "index.html")
    ]


def test_hosted_chapter_has_links_below_its_title(tmp_path):
    page, listing = build(tmp_path, PLACE[0])
    for address in (
        "https://colab.research.google.com/github/someone/a-book/blob/0123abc/notebooks/low_fidelity.ipynb",
        "https://mybinder.org/v2/gh/someone/a-book/0123abc?urlpath=lab/tree/notebooks/low_fidelity.ipynb",
    ):
        assert f'href="{address}"' in page and f'href="{address}"' in listing
    assert (
        page.index("<h1>")
        < page.index("Open in Colab")
        < page.index("git pull -q https://github.com/someone/a-book 0123abc")
        < page.index("First words")
    )
    assert all(path.stem in listing for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_book_built_elsewhere_has_no_such_links(tmp_path):
    page, listing = build(tmp_path, None)
    assert "Open in" not in page and "http" not in page.split("<h1>")[1].split("</section>")[0]
    assert "mybinder.org" not in listing and "has no such links" in listing


@pytest.mark.parametrize("repository", ["", "no-owner", "a/b/c", "a/b?c", 'a/b"><script>'])
def test_only_owner_and_name_make_a_link(monkeypatch, repository):
    monkeypatch.setenv("GITHUB_REPOSITORY", repository)
    assert kd_launch.hosted() is None


@pytest.mark.parametrize("commit", ["", "v1", "0123abc; rm -rf .", '0123abc"><script>'])
def test_only_a_commit_stands_in_the_line_to_run(monkeypatch, commit):
    monkeypatch.setenv("GITHUB_REPOSITORY", PLACE[0])
    monkeypatch.setenv("GITHUB_SHA", commit)
    assert kd_launch.hosted() == (PLACE[0], "main")


def test_line_for_colab_names_an_extra_that_exists():
    extra = re.search(r"\.\[(\w+)\]", kd_launch.install_line(*PLACE))[1]
    assert (
        extra
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def test_extra_of_the_notebooks_has_what_they_import():
    """Every module that a notebook or kdcore.book.chapter imports comes with kdcore's dependencies,
    the extra `notebook`, or Jupyter.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        re.match(r"[\w-]+", line)[0].lower()
        for line in project["dependencies"] + project["optional-dependencies"]["notebook"]
    ]
    provided = {
        name
        for name, packages in importlib.metadata.packages_distributions().items()
        if {package.lower() for package in packages} & set(wanted)
    }
    text = "\n".join(
        path.read_text()
        for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "kdcore").rglob("*.py")]
    )
    imported = set(
        re.findall(
            r'(?m)^\s*"?(?:from|import) ([A-Za-z_]\w*)[\w.]*(?: import| as|\\n|",?$|$)', text
        )
    )
    assert imported - provided - set(sys.stdlib_module_names) <= {"IPython", "kdcore", "__future__"}


# ----------------------------------------------------------------------------------------- citation


def test_citation_has_the_version_of_the_package_and_the_date_of_the_newest_change():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (
        citation["version"]
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    )
    newest = re.search(r"(?m)^## (.+)$", (ROOT / "book" / "changes.md").read_text())[1]
    assert f"{citation['date-released']:%-d %B %Y}" == newest
