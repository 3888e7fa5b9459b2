"""A commit is named only where the package is that checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from kdcore import provenance
from kdcore.book import chapter

ROOT = Path(__file__).parents[1]


def git(folder, *words):
    identity = (
        "-c",
        "user.name=someone",
        "-c",
        "user.email=someone@localhost",
        "-c",
        "commit.gpgsign=false",
    )
    return subprocess.run(
        ["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def package(folder):
    """A kdcore that says what made it, in this folder."""
    (folder / "kdcore").mkdir(parents=True)
    (folder / ".gitignore").write_text("__pycache__/\n")  # as the real one has it
    for name in ("__init__.py", "provenance.py"):
        shutil.copy(ROOT / "kdcore" / name, folder / "kdcore")


def installed(folder):
    """The same as pip leaves it."""
    package(folder)
    (folder / "kdcore-4.5.dist-info").mkdir()
    (folder / "kdcore-4.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kdcore\nVersion: 4.5\n"
    )


def repository(folder):
    """A repository with everything below the folder in one commit; its hash, twelve digits."""
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text("")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "--short=12", "HEAD")


def said(folder, code="provenance.commit()", **environment):
    """What the package in this folder answers, in a process of its own."""
    environment = (
        {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        | {"PYTHONPATH": str(folder)}
        | environment
    )
    run = subprocess.run(
        [sys.executable, "-c", f"from kdcore import provenance; print({code})"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """(folder, commit) of a checkout of kdcore."""
    package(tmp_path / "clone")
    (tmp_path / "clone" / "pyproject.toml").write_text(
        '[project]\nname = "kdcore"\nversion = "1.2"\n'
    )
    return tmp_path / "clone", repository(tmp_path / "clone")


def test_a_checkout_has_its_commit(checkout):
    folder, commit = checkout
    assert said(folder) == commit and len(commit) == 12
    assert said(folder, f"provenance.commit({str(folder)!r})") == commit
    (folder / "own.py").write_text("not of the package")
    assert said(folder) == commit
    (folder / "kdcore" / "__init__.py").write_text("# changed\n")
    assert said(folder) == f"{commit}-dirty"


def test_the_commit_is_not_that_of_a_repository_around_it(tmp_path):
    installed(tmp_path / "study" / ".venv" / "site-packages")
    repository(tmp_path / "study")  # the package is even committed there
    assert said(tmp_path / "study" / ".venv" / "site-packages") == "unknown (kdcore 4.5)"


def test_the_commit_is_not_that_of_a_repository_that_holds_the_package_at_its_root(tmp_path):
    installed(tmp_path / "study")
    (tmp_path / "study" / "pyproject.toml").write_text('[project]\nname = "study"\nversion = "7"\n')
    repository(tmp_path / "study")
    assert said(tmp_path / "study") == "unknown (kdcore 4.5)"


def test_sources_unpacked_inside_another_repository_have_a_version_and_no_commit(
    checkout, tmp_path
):
    shutil.copytree(
        checkout[0], tmp_path / "study" / "kdcore-main", ignore=shutil.ignore_patterns(".git")
    )
    repository(tmp_path / "study")
    assert said(tmp_path / "study" / "kdcore-main") == "unknown (kdcore 1.2)"


def test_another_checkout_is_not_where_the_running_package_is_from(checkout, tmp_path):
    installed(tmp_path / "site-packages")
    assert (
        said(tmp_path / "site-packages", f"provenance.commit({str(checkout[0])!r})")
        == "unknown (kdcore 4.5)"
    )


def test_git_of_a_hook_is_not_asked(checkout, tmp_path):
    repository(tmp_path / "study")
    assert (
        said(
            checkout[0],
            GIT_DIR=str(tmp_path / "study" / ".git"),
            GIT_WORK_TREE=str(tmp_path / "study"),
        )
        == checkout[1]
    )


def test_a_repository_without_a_commit_has_none(tmp_path):
    package(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "kdcore"\nversion = "1.2"\n')
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    assert said(tmp_path) == "unknown (kdcore 1.2)"


def test_a_copy_of_the_package_alone_is_unknown(tmp_path):
    package(tmp_path)
    assert said(tmp_path) == "unknown"


def test_without_git_there_is_a_version_and_still_a_page(checkout, monkeypatch, tmp_path):
    assert said(checkout[0], PATH=str(tmp_path)) == "unknown (kdcore 1.2)"
    monkeypatch.setenv("PATH", str(tmp_path))
    # nor is kdcore installed
    monkeypatch.setattr(provenance.importlib.metadata, "distributions", lambda **_: iter(()))
    monkeypatch.setattr(provenance, "declared_version", lambda: None)
    monkeypatch.setattr(chapter, "origin", lambda p, name: ("quick", "papermill"))
    monkeypatch.setattr(chapter, "home", lambda name: ROOT)
    provenance.commit.cache_clear()
    page = chapter.provenance(object(), pandas.DataFrame(), chapter="tiny").data
    provenance.commit.cache_clear()
    assert (
        "<dt>This page</dt><dd>commit unknown; Python" in page
        and "kdcore of unknown version" in page
    )
