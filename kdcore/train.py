"""train(spec) -> Run, and logits(spec, inputs): the two ways from a spec to numbers. One lean loop
for teacher and student.

Training computes no metrics; it records the weights, and the loss and accuracy seen online.
Everything else is measured afterwards on the same fixed views for every model. A teacher's logits
on an epoch's view are computed once, in blocks of `BLOCK` epochs, and shared by all students,
losses and temperatures that name the same view. Where a block of images or of logits would be too
large to keep, teachers run beside the student instead.

Training and logits share this file because each needs the other: a student's training asks for its
teachers' logits, and logits ask for a trained network.
"""

import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from kdcore import chance, losses, models, store
from kdcore.data import dealt, load
from kdcore.data.views import BLOCK, batch_view, epoch_view, large, normalise, size, still
from kdcore.provenance import stamp
from kdcore.replay import Replayed
from kdcore.spec import Inputs, Optim, Spec, reads_text

SAVE_EVERY = 60.0  # seconds between snapshots of an unfinished run
CHUNK = 2048  # images at a time whose logits are recorded; a multiple of every batch in `forward`
# times the loss of the first step: a run whose mean loss of an epoch lies above has diverged
GROWN = 1000.0
# a first loss below this, as of a student that starts at its teacher, counts as this
LEAST_LOSS = 0.1
# logits that vary less over the classes have no z-scores, whose gradient would be above 1 / this
FLAT = 1e-6
NOT_DEALT = (
    "dealt = {!r} is not allowed here: it deals out recorded logits, and these teachers run beside "
    "the student"
)
SHARED = 2**31  # bytes: a block of one teacher's logits above this is neither kept nor shared


class Run(NamedTuple):
    """A finished training: its spec, the weights of the last epoch, the history, and where and when
    it was made (`meta`).
    """

    spec: Spec
    state: dict[str, Tensor]
    loss: np.ndarray  # (epochs,) mean training loss
    # (epochs,) accuracy on the training batches as they came, weights moving
    online_accuracy: np.ndarray
    meta: dict


class TrainingDiverged(RuntimeError):
    """The loss is no longer finite, or has grown a thousandfold over its first value; nothing is
    stored.
    """


def device() -> str:
    """Where this process computes. Not part of a spec: the meta data of every result say what it
    was.
    """
    return "cuda" if torch.cuda.is_available() else "cpu"


def learning_rate(optim: Optim, step: int, steps: int) -> float:
    """Linear warm-up to `lr` over the first `warmup` share of the steps, then half a cosine to
    zero.

    schedule "steps", e = epoch from 0, W = warmup * epochs rounded: lr * 0.1^(milestones <= e),
    times (1 + e) / W for e < W (Guo et al. 2024, trainer.py, W = 8). There the schedule runs one
    epoch ahead (epoch 0 trains with the rate of epoch 1); here it does not.
    """
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "steps":
        epoch, warm = step * optim.epochs // steps, round(optim.warmup * optim.epochs)
        return (
            optim.lr
            * 0.1 ** sum(m <= epoch for m in optim.milestones)
            * min(1, (1 + epoch) / max(1, warm))
        )
    warm = round(optim.warmup * steps)
    if step < warm:
        return optim.lr * (step + 1) / warm
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def beside(spec: Spec) -> bool:
    """Whether a student's teachers run on every batch instead of handing over their shared logits:
    in training mode, or where those are too large.
    """
    data = load(spec.data)
    too_large = (
        large(spec.data, "train", spec.view)
        or len(data.train_y) * len(data.classes) * BLOCK * 4 > SHARED
    )
    return spec.distill is not None and (spec.distill.teacher_mode == "train" or too_large)


def check_runs(specs) -> None:
    """ValueError in one sentence where a run of these specs, or of their teachers, cannot begin: a
    network that cannot be built or does not read its inputs (kdcore.models.check_network), a batch
    larger than the data, teachers of other classes. Nothing is trained: call it before the first
    run.
    """
    visited, checked = set(), set()

    def visit(spec: Spec) -> None:
        if id(spec) in visited:
            return
        visited.add(id(spec))
        for teacher in spec.teachers:
            visit(teacher)
        # which change neither shapes nor numbers
        drawn = spec.data.model_copy(update={"seed": 0, "label_seed": 0})
        listens = spec.distill and (
            spec.distill.dealt,
            spec.distill.teacher_mode,
            frozenset((t.data.name, t.model) for t in spec.teachers),
        )
        alike = drawn, spec.view, spec.model, spec.optim.batch_size, spec.pretrained, listens
        if alike not in checked:
            can_begin(spec)
            checked.add(alike)

    for spec in specs:
        visit(spec)


def can_begin(spec: Spec) -> None:
    """What `check_runs` asks of one spec."""
    data, text = load(spec.data), reads_text(spec.model)
    if (data.train_x.ndim == 2) != text:
        raise ValueError(
            f"{spec.model} does not read {spec.data.name}, which is {'images' if text else 'text'}."
        )
    if text and (spec.view.name, spec.view.part) != ("clean", "whole"):
        raise ValueError(
            f"{spec.data.name} is text: the only view of it is 'clean', whole; "
            f"{spec.view.name!r}, {spec.view.part} is for images."
        )
    if len(data.train_y) < spec.optim.batch_size:
        raise ValueError(
            f"batch_size = {spec.optim.batch_size} is larger than the {len(data.train_y)} "
            f"training examples of {spec.data.name}: at least one "
            "full batch is needed"
        )
    for teacher in spec.teachers:
        other = load(teacher.data)
        if (
            len(other.classes) != len(data.classes)
            or len(other.mean) != len(data.mean)
            or reads_text(teacher.model) != text
        ):
            raise ValueError(
                f"{teacher.model}, trained on {teacher.data.name}, cannot teach on "
                f"{spec.data.name}: classes and channels must be as many, here "
                f"{len(other.classes)} and {len(other.mean)} for {len(data.classes)} and "
                f"{len(data.mean)}"
            )
    if spec.teachers and spec.distill.dealt != "own" and beside(spec):
        raise ValueError(NOT_DEALT.format(spec.distill.dealt))
    models.check_network(
        spec.model,
        len(data.mean),
        len(data.classes),
        tuple(size(spec.data, spec.view)),
        spec.pretrained,
    )


def network(spec: Spec, state: dict[str, Tensor] | None = None) -> nn.Module:
    """The spec's network on the device, with its initial weights or the given ones."""
    data = load(spec.data)
    if (data.train_x.ndim == 2) != reads_text(spec.model):
        raise ValueError(
            f"{spec.model} does not read {spec.data.name}, which is "
            f"{'text' if data.train_x.ndim == 2 else 'images'}."
        )
    net = models.build(
        spec.model,
        len(data.mean),
        len(data.classes),
        size(spec.data, spec.view),
        spec.model_seed,
        spec.pretrained and state is None,
    )
    if state is not None:
        net.load_state_dict(state)
    elif isinstance(net, models.OnFeatures):
        net.fixed.fit(
            normalise(
                epoch_view(spec.data, "train", spec.view, spec.aug_seed, 0), data.mean, data.std
            )
        )
    return net.to(device())


@lru_cache(maxsize=8)
def frozen(spec: Spec) -> nn.Module:
    """A trained network in eval mode without gradients: what a teacher is here."""
    return network(spec, train(spec).state).eval().requires_grad_(False)


def make_optimiser(net: nn.Module, o: Optim) -> torch.optim.Optimizer:
    """AdamW or SGD with momentum, as the spec says, fused; `set_rate` gives it its learning rate
    before every step, which on an accelerator lies there, as a recorded step needs it.
    """
    where = next(net.parameters()).device
    rate = o.lr if where.type == "cpu" else torch.tensor(o.lr, device=where)
    if o.method == "adamw":
        return torch.optim.AdamW(
            net.parameters(),
            lr=rate,
            betas=(o.momentum, 0.999),
            weight_decay=o.weight_decay,
            capturable=where.type != "cpu",
            fused=True,
        )
    return torch.optim.SGD(
        net.parameters(),
        lr=rate,
        momentum=o.momentum,
        nesterov=o.nesterov,
        weight_decay=o.weight_decay,
        fused=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    group = optimiser.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def moments(net: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """What the optimiser keeps for each weight, "<name>.<number of the weight>"; nothing of SGD
    without momentum.
    """
    weights = enumerate(net.parameters())
    return {
        f"{name}.{i}": v.cpu().numpy()
        for i, w in weights
        for name, v in optimiser.state.get(w, {}).items()
        if v is not None
    }


def restore(
    net: nn.Module, optimiser: torch.optim.Optimizer, arrays: dict[str, np.ndarray]
) -> None:
    """Puts `moments` back: on the device and in the type that the optimiser itself would have given
    them, laid out in memory like their weights.
    """
    weights, state = list(net.parameters()), {}
    for key, value in arrays.items():
        name, _, number = key.rpartition(".")
        if key.startswith("net.") or not number.isdigit():
            continue
        moment, w = torch.from_numpy(value), weights[int(number)]
        if moment.shape == w.shape:  # the fused optimiser walks both side by side
            moment = torch.empty_like(w, requires_grad=False).copy_(moment)
        state.setdefault(int(number), {})[name] = moment
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )


def loss_of(z: Tensor, y: Tensor, spec: Spec, teachers: Tensor | None, progress: float) -> Tensor:
    """The spec's loss of logits z (B, classes), labels y (B,), teachers' logits (K, B, classes) or
    None, after this share of the steps.
    """
    d, squared = spec.distill, spec.loss == "squared"
    if teachers is None:
        return (
            losses.squared(z, one_hot(y, z.shape[1]).to(z.dtype))
            if squared
            else cross_entropy(z, y)
        )
    share = d.switch.teacher_share(progress) if d.switch else 1.0
    ce_weight, kd_weight = 1 - share + share * d.ce_weight, share * d.kd_weight
    if squared:
        return losses.squared_distillation(z, teachers, y, ce_weight, kd_weight)
    return losses.distillation(z, teachers, y, d.temperature, ce_weight, kd_weight, d.zscore)


def step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    spec: Spec,
    teachers: Tensor | None,
    progress: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """One update. x (B, C, H, W) normalised, y (B,), teachers' logits (K, B, classes) or None ->
    (student logits, loss), both detached and float32.

    precision "bf16": the network's layers run under torch.autocast. Each weight is used once in a
    step, so that nothing is gained by keeping its copy.
    """
    with (
        torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False)
        if spec.precision == "bf16"
        else nullcontext()
    ):
        z = net(x)
    z = z.float()
    loss = loss_of(z, y, spec, teachers, progress)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if spec.optim.clip_norm is not None:
        nn.utils.clip_grad_norm_(net.parameters(), spec.optim.clip_norm)
    optimiser.step()
    return z.detach(), loss.detach()


def replays(spec: Spec) -> bool:
    """Whether the steps of a run are played from a recording: on an accelerator, but for a loss
    that changes from step to step and for texts, whose batches differ in length.
    """
    switches = spec.distill is not None and spec.distill.switch is not None
    return device() != "cpu" and not switches and not reads_text(spec.model)


@dataclass
class Progress:
    """How far a training has come, beside its weights: whole epochs done, loss and online accuracy
    (epochs,) of these, the loss of its very first step (None before it), seconds spent.
    """

    epochs_done: int
    loss: np.ndarray
    online: np.ndarray
    first_loss: float | None
    seconds: float


def _state(arrays):
    """The network's part of what is stored of a run."""
    return {k[4:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("net.")}


def start(
    spec: Spec, perturb: float, snapshot: store.Entry | None
) -> tuple[nn.Module, torch.optim.Optimizer, Progress]:
    """Network, optimiser and progress at the first step, or as the snapshot holds them."""
    net, epochs = network(spec).train(), spec.optim.epochs
    if perturb:
        generator = torch.Generator().manual_seed(spec.model_seed)
        with torch.no_grad():
            for w in net.parameters():
                w.mul_(1 + perturb * torch.randn(w.shape, generator=generator).to(w))
    optimiser = make_optimiser(net, spec.optim)
    progress = Progress(0, np.full(epochs, np.nan), np.full(epochs, np.nan), None, 0.0)
    if snapshot is not None:
        arrays, done = snapshot.arrays, snapshot.meta["epochs_done"]
        net.load_state_dict(_state(arrays))
        restore(net, optimiser, arrays)
        progress.epochs_done, progress.seconds = done, snapshot.meta["seconds"]
        progress.loss[:done] = arrays["loss"][:done]
        progress.online[:done] = arrays["online_accuracy"][:done]
        progress.first_loss = snapshot.meta.get("first_loss", progress.loss[0])
    return net, optimiser, progress


def unfinished(
    net: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, seconds: float
) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, meta) from which `start` goes on to the same bits, after so many seconds more."""
    state = {f"net.{k}": v.cpu().numpy() for k, v in net.state_dict().items()}
    arrays = {"loss": progress.loss, "online_accuracy": progress.online}
    return state | moments(net, optimiser) | arrays, {
        "epochs_done": progress.epochs_done,
        "seconds": progress.seconds + seconds,
        "first_loss": progress.first_loss,
    }


def live_targets(spec: Spec) -> Callable:
    """epoch -> (index, x) -> logits (K, B, classes) of teachers that run on each batch; x holds the
    batch under each view.
    """
    training, seen = spec.distill.teacher_mode == "train", spec.seen_by_teachers(spec.view)
    teachers = [
        network(t, train(t).state).train(training).requires_grad_(False) for t in spec.teachers
    ]
    return lambda epoch: lambda index, x: torch.stack([t(x[v]) for t, v in zip(teachers, seen)])


def shared_targets(spec: Spec) -> Callable:
    """epoch -> (index, x) -> logits (K, B, classes), taken from what the teachers say of all images
    in the epoch: recorded for BLOCK epochs at a time, and read by every student of these teachers.
    """
    data, where, seen = load(spec.data), device(), spec.seen_by_teachers(spec.view)
    same = all(map(still, seen))  # then one draw serves all epochs
    givers = None
    if spec.distill.dealt != "own":
        givers = torch.from_numpy(dealt(data.train_y, spec.distill.dealt, spec.data.seed)).to(where)
    begun, block = None, None

    def of_epoch(epoch):
        nonlocal begun, block
        first = 0 if same else epoch - epoch % BLOCK
        if first != begun:
            count = 1 if same else min(BLOCK, spec.optim.epochs - first)
            seed = 0 if same else spec.aug_seed
            draws = dict(split="train", aug_seed=seed, first=first, count=count)
            at = [Inputs(data=spec.data, view=view, **draws) for view in seen]
            z = np.stack([*map(logits, spec.teachers, at)], axis=1)  # (count, K, n, classes)
            begun, block = first, torch.from_numpy(z).to(where)
        z = block[0 if same else epoch - first]
        z = z if givers is None else z[:, givers]
        return lambda index, x: z[:, index]

    return of_epoch


def read_by(spec: Spec, net: nn.Module, live: bool) -> tuple[nn.Module, Callable]:
    """(body, inputs): the part of the network that is trained, and (epoch, index) -> {view: what is
    handed to it of these training images}, normalised, under the student's view and those of live
    teachers. Of a still view, features that no step changes are computed once.
    """
    data, where = load(spec.data), device()
    if isinstance(net, models.OnFeatures) and still(spec.view) and not live:
        x = epoch_view(spec.data, "train", spec.view, spec.aug_seed, 0, where)
        x = normalise(x, data.mean, data.std)
        features = torch.cat([net.fixed(part) for part in x.split(CHUNK)])
        return net.head, lambda epoch, index: {spec.view: features[index]}
    views = {spec.view, *(spec.seen_by_teachers(spec.view) if live else ())}

    def inputs(epoch, index):
        x = {
            v: batch_view(spec.data, "train", v, spec.aug_seed, epoch, index, where) for v in views
        }
        return {v: normalise(images, data.mean, data.std) for v, images in x.items()}

    return net, inputs


def check_first(spec: Spec, z: Tensor) -> None:
    """ValueError where the z-scores of the first logits would divide by nothing."""
    if spec.distill is not None and spec.distill.zscore and not z.std(1).median() > FLAT:
        raise ValueError(
            f"zscore = True is not allowed with model = {spec.model!r}, whose first logits are "
            "alike for all classes: the z-score divides by their spread"
        )


def check_grown(spec: Spec, epoch: int, loss: float, first_loss: float) -> None:
    """TrainingDiverged where an epoch's mean loss is not finite, or GROWN times the first one."""
    if not math.isfinite(loss) or loss > GROWN * max(first_loss, LEAST_LOSS):
        raise TrainingDiverged(
            f"the loss of {spec.model} (spec {spec.hash[:12]}) became {loss:g} in epoch "
            f"{epoch + 1} of {spec.optim.epochs}, from {first_loss:.3g} in its first step: try a "
            f"smaller learning rate than {spec.optim.lr}"
        )


def fit(
    spec: Spec,
    live: bool = False,
    perturb: float = 0.0,
    snapshot=None,
    save=lambda *_: None,
    after_epoch=lambda *_: None,
    after_step=lambda *_: None,
) -> tuple[dict[str, Tensor], np.ndarray, np.ndarray]:
    """Trains from the first weights (or a snapshot) to the last epoch; returns (state, loss per
    epoch, online accuracy per epoch).

    live      teachers run on every batch instead of handing over their shared logits (always so
              with teacher_mode="train", of data that are large in this view, and where BLOCK epochs
              of logits take more than SHARED bytes)
    perturb   initial weights are multiplied by 1 + perturb * N(0, 1): how much rounding on another
              machine may matter
    after_epoch   called with (epoch, network) after each; it must leave the network as it was;
                  after_step likewise, with (step, network)
    save      called now and then with (arrays, meta) of an unfinished run, from which `snapshot`
              resumes it to the same bits
    """
    data, where, o = load(spec.data), device(), spec.optim
    y_all = torch.tensor(data.train_y, device=where)
    n, batches = len(y_all), len(y_all) // o.batch_size
    if batches == 0:
        raise ValueError(
            f"batch_size = {o.batch_size} is larger than the {n} training images: at least one "
            "full batch is needed"
        )
    live = live or beside(spec)
    if live and spec.teachers and spec.distill.dealt != "own":
        raise ValueError(NOT_DEALT.format(spec.distill.dealt))
    net, optimiser, progress = start(spec, perturb, snapshot)
    targets = (live_targets if live else shared_targets)(spec) if spec.teachers else None
    body, inputs = read_by(spec, net, live)
    steps = o.epochs * batches

    def update(x, y, teachers=None, done=0):
        return step(body, optimiser, x, y, spec, teachers, done / steps)

    replayed = Replayed(update) if replays(spec) else None
    began = saved_at = time.monotonic()
    for epoch in range(progress.epochs_done, o.epochs):
        order = torch.from_numpy(chance.order(spec.order_seed, epoch, n)).to(where)
        heard = targets(epoch) if targets else None
        total_loss = torch.zeros((), device=where)
        hits = torch.zeros((), dtype=torch.int64, device=where)
        for b in range(batches):
            done, index = epoch * batches + b, order[b * o.batch_size : (b + 1) * o.batch_size]
            set_rate(optimiser, learning_rate(o, done, steps))
            x, y = inputs(epoch, index), y_all[index]
            given = [x[spec.view], y, *([heard(index, x)] if heard else [])]
            z, value = replayed(*given) if replayed else update(*given, done=done)
            if progress.first_loss is None:
                progress.first_loss = value.item()
                check_first(spec, z)
            after_step(done, net)
            total_loss += value
            hits += (z.argmax(1) == y).sum()
        progress.loss[epoch] = total_loss.item() / batches
        progress.online[epoch] = hits.item() / (batches * o.batch_size)
        check_grown(spec, epoch, progress.loss[epoch], progress.first_loss)
        progress.epochs_done = epoch + 1
        after_epoch(epoch, net)
        if time.monotonic() - saved_at > SAVE_EVERY and epoch + 1 < o.epochs:
            save(*unfinished(net, optimiser, progress, time.monotonic() - began))
            saved_at = time.monotonic()
    return {k: v.cpu() for k, v in net.state_dict().items()}, progress.loss, progress.online


def train(spec: Spec) -> Run:
    """The stored run of a spec; trained now, after its teachers, where there is none. An
    interrupted one goes on where it was.
    """

    def make():
        check_runs([spec])
        for teacher in spec.teachers:
            train(teacher)
        begin, by, snapshot = time.monotonic(), stamp(), store.get("unfinished", spec.hash)
        before = snapshot.meta if snapshot else {}
        # each device once: a resumed run may have been elsewhere before
        devices = list(dict.fromkeys([*before.get("devices", []), device()]))

        def save(arrays, meta):
            try:
                store.put("unfinished", spec.hash, arrays, {**meta, "devices": devices})
            except store.StoreError as error:
                warnings.warn(
                    f"{spec.model} (spec {spec.hash[:12]}) goes on without a snapshot: {error}",
                    stacklevel=2,
                )

        state, loss, online = fit(spec, snapshot=snapshot, save=save)
        seconds = time.monotonic() - begin + before.get("seconds", 0.0)
        arrays = {
            **{f"net.{k}": v.numpy() for k, v in state.items()},
            "loss": loss,
            "online_accuracy": online,
        }
        return arrays, {
            "spec": spec.model_dump(mode="json"),
            "seconds": round(seconds, 2),
            "precision": spec.precision,
            "device": ", ".join(devices),
            **by,
        }

    entry = store.once("runs", spec.hash, make)
    store.drop("unfinished", spec.hash)
    state = _state(entry.arrays)
    return Run(spec, state, entry.arrays["loss"], entry.arrays["online_accuracy"], entry.meta)


def asked_at_once(device_type: str, pixels: int) -> int:
    """How many images of so many pixels a side go through a network together when it is asked: as
    many as fit a core's cache, or the accelerator's memory.
    """
    return 128 if device_type == "cpu" or pixels >= 224 else 2048


@torch.inference_mode()
def forward(net: nn.Module, x: Tensor, mean, std) -> Tensor:
    """Logits (n, classes) of uint8 images (n, C, H, W), in batches of `asked_at_once`."""
    batch = asked_at_once(x.device.type, x.shape[-1])
    return torch.cat([net(normalise(part, mean, std)) for part in x.split(batch)])


def logits(spec: Spec, inputs: Inputs) -> np.ndarray:
    """A trained model's logits on draws of a view, float32 (draws, n, classes). Computed once,
    stored, shared.
    """
    key = store.logits_key(spec.hash, inputs)

    def make():
        data, net, where = load(inputs.data), frozen(spec), device()
        parts = torch.arange(len(getattr(data, f"{inputs.split}_y")), device=where).split(CHUNK)

        def draw(epoch):
            x = (
                batch_view(
                    inputs.data, inputs.split, inputs.view, inputs.aug_seed, epoch, part, where
                )
                for part in parts
            )
            # to the processor in one piece: after each part the accelerator would wait for it
            z = torch.cat([forward(net, part, data.mean, data.std) for part in x])
            return z.cpu().numpy()

        values = np.stack(
            [draw(epoch) for epoch in range(inputs.first, inputs.first + inputs.count)]
        )
        made.append(values)
        return {"logits": values}, {
            "model": spec.hash,
            "inputs": inputs.model_dump(mode="json"),
            **stamp(),
        }

    made = []
    try:
        values = store.once("logits", key, make).arrays["logits"]
        store.touch("logits", key)
        return values
    except store.StoreError as error:
        if not made:
            raise
        warnings.warn(
            f"logits of {spec.model} (spec {spec.hash[:12]}) are used and not kept: {error}",
            stacklevel=2,
        )
        return made[0]
