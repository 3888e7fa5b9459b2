"""Sweeps and results: nothing lost, nothing trained twice, failures named."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kdcore import results, store, train as tr
from kdcore.sweep import SweepError, sweep, upstream
from small import STRONG, WEAK, pair, spec


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDCORE_RESULTS", "")
    tr.frozen.cache_clear()


def bits(root: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in (root / "runs").rglob("arrays.safetensors")}


def grid():
    return [pair(temperature=t) for t in (1.0, 2.0, 4.0)] + [spec()]


def accuracy(spec_, **_):
    return {"accuracy": float(tr.train(spec_).online_accuracy[-1])}


accuracy.version = 1


def test_teachers_come_before_their_students_and_once():
    specs = upstream(grid())
    assert len(specs) == len(set(specs)) == 6
    assert all(specs.index(t) < specs.index(s) for s in specs for t in s.teachers)


def test_any_executor_with_submit_will_do():
    with ThreadPoolExecutor(1) as pool:
        assert sweep(grid(), executor=pool, then=lambda s: s.hash, progress=False) == [s.hash for s in grid()]
    assert set(bits(store.root())) == {s.hash for s in upstream(grid())}


def test_threads_store_the_same_bits_as_one_thread(tmp_path, monkeypatch):
    """Networks of several kinds, teachers and students, measured in the same threads."""
    plan = [spec(seed=i, epochs=1, model=m, n_train=32) for i in range(5) for m in ("resnet-8-16-32", "mlp-8", "cnn-4", "relu-features-20")]
    plan += [spec(seed=i, epochs=1, n_train=32, teachers=(spec(seed=i, epochs=1, n_train=32),)) for i in range(5)]
    found = []
    for threads in (1, 4):
        monkeypatch.setenv("KDCORE_STORE", str(tmp_path / str(threads)))
        tr.frozen.cache_clear()
        with ThreadPoolExecutor(threads) as pool:
            losses = sweep(plan, executor=pool, then=lambda s: tr.train(s).loss.tolist(), progress=False)
        found.append((bits(store.root()), losses))
    assert found[0] == found[1] and len(found[0][0]) == len(upstream(plan))


def test_a_network_that_cannot_run_is_refused_before_the_first_training(monkeypatch):
    monkeypatch.setattr(tr, "fit", lambda *a, **k: pytest.fail("trained"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="vit_base_patch32_224 does not read images of 8 x 8 pixels"):
        sweep([*grid(), spec(model="vit_base_patch32_224", teachers=(spec(),))], executor=pool, progress=False)


def test_stored_runs_are_not_trained_again(monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        sweep(grid(), executor=pool, progress=False)
        monkeypatch.setattr(tr, "fit", lambda *a, **k: pytest.fail("trained again"))
        sweep(grid(), executor=pool, progress=False)


def test_another_temperature_trains_no_teacher_and_runs_no_teacher(monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        sweep([pair()], executor=pool, progress=False)
        trained, asked = [], []
        fit, forward = tr.fit, tr.forward
        monkeypatch.setattr(tr, "fit", lambda s, **k: trained.append(s) or fit(s, **k))
        monkeypatch.setattr(tr, "forward", lambda *a: asked.append(a) or forward(*a))
        sweep([pair(temperature=9.0)], executor=pool, progress=False)
    assert trained == [pair(temperature=9.0)] and not asked


def test_a_failing_run_is_named_and_the_others_are_kept():
    bad = spec(seed=7, lr=1e12)
    with ThreadPoolExecutor(1) as pool, pytest.raises(SweepError) as error:
        sweep([spec(teachers=(bad,)), spec()], executor=pool, progress=False)
    assert "2 of 3 runs failed" in str(error.value) and bad.hash[:12] in str(error.value) and "smaller learning rate" in str(error.value)
    assert set(bits(store.root())) == {spec().hash}


def test_collect_measures_once_and_keeps_the_order(monkeypatch):
    specs = grid()
    with ThreadPoolExecutor(1) as pool:
        first = results.collect(accuracy, specs, executor=pool, progress=False)
        monkeypatch.setattr(results, "sweep", lambda *a: pytest.fail("measured again"))
        again = results.collect(accuracy, specs[::-1], executor=pool, progress=False)
    assert list(first["spec"]) == [s.hash for s in specs] and list(again["accuracy"]) == list(first["accuracy"])[::-1]
    assert {"date", "commit", "cpu", "threads", "torch", "python", "seconds"} <= set(first["provenance"][0])


def test_committed_rows_need_no_run_and_damaged_ones_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_PUBLISH", str(tmp_path / "published"))
    specs = grid()
    with ThreadPoolExecutor(1) as pool:
        first = results.collect(accuracy, specs, executor=pool, progress=False)
        monkeypatch.delenv("KDCORE_PUBLISH")
        monkeypatch.setenv("KDCORE_RESULTS", str(tmp_path / "published"))
        monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "empty"))
        again = results.collect(accuracy, specs, executor=pool, progress=False)
        assert again.equals(first) and not (tmp_path / "empty").exists()
        path = tmp_path / "published" / "accuracy.jsonl"
        lines = path.read_text().splitlines()
        row = json.loads(lines[1])
        row["values"]["accuracy"] += 0.01
        path.write_text("\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n")
        with pytest.warns(UserWarning, match="accuracy.jsonl, line 2 is damaged"):
            repaired = results.collect(accuracy, specs, executor=pool, progress=False)
    assert list(repaired["accuracy"]) == list(first["accuracy"])


def test_a_changed_argument_or_version_is_another_row():
    keys = {results.row_key(accuracy, spec(), a) for a in ({}, {"view": WEAK}, {"view": STRONG}, {"draws": 2})}
    accuracy.version = 2
    keys.add(results.row_key(accuracy, spec(), {}))
    accuracy.version = 1
    assert len(keys) == 5


def ask(_):
    """Trains in a process of its own; says whether this process did the training."""
    fit, trained = tr.fit, []
    tr.fit = lambda s, **k: trained.append(s) or fit(s, **k)
    tr.train(spec(epochs=5))
    return len(trained)


def test_four_processes_that_want_one_run_train_it_once():
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert sum(pool.map(ask, range(4), chunksize=1)) == 1


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_with_their_caller_however_it_ends():
    code = ("import os, time; from kdcore.sweep import local_pool\n"
            "if __name__ == '__main__':\n"
            "    with local_pool() as pool:\n"
            "        print(*{pool.submit(os.getpid).result() for _ in range(4)}, flush=True)\n"
            "        pool.submit(time.sleep, 600).result()\n")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as caller:
        workers = [int(pid) for pid in caller.stdout.readline().split()]
        assert workers and all(map(alive, workers))
        caller.kill()
    end = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, workers))


KILLED = """
import os, sys
sys.path.insert(0, "tests")
from kdcore import train as tr
from kdcore.sweep import sweep
from test_sweep import grid
fit = tr.fit
def counted(spec, **k):
    result = fit(spec, **k)
    with open(os.environ["FINISHED"], "a") as file:
        file.write(spec.hash + "\\n")
    return result
tr.fit = counted
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    sweep(grid(), executor=pool, progress=False)
"""


def test_a_sweep_killed_at_random_moments_ends_with_the_same_bits(tmp_path, monkeypatch):
    """KILLS times SIGKILL (set it to 20 for the long version); then the store equals that of an undisturbed sweep."""
    with ThreadPoolExecutor(1) as pool:
        sweep(grid(), executor=pool, progress=False)
    undisturbed = bits(store.root())
    environment = os.environ | {"KDCORE_STORE": str(tmp_path / "killed"), "OMP_NUM_THREADS": "1", "FINISHED": str(tmp_path / "finished")}
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", KILLED], check=True, env=environment | {"KDCORE_STORE": str(tmp_path / "timing")})
    whole = time.monotonic() - start
    (tmp_path / "finished").unlink()
    moments, kills = random.Random(0), int(os.environ.get("KILLS", 3))
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", KILLED], env=environment)
        try:
            process.wait(moments.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run([sys.executable, "-c", KILLED], check=True, env=environment)
    assert bits(tmp_path / "killed") == undisturbed
    finished = (tmp_path / "finished").read_text().split()
    stored_late = len(finished) - len(set(finished))  # killed between the last epoch and the rename
    assert set(finished) == set(undisturbed) and stored_late <= 1
