"""What surrounds the training, as it grows with the number of runs: `python
benchmarks/bookkeeping.py [most]`, a few minutes on one core.

N specs are students of N / 50 teachers. Nothing is trained: the executor answers every job at once,
and what a job would have measured is made up. So the seconds are those of the caller's bookkeeping,
CPU time of a process of its own for each N and each stage; memory is what that process held at most
above what it held before the stage. The growth exponent g is that of seconds ~ N^g between one N
and the next: 1 is linear, 2 quadratic.

    upstream    every spec with its teachers, in order
    sweep       all of them, none stored
    slow        the same, where one more job has ended each time the executor is asked
    collect     rows of all students, none there
    again       the same rows, published
    publish     rows added to a file that grows, eight at a time
"""

import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import Future
from unittest.mock import patch

from kdcore import provenance, results, sweep
from kdcore.spec import Data, Distill, Optim, Spec, View

SIZES = (100, 1_000, 10_000, 30_000)
STAGES = ("upstream", "sweep", "slow", "collect", "again", "publish")
TEACHERS = 50  # one for so many students
AT_ONCE = 8  # rows of one publication


def specs(count: int) -> list:
    def run(seed, teachers=()):
        return Spec(
            data=Data(name="digits", n_train=64, n_test=50, seed=0),
            view=View(name="weak", strength=0.0),
            model="resnet-8-16-32",
            optim=Optim(
                epochs=1, batch_size=16, lr=0.1, momentum=0.9, weight_decay=0.0, warmup=0.1
            ),
            distill=Distill(
                teachers=teachers,
                temperature=3.0,
                ce_weight=0.6,
                kd_weight=0.4,
                zscore=False,
                teacher_mode="eval",
            )
            if teachers
            else None,
            model_seed=seed,
            order_seed=seed,
            aug_seed=seed,
        )

    teachers = [run(1_000_000 + k) for k in range(1 + count // TEACHERS)]
    return [run(k, (teachers[k % len(teachers)],)) for k in range(count)]


def made_up(spec):
    """What no training has given."""
    return {f"number {k}": (spec.model_seed + k) / 7 for k in range(60)}


made_up.version = 1


def row(spec) -> dict:
    return {
        "key": results.row_key(made_up, spec, {}),
        "measurement": "made_up",
        "version": 1,
        "arguments": {},
        "spec": spec.hash,
        "values": made_up(spec),
        "provenance": {**provenance.stamp(), "seconds": 1.0},
    }


class Instant:
    """Every job has ended before it is asked for."""

    def submit(self, work, spec, then, order):
        job = Future()
        job.set_result(row(spec) if then else None)
        return job


class OneMore:
    """One more job has ended each time that all have been asked: the youngest."""

    def __init__(self):
        self.running = []

    def submit(self, work, spec, then, order):
        self.running.append(Job(self.running))
        return self.running[-1]


class Job:
    def __init__(self, running):
        self.running = running

    def done(self):
        return self is self.running[-1]

    def result(self):
        self.running.remove(self)


def stage(name: str, count: int, folder: str, answer) -> None:
    """Sends the CPU seconds and the bytes of one stage. In a process of its own."""
    os.environ |= {"KDCORE_STORE": f"{folder}/store", "KDCORE_PUBLISH": f"{folder}/published"}
    found = specs(count)
    rows = [row(s) for s in found] if name in ("again", "publish") else []
    if name == "again":
        results.publish_rows(made_up, rows)
        os.environ["KDCORE_RESULTS"] = os.environ["KDCORE_PUBLISH"]
    if name != "publish":
        os.environ["KDCORE_PUBLISH"] = ""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    match name:
        case "upstream":
            sweep.upstream(found)
        case "sweep":
            sweep.sweep(found, Instant(), progress=False)
        case "slow":
            with patch.object(time, "sleep", lambda _: None):
                sweep.sweep(found, OneMore(), progress=False)
        case "collect" | "again":
            results.collect(made_up, found, executor=Instant(), progress=False)
        case "publish":
            for first in range(0, count, AT_ONCE):
                results.publish_rows(made_up, rows[first : first + AT_ONCE])
    seconds = time.process_time() - begin
    answer.put((seconds, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)))


def main() -> None:
    most = int(sys.argv[1]) if sys.argv[1:] else SIZES[-1]
    os.environ |= {"KDCORE_RESULTS": "", "KDCORE_EXECUTOR": ""}
    with tempfile.TemporaryDirectory() as folder:  # what is imported late is there before the fork
        os.environ |= {"KDCORE_STORE": folder, "KDCORE_PUBLISH": ""}
        results.collect(made_up, specs(1), executor=Instant(), progress=False)
    context = multiprocessing.get_context("fork")
    print(f"{'runs':8s}" + "".join(f"{n:>13,}{'':12s}" for n in SIZES if n <= most))
    for name in STAGES:
        line, last = f"{name:9s}", None
        for count in (n for n in SIZES if n <= most):
            with tempfile.TemporaryDirectory() as folder:
                answer = context.SimpleQueue()
                process = context.Process(target=stage, args=(name, count, folder, answer))
                process.start()
                seconds, held = answer.get()
                process.join()
            g = math.log(seconds / last[0]) / math.log(count / last[1]) if last else math.nan
            line += f"{seconds:7.2f} s {held / 2**20:4.0f} MB" + (
                f"  g {g:4.2f} " if last else 9 * " "
            )
            last = seconds, count
        print(line, flush=True)


if __name__ == "__main__":
    main()
