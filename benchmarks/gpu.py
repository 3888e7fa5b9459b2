"""What a graphics card does with this code, in one call of at most four minutes:

    python benchmarks/gpu.py [--device cuda|cpu] [--out FILE.json]

Does a run on the card have the losses that it has on a processor? How fast is each stage, and what
share of its floor is that? How long would the grid of presets/published/cifar100.yaml take with all
50,000 images? No network is needed, and no data: random images of CIFAR-100's shape, and for the
comparison the garments that come with the package. Without a card, or with --device cpu, everything
is small, on one thread, and a rehearsal: its numbers say nothing of a card.

What is timed is `kdcore.train.fit` itself, an epoch after the first, and the functions that it
calls. The floor of a stage is the longer of two times: its floating point operations at the speed
of a large matrix product, and the bytes that its operations read and write, each by itself, at the
speed of a large copy. Both speeds are measured here. A share above 1: results stay in a cache, or
the large product is slow.
"""

import argparse
import json
import math
import os
import tempfile
import time
import traceback
from collections import defaultdict
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kdcore import models, provenance, store, train
from kdcore.data import SOURCES, Dataset, views
from kdcore.measure import outputs
from kdcore.spec import Data, Distill, Optim, Spec, View
from kdcore.workers import PER_CARD

ROOT = Path(__file__).parents[1]
PRESET = yaml.safe_load((ROOT / "presets" / "published" / "cifar100.yaml").read_text())
GOAL, LATEST = 8 * 60, 200  # seconds: of the grid; after which no further stage is begun here
WHOLE, CLASSES = 50_000, 100  # training images of CIFAR-100, and its classes
MEAN, STD = SOURCES["cifar100"].scale
# The notebook's runs of one seed, held against it by tests/test_gpu_benchmark.py: trainings,
# recordings of a teacher on a training view, and how often students read one; and how many of the
# trainings and recordings see weak views, or strong ones.
GRID = {"teacher": 4, "student": 21, "recorded": 8, "read": 27, "weak": 19, "strong": 14}


def spec(name, n, model, batch=64, epochs=2, view="clean", teachers=(), precision="fp32", seed=0):
    """A run in the manner of the preset."""
    heard = {k: PRESET[k] for k in ("temperature", "ce_weight", "kd_weight")}
    return Spec(
        data=Data(name=name, n_train=n, n_test=None if name == "cifar100" else 100, seed=0),
        view=View(name=view, strength=0.0),
        model=model,
        optim=Optim(
            epochs=epochs,
            batch_size=batch,
            lr=PRESET["learning_rate"],
            momentum=0.9,
            nesterov=True,
            weight_decay=PRESET["weight_decay"],
            warmup=0.1,
        ),
        distill=Distill(teachers=teachers, zscore=False, teacher_mode="eval", **heard)
        if teachers
        else None,
        model_seed=seed,
        order_seed=seed,
        aug_seed=seed,
        precision=precision,
    )


# ----------------------------------------------------------------------------------- time and floor


def now(device: str) -> float:
    """Seconds when the card has done what it was asked to; of a processor, those of this process:
    others may be at work on it.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(run, device: str, least: float) -> float:
    """Seconds of one call, after one that warms up: calls until `least` seconds are over."""
    run()
    calls, begin = 0, now(device)
    while calls == 0 or now(device) - begin < least:
        run()
        calls += 1
    return (now(device) - begin) / calls


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in str(func):
            tensors = tree_leaves((args, kwargs, out))
            self.bytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
        return out


def work(run, images: int) -> tuple[float, float]:
    """(floating point operations, bytes) per image of a call."""
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        run()
    return flops.get_total_flops() / images, traffic.bytes / images


def peaks(device: str, least: float) -> dict[str, float]:
    """Floating point operations a second of a large matrix product, bytes a second of a large
    copy. fp32 on a card rounds factors to TF32, as cuDNN's convolutions do.
    """
    side, found = (8192 if device == "cuda" else 512), {}
    torch.set_float32_matmul_precision("high")
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
        found[name] = 2 * side**3 / seconds(lambda a=a, b=b: a @ b, device, least)
    torch.set_float32_matmul_precision("highest")
    x = torch.empty(2**30 if device == "cuda" else 2**26, dtype=torch.uint8, device=device)
    found["bytes"] = 2 * x.nbytes / seconds(x.clone, device, least)
    return found


# --------------------------------------------------------------------------------------- the stages


class Stage(NamedTuple):
    """Per image: seconds, floating point operations, bytes that operations read and write."""

    seconds: float
    flops: float = 0.0
    bytes: float = 0.0
    precision: str = "fp32"


@lru_cache(maxsize=2)
def random_data(n: int) -> Dataset:
    """Images of CIFAR-100's shape: speed does not depend on what they show."""
    images = np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    names = tuple(map(str, range(CLASSES)))
    return Dataset(images, np.arange(n) % CLASSES, images[:0], np.arange(0), names, MEAN, STD)


@contextmanager
def random_images(n: int):
    """`kdcore` sees random images; students hear random logits of teachers that do not exist."""
    data = random_data(n)
    heard = np.random.default_rng(1).normal(size=(1, n, CLASSES)).astype(np.float32)
    with (
        patch.object(train, "load", lambda _: data),
        patch.object(views, "load", lambda _: data),
        patch.object(train, "logits", lambda *_: heard),
    ):
        yield data


def step_work(s: Spec) -> tuple[float, float]:
    """(operations, bytes) per image of a step of a small batch, counted on a processor."""
    data, batch = train.load(s.data), min(s.optim.batch_size, 64)
    net = models.build(s.model, 3, CLASSES, (32, 32), 0).train()
    optimiser = train.make_optimiser(net, s.optim)
    y = torch.tensor(data.train_y[:batch])
    heard = torch.zeros(len(s.teachers), batch, CLASSES) if s.teachers else None
    x = views.normalise(torch.tensor(data.train_x[:batch]), MEAN, STD)
    train.step(net, optimiser, x, y, s, heard)  # which makes the moments
    return work(lambda: train.step(net, optimiser, x, y, s, heard), batch)


def training(device: str, who: str, n: int, batch: int, precision: str, played: bool) -> Stage:
    """An epoch of `fit` after the first, without augmentation: steps played from a recording, or
    called one by one.
    """
    teacher = spec("cifar100", n, PRESET["teacher"], batch, seed=1)
    teachers = (teacher, teacher) if who == "student" else ()
    s = spec("cifar100", n, PRESET[who], batch, teachers=teachers, precision=precision)
    ends = []
    with (
        random_images(n),
        patch.object(train, "replays", train.replays if played else lambda _: False),
    ):
        counted = step_work(s)
        train.fit(s, after_epoch=lambda epoch, net: ends.append(now(device)))
    return Stage((ends[1] - ends[0]) / (n // batch * batch), *counted, precision)


def recording(device: str, n: int, least: float) -> Stage:
    """A teacher's logits."""
    with random_images(n) as data:
        net = train.network(spec("cifar100", n, PRESET["teacher"])).eval()
        x = torch.tensor(data.train_x, device=device)
        here = models.build(PRESET["teacher"], 3, CLASSES, (32, 32), 0).eval()
        counted = work(lambda: train.forward(here, x[:64].cpu(), MEAN, STD), 64)
        took = seconds(lambda: train.forward(net, x, MEAN, STD), device, least)
    return Stage(took / n, *counted)


def viewing(device: str, name: str, n: int, least: float) -> Stage:
    """A view of all images in an epoch."""
    at = spec("cifar100", n, PRESET["teacher"]).data, "train", View(name=name, strength=1.0)
    with random_images(n):
        took = seconds(lambda: views.several(*at, 0, range(1), device), device, least)
    return Stage(took / n, 0, 2 * 3 * 32 * 32)


def keeping(device: str, n: int, least: float, read: bool) -> Stage:
    """A teacher's logits to the store, or from there to the device."""
    z, key = np.random.default_rng(2).normal(size=(1, n, CLASSES)).astype(np.float32), "0" * 64

    def put():
        store.put("logits", key, {"logits": z}, {})

    def get():
        torch.from_numpy(store.get("logits", key).arrays["logits"]).to(device)

    put()
    return Stage(seconds(get if read else put, device, least) / n, 0, 2 * z.nbytes / n)


def measuring(n: int, least: float) -> Stage:
    """A student of two teachers on a core: what is computed from recorded logits."""
    z = np.random.default_rng(3).normal(size=(3, n, CLASSES)).astype(np.float32)
    teacher, y = spec("cifar100", n, PRESET["teacher"]), np.arange(n) % CLASSES
    s = spec("cifar100", n, PRESET["student"], teachers=(teacher, teacher))

    def measure():
        outputs.alone(z[0], y, "")
        outputs.against(s, z[0], y, "train", s.view, 1, "")

    with patch.object(outputs, "of_teachers", lambda *_: z[1:]):
        return Stage(seconds(measure, "cpu", least) / n)


def stages(device: str, n: int, short: int, least: float, batches) -> dict:
    """{name: function that gives its Stage}; what the grid needs comes first."""
    trained = {
        f"{who} {batch} {precision} {'played' if played else 'called'}": partial(
            training, device, who, short, batch, precision, played
        )
        for played in ((True, False) if device == "cuda" else (False,))
        for who in ("teacher", "student")
        for batch in batches
        for precision in ("fp32", "bf16")
    }
    return {
        "recorded": partial(recording, device, n, least),
        "weak": partial(viewing, device, "weak", n, least),
        "strong": partial(viewing, device, "strong", n, least),
        "kept": partial(keeping, device, n, least, read=False),
        "read": partial(keeping, device, n, least, read=True),
        "measured": partial(measuring, min(n, 2_000), least),
        **trained,
    }


# ------------------------------------------------------------------------------------------ one run


def losses(s: Spec, device: str, **options) -> np.ndarray:
    """The losses of a run on a device."""
    train.frozen.cache_clear()
    with patch.object(train, "device", lambda: device):
        return train.fit(s, **options)[1]


def compare(device: str, n: int) -> dict:
    """A student of one teacher here and there, from the same logits of the teacher. Allowed: twice
    what it does to the losses here if first weights are changed by a thousandth, for bf16 by a
    hundredth: convolutions on a card round to ten bits (TF32), bf16 to seven.
    """
    teacher = spec("fashion_mnist", n, "resnet-16-32", epochs=4, view="weak", seed=1)
    s = spec("fashion_mnist", n, "resnet-8-16-32", epochs=4, view="weak", teachers=(teacher,))
    s = s.model_copy(update={"distill": s.distill.model_copy(update={"ce_weight": 1.0})})
    half = s.model_copy(update={"precision": "bf16"})
    base = losses(s, "cpu")

    def apart(other):
        return float(np.abs(other - base).max() / base[0])

    def allowed(by):
        return 2 * max(apart(losses(s, "cpu", perturb=p)) for p in (by, -by))

    most = allowed(1e-3)
    lines = {"fp32": (losses(s, device), most), "bf16": (losses(half, device), allowed(1e-2))}
    with patch.object(train, "replays", lambda _: False):
        lines["fp32, called step by step"] = (losses(s, device), most)
    return {"on a processor": base.tolist()} | {
        name: {"losses": v.tolist(), "apart": apart(v), "allowed": most, "within": apart(v) <= most}
        for name, (v, most) in lines.items()
    }


# ----------------------------------------------------------------------------------------- the grid


def grid(rate: dict[str, float], how: str, batches) -> list[dict]:
    """Seconds of the whole grid with all images, from images a second of each stage. What trains
    and records needs the card; PER_CARD processes measure beside it, each on a core. A stage that
    is missing makes its line nan.
    """
    rate = defaultdict(lambda: math.nan, rate)
    images = PRESET["seeds"] * WHOLE * PRESET["epochs"]
    # clean, weak and strong images, and basic ones of the test part: kdcore.measure.outputs.model
    looked = PRESET["seeds"] * (3 * WHOLE + 4 * PRESET["n_test"])
    found = []
    for batch in batches:
        for precision in ("fp32", "bf16"):
            parts = {
                name: GRID[name] * images / rate[f"{name} {batch} {precision} {how}"]
                for name in ("teacher", "student")
            }
            passes = GRID["recorded"] * images + (GRID["teacher"] + GRID["student"]) * looked
            parts["recorded"] = passes / rate["recorded"]
            parts |= {name: GRID[name] * images / rate[name] for name in ("weak", "strong", "read")}
            parts["kept"] = GRID["recorded"] * images / rate["kept"]
            card, cores = sum(parts.values()), GRID["student"] * looked / rate["measured"]
            found.append(
                {
                    "batch": batch,
                    "precision": precision,
                    "seconds": max(card, (card + cores) / PER_CARD),
                    "goal": GOAL,
                    "on the card": card,
                    "measuring, on cores": cores,
                    "parts": parts,
                }
            )
    return found


# ----------------------------------------------------------------------------------------- the call


def tried(name: str, function, failed: dict):
    """What the function gives; None where it fails, which is said, and all else goes on."""
    try:
        return function()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: failed: {failed[name].splitlines()[0]}", flush=True)
        traceback.print_exc()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    there = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cuda", "cpu"), default=there)
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "gpu.json")
    given = parser.parse_args()
    device, failed = given.device, {}
    if device == "cuda" and there == "cpu":
        parser.error("--device cuda: PyTorch sees no CUDA device here; cpu is allowed")
    if device == "cpu":
        torch.set_num_threads(1)
    begin, began = time.monotonic(), now(device)
    n, short, least = (WHOLE, 12_800, 0.5) if device == "cuda" else (512, 32, 0.05)
    batches = (PRESET["batch_size"], 512) if device == "cuda" else (8, 32)
    about = {"device": device, "rehearsal": device == "cpu", **provenance.stamp()}
    print(json.dumps(about))
    if device == "cpu":
        print("a rehearsal on one thread of a processor: it says nothing of a card")
    rows = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, KDCORE_STORE=folder),
        patch.object(train, "device", lambda: device),
    ):
        compared = tried("compare", lambda: compare(device, 2_000 if n == WHOLE else 256), failed)
        for name, line in (compared or {}).items():
            if name != "on a processor":
                print(
                    f"losses of {name}: {line['apart']:.1e} of the first apart from a processor's, "
                    f"allowed {line['allowed']:.1e}: {'within' if line['within'] else 'BEYOND'}"
                )
        peak = peaks(device, least)
        print(", ".join(f"{k} {v:.3g}/s" for k, v in peak.items()))
        print(f"{'stage':34s}{'images/s':>12s}{'share of the floor':>20s}   which")
        for name, stage in stages(device, n, short, least, batches).items():
            if now(device) - began > LATEST:
                failed[name] = f"not begun: {LATEST} s were over"
            elif found := tried(name, stage, failed):
                floors = {"operations": found.flops / peak[found.precision]}
                floors["bytes"] = found.bytes / peak["bytes"]
                which = max(floors, key=floors.get)
                share = floors[which] / found.seconds
                rows[name] = {"images/s": 1 / found.seconds, "share": share, "floor": which}
                rows[name] |= {"operations": found.flops, "bytes": found.bytes}
                shown = f"{1 / found.seconds:12,.0f}{share:20.2f}"
                print(f"{name:34s}{shown}   {which}", flush=True)
    how = "called" if device == "cpu" else "played"
    grids = grid({name: row["images/s"] for name, row in rows.items()}, how, batches)
    for line in grids:
        parts = ", ".join(f"{k} {v:,.0f}" for k, v in line["parts"].items())
        print(
            f"grid, batch {line['batch']}, {line['precision']}: {line['seconds']:,.0f} s, goal "
            f"{GOAL}; on cores {line['measuring, on cores']:,.0f}, on the card "
            f"{line['on the card']:,.0f}: {parts}"
        )
    result = {"about": about, "compare": compared, "peaks": peak, "stages": rows, "grid": grids}
    result |= {"failed": failed, "seconds": round(time.monotonic() - begin)}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    without_nan = json.loads(json.dumps(result), parse_constant=lambda _: None)
    given.out.write_text(json.dumps(without_nan, indent=1) + "\n")
    print(f"{result['seconds']} s; {given.out}")


if __name__ == "__main__":
    main()
