"""sweep(specs): trains what is not stored yet, teachers first, one single-threaded process per core.

Any executor with `submit` will do: the default is a local process pool; submitit.AutoExecutor is a Slurm cluster. Workers
and caller need nothing in common but the run store.
"""

import multiprocessing
import os
import threading
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import connection
from typing import Callable

from tqdm import tqdm

from kdcore import store
from kdcore.spec import Spec


class SweepError(RuntimeError):
    """Some runs failed. The others are stored."""


def start_worker(environment: dict[str, str]) -> None:
    """One thread per process (threads of several trainings collapse on a shared machine), the caller's KDCORE_* settings,
    and an end when the caller ends, however it does: a worker that outlives it would go on training for nobody."""
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    caller = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (connection.wait([caller]), os._exit(1)), daemon=True).start()


@contextmanager
def local_pool():
    """One process per core that this process may use. A fork server imports torch once for all of them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kdcore.measure"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings = {k: v for k, v in os.environ.items() if k.startswith("KDCORE_")}  # the fork server keeps those it was born with
    pool = ProcessPoolExecutor(cores, mp_context=context, initializer=start_worker, initargs=(settings,))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):  # an interrupt ends the work now, not after the queue
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    else:
        pool.shutdown()


def work(spec: Spec, then: Callable[[Spec], object] | None):
    """What a worker does: train (or fetch) the run, then measure it if asked."""
    from kdcore.train import train

    train(spec)
    return then(spec) if then else None


def upstream(specs) -> list[Spec]:
    """The specs with all their teachers, each once, every teacher before its first student."""
    found: dict[Spec, None] = {}

    def visit(spec):
        for teacher in spec.teachers:
            visit(teacher)
        found.setdefault(spec)

    for spec in specs:
        visit(spec)
    return list(found)


def sweep(specs, executor=None, then: Callable[[Spec], object] | None = None, progress: bool = True) -> list:
    """Trains the specs, teachers first; returns [then(spec) for spec in specs], or Nones.

    Stored runs are not trained again. `then` runs in the worker right after its training. A run that fails takes its
    students with it and nothing else; at the end SweepError says what failed. Interrupt it at any moment: call it again
    and only what is missing is done. A script (a notebook need not) calls it under `if __name__ == "__main__":`, as
    multiprocessing asks.
    """
    wanted = dict.fromkeys(specs)
    waiting = [s for s in upstream(specs) if s in wanted or not store.folder("runs", s.hash).is_dir()]
    if waiting:
        from kdcore.train import check

        check(waiting)  # before the first training, not when a student's turn comes
    jobs, done, failed = {}, {}, {}
    cost = {s: s.optim.epochs * (s.data.n_train or 50_000) for s in waiting}
    with nullcontext(executor) if executor is not None else local_pool() as pool:
        limit = getattr(pool, "_max_workers", len(waiting)) + 1 if executor is None else len(waiting)
        with tqdm(total=sum(cost.values()), desc="training and measuring", unit="image", unit_scale=True, disable=not progress or not waiting) as bar:
            bar.set_postfix_str(f"0 of {len(waiting)} runs")
            while waiting or jobs:
                for spec in list(waiting):
                    if any(t in failed for t in spec.teachers):
                        failed[spec] = "its teacher failed"
                        waiting.remove(spec)
                    elif len(jobs) < limit and not any(t in jobs or t in waiting for t in spec.teachers):
                        waiting.remove(spec)
                        try:
                            jobs[spec] = pool.submit(work, spec, then if spec in wanted else None)
                        except BrokenExecutor as error:  # a worker was killed, by the system for its memory perhaps
                            failed[spec] = f"{type(error).__name__}: {error}"
                while not (finished := [s for s, job in jobs.items() if job.done()]) and jobs:
                    time.sleep(0.05)
                for spec in finished:
                    try:
                        done[spec] = jobs.pop(spec).result()
                    except Exception as error:
                        failed[spec] = f"{type(error).__name__}: {error}"
                    bar.update(cost[spec])
                    bar.set_postfix_str(f"{len(done) + len(failed)} of {len(cost)} runs")
    if failed:
        causes = "\n".join(f"  {s.model} {s.hash[:12]}: {why}" for s, why in failed.items())
        raise SweepError(f"{len(failed)} of {len(cost)} runs failed; the others are stored and will not be trained again.\n{causes}")
    return [done[s] for s in specs]
