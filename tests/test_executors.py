"""KDCORE_EXECUTOR: what is refused; the same rows from local processes, dask, and a real Slurm of
one node; what becomes of a job that is killed, cancelled, requeued, or whose controller restarts.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import slurm
from small import spec

from kdcore import executors, results, store, sweep
from kdcore import train as tr

TINY = dict(epochs=1, n_train=32, model="cnn-4")
STUDENT = spec(**TINY, teachers=(spec(seed=101, **TINY), spec(seed=102, **TINY)))


def online(spec_):
    return {"accuracy": float(tr.train(spec_).online_accuracy[-1])}


online.version = 1


def slow(spec_, seconds):
    """A measurement that takes its time, so that there is some to disturb it."""
    time.sleep(seconds)
    return os.environ.get("SLURM_RESTART_COUNT", "0")


@pytest.fixture(autouse=True)
def fresh():
    executors.made.cache_clear()
    yield
    executors.made.cache_clear()


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Writes the lines into a file that KDCORE_EXECUTOR names."""
    monkeypatch.setenv("KDCORE_RESULTS", "")

    def write(*lines, home=tmp_path):
        path = home / "engine.yaml"
        path.write_text("\n".join(lines))
        monkeypatch.setenv("KDCORE_EXECUTOR", str(path))
        return path

    return write


@pytest.mark.parametrize(
    "lines, said",
    [
        (["engine: lava"], "names no engine: one line is engine: local, slurm, dask"),
        (["workers: 2"], "names no engine"),
        (["- engine"], "names no engine"),
        (["engine: local", "nodes: 3"], "engine: local has no setting nodes; it has workers"),
        (["engine: local", "workers: 0"], "workers: 0: a number from 1 to 1000"),
        (["engine: local", "workers: yes"], "workers: True: a number"),
        (["engine: dask"], "has either address or workers"),
        (["engine: dask", "port: 1"], "has no setting port; it has address, workers"),
        (["engine: slurm", "timeout_min: 5"], "timeout_min: 5: minutes for one run, 15 or more"),
        (["engine: slurm", "warp: 9"], "submitit does not take it"),
        (["engine: [", ""], "cannot be read as YAML"),
    ],
)
def test_a_file_that_names_no_usable_engine_is_refused(named, lines, said, monkeypatch):
    if "slurm" in lines[0]:
        monkeypatch.setattr(shutil, "which", lambda name, *_: f"/bin/{name}")
    named(*lines)
    with pytest.raises(ValueError) as refused:
        executors.chosen()
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_absent_file_and_an_absent_package_are_named(named, monkeypatch):
    monkeypatch.setenv("KDCORE_EXECUTOR", "nowhere.yaml")
    with pytest.raises(ValueError, match="nowhere.yaml cannot be read"):
        executors.chosen()
    named("engine: dask", "workers: 1")
    monkeypatch.setattr(executors, "PACKAGES", {"slurm": "submitit", "dask": "no_such_package"})
    with pytest.raises(ValueError, match="needs the package no_such_package: pip install"):
        executors.chosen()


def test_local_processes_are_the_default(named, monkeypatch):
    monkeypatch.delenv("KDCORE_EXECUTOR", raising=False)
    monkeypatch.delenv("KDCORE_WORKERS", raising=False)
    assert executors.chosen() is None
    named("engine: local", "workers: 3")
    monkeypatch.setenv("KDCORE_WORKERS", "")
    monkeypatch.delenv("KDCORE_WORKERS")
    assert executors.chosen() is None and sweep.workers() == 3
    monkeypatch.delenv("KDCORE_WORKERS")


def test_every_example_is_read():
    folder = Path(__file__).parents[1] / "presets" / "executors"
    found = {path.stem: executors.described(str(path))[0] for path in folder.glob("*.yaml")}
    assert found == {"local": "local", "slurm": "slurm", "dask": "dask"}


def test_dask_gives_the_rows_of_local_processes(named, monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    here = results.collect(online, [STUDENT], progress=False)
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "other"))
    named("engine: dask", "workers: 1")
    there = results.collect(online, [STUDENT], progress=False)
    assert there["accuracy"].tolist() == here["accuracy"].tolist()
    assert store.get("runs", STUDENT.hash) is not None


# --------------------------------------------------------------------------------------- real Slurm


@pytest.fixture(scope="module")
def cluster():
    if reason := slurm.missing():
        pytest.skip(reason)
    pytest.importorskip("submitit")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    running = slurm.Slurm(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_slurm(cluster, named, monkeypatch, tmp_path):
    """The executor that KDCORE_EXECUTOR names, on the cluster; it learns of ended jobs at once."""
    from submitit.slurm.slurm import SlurmJob

    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    here = Path(__file__).parent  # where a worker finds this file and kdcore
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here, here.parent))))
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "shared"))
    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 1)
    monkeypatch.setattr(SlurmJob.watcher, "_delay_s", 1)
    monkeypatch.setattr(sweep, "SILENCE", 30.0)
    named("engine: slurm", "slurm_partition: main", "timeout_min: 30")
    return executors.chosen()


def disturbed(cluster, disturb, **look):
    """What `sweep` returns or raises for one stored run with a slow measurement, while `disturb` is
    done to its job.
    """
    tr.train(STUDENT)
    found = []

    def call():
        try:
            found.append(sweep.sweep([STUDENT], then=partial(slow, **look), progress=False))
        except sweep.SweepError as error:
            found.append(error)

    thread = threading.Thread(target=call)
    before = set(cluster.jobs("all"))
    thread.start()
    cluster.wait_for(lambda: set(cluster.jobs("RUNNING")) - before)
    (job,) = set(cluster.jobs("RUNNING")) - before
    cluster.wait_for(lambda: any(sweep.sign("any").parent.glob("*")))  # the measurement has begun
    disturb(job)
    thread.join(timeout=120)
    assert not thread.is_alive(), "the sweep waits without end"
    return found[0]


def test_slurm_gives_the_rows_of_local_processes(on_slurm, monkeypatch, tmp_path):
    there = results.collect(online, [STUDENT], progress=False)
    monkeypatch.delenv("KDCORE_EXECUTOR")
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "alone"))
    here = results.collect(online, [STUDENT], progress=False)
    assert there["accuracy"].tolist() == here["accuracy"].tolist()
    assert there["provenance"][0]["threads"] == 1


def processes_of(job):
    """The Python processes that do a job's work."""
    mine = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        environ, words = process.info["environ"] or {}, process.info["cmdline"] or []
        if environ.get("SLURM_JOB_ID") == job and "submitit.core._submit" in words:
            mine.append(process)
    return mine


def test_a_killed_job_ends_in_a_sentence_and_the_next_call_goes_on(on_slurm, cluster):
    def kill(job):
        for process in processes_of(job):
            process.send_signal(signal.SIGKILL)

    error = disturbed(cluster, kill, seconds=60)
    assert isinstance(error, sweep.SweepError) and STUDENT.hash[:12] in str(error)
    assert sweep.sweep([STUDENT], then=partial(slow, seconds=0), progress=False) == ["0"]


def test_a_cancelled_job_ends_in_a_sentence(on_slurm, cluster):
    error = disturbed(cluster, lambda job: cluster.ask("scancel", job), seconds=60)
    assert isinstance(error, sweep.SweepError) and "1 of 1 runs failed" in str(error)


def test_a_requeued_job_starts_again_and_is_waited_for(on_slurm, cluster):
    assert disturbed(cluster, lambda job: cluster.ask("scontrol", "requeue", job), seconds=12) == [
        "1"
    ]


def test_a_controller_that_restarts_loses_nothing(on_slurm, cluster):
    def restart(job):
        cluster.kill("slurmctld")
        cluster.controller()

    assert disturbed(cluster, restart, seconds=5) == ["0"]
