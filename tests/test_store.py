"""The store: whole entries or none, each under its own name, damage noticed and repaired, one maker
among many processes.
"""

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small import WEAK, spec

from kdcore import results, store
from kdcore import train as tr
from kdcore.measure import EVALUATION_SEED
from kdcore.spec import Inputs

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
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
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
    assert json.loads((store.folder("runs", KEY) / "meta.json").read_text()) == {
        "n": 3,
        "entry": {"kind": "runs", "key": KEY, "arrays": ["z"]},
    }
    assert sorted(p.name for p in store.folder("runs", KEY).iterdir()) == [
        "SHA256SUMS",
        "arrays.safetensors",
        "meta.json",
    ]


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


# ---------------------------------------------------------------------- an entry under its own name


ONE, OTHER = spec(epochs=1), spec(seed=1, epochs=1)


def inputs(s):
    return Inputs(data=s.data, split="test", view=WEAK, aug_seed=EVALUATION_SEED, first=0, count=1)


def last_loss(s):
    return {"loss": float(tr.train(s).loss[-1])}


last_loss.version = 1
KINDS = {  # kind: what is asked of a spec, and its key
    "runs": (lambda s: tr.train(s).loss, lambda s: s.hash),
    "logits": (lambda s: tr.logits(s, inputs(s)), lambda s: store.logits_key(s.hash, inputs(s))),
    "rows": (
        lambda s: results.measured(last_loss, {}, s)["values"]["loss"],
        lambda s: results.row_key(last_loss, s, {}),
    ),
}


def copied(kind, source, target, other=None):
    """Puts the entry of one key under another, as cp -r would."""
    place = store.folder(other or kind, target)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(store.folder(kind, source), place)


def rewritten(place: Path, change=lambda meta: None, without=()):
    """Changes an entry's meta data and arrays, and its checksums with them."""
    meta = json.loads((place / "meta.json").read_text())
    arrays = load_file(place / "arrays.safetensors")
    change(meta)
    (place / "meta.json").write_text(json.dumps(meta))
    save_file({k: v for k, v in arrays.items() if k not in without}, place / "arrays.safetensors")
    (place / "SHA256SUMS").write_text(store.checksums(place))


def unsigned(meta):
    del meta["entry"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("age", ["new", "from before entries said their name"])
def test_an_entry_under_another_name_is_damage_and_made_again(kind, age):
    ask, key = KINDS[kind]
    right = {s: ask(s) for s in (ONE, OTHER)}
    assert not np.array_equal(right[ONE], right[OTHER])
    copied(kind, key(ONE), key(OTHER))
    if age != "new":
        rewritten(store.folder(kind, key(OTHER)), unsigned)
    with pytest.warns(
        UserWarning,
        match=f"damaged entry .*{key(OTHER)}: it is {kind}/{key(ONE)}; it will be made again",
    ):
        assert np.array_equal(ask(OTHER), right[OTHER])
    assert store.look(kind, key(OTHER))[1] == ""


def test_another_runs_snapshot_is_not_resumed(monkeypatch):
    monkeypatch.setattr(tr, "SAVE_EVERY", 0.0)
    one, other = spec(epochs=2), spec(seed=1, epochs=2)
    right, seen = tr.train(other).loss, []
    tr.fit(one, save=lambda *entry: store.put("unfinished", one.hash, *entry))
    copied("unfinished", one.hash, other.hash)
    store.drop("runs", other.hash)
    fit = tr.fit
    monkeypatch.setattr(
        tr,
        "fit",
        lambda s, snapshot=None, **k: seen.append(snapshot) or fit(s, snapshot=snapshot, **k),
    )
    with pytest.warns(
        UserWarning, match=f"damaged entry .*unfinished.*: it is unfinished/{one.hash}"
    ):
        assert np.array_equal(tr.train(other).loss, right) and seen == [None]


def test_an_entry_of_another_kind_is_damage():
    store.once("runs", KEY, make)
    copied("runs", KEY, KEY, "unfinished")
    with pytest.warns(UserWarning, match=f"it is runs/{KEY}"):
        assert store.get("unfinished", KEY) is None


@pytest.mark.parametrize("kind", KINDS)
def test_entries_from_before_they_said_their_name_are_read(kind, recwarn):
    ask, key = KINDS[kind]
    right = ask(ONE)
    rewritten(store.folder(kind, key(ONE)), unsigned)
    before = (store.folder(kind, key(ONE)) / "meta.json").stat()
    assert np.array_equal(ask(ONE), right) and not recwarn
    assert (store.folder(kind, key(ONE)) / "meta.json").stat() == before


def test_an_old_entry_that_cannot_say_what_it_is_is_made_again():
    store.once("trajectories", KEY, make)
    rewritten(store.folder("trajectories", KEY), unsigned)
    with pytest.warns(UserWarning, match="it does not say what it is"):
        assert store.once("trajectories", KEY, make).meta == {"n": 3}


@pytest.mark.parametrize(
    "kind, name",
    [
        ("runs", "loss"),
        ("runs", "online_accuracy"),
        ("runs", "net.conv1.0.weight"),
        ("logits", "logits"),
    ],
)
def test_a_missing_array_is_damage_even_under_right_checksums(kind, name):
    ask, key = KINDS[kind]
    right, place = ask(ONE), store.folder(kind, key(ONE))
    name = (
        name
        if name in load_file(place / "arrays.safetensors")
        else next(k for k in load_file(place / "arrays.safetensors") if k.startswith("net."))
    )
    rewritten(place, without=[name])
    with pytest.warns(UserWarning, match=f"damaged entry .*it lacks or has too many of {name}"):
        assert np.array_equal(ask(ONE), right)


@pytest.mark.parametrize(
    "text",
    ["null", "[]", "3", '{"n": 3, "entry": null}', '{"n": 3, "entry": {"kind": "runs"}}', "{}"],
)
def test_meta_data_of_another_form_are_damage(text):
    store.once("runs", KEY, make)
    place = store.folder("runs", KEY)
    (place / "meta.json").write_text(text)
    (place / "SHA256SUMS").write_text(store.checksums(place))
    with pytest.warns(UserWarning, match="damaged entry"):
        assert store.once("runs", KEY, make).meta == {"n": 3}


# ---------------------------------------------------------- something else where an entry should be


def a_file(path):
    path.write_text("no folder")


def a_folder(path):
    path.mkdir()


def nowhere(path):
    path.symlink_to("nowhere")


def a_loop(path):
    path.symlink_to(path.name)


def emptied(path):
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("thing", [a_file, a_folder, nowhere, a_loop])
@pytest.mark.parametrize("name", ["", "arrays.safetensors", "meta.json", "SHA256SUMS"])
def test_something_else_in_the_place_of_an_entry_is_replaced(thing, name):
    store.once("runs", KEY, make)
    place = store.folder("runs", KEY) / name
    emptied(place)
    thing(place)
    with pytest.warns(UserWarning, match=f"damaged entry .*{KEY}"):
        store.once("runs", KEY, make)
    assert store.get("runs", KEY).meta == {"n": 3} and not store.folder("runs", KEY).is_symlink()


@pytest.mark.parametrize("thing", [a_file, nowhere, a_loop])
def test_something_else_in_the_place_of_a_temporary_folder_is_replaced(thing):
    place = store.folder("runs", KEY).with_suffix(".tmp")
    emptied(place)
    thing(place)
    assert store.once("runs", KEY, make).meta == {"n": 3} and not os.path.lexists(place)


def test_a_link_to_an_entry_is_followed_and_a_damaged_one_replaced_not_what_it_points_to(tmp_path):
    store.once("runs", KEY, make)
    place = store.folder("runs", KEY)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert store.once("runs", KEY, lambda: pytest.fail("made twice")).meta == {"n": 3}
    (tmp_path / "elsewhere" / "meta.json").write_text("{}")
    with pytest.warns(UserWarning, match="meta.json does not match"):
        store.once("runs", KEY, make)
    assert not place.is_symlink() and (tmp_path / "elsewhere" / "meta.json").read_text() == "{}"


@pytest.mark.parametrize("thing", [a_file, nowhere, a_loop])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_something_else_above_an_entry_is_named_in_one_sentence(thing, level):
    place = store.folder("runs", KEY).parents[level]
    emptied(place)
    thing(place)
    with pytest.raises(
        store.StoreError,
        match=f"{place} is not a folder: remove it, or set KDCORE_STORE to another folder",
    ):
        store.once("runs", KEY, make)
    assert os.path.lexists(place)


@pytest.mark.parametrize("name", ["arrays.safetensors", "meta.json", "SHA256SUMS"])
def test_a_disk_that_does_not_give_a_file_back_is_damage(monkeypatch, name):
    store.once("runs", KEY, make)
    broken, opened = store.folder("runs", KEY) / name, Path.open
    number = broken.stat().st_ino

    def open_(path, *args, **kwargs):
        if path == broken and path.stat().st_ino == number:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(Path, "read_text", lambda path, **k: path.open().read())
    with pytest.warns(UserWarning, match="damaged entry .*Input/output error"):
        store.once("runs", KEY, make)
    assert store.get("runs", KEY).meta == {"n": 3}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_an_entry_that_may_not_be_read_is_one_sentence_and_stays(monkeypatch, number):
    store.once("runs", KEY, make)
    with monkeypatch.context() as patch:
        patch.setattr(
            store,
            "checksums",
            lambda place: (_ for _ in ()).throw(OSError(number, os.strerror(number), str(place))),
        )
        with pytest.raises(
            store.StoreError,
            match=f"cannot be read .*{os.strerror(number)}.*set KDCORE_STORE to another folder",
        ):
            store.once("runs", KEY, lambda: pytest.fail("made again"))
    assert store.get("runs", KEY).meta == {"n": 3}


@pytest.mark.parametrize("mask, mode", [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_mode_that_umask_gives(mask, mode):
    before = os.umask(mask)
    try:
        store.once("runs", KEY, make)
    finally:
        os.umask(before)
    place = store.folder("runs", KEY)
    assert {
        p.name: p.stat().st_mode & 0o777 for p in (*place.iterdir(), place.with_suffix(".lock"))
    } == {name: mode for name in ("arrays.safetensors", "meta.json", "SHA256SUMS", f"{KEY}.lock")}


def test_dropping_an_entry_clears_what_a_killed_writer_left_beside_it():
    leftover = store.folder("unfinished", ONE.hash).with_suffix(".tmp")
    leftover.mkdir(parents=True)
    (leftover / "arrays.safetensors").write_bytes(b"half")
    tr.train(ONE)
    assert not leftover.exists()
