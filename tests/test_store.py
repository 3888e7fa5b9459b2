"""The store: whole entries or none, damage noticed and repaired, one maker among many processes."""

import json
import multiprocessing
import os

import numpy as np
import pytest

from kdcore import store

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))


def make():
    return {"z": np.arange(12, dtype=np.float32).reshape(3, 4)}, {"n": 3}


def test_an_entry_comes_back_as_it_was():
    assert store.get("runs", KEY) is None
    first = store.once("runs", KEY, make)
    again = store.once("runs", KEY, lambda: pytest.fail("made twice"))
    assert np.array_equal(first.arrays["z"], again.arrays["z"]) and again.meta == {"n": 3}


@pytest.mark.parametrize("name", ["arrays.safetensors", "meta.json", "SHA256SUMS"])
def test_one_flipped_bit_anywhere_is_noticed_and_repaired(name):
    store.once("runs", KEY, make)
    path = store.folder("runs", KEY) / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.warns(UserWarning, match=f"damaged entry .*{KEY}"):
            entry = store.once("runs", KEY, make)
        assert np.array_equal(entry.arrays["z"], make()[0]["z"])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["arrays.safetensors", "meta.json", "SHA256SUMS"])
def test_a_missing_or_cut_file_is_noticed(name):
    store.once("runs", KEY, make)
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-1])):
        damage(store.folder("runs", KEY) / name)
        with pytest.warns(UserWarning, match="damaged entry"):
            store.once("runs", KEY, make)
        assert store.get("runs", KEY).meta == {"n": 3}


def test_stored_files_are_plain_data():
    store.once("runs", KEY, make)
    assert json.loads((store.folder("runs", KEY) / "meta.json").read_text()) == {"n": 3}
    assert sorted(p.name for p in store.folder("runs", KEY).iterdir()) == ["SHA256SUMS", "arrays.safetensors", "meta.json"]


def test_an_unwritable_store_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "a_file").write_text("not a folder")
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "a_file"))
    with pytest.raises(store.StoreError, match="set KDCORE_STORE to another folder"):
        store.once("runs", KEY, make)


def test_a_full_disk_is_one_clear_error_and_leaves_the_store_intact(monkeypatch):
    store.once("runs", "cd" * 32, make)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(store.StoreError, match="No space left on device.*free some space"):
        store.once("runs", KEY, make)
    assert store.get("runs", KEY) is None and store.get("runs", "cd" * 32).meta == {"n": 3}
    assert not list(store.root().rglob("*.tmp"))


def test_what_a_killed_writer_left_behind_is_cleared():
    leftover = store.folder("runs", KEY).with_suffix(".tmp")
    leftover.mkdir(parents=True)
    (leftover / "arrays.safetensors").write_bytes(b"half")
    store.once("runs", KEY, make)
    assert not leftover.exists() and store.get("runs", KEY) is not None


def count_and_make():
    with open(os.environ["COUNT_FILE"], "a") as file:
        file.write("made\n")
    return make()


def ask(_):
    return store.once("runs", KEY, count_and_make).meta["n"]


def test_four_processes_that_want_one_entry_make_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNT_FILE", str(tmp_path / "count"))
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(ask, range(4), chunksize=1) == [3, 3, 3, 3]
    assert (tmp_path / "count").read_text() == "made\n"
