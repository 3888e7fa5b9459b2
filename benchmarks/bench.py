"""Speed of the training loop as ratios measured in one run: `make bench`. CPU, one thread, under
three minutes.

All train resnet8 (teacher: resnet20; basic blocks of 16-32-64 channels, full resolution) on the
same 1,024 random images of 3 x 32 x 32 in 100 classes, batch 64, SGD with momentum. What is timed
of kdcore is `kdcore.train.fit` itself with the run store; only the images, the networks (ready
built) and the length of a block of logits (one epoch, so that every epoch pays for its own reading)
are exchanged.

A round is one epoch of each contestant in CPU seconds of this process, in reversed order every
other time. A ratio is taken within a round; the table shows median, lowest and highest. Other work
on the machine moves the seconds, the ratios hardly.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch is imported

import copy
import logging
import tempfile
import time
from unittest.mock import patch

from kdcore._torchvision import torchvision

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from kdcore import models, provenance, train
from kdcore.data import SOURCES, Dataset, views
from kdcore.spec import Data, Distill, Optim, Spec, View

N, BATCH, CLASSES, SECONDS = 1024, 64, 100, 150
MEAN, STD = SOURCES["cifar100"].scale


def mflop(net: torch.nn.Module) -> tuple[float, float]:
    """Million floating point operations per image (a multiply-add counts two): forward, forward +
    backward.
    """
    with FlopCounterMode(display=False) as counter:
        z = net(torch.zeros(1, 3, 32, 32))
        forward = counter.get_total_flops()
        z.sum().backward()
    return forward / 1e6, counter.get_total_flops() / 1e6


def spec(view: str, model: str, teachers: tuple[Spec, ...] = ()) -> Spec:
    """One epoch. The names of the data and of the model are only keys here (the model's, set
    afterwards, is none that a Spec would take).
    """
    return Spec(
        data=Data(name="cifar100", n_train=N, n_test=None, seed=0),
        view=View(name=view, strength=0.0),
        model="resnet18",
        optim=Optim(
            epochs=1, batch_size=BATCH, lr=0.05, momentum=0.9, weight_decay=5e-4, warmup=0.1
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
        model_seed=0,
        order_seed=0,
        aug_seed=0,
    ).model_copy(update={"model": model})


def bare(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor):
    """The least a student costs: cross-entropy on normalised batches that lie ready; the same
    network and optimiser as kdcore's.
    """
    net = copy.deepcopy(net).train()
    optimiser = torch.optim.SGD(
        net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True
    )
    batches = [
        (part.contiguous(memory_format=torch.channels_last), labels)
        for part, labels in zip(x.split(BATCH), y.split(BATCH))
    ]

    def epoch():
        for part, labels in batches:
            loss = cross_entropy(net(part), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return epoch


def pictures(x: np.ndarray, y: np.ndarray) -> torchvision.datasets.CIFAR100:
    """torchvision's CIFAR-100 with our images in place of its files: PIL, then one image at a time
    crop, flip, to tensor, normalise.
    """
    t, dataset = torchvision.transforms, object.__new__(torchvision.datasets.CIFAR100)
    dataset.data = x.transpose(0, 2, 3, 1).copy()
    dataset.targets = y.tolist()
    dataset.target_transform = None
    dataset.transform = t.Compose(
        [
            t.RandomCrop(32, padding=2),
            t.RandomHorizontalFlip(),
            t.ToTensor(),
            t.Normalize(MEAN, STD),
        ]
    )
    return dataset


def torchdistill_loops(
    teacher: torch.nn.Module, student: torch.nn.Module, dataset, x: torch.Tensor, y: torch.Tensor
) -> dict:
    """One epoch of torchdistill's DistillationBox the way its image classification example runs it
    (less the meter of images per second and the check for NaN): with its data loader, and with
    normalised batches that lie ready. Networks in torch's default layout, the teacher frozen but in
    train mode, as the box leaves it. The tuned loop has what a user could change from outside:
    channels_last networks and batches, and the teacher in eval mode.
    """
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.misc.log import MetricLogger

    logits = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
    }
    kd = {"key": "KDLoss", "kwargs": logits | {"temperature": 3.0, "alpha": 0.6, "beta": 0.4}}

    def loop(batches=None, tuned=False):
        config = {
            "num_epochs": 1,
            "train_data_loader": {
                "dataset_id": "train",
                "sampler": {"class_or_func": torch.utils.data.RandomSampler},
                "kwargs": {"batch_size": BATCH, "num_workers": 0},
            },
            "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
            "student": {"forward_proc": "forward_batch_only"},
            "optimizer": {
                "key": "SGD",
                "kwargs": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4},
            },
            "criterion": {
                "key": "WeightedSumLoss",
                "func2extract_model_loss": "extract_model_loss_dict",
                "kwargs": {"sub_terms": {"kd": {"criterion": kd, "weight": 1.0}}},
            },
        }
        layout = torch.channels_last if tuned else torch.contiguous_format
        nets = [copy.deepcopy(net).to(memory_format=layout) for net in (teacher, student)]
        box = get_distillation_box(
            *nets, {"train": dataset}, config, torch.device("cpu"), None, False, 1
        )
        box.teacher_model.train(not tuned)
        if batches is not None:
            box.train_data_loader = [
                (part.contiguous(memory_format=layout), labels, {}) for part, labels in batches
            ]

        def epoch():
            box.pre_epoch_process(epoch=0)
            log = MetricLogger()
            for images, labels, extra in log.log_every(box.train_data_loader, 100, "epoch"):
                loss = box.forward_process(images.to(box.device), labels.to(box.device), extra)
                box.post_forward_process(loss=loss)
                log.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
            box.post_epoch_process()

        return epoch

    batches = list(zip(x.split(BATCH), y.split(BATCH)))
    return {
        "torchdistill": loop(),
        "torchdistill, ready tensors": loop(batches),
        "torchdistill, ready tensors, tuned": loop(batches, tuned=True),
    }


def rounds(contestants: dict, begin: float) -> dict[str, np.ndarray]:
    """CPU seconds (rounds,) of each contestant: rounds until SECONDS after `begin`, at least three;
    one before them warms up.
    """
    order, seconds, last = list(contestants), {name: [] for name in contestants}, 0.0
    while len(seconds[order[0]]) < 4 or time.monotonic() - begin + last < SECONDS:
        started = time.monotonic()
        for name in order:
            cpu = time.process_time()
            contestants[name]()
            seconds[name].append(time.process_time() - cpu)
        order.reverse()
        last = time.monotonic() - started
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def main() -> None:
    begin = time.monotonic()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.getLogger().setLevel(logging.WARNING)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (N, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, CLASSES, N)
    data = Dataset(
        images, labels, images[:0], labels[:0], tuple(map(str, range(CLASSES))), MEAN, STD
    )
    nets = {
        f"resnet{depth}": models.cifar_resnet(depth, 3, CLASSES).to(
            memory_format=torch.channels_last
        )
        for depth in (8, 20)
    }
    flops = {name: mflop(net) for name, net in nets.items()}
    x, y = views.normalise(torch.tensor(images), MEAN, STD), torch.tensor(labels)
    teacher = spec("weak", "resnet20")
    plain, weak = spec("clean", "resnet8", (teacher,)), spec("weak", "resnet8", (teacher,))
    contestants = {
        "bare": bare(nets["resnet8"], x, y),
        "shared": lambda: train.fit(plain),
        "live": lambda: train.fit(plain, live=True),
        "shared, augmented": lambda: train.fit(weak),
        "live, augmented": lambda: train.fit(weak, live=True),
        "teacher's logits": lambda: train.forward(
            train.frozen(teacher), torch.tensor(images), MEAN, STD
        ),
    }
    try:
        contestants |= torchdistill_loops(
            nets["resnet20"], nets["resnet8"], pictures(images, labels), x, y
        )
    except ImportError as error:
        print(f"torchdistill is left out ({error}): .venv/bin/pip install -e '.[bench]' brings it.")
    with (
        tempfile.TemporaryDirectory() as store,
        patch.dict(os.environ, KDCORE_STORE=store),
        patch.object(train, "BLOCK", 1),
        patch.object(train, "load", lambda _: data),
        patch.object(views, "load", lambda _: data),
        patch.object(models, "build", lambda name, *_: nets[name]),
        patch.object(models, "check_network", lambda *_: None),  # which knows no such names
    ):
        t = rounds(contestants, begin)
    print(
        f"\n{provenance.stamp()['cpu']}, torch {torch.__version__}, 1 thread, {len(t['bare'])} "
        f"rounds, load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "MFLOP per image, forward / forward + backward: "
        + ", ".join(f"{name} {f:.0f} / {b:.0f}" for name, (f, b) in flops.items())
    )
    print(
        "images per CPU second: "
        + "; ".join(f"{name} {N / np.median(s):,.0f}" for name, s in t.items())
        + "\n"
    )
    by_flops = 1 + flops["resnet20"][0] / flops["resnet8"][1]
    lines = [
        (
            "a  bare / shared logits",
            t["bare"] / t["shared"],
            0.95,
            "no augmentation; here also gather, normalise, KD loss, schedule, accuracy",
        ),
        (
            "b  live teacher / shared logits",
            t["live"] / t["shared"],
            0,
            f"no augmentation; by FLOPs {by_flops:.2f}",
        ),
    ]
    if "torchdistill" in t:
        theirs, ready, tuned = list(t.values())[-3:]
        shared, once = t["shared, augmented"], t["teacher's logits"]
        lines += [
            (
                "c  torchdistill / live teacher",
                theirs / t["live, augmented"],
                1.4,
                "each side's own crop, flip, normalise; there PIL, no workers",
            ),
            (
                "c  torchdistill / shared logits",
                theirs / shared,
                2.4,
                "the same; the logits exist already",
            ),
            (
                "     1 student pays for the logits",
                theirs / (shared + once),
                0,
                "the same plus one pass of the teacher",
            ),
            (
                "     20 students share them",
                theirs / (shared + once / 20),
                0,
                "the same plus a twentieth of that pass",
            ),
            (
                "   torchdistill / live teacher",
                ready / t["live"],
                0,
                "no augmentation; ready tensors there, gather and normalise here",
            ),
            ("   torchdistill / shared logits", ready / t["shared"], 0, "the same"),
            (
                "   tuned torchdistill / live teacher",
                tuned / t["live"],
                0,
                "the same; channels_last and a teacher in eval mode there too",
            ),
            ("   tuned torchdistill / shared logits", tuned / t["shared"], 0, "the same"),
        ]
    print(f"{'ratio of CPU seconds':39s}median  low - high   target         includes")
    for name, ratio, target, what in lines:
        median = np.median(ratio)
        verdict = (
            f">= {target:<4} {'met' if median >= target else 'missed':6s}" if target else " " * 14
        )
        print(f"{name:39s}{median:6.2f}  {ratio.min():.2f} - {ratio.max():.2f}  {verdict} {what}")


if __name__ == "__main__":
    main()
