"""Rows: what they say, what damage does to them, several processes that publish at once."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small import STRONG, WEAK, spec

from kdcore import results, store
from kdcore.book import chapter, trials
from kdcore.measure import outputs
from kdcore.spec import View

ROOT = Path(__file__).parents[1]
SPECS = [spec(seed=k, epochs=1) for k in range(3)]


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDCORE_RESULTS", "")
    monkeypatch.setenv("KDCORE_PUBLISH", "")


def seeds(spec, **_):
    return {"seed": float(spec.model_seed)}


def other(spec, **_):
    return {"seed": -1.0}


seeds.version = other.version = 1


def row(number, measurement=seeds, arguments=None, **changes):
    """A row that nothing was trained for."""
    said = {
        "measurement": measurement.__name__,
        "version": 1,
        "arguments": arguments or {},
        "spec": SPECS[number].hash,
    }
    key = results.key_of(*(said[k] for k in ("measurement", "version", "spec", "arguments")))
    return (
        said
        | {"key": key, "values": {"seed": float(number)}, "provenance": {"seconds": 1.0}}
        | changes
    )


def published(monkeypatch, folder, rows):
    """The file of rows that a book would come with."""
    monkeypatch.setenv("KDCORE_PUBLISH", str(folder))
    path = results.publish_rows(seeds, rows)
    monkeypatch.setenv("KDCORE_PUBLISH", "")
    monkeypatch.setenv("KDCORE_RESULTS", str(folder))
    return path


def collected(measurement=seeds, specs=SPECS, **arguments):
    with ThreadPoolExecutor(1) as pool:
        return results.collect(measurement, specs, executor=pool, progress=False, **arguments)


def line(row):
    return json.dumps({**row, "sha256": results.line_digest(row)}, sort_keys=True).encode() + b"\n"


# ------------------------------------------------------------------------- a row belongs to its key


def test_a_row_says_what_its_key_is_made_of():
    arguments = {"weak": WEAK, "views": [STRONG], "draws": np.int64(2), "share": np.float32(0.5)}
    found = results.measured(seeds, arguments, SPECS[0])
    assert (
        found["key"]
        == results.row_key(seeds, SPECS[0], arguments)
        == results.key_of("seeds", 1, SPECS[0].hash, found["arguments"])
    )
    assert found["arguments"] == {
        "weak": {"name": "weak", "strength": 0.0},
        "views": [{"name": "strong", "strength": 1.0}],
        "draws": 2,
        "share": 0.5,
    }
    assert found["key"] == results.row_key(
        seeds,
        SPECS[0],
        {"weak": View(**found["arguments"]["weak"]), "views": [STRONG], "draws": 2, "share": 0.5},
    )


def test_every_published_row_is_intact_and_written_as_publish_writes(recwarn):
    for path in sorted((ROOT / "book" / "results").glob("*.jsonl")):
        rows = dict(results.intact(path))
        assert b"".join(text + b"\n" for text in rows) == path.read_bytes()
        assert all(line(row) == text + b"\n" for text, row in rows.items())
    assert not recwarn


@pytest.mark.parametrize(
    "wrong, said",
    [
        (row(1, key=row(0)["key"]), "line 1 is a row of seeds under another key"),
        (row(1, spec=SPECS[0].hash), "line 1 is a row of seeds under another key"),
        (
            row(0, arguments={"draws": 2}, key=row(0)["key"]),
            "line 1 is a row of seeds under another key",
        ),
        (row(0, other), "line 1 is a row of other under another key"),
        # as older rows are
        (
            {
                k: v
                for k, v in row(1, key=row(0)["key"]).items()
                if k not in ("measurement", "version", "arguments")
            },
            "is of another spec",
        ),
    ],
)
def test_a_row_under_anothers_key_is_left_out(monkeypatch, tmp_path, wrong, said):
    path = published(monkeypatch, tmp_path, [row(2)])
    path.write_bytes(line(wrong) + path.read_bytes())
    with pytest.warns(UserWarning, match=f"seeds.jsonl, .*{said}.*left out"):
        assert list(collected()["seed"]) == [0.0, 1.0, 2.0]


def test_older_rows_are_read(monkeypatch, tmp_path, recwarn):
    old = {k: v for k, v in row(0).items() if k not in ("measurement", "version", "arguments")} | {
        "values": {"seed": 0.25}
    }
    path = published(monkeypatch, tmp_path, [row(1), row(2)])
    path.write_bytes(path.read_bytes() + line(old))
    assert (
        list(collected()["seed"]) == [0.25, 1.0, 2.0]
        and not recwarn
        and not (tmp_path / "store").exists()
    )


# ------------------------------------------------------------------------------------------- damage


def test_any_flipped_bit_leaves_out_its_line_and_no_other(monkeypatch, tmp_path):
    path = published(monkeypatch, tmp_path, [row(k) for k in range(3)])
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    start = len(lines[0])
    for place in range(start - 1, start + len(lines[1]), 3):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        )
        with pytest.warns(UserWarning, match=r"seeds.jsonl, line \d is damaged") as said:
            left = [text + b"\n" for text, _ in results.intact(path)]
        # without the end of a line two become one
        lost = {start - 1: (0, 1), start + len(lines[1]) - 1: (1, 2)}.get(place, (1,))
        assert left == [text for k, text in enumerate(lines) if k not in lost], place
        assert f"line {lost[0] + 1} is damaged" in str(said[0].message)


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b"[]",
        b"3",
        b'"row"',
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"sha256": 1, "values": null}',
        line({"key": 1})[:-1],
        line({"key": "a", "spec": "b", "values": None, "provenance": {}})[:-1],
        b"\x00" * 40,
    ],
)
def test_a_line_that_is_no_row_is_left_out_and_named(monkeypatch, tmp_path, text):
    path = published(monkeypatch, tmp_path, [row(k) for k in range(3)])
    path.write_bytes(text + b"\n" + path.read_bytes())
    with pytest.warns(UserWarning, match="seeds.jsonl, line 1 is damaged and left out"):
        assert list(collected()["seed"]) == [0.0, 1.0, 2.0]
    assert not (tmp_path / "store").exists()


def test_a_file_of_rows_that_cannot_be_read_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "results" / "seeds.jsonl").mkdir(parents=True)
    monkeypatch.setenv("KDCORE_RESULTS", str(tmp_path / "results"))
    with pytest.raises(
        ValueError, match="seeds.jsonl cannot be read .*set KDCORE_RESULTS to another folder"
    ):
        collected()


# --------------------------------------------------------------------------------- what is measured


def numbers(spec, **_):
    return {
        "float32": np.float32(0.5),
        "int64": np.int64(3),
        "bool": np.bool_(True),
        "tensor": torch.tensor(0.25),
        "array": np.arange(2.0),
        "nan": np.float32("nan"),
        "inf": float("inf"),
        "minus inf": np.float64("-inf"),
        "list": [1.0, float("nan"), [np.float32("inf")]],
        "none": None,
    }


numbers.version = 1


def test_numbers_of_every_kind_come_back_from_store_and_file(monkeypatch, tmp_path):
    monkeypatch.setenv("KDCORE_PUBLISH", str(tmp_path / "published"))
    fresh = collected(numbers, SPECS[:1])
    stored = collected(numbers, SPECS[:1])
    monkeypatch.setenv("KDCORE_RESULTS", str(tmp_path / "published"))
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "empty"))
    for table in (fresh, stored, collected(numbers, SPECS[:1])):
        found = table.iloc[0]
        assert [
            found[k] for k in ("float32", "int64", "bool", "tensor", "array", "inf", "minus inf")
        ] == [0.5, 3, True, 0.25, [0.0, 1.0], np.inf, -np.inf]
        assert (
            found["list"][0] == 1.0 and np.isnan(found["list"][1]) and found["list"][2] == [np.inf]
        )
        assert found["nan"] is None and found["none"] is None
    strict = json.loads(
        (tmp_path / "published" / "numbers.jsonl").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    assert strict["values"]["inf"] == "inf"


@pytest.mark.parametrize(
    "returned, said",
    [
        (None, "returned NoneType: it must return a dict"),
        ([1.0], "returned list: it must"),
        ({"a": object()}, "returned 'a' as object: a row holds numbers"),
        ({"b": [1j]}, "returned 'b' as complex"),
    ],
)
def test_what_a_row_cannot_hold_is_said_in_one_sentence(returned, said):
    def broken(spec):
        return returned

    broken.version = 1
    with pytest.raises(TypeError, match=f"the measurement broken {said}"):
        results.measured(broken, {}, SPECS[0])


def test_an_exception_in_a_measurement_keeps_its_file_and_line():
    def broken(spec):
        return {"a": {}["no such key"]}

    broken.version = 1
    with pytest.raises(KeyError, match="no such key") as caught:
        results.measured(broken, {}, SPECS[0])
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (Path(last.filename).name, last.line) == (
        "test_results.py",
        'return {"a": {}["no such key"]}',
    )


# --------------------------------------------------------------------------------------- publishing


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("a file"),
        lambda path: path.symlink_to(path.name),
        lambda path: (path / "seeds.jsonl").mkdir(parents=True),
    ],
)
def test_a_folder_that_cannot_be_published_to_is_refused_before_training(
    monkeypatch, tmp_path, make
):
    make(tmp_path / "published")
    monkeypatch.setenv("KDCORE_PUBLISH", str(tmp_path / "published"))
    with pytest.raises(
        store.StoreError,
        match=f"KDCORE_PUBLISH = {tmp_path}/published cannot be written .*name a folder that can",
    ):
        collected()
    assert not (tmp_path / "store").exists()


def test_publishing_replaces_a_row_of_the_same_key_and_keeps_the_others(monkeypatch, tmp_path):
    path = published(monkeypatch, tmp_path, [row(0), row(1)])
    before = path.stat()
    published(monkeypatch, tmp_path, [row(1)])
    assert path.stat() == before  # nothing new: not written
    published(monkeypatch, tmp_path, [row(1, values={"seed": 1.5}), row(2)])
    assert [r["values"]["seed"] for _, r in results.intact(path)] == [0.0, 1.5, 2.0]


def publish_many(number):
    for k in range(25):
        measurement = (seeds, other)[k % 2]
        results.publish_rows(
            measurement,
            [row(number % 3, measurement, {"process": number, "k": k, "i": i}) for i in range(4)],
        )


def test_processes_that_publish_at_once_lose_nothing(monkeypatch, tmp_path, recwarn):
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "seeds.jsonl.0123.tmp").write_text("of a killed process")
    monkeypatch.setenv("KDCORE_PUBLISH", str(folder))
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(publish_many, range(4), chunksize=1)
    found = {
        r["key"] for name in ("seeds", "other") for _, r in results.intact(folder / f"{name}.jsonl")
    }
    assert len(found) == 4 * 25 * 4 and not recwarn
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "other.jsonl", "seeds.jsonl"]


KILLED = """
import sys
sys.path.insert(0, "tests")
from test_results import publish_many
print("begin", flush=True)
for n in range(1000):
    publish_many(n)
"""


def test_a_process_killed_while_it_publishes_damages_nothing(monkeypatch, tmp_path, recwarn):
    monkeypatch.setenv("KDCORE_PUBLISH", str(tmp_path / "published"))
    kept = set()
    for wait in (0.02, 0.11, 0.3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=dict(os.environ),
        ) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        results.publish_rows(seeds, [row(0)])
        found = {r["key"] for _, r in results.intact(tmp_path / "published" / "seeds.jsonl")}
        assert found >= kept | {row(0)["key"]} and not recwarn
        assert not list((tmp_path / "published").glob("seeds*.tmp"))
        kept = found


def test_rows_published_within_one_tick_of_the_clock_are_seen(monkeypatch, tmp_path):
    path = published(monkeypatch, tmp_path, [row(0)])
    at = path.stat().st_mtime_ns
    assert set(results.committed(seeds)) == {row(0)["key"]}
    published(monkeypatch, tmp_path, [row(1)])
    os.utime(path, ns=(at, at))
    assert set(results.committed(seeds)) == {row(0)["key"], row(1)["key"]}


def test_nothing_is_trained_where_that_is_forbidden(monkeypatch, tmp_path):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDCORE_RESULTS", "")
    monkeypatch.setenv("KDCORE_TRAIN", "0")
    monkeypatch.setattr(results, "sweep", None)
    with pytest.raises(
        results.NotPublished,
        match="1 of 1 rows of recall.*KDCORE_TRAIN = 0.*resnet-8-16-32 on digits",
    ):
        results.collect(outputs.recall, [spec()])
    assert results.stored(outputs.recall, [spec()]) is None


def test_published_rows_of_the_trials_are_found_by_their_keys(monkeypatch):
    """Keys of what is published do not change: else a page would train for hours what it has."""
    monkeypatch.delenv("KDCORE_RESULTS", raising=False)
    preset = chapter.preset("low_fidelity", "published")
    p = trials.Regime(**{k: preset[k] for k in trials.Regime.model_fields})
    monkeypatch.chdir(ROOT)
    views = trials.views(p)
    specs = [
        trials.student(p, seed, view, trials.named(p, seed, pair))
        for seed in p.all_seeds
        for view in views.values()
        for pair in trials.PAIRS
    ]
    rows = results.stored(outputs.model, specs, weak=views["w"], strong=views["s"], draws=p.draws)
    assert len(rows) == 160 and rows["accuracy test clean"].between(0.7, 0.9).all()


# ------------------------------------------------------------------- many rows, added one by one


def test_new_rows_are_written_behind_those_that_are_there_which_are_not_read_again(
    monkeypatch, tmp_path
):
    path = published(monkeypatch, tmp_path, [row(0)])
    before, number = path.read_bytes(), path.stat().st_ino
    monkeypatch.setattr(results, "intact", lambda path: pytest.fail("read again"))
    monkeypatch.setattr(store, "replace", lambda *a: pytest.fail("written anew"))
    published(monkeypatch, tmp_path, [row(1)])
    published(monkeypatch, tmp_path, [row(0), row(1), row(2)])
    assert path.read_bytes() == before + line(row(1)) + line(row(2))
    assert path.stat().st_ino == number
    assert set(results.committed(seeds)) == {row(k)["key"] for k in range(3)}


def test_a_file_of_another_user_is_replaced_and_only_where_something_is_new(monkeypatch, tmp_path):
    path = published(monkeypatch, tmp_path, [row(0)])
    number = path.stat().st_ino
    monkeypatch.setattr(results, "may_append", lambda path: False)
    published(monkeypatch, tmp_path, [row(0)])
    assert path.stat().st_ino == number
    published(monkeypatch, tmp_path, [row(1)])
    assert path.stat().st_ino != number and path.read_bytes() == line(row(0)) + line(row(1))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_the_beginning_of_a_row_that_a_killed_publisher_left_is_cut_off(
    monkeypatch, tmp_path, share, recwarn
):
    path = published(monkeypatch, tmp_path, [row(0), row(1)])
    begun = line(row(2))[: int(share * len(line(row(2))))]
    path.write_bytes(path.read_bytes() + begun)
    published(monkeypatch, tmp_path, [row(2)])
    assert path.read_bytes() == line(row(0)) + line(row(1)) + line(row(2)) and not recwarn


def test_a_last_row_without_the_end_of_its_line_is_kept(monkeypatch, tmp_path, recwarn):
    path = published(monkeypatch, tmp_path, [row(0), row(1)])
    path.write_bytes(path.read_bytes()[:-1])
    assert set(results.committed(seeds)) == {row(0)["key"], row(1)["key"]}
    published(monkeypatch, tmp_path, [row(2)])
    assert path.read_bytes() == line(row(0)) + line(row(1)) + line(row(2)) and not recwarn


def test_a_full_disk_leaves_the_file_as_it_was(monkeypatch, tmp_path):
    path = published(monkeypatch, tmp_path, [row(0)])
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setenv("KDCORE_PUBLISH", str(tmp_path))
    with pytest.raises(store.StoreError, match="cannot be written"):
        results.publish_rows(seeds, [row(1)])
    assert path.read_bytes() == before


def test_rows_of_the_store_are_found_without_comparing_specs(monkeypatch):
    """Linear in the rows: no spec is compared with another."""
    monkeypatch.setattr(type(SPECS[0]), "__eq__", lambda *_: pytest.fail("compared"))
    monkeypatch.setattr(type(SPECS[0]), "__hash__", lambda _: pytest.fail("compared"))
    known = {results.row_key(seeds, s, {}): row(k) for k, s in enumerate(SPECS)}
    monkeypatch.setattr(store, "get", lambda kind, key: store.Entry({}, known[key]))
    assert list(results.collect(seeds, SPECS * 2)["seed"]) == [0.0, 1.0, 2.0] * 2
