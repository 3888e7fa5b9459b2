"""sweep(specs): trains what is not stored yet, teachers first, one single-threaded process per
core.

Any executor with `submit` will do: the default is local processes (kdcore.workers);
submitit.AutoExecutor is a Slurm cluster. Workers and caller need nothing in common but the run
store: every job carries the caller's KDCORE_* settings and takes one thread.
"""

import multiprocessing
import os
import sys
import sysconfig
import threading
import time
import traceback
import uuid
from asyncio import CancelledError as AsyncioCancelled
from collections import deque
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    ProcessPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from kdcore import store
from kdcore.budget import needing
from kdcore.executors import chosen
from kdcore.folders import path_of
from kdcore.spec import Spec
from kdcore.workers import Processes, local_pool, unable, workers

BEAT = 2.0  # seconds between two signs of life of a job
# seconds without any, after which an outside executor whose jobs had begun counts as gone
SILENCE = 120.0
SHUT = 10.0  # the same, where the executor says that it has been shut down
# seconds for which jobs of which none has begun are waited for: clusters have queues
NEVER = 86_400.0
FLIGHT = 1000  # jobs in the hands of an outside executor
SHOWN = 20  # runs that failed, in the text of a SweepError
THIS = uuid.uuid4().hex  # with the process id: this process, among those of all machines


class SweepError(RuntimeError):
    """Some runs failed, or none can be trained. What is finished is stored."""


# ------------------------------------------------------------------------------------ what a job is


class Order(NamedTuple):
    """What travels with each job beside the run: the caller's KDCORE_* settings, which process it
    is, whether it wants signs of life.
    """

    settings: dict[str, str]
    process: tuple[str, int]
    signs: bool


class Failure(NamedTuple):
    """What a job returns that did not succeed. Not the exception itself: not every exception
    survives the way between two processes.
    """

    why: str


def settings() -> dict[str, str]:
    """The KDCORE_* settings of this process, folders as absolute paths: a worker may run elsewhere,
    or have been started under others.
    """
    path_of("KDCORE_STORE")
    return {k: v for k, v in os.environ.items() if k.startswith("KDCORE_")} | {
        "KDCORE_STORE": str(store.root().absolute())
    }


_turn = threading.Condition()
# settings of the jobs that this process is doing: more than one where workers are threads
_running: list[dict[str, str]] = []
_restore = ExitStack()


@contextmanager
def conditions(order: Order):
    """The caller's settings and one thread (those of several trainings collapse on a shared
    machine) as long as a job runs.

    Both belong to the whole process, so jobs with other settings wait until those before them are
    done.
    """
    import torch

    with _turn:
        _turn.wait_for(lambda: not _running or _running[0] == order.settings)
        if not _running:
            _restore.callback(torch.set_num_threads, torch.get_num_threads())
            _restore.enter_context(libraries().limit(limits=1))
            if order.process != (THIS, os.getpid()):
                os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are loaded later
                adopt(order.settings)
        _running.append(order.settings)
        torch.set_num_threads(1)  # counts for this thread
    try:
        yield
    finally:
        with _turn:
            _running.pop()
            if not _running:
                _restore.close()
            _turn.notify_all()


@lru_cache(maxsize=1)
def libraries():
    """The numerical libraries of this process that have threads of their own."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def adopt(new: dict[str, str]) -> None:
    """Makes these the KDCORE_* settings of a worker. Where they change, what it remembers from
    under the old ones is forgotten.
    """
    old = {k: v for k, v in os.environ.items() if k.startswith("KDCORE_")}
    if old == new:
        return
    for name in old:
        del os.environ[name]
    os.environ.update(new)
    for name, module in list(sys.modules.items()):
        if name.startswith("kdcore."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def sign(name: str) -> Path:
    """The file that the job of a run touches as long as it runs."""
    return store.root() / "working" / name


@contextmanager
def signs_of_life(name: str):
    """Touches a file every BEAT seconds: not every executor says that a worker has gone. Where it
    cannot be written, there are none.
    """
    path, end = sign(name), threading.Event()

    def touch():
        while not end.is_set():
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            end.wait(BEAT)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def in_words(error: BaseException) -> str:
    """An exception in words, with file and line: the innermost that do not belong to an installed
    library, else the innermost.
    """
    libraries = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*libraries, "<frozen"))] or frames
    place = f' (File "{own[-1].filename}", line {own[-1].lineno}, in {own[-1].name})' if own else ""
    return f"{type(error).__name__}: {error}{place}"


def work(spec: Spec, then: Callable[[Spec], object] | None, order: Order):
    """What a worker does: train (or fetch) the run, then measure it if asked. Returns the
    measurement or a Failure.
    """
    try:
        from kdcore.train import train

        with conditions(order), signs_of_life(spec.hash) if order.signs else nullcontext():
            train(spec)
            return then(spec) if then else None
    except (Exception, SystemExit) as error:
        return Failure(in_words(error))


# ---------------------------------------------------------------------------------------- the sweep


def plan(specs) -> tuple[list[str], dict[str, Spec], dict[str, set[str]]]:
    """(hashes of the specs, {hash: spec} of them and all upstream, teachers first, {hash: hashes of
    its teachers}).

    The hash of a spec is made of all its teachers' fields, so it is computed once per object, and
    each run is visited once.
    """
    hashes, found, teachers = {}, {}, {}

    def visit(spec):
        if id(spec) not in hashes:
            own = {visit(teacher) for teacher in spec.teachers}
            name = hashes[id(spec)] = spec.hash
            if name not in found:
                found[name], teachers[name] = spec, own
        return hashes[id(spec)]

    specs = list(specs)  # which keeps the objects, and so their ids
    return [visit(spec) for spec in specs], found, teachers


def upstream(specs) -> list[Spec]:
    """The specs with all their teachers, each once, every teacher before its first student."""
    return list(plan(specs)[1].values())


class Ledger:
    """What has become of the runs: `ready` to be trained, their teachers being stored; `done`, with
    what was returned; `failed`, and why. Each entry costs what it changes, not what there is.
    """

    def __init__(self, runs, teachers, bar: tqdm, tidy: Callable):
        self.runs, self.bar, self.tidy = runs, bar, tidy
        self.ready, self.done, self.failed = deque(), {}, {}
        self.left = {}  # how many of its teachers are not trained yet
        self.students = {name: [] for name in runs}
        for name in runs:
            missing = [teacher for teacher in teachers[name] if teacher in runs]
            self.left[name] = len(missing)
            for teacher in missing:
                self.students[teacher].append(name)
            if not missing:
                self.ready.append(name)
        self.show()

    def show(self) -> None:
        ended = len(self.done) + len(self.failed)
        self.bar.set_postfix_str(f"{ended} of {len(self.runs)} runs", refresh=False)

    def ended(self, name: str) -> None:
        self.show()
        self.bar.update(cost(self.runs[name]))
        self.tidy()

    def finish(self, name: str, result) -> None:
        self.done[name] = result
        self.ended(name)
        for student in self.students[name]:
            self.left[student] -= 1
            if not self.left[student] and student not in self.failed:
                self.ready.append(student)

    def fail(self, name: str, why: str) -> None:
        """Of a run that failed, and of all its students, theirs, and so on."""
        below = [(name, why)]
        while below:
            name, why = below.pop()
            if name not in self.failed:
                self.failed[name] = why
                self.ended(name)
                below += [(student, "its teacher failed") for student in self.students[name]]


def cost(spec: Spec) -> int:
    """Images that a training sees, for the progress bar."""
    return spec.optim.epochs * (spec.data.n_train or 50_000)


def settle(ledger: Ledger, name: str, job) -> None:
    """Enters what a job that has ended returned. BrokenExecutor, as the job raises it."""
    try:
        result = job.result()
    except BrokenExecutor:
        raise
    except (CancelledError, AsyncioCancelled) as error:
        ledger.fail(
            name,
            f"the executor cancelled it ({type(error).__name__}): was it shut down? Make a new "
            "executor and call again",
        )
    except Exception as error:  # of the executor: those of the run are caught where it runs
        ledger.fail(name, f"{type(error).__name__}: {error}")
    else:
        if isinstance(result, Failure):
            ledger.fail(name, result.why)
        else:
            ledger.finish(name, result)


def not_taken(error: Exception) -> str:
    """What to say where an executor does not take a job."""
    return f"the executor does not take it ({type(error).__name__}: {error})"


def in_processes(ledger: Ledger, pool: Processes, submit: Callable, limit: int) -> None:
    """Trains with `limit` local processes, or as many as the system gives. A run whose process is
    killed is tried once more when nothing else is running.
    """
    jobs, suspects, suspected = {}, deque(), set()

    def start(name):
        try:
            jobs[name] = submit(name)
        except OSError as error:
            if not jobs:
                ledger.fail(name, not_taken(error))
            return not jobs
        except Exception as error:
            ledger.fail(name, not_taken(error))
        return True

    while ledger.ready or jobs or suspects:
        while ledger.ready and len(jobs) < limit:
            if not start(ledger.ready[0]):  # no further process: with those that there are
                limit = len(jobs)
                break
            ledger.ready.popleft()
        if suspects and not jobs:
            start(suspects.popleft())
        while not (finished := [name for name, job in jobs.items() if job.done()]) and jobs:
            wait(jobs.values(), timeout=1, return_when=FIRST_COMPLETED)
        for name in finished:
            job = jobs.pop(name)
            try:
                settle(ledger, name, job)
            except BrokenExecutor:
                if name not in suspected:
                    suspected.add(name)
                    suspects.append(name)
                else:
                    ledger.fail(
                        name,
                        "its worker process ended twice without an answer, the second time with "
                        f"nothing else running ({pool.how_it_ended(job)}): perhaps it needs more "
                        "memory than there is; try a smaller batch_size, network or data set",
                    )


def by_executor(ledger: Ledger, executor, submit: Callable, limit: int) -> None:
    """Trains where an outside executor does, with at most `limit` jobs in its hands: each of them
    is asked again and again whether it is done.
    """
    jobs, watch = {}, Watch(executor)
    while ledger.ready or jobs:
        while ledger.ready and len(jobs) < limit:
            name = ledger.ready.popleft()
            with suppress(OSError):
                sign(name).unlink(missing_ok=True)  # of a worker that was killed
            try:
                jobs[name] = submit(name)
            except Exception as error:
                ledger.fail(name, not_taken(error))
        while not (finished := [name for name, job in jobs.items() if job.done()]) and jobs:
            if gone := watch.gone(jobs):
                for name in [*jobs, *ledger.ready]:
                    ledger.fail(name, gone)
                jobs = {}
                ledger.ready.clear()
        watch.silent = 0.0
        for name in finished:
            try:
                settle(ledger, name, jobs.pop(name))
            except BrokenExecutor as error:
                ledger.fail(
                    name,
                    "the executor has lost a worker, which was killed, for its memory perhaps "
                    f"({type(error).__name__}: {error}): make a new executor and call again",
                )


def sweep(
    specs,
    executor=None,
    then: Callable[[Spec], object] | None = None,
    progress: bool = True,
    looks_at=(),
) -> list:
    """Trains the specs, teachers first; returns [then(spec) for spec in specs], or Nones.

    Stored runs are not trained again. `then` runs in the worker right after its training. A run
    that fails takes its students with it and nothing else; at the end SweepError says what failed,
    and where. Interrupt it at any moment: call it again and only what is missing is done. Local
    processes: as many as `workers()` says; a run whose process is killed is tried once more when
    nothing else is running. `executor`: anything with `submit`, else what KDCORE_EXECUTOR names
    (kdcore.executors), else local processes. An outside executor that is shut down, or whose
    workers are gone, ends the sweep. `looks_at`: further specs whose logits `then` asks for; as
    long as the sweep runs, theirs and those of its own runs stay in the store (kdcore.budget). A
    script (a notebook need not) calls it under `if __name__ == "__main__":`, as multiprocessing
    asks.
    """
    # a process that is just importing a script without main guard
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit('call sweep or results.collect under `if __name__ == "__main__":`')
    executor = chosen() if executor is None else executor
    wanted, found, teachers = plan(specs)
    asked = set(wanted)
    runs = {
        name: spec
        for name, spec in found.items()
        if name in asked or not store.folder("runs", name).is_dir()
    }
    if not runs:
        return []
    from kdcore.train import check_runs

    check_runs(list(runs.values()))  # before the first training, not when a student's turn comes
    order = Order(settings(), (THIS, os.getpid()), signs=executor is not None)
    train, limit = (in_processes, workers()) if executor is None else (by_executor, FLIGHT)
    with (
        needing([*found, *plan(looks_at)[1]]) as tidy,
        nullcontext(executor) if executor is not None else local_pool() as pool,
        tqdm(
            total=sum(map(cost, runs.values())),
            desc="training and measuring",
            unit="image",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        if executor is None or isinstance(executor, ProcessPoolExecutor):
            if reason := unable(pool, then):
                raise SweepError(f"Nothing was trained: {reason}")

        def submit(name):
            return pool.submit(work, runs[name], then if name in asked else None, order)

        ledger = Ledger(runs, teachers, bar, tidy)
        train(ledger, pool, submit, limit)
    if ledger.failed:
        raise SweepError(
            f"{len(ledger.failed)} of {len(runs)} runs failed; the others are stored and will not "
            "be trained again.\n" + listed(runs, ledger.failed)
        )
    return [ledger.done[name] for name in wanted]


def listed(runs: dict[str, Spec], failed: dict[str, str]) -> str:
    """A line per failed run, causes before what they caused, SHOWN lines at most."""
    order = sorted(failed, key=lambda name: failed[name] == "its teacher failed")
    lines = [f"  {runs[name].model} {name[:12]}: {failed[name]}" for name in order[:SHOWN]]
    return "\n".join(lines + [f"  and {len(order) - SHOWN} more"] * (len(order) > SHOWN))


class Watch:
    """Looks after the jobs of an outside executor, which may never say that it has been shut down
    or that its workers are gone.
    """

    def __init__(self, executor):
        self.executor, self.silent, self.seen, self.looked = executor, 0.0, {}, 0.0

    def gone(self, jobs: dict) -> str | None:
        """Waits a moment; why the jobs will not end any more, None as long as they may.

        Time is counted by these moments and not by a clock, which goes on while the whole machine
        sleeps.
        """
        time.sleep(0.05)
        self.silent, self.looked = self.silent + 0.05, self.looked + 0.05
        if self.looked < BEAT:
            return None
        self.looked, now = 0.0, {}
        with suppress(OSError):
            with os.scandir(sign("any").parent) as files:
                for file in files:
                    if file.name in jobs:
                        with suppress(OSError):
                            now[file.name] = file.stat().st_mtime_ns
        if now != self.seen:
            self.seen, self.silent = now, 0.0
        shut = any(
            getattr(self.executor, name, False) is True
            for name in ("_shutdown", "_shutdown_thread")
        )
        if (
            shut
            and self.silent > SHUT
            and not any(getattr(job, "running", bool)() for job in jobs.values())
        ):
            return "the executor has been shut down: make a new one and call again"
        if self.silent > (SILENCE if now or shut else NEVER):
            return (
                f"no worker of the executor has given a sign of life for {self.silent:.0f} s: "
                "start workers, make a new executor and call again"
            )
        return None
