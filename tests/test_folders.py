"""The folders that the environment names are the same in the shell, a notebook and a worker."""

import os
from pathlib import Path

import execute_chapter
import nbclient
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kdcore import data, folders, results, store

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    """A caller's folder and home, and no setting."""
    for name in folders.VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is written there is undone
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("variable", folders.VARIABLES)
@pytest.mark.parametrize(
    "given, meant",
    [
        ("~/a b", "home/a b"),
        ("~", "home"),
        ("store", "store"),
        ("./a/store", "a/store"),
        ("..", ".."),
        ("{}/x", "x"),
    ],
)
def test_a_folder_is_resolved_once(caller, monkeypatch, variable, given, meant):
    monkeypatch.setenv(variable, given.format(caller))
    assert Path(folders.path_of(variable)) == caller / meant
    (caller / "elsewhere").mkdir()
    monkeypatch.chdir(caller / "elsewhere")
    assert Path(folders.path_of(variable)) == Path(os.environ[variable]) == caller / meant


def test_asking_for_one_settles_all(caller, monkeypatch):
    for name in folders.VARIABLES:
        monkeypatch.setenv(name, name.lower())
    store.root()
    assert {name: os.environ[name] for name in folders.VARIABLES} == {
        name: str(caller / name.lower()) for name in folders.VARIABLES
    }


def test_nothing_is_named_where_nothing_is_set(monkeypatch):
    assert folders.path_of("KDCORE_DATA") == ""
    monkeypatch.delenv("KDCORE_DATA")
    assert folders.path_of("KDCORE_DATA") == "" and "KDCORE_DATA" not in os.environ


def test_an_unknown_user_is_refused(monkeypatch):
    monkeypatch.setenv("KDCORE_DATA", "~nobody-of-this-name/data")
    with pytest.raises(ValueError, match="KDCORE_DATA = '~nobody-of-this-name/data' is no folder"):
        folders.path_of("KDCORE_DATA")


def test_store_results_and_data_go_by_it(caller, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", "~/store")
    monkeypatch.setenv("KDCORE_RESULTS", "published")
    monkeypatch.setenv("KDCORE_DATA", "~/data")
    (caller / "published").mkdir()
    assert (
        store.root() == caller / "home" / "store"
        and results.committed_folder() == caller / "published"
    )
    with pytest.raises(
        ValueError, match=f"looked in KDCORE_DATA = {caller}/home/data and did not find"
    ):
        data.check("cifar10")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.write_text("a file"),
        lambda path: path.symlink_to(path.name),
    ],
)
def test_a_folder_of_results_that_is_not_there_is_refused(caller, monkeypatch, make):
    make(caller / "reslts")
    monkeypatch.setenv("KDCORE_RESULTS", "reslts")
    with pytest.raises(
        ValueError,
        match=f"KDCORE_RESULTS = {caller}/reslts is not a folder: name the one with published "
        "measurements, or leave it empty",
    ):
        results.committed_folder()


def test_no_folder_of_results_is_none_and_unset_is_the_books_own(monkeypatch):
    assert results.committed_folder() is None
    monkeypatch.delenv("KDCORE_RESULTS")
    assert results.committed_folder() == ROOT / "book" / "results"


def test_a_notebook_means_the_folder_of_the_shell(caller, monkeypatch):
    (caller / "notebooks").mkdir()
    monkeypatch.setenv("PWD", str(caller))  # as a shell does
    monkeypatch.setenv("KDCORE_STORE", "store")
    notebook = new_notebook(cells=[new_code_cell("from kdcore import store; print(store.root())")])
    nbformat.write(notebook, caller / "notebooks" / "one.ipynb")
    nbclient.NotebookClient(
        notebook, resources={"metadata": {"path": str(caller / "notebooks")}}
    ).execute()
    assert notebook.cells[0].outputs[0].text.strip() == str(caller / "store")


def test_a_chapter_is_executed_with_the_folders_of_the_command(caller, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", "store")
    monkeypatch.setenv("KDCORE_PUBLISH", "~/published")
    seen = {}
    monkeypatch.setattr(
        execute_chapter, "execute", lambda *_: seen.update(os.environ) or new_notebook()
    )
    execute_chapter.main(["start_here", "--output", str(caller / "page.ipynb")])
    assert seen["KDCORE_STORE"] == str(caller / "store") and seen["KDCORE_PUBLISH"] == str(
        caller / "home" / "published"
    )
    monkeypatch.setenv("KDCORE_DATA", "~nobody-of-this-name/data")
    with pytest.raises(SystemExit, match="KDCORE_DATA = '~nobody-of-this-name/data' is no folder"):
        execute_chapter.main(["start_here", "--output", str(caller / "page.ipynb")])
