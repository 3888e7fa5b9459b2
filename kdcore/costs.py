"""What rows cost before any of them is made: runs, passes through networks, floating point
operations, bytes, and seconds measured on this machine. Nothing is stored.

`work_left(asked)` finds, from specs alone, what kdcore.results.collect would have to do for the
rows that kdcore.results.planning has noted. `measured_paces(work)` times real updates, forward
passes and views of networks that are thrown away. `seconds(work, paces)` multiplies.

Counted are updates of networks, what teachers say to their students, what all models say when they
are measured, views of images, workers that are started. Not counted are the arithmetic of metrics,
building of networks, reading and writing of the store, and a page's figures and tables: little
beside these, except where networks and data are tiny.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from kdcore import models, store, train
from kdcore.data import load
from kdcore.data.text import MOST_WORDS
from kdcore.data.views import BLOCK, LARGE, OWN_SIZE, at_224, normalise, several, size, still
from kdcore.measure import fixed, on_clean
from kdcore.results import Asked
from kdcore.spec import Data, Inputs, Spec, View, reads_text
from kdcore.sweep import plan
from kdcore.workers import local_pool, workers

TIMED = 2.0  # seconds for which each kind of pass is timed, at least FEWEST times
FEWEST = 3
OPERATIONS = 2e10  # of one timed pass, at most if that leaves two examples
SMALL = 2**20  # pixels of an epoch of views that is kept in blocks, see kdcore.data.views


# ------------------------------------------------------------------------------- kinds of passes


class Net(NamedTuple):
    """A network on inputs of one size. `head`: what is trained of it runs on fixed features."""

    model: str
    channels: int
    classes: int
    size: tuple[int, ...]
    head: bool = False


class Update(NamedTuple):
    """A kind of training step: what its time depends on."""

    net: Net
    batch: int
    method: str
    precision: str


class Views(NamedTuple):
    """A kind of view of a kind of images: all of a data set, of which some will be timed."""

    data: Data
    view: View


def views_of(data: Data, view: View) -> Views:
    """The kind of a view of these data."""
    whole = {"n_train": None, "n_test": None, "imbalance": 1.0, "label_noise": 0.0}
    return Views(like(data).model_copy(update=whole), view.model_copy(update={"part": "whole"}))


def like(data: Data) -> Data:
    """The data of another seed, which are as many and as large."""
    return data.model_copy(update={"seed": 0, "label_seed": 0})


@lru_cache(maxsize=4096)
def net_of(model: str, data: Data, view: View, head: bool = False) -> Net:
    """The network on these data (seed 0) in this view."""
    found = load(data)
    return Net(model, len(found.mean), len(found.classes), tuple(size(data, view)), head)


@lru_cache(maxsize=256)
def how_many(data: Data) -> tuple[int, int]:
    """Training and test examples of these data (seed 0)."""
    return len(load(data).train_y), len(load(data).test_y)


def update_of(spec: Spec) -> Update:
    """The kind of step that trains a spec."""
    head = spec.model.startswith(("linear", "relu-features")) or spec.model.endswith("-centred")
    fixed_input = head and still(spec.view) and not (spec.teachers and alongside(spec))
    return Update(
        net_of(spec.model, like(spec.data), spec.view, fixed_input),
        spec.optim.batch_size,
        spec.optim.method,
        spec.precision,
    )


def alongside(spec: Spec) -> bool:
    """kdcore.train.beside, without drawing the examples of every seed."""
    return train.beside(spec.model_copy(update={"data": like(spec.data)}))


# --------------------------------------------------------------------------------- counting work


@dataclass
class Work:
    """What is to be done for rows that are missing, and what is there."""

    rows: Counter = field(default_factory=Counter)  # "there", "missing"
    wanted: dict[str, Spec] = field(default_factory=dict)  # {hash: every run that rows rest on}
    missing: dict[str, Spec] = field(default_factory=dict)  # those that have to be trained
    students: Counter = field(default_factory=Counter)  # of each teacher among all that are wanted
    updates: Counter = field(default_factory=Counter)  # {Update: examples, forward and backward}
    example: dict[Update, Spec] = field(default_factory=dict)  # of most teachers, of each kind
    looks: Counter = field(default_factory=Counter)  # {Net: examples, forward}
    heard: int = 0  # examples shown to teachers for their students,
    heard_alone: int = 0  # and if every student asked for itself
    measured: int = 0  # examples shown to any network to measure it
    images: Counter = field(default_factory=Counter)  # {Views: images augmented}
    starts: int = 0  # worker processes started
    logits: int = 0  # bytes of recorded logits


def work_left(asked: Iterable[Asked]) -> Work:
    """The work that is left for rows asked for, as `kdcore.results.planning` notes them."""
    # a row that is asked for again is there by then
    asked = list({row.key: row for row in reversed(list(asked))}.values())[::-1]
    work, memo = Work(), {}

    def name(spec: Spec) -> str:
        """Its hash, computed once for an object, which is kept so that its id is its own."""
        if id(spec) not in memo:
            memo[id(spec)] = spec.hash, spec
        return memo[id(spec)][0]

    def rests_on(row: Asked) -> list[Spec]:
        further = [value for value in row.arguments.values() if isinstance(value, Spec)]
        return [row.spec, *getattr(row.measurement, "needs", lambda _: ())(row.spec), *further]

    left = [row for row in asked if not row.there]
    work.rows = Counter(there=len(asked) - len(left), missing=len(left))
    work.wanted = plan([spec for row in asked for spec in rests_on(row)])[1]
    work.missing = {
        key: spec
        for key, spec in plan([spec for row in left for spec in rests_on(row)])[1].items()
        if not store.folder("runs", key).is_dir()
    }
    work.students.update(name(t) for spec in work.wanted.values() for t in spec.teachers)

    blocks, again = set(), set()
    for spec in work.missing.values():
        count_training(work, spec, name, blocks)
    for row in left:
        passes = getattr(row.measurement, "passes", lambda spec, **_: on_clean(spec))
        found = passes(row.spec, **row.arguments)
        for spec in found.again:
            if name(spec) not in again:
                again.add(name(spec))
                count_training(work, spec, name, blocks)
        for model in found.models:
            net = net_of(model.model, like(row.spec.data), row.spec.view)
            work.looks[net] += found.images
            work.measured += found.images
            for split, view, draws in found.views:
                at = fixed(model, row.spec.data, split, view, draws)
                work.measured += count_logits(work, name(model), model, at, blocks)
    calls = Counter(row.call for row in left)
    work.starts = sum(min(workers(), rows) for rows in calls.values())
    return work


def count_training(work: Work, spec: Spec, name: Callable, blocks: set) -> None:
    """Adds one training of a spec, and what its teachers say to it."""
    n, kind = how_many(like(spec.data))[0], update_of(spec)
    batch, epochs, seen = spec.optim.batch_size, spec.optim.epochs, spec.seen_by_teachers(spec.view)
    work.updates[kind] += epochs * (n // batch) * batch
    if kind not in work.example or len(spec.teachers) > len(work.example[kind].teachers):
        work.example[kind] = spec
    live = bool(spec.teachers) and alongside(spec)
    for view in {spec.view, *(seen if live else ())}:
        count_views(work, spec.data, view, epochs * n)
    work.heard_alone += epochs * n * len(spec.teachers)
    if live:
        work.heard += epochs * n * len(spec.teachers)
        for teacher, view in zip(spec.teachers, seen):
            work.looks[net_of(teacher.model, like(spec.data), view)] += epochs * n
        return
    same = all(map(still, seen))
    draws = [(0, 1)] if same else [(f, min(BLOCK, epochs - f)) for f in range(0, epochs, BLOCK)]
    for teacher, view in zip(spec.teachers, seen):
        for first, count in draws:
            at = Inputs(
                data=spec.data,
                split="train",
                view=view,
                aug_seed=0 if same else spec.aug_seed,
                first=first,
                count=count,
            )
            work.heard += count_logits(work, name(teacher), teacher, at, blocks)


def count_logits(work: Work, key: str, model: Spec, at: Inputs, blocks: set) -> int:
    """Adds what a model says on these draws, unless that is counted or stored; how many examples
    it has to be shown.
    """
    if (key, at) in blocks:
        return 0
    blocks.add((key, at))
    if key not in work.missing and store.folder("logits", store.logits_key(key, at)).is_dir():
        return 0
    net = net_of(model.model, like(at.data), at.view)
    shown = at.count * how_many(like(at.data))[at.split == "test"]
    work.looks[net] += shown
    work.logits += 4 * shown * net.classes
    count_views(work, at.data, at.view, shown)
    return shown


def count_views(work: Work, data: Data, view: View, images: int) -> None:
    """Adds these images in a view. Runs of small data share some of them, which is not counted."""
    if (view.name, view.part) != ("clean", "whole"):
        work.images[views_of(data, view)] += images


# ---------------------------------------------------------------------------- operations and bytes


class Size(NamedTuple):
    """A network for one example: operations (a multiply-add counts two) of a forward pass, and of a
    forward and a backward pass; bytes of its state, and of what a forward pass keeps for the
    backward one.
    """

    forward: float
    both: float
    state: int
    kept: int


def assembled(net: Net) -> nn.Module:
    """The part of a network that runs, with whatever weights torch makes where this is called."""
    whole = models.assemble(net.model, net.channels, net.classes, net.size)
    return whole.head if net.head else whole


def some_inputs(net: Net, body: nn.Module, count: int) -> torch.Tensor:
    """Inputs as examples are stored: uint8 images, numbers of words, or fixed features."""
    if net.head:
        width = next(m.in_features for m in body.modules() if isinstance(m, nn.Linear))
        return torch.randn(count, width)
    if reads_text(net.model):
        return torch.randint(1, MOST_WORDS, (count, *net.size))
    return torch.randint(0, 256, (count, net.channels, *net.size), dtype=torch.uint8)


@lru_cache(maxsize=256)
def size_of(net: Net) -> Size:
    """Found on torch's meta device, which computes nothing; of text, whose words are looked up, on
    the processor.
    """
    where = "cpu" if reads_text(net.model) else "meta"
    with torch.device(where):
        body = assembled(net).train()
        state = sum(v.numel() * v.element_size() for v in body.state_dict().values())
        kept = []
        for count in (2, 4):  # batch norm wants two examples of a vector
            x = some_inputs(net, body, count)
            x = x if net.head or reads_text(net.model) else x.float()
            saved = Counter()

            def keep(tensor, saved=saved):
                saved["bytes"] += tensor.numel() * tensor.element_size()
                return tensor

            hooks = saved_tensors_hooks(keep, lambda tensor: tensor)
            with FlopCounterMode(display=False) as counter, hooks:
                z = body(x)
                forward = counter.get_total_flops()
                z.sum().backward()
                both = counter.get_total_flops()
            kept.append(saved["bytes"])
    return Size(forward / 4, both / 4, state, (kept[1] - kept[0]) // 2)


def flops(work: Work) -> float:
    """Floating point operations of all passes that are left."""
    return sum(size_of(kind.net).both * n for kind, n in work.updates.items()) + sum(
        size_of(net).forward * n for net, n in work.looks.items()
    )


def passes(work: Work) -> float:
    """Batches that would go through networks on a graphics card."""
    asked = (n / train.asked_at_once("cuda", net.size[-1]) for net, n in work.looks.items())
    return sum(n / kind.batch for kind, n in work.updates.items()) + sum(asked)


def runs_bytes(work: Work) -> int:
    """Bytes of the weights of all runs that are missing."""
    return sum(
        size_of(update_of(spec).net._replace(head=False)).state for spec in work.missing.values()
    )


def memory(work: Work, base: int) -> int:
    """Bytes of one worker at its peak, about, that holds `base` before its first run: the largest
    of all kinds of runs.
    """
    found = [base]
    for kind, spec in work.example.items():
        data, net = load(like(spec.data)), size_of(kind.net)
        parts = data.train_x.nbytes, data.test_x.nbytes
        arrays = 3 * sum(parts)  # of the whole set, drawn, on the device
        live = bool(spec.teachers) and alongside(spec)
        draws = 0 if live else min(BLOCK, spec.optim.epochs)
        heard = 2 * 4 * len(spec.teachers) * draws * len(data.train_y) * kind.net.classes
        weights = 4 * net.state * (1 + live * len(spec.teachers))
        views = sum(map(views_bytes, parts)) if spec.view.name in OWN_SIZE else LARGE
        found.append(base + arrays + views + heard + weights + net.kept * kind.batch)
    return max(found)


def views_bytes(epoch: int) -> int:
    """What views of a split take whose epochs have so many bytes: blocks that are kept of small
    ones, the latest four epochs of others, and eight times what is made in one go.
    """
    block = epoch * BLOCK if epoch <= SMALL else epoch
    return (16 + 8) * block if epoch <= SMALL else (4 + 8) * block


# ------------------------------------------------------------------------------ seconds, measured


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


def timed(run: Callable[[], object], count: int) -> Pace:
    """Calls `run`, which handles so many examples, for TIMED seconds after a first time."""
    run()
    taken = []
    while len(taken) < FEWEST or (sum(taken) < TIMED and len(taken) < 1000):
        begin = clock()
        run()
        taken.append(clock() - begin)
    return Pace(*(np.quantile(taken, (0.1, 0.5, 0.9)) / count))


def fitting(most: int, operations: float) -> int:
    """How many examples make a pass that takes no more than seconds."""
    return max(2, min(most, int(OPERATIONS / max(operations, 1))))


def pace_of_update(kind: Update, spec: Spec) -> Pace:
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

    return timed(update, count)


def ready(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Images as a network takes them, by whatever mean and standard deviation."""
    return normalise(x, (0.5,) * net.channels, (0.25,) * net.channels)


def pace_of_look(net: Net) -> Pace:
    """Of kdcore.train.forward."""
    body = assembled(net).to(train.device(), memory_format=torch.channels_last).eval()
    count = fitting(train.asked_at_once("cpu", net.size[-1]), size_of(net).forward)
    x, scale = some_inputs(net, body, count).to(train.device()), (0.5,) * net.channels
    return timed(lambda: train.forward(body, x, scale, scale), count)


def pace_of_views(data: Data, view: View) -> Pace:
    """Of some images of these data in this view: a few epochs of them at once, as of small data."""
    n = min(how_many(data)[0], 256 if view.name in OWN_SIZE else 16)
    few, where = data.model_copy(update={"n_train": n}), train.device()
    if view.name not in OWN_SIZE:
        return timed(lambda: at_224(few, "train", view, 0, 0, np.arange(n), where), n)
    return timed(lambda: several(few, "train", view, 0, range(4), where), 4 * n)


def begun() -> tuple[float, int]:
    """(CPU seconds, bytes) of this process, which has just begun, after a first step."""
    net = Net("cnn-4", 1, 10, (8, 8))
    body = assembled(net).train()
    body(ready(net, some_inputs(net, body, 4))).sum().backward()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.process_time(), most * (1 if sys.platform == "darwin" else 1024)


def measured_paces(work: Work, progress: Callable = lambda what: None) -> Paces:
    """Times every kind of pass that is left, a few seconds each. One thread."""
    paces, threads = Paces(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with local_pool() as pool:
            paces.start, paces.base = pool.submit(begun).result()
        for kind in work.updates:
            progress(f"training {kind.net.model}")
            paces.updates[kind] = pace_of_update(kind, work.example[kind])
        for net in work.looks:
            progress(f"asking {net.model}")
            paces.looks[net] = pace_of_look(net)
        for kind in work.images:
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
