"""The logit store within its budget: which blocks go, which stay, and that nothing is lost."""

import os

import numpy as np
import pytest
from small import pair, spec

from kdcore import budget, store
from kdcore import train as tr
from kdcore.spec import Inputs
from kdcore.sweep import sweep


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDCORE_RESULTS", "")
    monkeypatch.delenv("KDCORE_LOGITS_GB", raising=False)
    tr.frozen.cache_clear()


def block(number, model="m", age=0):
    """A block of a megabyte that a model said, used so many seconds ago."""
    key = f"{number:064x}"
    with store.locked("logits", key):
        store.put("logits", key, {"logits": np.zeros(250_000, np.float32)}, {"model": model})
    place = store.folder("logits", key)
    at = place.stat().st_mtime - age
    os.utime(place, (at, at))
    return key


def left():
    return {place.name for _, _, place in budget.blocks()}


@pytest.mark.parametrize("value", ["-1", "much", "nan", "1 GB", "5,0"])
def test_a_budget_that_is_no_number_is_refused_before_any_training(monkeypatch, value):
    monkeypatch.setenv("KDCORE_LOGITS_GB", value)
    monkeypatch.setattr(tr, "fit", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(ValueError, match=f"KDCORE_LOGITS_GB = '{value}': must be a number of"):
        sweep([spec()], progress=False)


def test_those_used_longest_ago_go_and_no_more_than_needed(monkeypatch):
    keys = [block(k, age=1000 - k) for k in range(5)]
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0.0035")
    assert budget.keep() == 2 and left() == set(keys[2:])
    assert budget.keep() == 0
    store.touch("logits", keys[2])
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0.0015")
    assert budget.keep() == 2 and left() == {keys[2]}


def test_nothing_goes_while_there_is_room():
    keys = [block(k, age=10_000) for k in range(3)]
    assert budget.keep() == 0 and left() == set(keys)


def test_a_running_sweep_keeps_what_it_names_and_what_was_used_since_it_began(monkeypatch):
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0")
    named, other = block(1, "mine", age=1000), block(2, "another's", age=1000)
    with budget.needing(["mine"]):
        assert left() == {named}
        since = block(3, "another's")
        budget.keep()
        assert left() == {named, since} and other not in left()
    assert left() == set()


def test_a_sweep_that_was_interrupted_leaves_what_it_will_need(monkeypatch):
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0")
    named = block(1, "mine", age=1000)
    with pytest.raises(KeyboardInterrupt), budget.needing(["mine"]):
        raise KeyboardInterrupt
    assert left() == {named} and not list((store.root() / "sweeps").iterdir())


def test_a_sweep_whose_process_has_gone_keeps_nothing(monkeypatch):
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0")
    key = block(1, "mine", age=1000)
    dead = store.root() / "sweeps" / "dead.runs"
    dead.parent.mkdir(parents=True)
    dead.write_text("mine")
    assert budget.keep() == 1 and key not in left() and not dead.exists()


def test_a_block_that_is_being_made_is_left_alone(monkeypatch):
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0")
    key = block(1, age=1000)
    with store.locked("logits", key):
        assert budget.keep() == 0
    assert budget.keep() == 1


def test_what_went_is_recorded_again_to_the_same_bits(monkeypatch, recwarn):
    teacher = spec(seed=101)
    at = Inputs(data=teacher.data, split="train", view=teacher.view, aug_seed=0, first=0, count=2)
    before = tr.logits(teacher, at).copy()
    monkeypatch.setenv("KDCORE_LOGITS_GB", "0")
    assert budget.keep() == 1 and not left()
    assert np.array_equal(tr.logits(teacher, at), before) and not recwarn


def test_a_sweep_without_room_gives_the_same_bits_and_leaves_nothing(monkeypatch, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    found = []
    for gigabytes in ("50", "0"):
        monkeypatch.setenv("KDCORE_STORE", str(tmp_path / gigabytes))
        monkeypatch.setenv("KDCORE_LOGITS_GB", gigabytes)
        tr.frozen.cache_clear()
        with ThreadPoolExecutor(1) as pool:
            plan = [pair(temperature=t) for t in (1.0, 2.0)]
            found.append(
                sweep(plan, pool, then=lambda s: tr.train(s).loss.tolist(), progress=False)
            )
        assert bool(left()) == (gigabytes == "50")
        assert not list((store.root() / "sweeps").iterdir())
    assert found[0] == found[1]
