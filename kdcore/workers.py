"""Local processes that train side by side: how many there are room for, and a pool in which one
that is killed takes nothing with it but its own job.

`kdcore.sweep` hands them its jobs where no other executor is named; nothing here knows what a job
is.
"""

import math
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import connection
from pathlib import Path, PurePosixPath

# --------------------------------------------------------------------------------- how many workers

# Processes that share an accelerator: while one trains on it, others measure, each on a core.
# Measuring the students of 100 classes takes about twice as long as training them there should.
PER_CARD = 3


def quota(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores that the control groups of this process allow, inf without a limit: the smallest quota
    from its own group up to the root.

    Version 2 has it in cpu.max ("150000 100000" is 1.5 cores), version 1 in cpu.cfs_quota_us and
    cpu.cfs_period_us. In a container the group's path may be that of the host: what does not exist
    is passed over, and the root, which is then the container's own group, is read.
    """
    smallest = math.inf
    with suppress(OSError):
        for line in proc.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = PurePosixPath(path.lstrip("/"))
            for top in (
                (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified")
            ):
                for place in (top / g for g in (group, *group.parents)):
                    with suppress(OSError, ValueError, ZeroDivisionError):
                        names = (
                            ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                            if controllers
                            else ("cpu.max",)
                        )
                        most, period = " ".join(
                            (place / name).read_text() for name in names
                        ).split()
                        if most not in ("max", "-1"):
                            smallest = min(smallest, int(most) / int(period))
    return smallest


def workers() -> int:
    """How many local processes train side by side: KDCORE_WORKERS, else one per core that affinity
    and control group leave to this process, at most PER_CARD where they share an accelerator.

    ValueError where KDCORE_WORKERS is no whole number from 1 to 1000.
    """
    if setting := os.environ.get("KDCORE_WORKERS", "").strip():
        if not re.fullmatch(r"1000|[1-9][0-9]{0,2}", setting):
            raise ValueError(
                f"KDCORE_WORKERS = {setting!r}: must be a whole number from 1 to 1000, or not "
                "set: one process per core."
            )
        return int(setting)
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        cores = os.process_cpu_count()
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # 1.5 cores are used up by two processes, not by one
    processes = max(1, math.ceil(min(cores or 1, quota())))
    torch = sys.modules.get("torch")  # slow to import; it is there before anything is trained
    return min(processes, PER_CARD) if torch and torch.cuda.is_available() else processes


# ---------------------------------------------------------------------------------- local processes


def start_worker() -> None:
    """A worker ends when its caller ends, however that does: else it would go on training for
    nobody.
    """
    caller = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (connection.wait([caller]), os._exit(1)), daemon=True).start()


class Processes:
    """`submit` as executors have it. Each process is a pool of its own: one that is killed takes
    its own job with it and nothing else, and the next job gets a new one. Give it at most
    `workers()` jobs at a time.
    """

    def __init__(self):
        # before the fork server starts, which imports torch once for all of them
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["kdcore.measure.outputs"])
        self.used = []  # (pool of one process, its latest job)

    def submit(self, function, *arguments):
        """A concurrent.futures.Future. OSError where the system gives no further process."""
        for free in [(pool, job) for pool, job in self.used if job.done()]:
            self.used.remove(free)
            with suppress(BrokenExecutor):
                self.used.append((free[0], free[0].submit(function, *arguments)))
                return self.used[-1][1]
        pool = ProcessPoolExecutor(1, mp_context=self.context, initializer=start_worker)
        self.used.append((pool, pool.submit(function, *arguments)))
        return self.used[-1][1]

    def how_it_ended(self, job) -> str:
        """Of a job whose process is gone: "SIGKILL", "SIGSEGV", "exit code 1", as the system said
        it.
        """
        pool = next(pool for pool, latest in self.used if latest is job)
        process = next(iter(pool._processes.values()))
        pool.shutdown()  # which collects the exit code
        return (
            signal.Signals(-process.exitcode).name
            if process.exitcode < 0
            else f"exit code {process.exitcode}"
        )

    def interrupt(self):
        """Ends the work now, not after the queue."""
        for pool, _ in self.used:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self):
        """Waits for all processes to end, side by side."""
        if self.used:
            with ThreadPoolExecutor(len(self.used)) as side_by_side:
                list(side_by_side.map(lambda entry: entry[0].shutdown(), self.used))


@contextmanager
def local_pool():
    """Local processes with `submit`; none is left at the end, whatever the end."""
    pool = Processes()
    try:
        yield pool
    except BaseException:
        pool.interrupt()
        raise
    else:
        pool.close()


def unreadable(pickled: bytes) -> str | None:
    """In a worker: why it cannot read what will be asked of it, None where it can."""
    try:
        pickle.loads(pickled)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def unable(pool: Processes, then: Callable | None) -> str | None:
    """Why processes cannot start, or cannot read `then`, in words that say what to do; None where
    they can. Asked before anything is trained.
    """
    cure = (
        "write it at the top level of a file of its own (a .py file beside the notebook or "
        "script), import it from there, and give its arguments as keywords of results.collect or "
        "by functools.partial."
    )
    try:
        pickled = pickle.dumps(then)
    except Exception as error:
        return f"the measurement cannot be sent to worker processes ({error}): {cure}"
    try:
        try:
            reason = pool.submit(unreadable, pickled).result()
        except BrokenExecutor:  # killed by chance, or every one will be
            reason = pool.submit(unreadable, pickled).result()
    except BrokenExecutor:
        return (
            "the worker processes end as soon as they start. They import the script that calls "
            "sweep or results.collect, so the script must call it under "
            '`if __name__ == "__main__":`; and there must be memory for them.'
        )
    except OSError as error:
        return (
            f"no worker process can be started ({error}): close other programs, raise the limits "
            "on processes and open files, or pass an executor, e.g. "
            "concurrent.futures.ThreadPoolExecutor(1)."
        )
    if reason:
        return (
            f"the worker processes do not find the measurement ({reason}). What is defined in a "
            f"notebook or under the main guard of a script exists there only: {cure}"
        )
    return None
