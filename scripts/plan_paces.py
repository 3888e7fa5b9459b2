"""Seconds that the work that is left takes on this machine: every kind of update, forward pass and
view is timed with networks that are thrown away, and multiplied. Nothing is stored.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from plan_sizes import assembled, size_of, some_inputs
from plan_work import Net, Update, Views, Work, examples, how_many, update_of

from kdcore import train
from kdcore.data.views import OWN_SIZE, at_224, normalise, several
from kdcore.spec import Data, Spec, View
from kdcore.sweep import plan
from kdcore.workers import Processes, local_pool, workers

TIMED = 2.0  # seconds for which each kind of pass is timed, at least FEWEST times
FEWEST = 3
OPERATIONS = 2e10  # of one timed pass, at most if that leaves two examples


class Pace(NamedTuple):
    """Seconds for one example, or one start: one pass in ten is quicker than `low`, one in ten
    slower than `high`.
    """

    low: float
    usual: float
    high: float


@dataclass
class Paces:
    """What was measured on this machine."""

    updates: dict[Update, Pace] = field(default_factory=dict)
    looks: dict[Net, Pace] = field(default_factory=dict)
    images: dict[Views, Pace] = field(default_factory=dict)
    first: float = 0.0  # seconds until a page's first worker is there
    start: float = 0.0  # seconds of a worker before its first run,
    base: int = 0  # and bytes that it holds then


def clock() -> float:
    """CPU seconds of this process, on whatever else the machine does; of a graphics card those that
    have passed.
    """
    if train.device() == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(run: Callable[[], object], count: int, enough: float) -> Pace:
    """Calls `run`, which handles so many examples, for some seconds after a first time."""
    run()
    taken = []
    while len(taken) < FEWEST or (sum(taken) < enough and len(taken) < 1000):
        begin = clock()
        run()
        taken.append(clock() - begin)
    return Pace(*(np.quantile(taken, (0.1, 0.5, 0.9)) / count))


def fitting(most: int, operations: float) -> int:
    """How many examples make a pass that takes no more than seconds."""
    return max(2, min(most, int(OPERATIONS / max(operations, 1))))


def pace_of_update(kind: Update, spec: Spec, enough: float) -> Pace:
    """Of kdcore.train.step on a network that is thrown away."""
    body = assembled(kind.net).to(train.device(), memory_format=torch.channels_last).train()
    optimiser = train.make_optimiser(body, spec.optim)
    train.set_rate(optimiser, 1e-6)
    count = fitting(kind.batch, size_of(kind.net).both)
    x = some_inputs(kind.net, body, 2 * count).to(train.device())
    y = torch.randint(kind.net.classes, (count,), device=train.device())
    said = torch.randn(len(spec.teachers), count, kind.net.classes, device=train.device())

    def update():
        index = torch.randperm(2 * count, device=x.device)[:count]
        images = x[index] if kind.net.head else ready(kind.net, x[index])
        train.step(body, optimiser, images, y, spec, said if spec.teachers else None)

    return timed(update, count, enough)


def ready(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Images as a network takes them, by whatever mean and standard deviation."""
    return normalise(x, (0.5,) * net.channels, (0.25,) * net.channels)


def pace_of_look(net: Net, enough: float) -> Pace:
    """Of kdcore.train.forward."""
    body = assembled(net).to(train.device(), memory_format=torch.channels_last).eval()
    count = fitting(train.asked_at_once("cpu", net.size[-1]), size_of(net).forward)
    x, scale = some_inputs(net, body, count).to(train.device()), (0.5,) * net.channels
    return timed(lambda: train.forward(body, x, scale, scale), count, enough)


def pace_of_views(data: Data, view: View) -> Pace:
    """Of some images of these data in this view: a few epochs of them at once, as of small data."""
    n = min(how_many(data)[0], 256 if view.name in OWN_SIZE else 16)
    few, where = data.model_copy(update={"n_train": n}), train.device()
    if view.name not in OWN_SIZE:
        return timed(lambda: at_224(few, "train", view, 0, 0, np.arange(n), where), n, TIMED)
    return timed(lambda: several(few, "train", view, 0, range(4), where), 4 * n, TIMED)


def begun() -> tuple[float, int]:
    """(CPU seconds, bytes) of this process, which has just begun, after a first step."""
    net = Net("cnn-4", 1, 10, (8, 8))
    body = assembled(net).train()
    body(ready(net, some_inputs(net, body, 4))).sum().backward()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.process_time(), most * (1 if sys.platform == "darwin" else 1024)


def side_by_side(pool: Processes, pace: Callable[..., Pace], *kind) -> Pace:
    """A pace in as many processes at a time as will train: they share caches and memory, and each
    is slower than one alone.
    """
    count = 1 if train.device() == "cuda" else workers()
    jobs = [pool.submit(pace, *kind, TIMED) for _ in range(count)]
    return Pace(*np.mean([job.result() for job in jobs], axis=0))


def measured_paces(work: Work, progress: Callable = lambda what: None) -> Paces:
    """Times every kind of pass that is left, a few seconds each, one thread a process."""
    paces, threads = Paces(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with local_pool() as pool:
            begin = time.perf_counter()
            pool.submit(os.getpid).result()
            paces.first = time.perf_counter() - begin
            paces.start, paces.base = pool.submit(begun).result()
            for kind in work.updates:
                progress(f"training {kind.net.model}")
                paces.updates[kind] = side_by_side(pool, pace_of_update, kind, work.example[kind])
            for net in work.looks:
                progress(f"asking {net.model}")
                paces.looks[net] = side_by_side(pool, pace_of_look, net)
        for kind in work.images:  # here: data that are stood in for are so in this process only
            progress(f"the view {kind.view.name}")
            paces.images[kind] = pace_of_views(*kind)
    finally:
        torch.set_num_threads(threads)
    return paces


def seconds(work: Work, paces: Paces) -> dict[str, Pace]:
    """Seconds of one core, or one graphics card, for each part of the work that is left."""

    def total(counts, pace):
        return Pace(*(sum(n * pace[kind][k] for kind, n in counts.items()) for k in range(3)))

    return {
        "training": total(work.updates, paces.updates),
        "asking networks": total(work.looks, paces.looks),
        "views": total(work.images, paces.images),
        "starting workers": Pace(*3 * [work.starts * paces.start]),
    }


def waiting(work: Work, paces: Paces, count: int) -> float:
    """Seconds for which `count` workers may stand idle, at most: a student waits for its teacher,
    and the last run of a call has nothing beside it. They end a call before
    total / count + (1 - 1 / count) * its longest chain of runs (Graham 1966).
    """
    done, longest = set(), 0.0
    for specs in work.calls.values():
        _, found, teachers = plan(specs)
        chains = {}
        for key, spec in found.items():  # teachers first
            new = key in work.missing and key not in done
            own = examples(spec) * paces.updates[update_of(spec)].usual if new else 0.0
            chains[key] = own + max((chains[teacher] for teacher in teachers[key]), default=0.0)
        longest += max(chains.values())
        done |= found.keys()
    return (1 - 1 / count) * longest
