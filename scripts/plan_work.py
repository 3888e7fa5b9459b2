"""What would have to be done for rows that are missing: runs, passes through networks, views of
images, workers that are started. Counted from specs alone; nothing is trained or stored.

Counted are updates of networks, what teachers say to their students, what all models say when they
are measured. Not counted are the arithmetic of metrics, building of networks, reading and writing
of the store, and a page's figures and tables: little beside these, except where networks and data
are tiny.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from kdcore import store, train
from kdcore.data import load
from kdcore.data.views import BLOCK, size, still
from kdcore.measure import fixed, on_clean
from kdcore.results import Asked
from kdcore.spec import Data, Inputs, Spec, View
from kdcore.sweep import plan
from kdcore.workers import workers

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
    calls: dict[int, list[Spec]] = field(default_factory=dict)  # runs that each call waits for
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
    for row in left:
        work.calls.setdefault(row.call, []).extend(rests_on(row))
    work.missing = {
        key: spec
        for key, spec in plan(chain.from_iterable(work.calls.values()))[1].items()
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


def examples(spec: Spec) -> int:
    """Shown to a network while it is trained: an incomplete batch is left out."""
    n, batch = how_many(like(spec.data))[0], spec.optim.batch_size
    return spec.optim.epochs * (n // batch) * batch


def count_training(work: Work, spec: Spec, name: Callable, blocks: set) -> None:
    """Adds one training of a spec, and what its teachers say to it."""
    n, kind = how_many(like(spec.data))[0], update_of(spec)
    epochs, seen = spec.optim.epochs, spec.seen_by_teachers(spec.view)
    work.updates[kind] += examples(spec)
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
