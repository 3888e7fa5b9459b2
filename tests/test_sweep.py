"""Sweeps and results: nothing lost, nothing trained twice, failures named."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from asyncio import CancelledError as AsyncioCancelled
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from small import STRONG, WEAK, pair, spec

from kdcore import results, store, workers
from kdcore import sweep as sw
from kdcore import train as tr
from kdcore.spec import Spec
from kdcore.sweep import SweepError, sweep, upstream


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
        assert sweep(grid(), executor=pool, then=lambda s: s.hash, progress=False) == [
            s.hash for s in grid()
        ]
    assert set(bits(store.root())) == {s.hash for s in upstream(grid())}


def test_threads_store_the_same_bits_as_one_thread(tmp_path, monkeypatch):
    """Networks of several kinds, teachers and students, measured in the same threads."""
    plan = [
        spec(seed=i, epochs=1, model=m, n_train=32)
        for i in range(5)
        for m in ("resnet-8-16-32", "mlp-8", "cnn-4", "relu-features-20")
    ]
    plan += [
        spec(seed=i, epochs=1, n_train=32, teachers=(spec(seed=i, epochs=1, n_train=32),))
        for i in range(5)
    ]
    found = []
    for threads in (1, 4):
        monkeypatch.setenv("KDCORE_STORE", str(tmp_path / str(threads)))
        tr.frozen.cache_clear()
        with ThreadPoolExecutor(threads) as pool:
            losses = sweep(
                plan, executor=pool, then=lambda s: tr.train(s).loss.tolist(), progress=False
            )
        found.append((bits(store.root()), losses))
    assert found[0] == found[1] and len(found[0][0]) == len(upstream(plan))


def test_a_network_that_cannot_run_is_refused_before_the_first_training(monkeypatch):
    monkeypatch.setattr(tr, "fit", lambda *a, **k: pytest.fail("trained"))
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(
            ValueError, match="vit_base_patch32_224 does not read images of 8 x 8 pixels"
        ),
    ):
        sweep(
            [*grid(), spec(model="vit_base_patch32_224", teachers=(spec(),))],
            executor=pool,
            progress=False,
        )


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
    assert (
        "2 of 3 runs failed" in str(error.value)
        and bad.hash[:12] in str(error.value)
        and "smaller learning rate" in str(error.value)
    )
    assert set(bits(store.root())) == {spec().hash}


def test_collect_measures_once_and_keeps_the_order(monkeypatch):
    specs = grid()
    with ThreadPoolExecutor(1) as pool:
        first = results.collect(accuracy, specs, executor=pool, progress=False)
        monkeypatch.setattr(results, "sweep", lambda *a: pytest.fail("measured again"))
        again = results.collect(accuracy, specs[::-1], executor=pool, progress=False)
    assert (
        list(first["spec"]) == [s.hash for s in specs]
        and list(again["accuracy"]) == list(first["accuracy"])[::-1]
    )
    assert {"date", "commit", "cpu", "threads", "torch", "python", "seconds"} <= set(
        first["provenance"][0]
    )


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
    keys = {
        results.row_key(accuracy, spec(), a)
        for a in ({}, {"view": WEAK}, {"view": STRONG}, {"draws": 2})
    }
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
    code = (
        "import os, time; from kdcore.workers import local_pool\n"
        "if __name__ == '__main__':\n"
        "    with local_pool() as pool:\n"
        "        print(*{pool.submit(os.getpid).result() for _ in range(4)}, flush=True)\n"
        "        pool.submit(time.sleep, 600).result()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as caller:
        pids = [int(pid) for pid in caller.stdout.readline().split()]
        assert pids and all(map(alive, pids))
        caller.kill()
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, pids))


# --------------------------------------------------------- workers that are killed, local processes


def killed_once(spec_):
    """Its process is killed, the first time."""
    if not (mark := store.root() / spec_.hash).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return spec_.hash


def killed_always(spec_):
    if spec_ == spec():
        os.kill(os.getpid(), signal.SIGKILL)
    return spec_.hash


def test_a_killed_worker_takes_only_its_own_run_which_is_done_once_more():
    assert sweep(grid(), then=killed_once, progress=False) == [s.hash for s in grid()]
    assert set(bits(store.root())) == {s.hash for s in upstream(grid())}


def test_a_run_that_ends_its_worker_twice_is_named_with_a_hint_and_the_others_are_kept():
    with pytest.raises(SweepError) as error:
        sweep([*grid(), spec(teachers=(spec(),))], then=killed_always, progress=False)
    text = str(error.value)
    assert (
        "2 of 7 runs failed" in text
        and f"{spec().hash[:12]}: its worker process ended twice" in text
    )
    assert (
        "SIGKILL" in text
        and "more memory than there is" in text
        and "its teacher failed" in text.splitlines()[-1]
    )
    # it is the measurement that was killed: the weights are there
    assert set(bits(store.root())) == {s.hash for s in upstream(grid())}


# ------------------------------------------------------------ measurements that workers cannot read

MINE = """
from kdcore import results
from test_sweep import grid
def mine(spec):
    return {"one": 1}
mine.version = 1
"""
CALL = "print(len(results.collect(mine, grid(), progress=False)))\n"
GUARDED = "if __name__ == '__main__':\n"


def run(*command):
    """Runs Python with the tests on its path; what it prints, and its last line on stderr."""
    paths = os.pathsep.join(
        [
            str(Path(__file__).parent),
            os.environ.get("PYTHONPATH", ""),
            str(Path(__file__).parents[1]),
        ]
    )
    ended = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        timeout=300,
    )
    return ended.stdout, ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else ""


@pytest.mark.parametrize(
    "form, says",
    [
        ("notebook", "do not find the measurement (AttributeError: Can't get attribute 'mine'"),
        ("no guard", 'the script must call it under `if __name__ == "__main__":`'),
        (
            "defined under the guard",
            "do not find the measurement (AttributeError: Can't get attribute 'mine'",
        ),
        ("right", None),
    ],
)
def test_a_measurement_that_workers_cannot_read_is_a_sentence_before_any_training(
    tmp_path, form, says
):
    script = tmp_path / "script.py"
    indented = (MINE + CALL).replace("\n", "\n    ")
    script.write_text(
        {
            "no guard": MINE + CALL,
            "defined under the guard": GUARDED + indented,
            "right": MINE + GUARDED + "    " + CALL,
        }.get(form, "")
    )
    # a notebook's main module has no file, like that of -c
    printed, last = run("-c", MINE + CALL) if form == "notebook" else run(str(script))
    if says is None:
        assert printed == "4\n"
    else:
        assert "SweepError: Nothing was trained" in last and says in last and not bits(store.root())


@pytest.mark.parametrize("executor", [None, "processes"])
def test_a_measurement_that_cannot_be_sent_is_refused_before_any_training(executor):
    with pytest.raises(
        SweepError,
        match="Nothing was trained: the measurement cannot be sent .*top level of a file of its "
        "own",
    ):
        sweep(grid(), executor and ProcessPoolExecutor(1), then=lambda s: s.hash, progress=False)
    assert not bits(store.root())


# -------------------------------------------------------------------------- executors of every kind


class Stub:
    """An executor whose futures end as they are told to."""

    def __init__(self, end=lambda future: None, _shutdown=False):
        self.end, self._shutdown = end, _shutdown

    def submit(self, function, *arguments):
        future = Future()
        self.end(future)
        return future


def begun(future):
    """Its job begins, gives a sign of life, and its worker is gone."""
    for s in upstream(grid()):
        sw.sign(s.hash).parent.mkdir(parents=True, exist_ok=True)
        sw.sign(s.hash).touch()


@pytest.mark.parametrize(
    "end, shut, says",
    [
        (lambda f: f.cancel(), False, "the executor cancelled it"),
        (lambda f: f.set_exception(AsyncioCancelled()), False, "the executor cancelled it"),
        (
            lambda f: f.set_exception(BrokenExecutor("gone")),
            False,
            "the executor has lost a worker, which was killed",
        ),
        (lambda f: f.set_exception(OSError("no network")), False, "OSError: no network"),
        (lambda f: None, True, "the executor has been shut down: make a new one"),
        (lambda f: None, False, "no worker of the executor has given a sign of life"),
        (begun, False, "no worker of the executor has given a sign of life"),
    ],
)
def test_an_executor_that_is_gone_ends_the_sweep_with_a_sentence(monkeypatch, end, shut, says):
    for name, seconds in (("BEAT", 0.05), ("SILENCE", 0.2), ("SHUT", 0.2), ("NEVER", 0.5)):
        monkeypatch.setattr(sw, name, seconds)
    if end is begun:
        monkeypatch.setattr(sw, "NEVER", 600.0)
    with pytest.raises(SweepError, match="6 of 6 runs failed") as error:
        sweep(grid(), Stub(end, shut), progress=False)
    assert says in str(error.value)


def test_an_executor_that_is_gone_gets_no_further_jobs(monkeypatch):
    for name, seconds in (("FLIGHT", 10), ("BEAT", 0.05), ("SILENCE", 0.2), ("SHUT", 0.2)):
        monkeypatch.setattr(sw, name, seconds)
    executor, runs, given = Stub(_shutdown=True), [spec(seed=i) for i in range(40)], []
    monkeypatch.setattr(executor, "end", given.append)
    with pytest.raises(SweepError, match="40 of 40 runs failed"):
        sweep(runs, executor, progress=False)
    assert len(given) == 10


def test_an_executor_that_takes_no_more_jobs_ends_the_sweep_with_a_sentence():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(SweepError, match="the executor does not take it .*after shutdown"):
        sweep(grid(), pool, progress=False)


def test_a_slow_job_of_an_executor_that_was_shut_down_is_waited_for(monkeypatch):
    for name, seconds in (("BEAT", 0.05), ("SILENCE", 0.4), ("SHUT", 0.2)):
        monkeypatch.setattr(sw, name, seconds)
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(tr, "train", lambda s: pool.shutdown(wait=False) or time.sleep(1.5))
    assert sweep([spec()], pool, then=lambda s: s.hash, progress=False) == [spec().hash]
    assert not list((store.root() / "working").iterdir())


def breaks(spec_, how):
    if how == "exits":
        sys.exit(3)
    raise Awkward("a broken measurement", 7)  # line of the fault


class Awkward(Exception):
    """Cannot be pickled and read again: it wants two arguments and says one."""

    def __init__(self, text, number):
        super().__init__(text)


@pytest.mark.parametrize(
    "how, says", [("raises", "Awkward: a broken measurement"), ("exits", "SystemExit: 3")]
)
def test_a_fault_inside_a_worker_keeps_its_file_and_line(how, says):
    with pytest.raises(SweepError) as error:
        sweep([spec()], then=partial(breaks, how=how), progress=False)
    lines = Path(__file__).read_text().splitlines()
    line = 1 + next(
        i
        for i, text in enumerate(lines)
        if ("sys.exit(3)" if how == "exits" else "# line of the fault") in text
    )
    assert f'{says} (File "{__file__}", line {line}, in breaks)' in str(error.value)


def test_the_place_of_a_fault_inside_a_library_is_the_line_that_called_it():
    try:
        json.loads("{")
    except ValueError as error:
        assert sw.in_words(error).endswith(
            "in test_the_place_of_a_fault_inside_a_library_is_the_line_that_called_it)"
        )


def seen_by_worker(spec_):
    import numpy  # noqa: F401  (whose linear algebra has threads of its own)
    import threadpoolctl

    return {
        "store": os.environ.get("KDCORE_STORE"),
        "old": os.environ.get("KDCORE_OLD"),
        "threads": torch.get_num_threads(),
        "libraries": {library["num_threads"] for library in threadpoolctl.threadpool_info()},
    }


def test_a_worker_that_outlives_a_change_of_the_store_uses_the_new_one_and_every_job_one_thread(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("KDCORE_OLD", "1")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        sweep([spec()], pool, progress=False)
        monkeypatch.delenv("KDCORE_OLD")
        monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "second"))
        seen = sweep([spec()], pool, then=seen_by_worker, progress=False)
    assert seen == [
        {"store": str(tmp_path / "second"), "old": None, "threads": 1, "libraries": {1}}
    ]
    assert set(bits(tmp_path / "second")) == set(bits(tmp_path / "store")) == {spec().hash}


def test_jobs_with_other_settings_wait_for_their_turn_in_a_worker_of_several_threads(
    tmp_path, monkeypatch
):
    """As a dask worker with threads that serves two callers: every job sees the settings of its own
    caller from beginning to end.
    """
    monkeypatch.setattr(tr, "train", lambda s: None)
    monkeypatch.setattr(sw, "THIS", "a worker's")

    def ask(i):
        order = sw.Order(
            {"KDCORE_STORE": str(tmp_path / f"{i % 3}")}, ("a caller's", 1), signs=False
        )
        return sw.work(
            spec(), lambda s: (time.sleep(0.01), os.environ["KDCORE_STORE"])[1], order
        ) == str(tmp_path / f"{i % 3}")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(60)))


def test_threads_of_the_caller_are_as_before_after_a_sweep():
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert sweep(
                grid()[-1:], pool, then=lambda s: torch.get_num_threads(), progress=False
            ) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# --------------------------------------------------------------------------------- how many workers


@pytest.mark.parametrize(
    "group, files, cores",
    [
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        # nested: the parent's quota counts
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "300000 100000"}, 3),
        # in a container: the path is the host's, the root its own
        ("0::/host/path", {"cpu.max": "100000 100000"}, 1),
        (
            "4:cpu,cpuacct:/a",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "50000",
            },
            5,
        ),
        (
            "3:cpuset:/\n4:cpu:/a",
            {
                "cpu/cpu.cfs_quota_us": "50000",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/a/cpu.cfs_quota_us": "-1",
                "cpu/a/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        ("nonsense", {"cpu.max": "nonsense"}, math.inf),
    ],
)
def test_quotas_of_control_groups_are_read(tmp_path, group, files, cores):
    for name, text in files.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(group + "\n")
    if group == "nonsense":
        with pytest.raises(ValueError):
            workers.quota(tmp_path / "cgroup", tmp_path / "mount")
    else:
        assert workers.quota(tmp_path / "cgroup", tmp_path / "mount") == cores
    assert workers.quota(tmp_path / "absent") == math.inf


def test_workers_are_the_smallest_of_cores_and_quota_and_at_least_one(monkeypatch):
    monkeypatch.delenv("KDCORE_WORKERS", raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    for quota, count in ((math.inf, 8), (3, 3), (1.5, 2), (0.2, 1)):
        monkeypatch.setattr(workers, "quota", lambda quota=quota: quota)
        assert workers.workers() == count
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for quota, count in ((math.inf, workers.PER_CARD), (2, 2)):
        monkeypatch.setattr(workers, "quota", lambda quota=quota: quota)
        assert workers.workers() == count
    monkeypatch.setenv("KDCORE_WORKERS", "12")
    assert workers.workers() == 12


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1e3", "1001", "\u0663", "1 2", "nan"])
def test_a_number_of_workers_that_is_none_is_refused_before_any_training(monkeypatch, value):
    monkeypatch.setenv("KDCORE_WORKERS", value)
    with pytest.raises(
        ValueError, match=f"KDCORE_WORKERS = '{value}': must be a whole number from 1 to 1000"
    ):
        sweep(grid(), progress=False)
    assert not bits(store.root())


def test_no_more_processes_than_workers(monkeypatch):
    monkeypatch.setenv("KDCORE_WORKERS", "1")
    assert len({*sweep(grid(), then=process, progress=False)}) == 1


def process(_):
    return os.getpid()


# ---------------------------------------------------------------------------------------- many runs


def test_a_sweep_hashes_every_run_once_and_compares_none(monkeypatch):
    """Linear in the runs: 1,000 students of 20 teachers; and 12 generations of two teachers each,
    whose texts double with each.
    """
    hashed, text = [], Spec.canonical.fget
    monkeypatch.setattr(Spec, "canonical", property(lambda self: hashed.append(1) or text(self)))
    monkeypatch.setattr(Spec, "__eq__", lambda *_: pytest.fail("compared"))
    monkeypatch.setattr(Spec, "__hash__", lambda _: pytest.fail("compared"))
    teachers = [spec(seed=1000 + k) for k in range(20)]
    students = [
        spec(seed=i, teachers=(teachers[i % 20], teachers[(i + 1) % 20])) for i in range(1000)
    ]
    begin = time.process_time()
    sweep(students, Stub(lambda f: f.set_result(None)), progress=False)
    assert len(hashed) == 1020 and time.process_time() - begin < 1
    generation = (spec(seed=1), spec(seed=2))
    for _ in range(12):
        generation = (spec(seed=1, teachers=generation), spec(seed=2, teachers=generation))
    hashed.clear()
    assert len(upstream(generation)) == len(hashed) == 26


class OneAtATime:
    """One more job has ended each time that all have been asked: the youngest."""

    def __init__(self):
        self.left, self.asked = [], 0

    def submit(self, function, *arguments):
        self.left.append(Asked(self))
        return self.left[-1]


class Asked:
    def __init__(self, executor):
        self.executor = executor

    def done(self):
        self.executor.asked += 1
        return self is self.executor.left[-1]

    def result(self):
        self.executor.left.remove(self)


def test_an_outside_executor_is_asked_about_a_bounded_number_of_jobs_at_a_time(monkeypatch):
    monkeypatch.setattr(sw, "FLIGHT", 10)
    executor, runs = OneAtATime(), [spec(seed=i) for i in range(200)]
    sweep(runs, executor, progress=False)
    assert executor.asked <= 10 * len(runs) and executor.left == []


# ----------------------------------------------------------------------- faults, a few of each kind


@pytest.mark.parametrize("kind", ["kills", "flips", "parameters", "publications", "users"])
def test_faults_change_nothing(tmp_path, kind):
    """The long version: `KILLS=1000 FLIPS=2000 PARAMETERS=3000 PUBLICATIONS=60 make faults`."""
    small = {"KILLS": "3", "FLIPS": "20", "PARAMETERS": "60", "PUBLICATIONS": "3"}
    harness, table = Path(__file__).with_name("faults.py"), tmp_path / "faults.csv"
    ended = subprocess.run(
        [sys.executable, harness, table, kind],
        env=small | os.environ,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(table.read_text().splitlines()) > 1
