"""What attention costs beyond the forward passes, as ratios measured in one run:
`python benchmarks/attention.py`. CPU, one thread, two to three minutes.

Two teachers (resnet-32-64, first weights) see the same 10,000 random images of 28 x 28 in 10
classes. Wanted is the IoU of their label maps for each image, threshold 0.4. Contestants, all from
uint8 images and in batches of 128:
  forward    logits of both networks, `kdcore.train.forward`, nothing else
  kdcore     class activation maps of the labels, resized, rescaled, cut, compared:
             `kdcore.metrics.saliency`
  grad-cam   pytorch_grad_cam.GradCAM in place of our maps, resizing and rescaling, one object for
             each network and one call for each batch; what is left to do, cut and compare, is done
             by kdcore. Once as its documentation has it, once with gradients off in all but the
             last norm before the target layer, so that its backward pass stops there.
For this head the maps are the same but for the cut at zero that Grad-CAM makes
(tests/test_attention.py).

A round is each contestant once in CPU seconds of this process, in reversed order every other time.
A ratio is taken within a round; the table shows median, lowest and highest. Other work on the
machine moves the seconds, the ratios hardly.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch is imported

import time

import kdcore._torchvision  # noqa: F401

import cv2
import numpy as np
import torch
from pytorch_grad_cam import GradCAM  # after kdcore: it imports torchvision
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from kdcore import models, provenance, train
from kdcore.data import SOURCES
from kdcore.data.views import normalise
from kdcore.metrics import saliency

N, BATCH, CLASSES, SIZE, THRESHOLD, ROUNDS = 10_000, 128, 10, (28, 28), 0.4, 5
MEAN, STD = SOURCES["fashion_mnist"].scale


def batches(x: torch.Tensor, y: torch.Tensor):
    return (
        (normalise(part, MEAN, STD), labels) for part, labels in zip(x.split(BATCH), y.split(BATCH))
    )


@torch.inference_mode()
def masks(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    made = []
    for part, labels in batches(x, y):
        f, weight, _, _ = saliency.features(net, part)
        cams = saliency.cam(f, weight, labels)
        made.append(saliency.mask(saliency.rescale(saliency.upsample(cams, SIZE)), THRESHOLD))
    return torch.cat(made)


def their_masks(package: GradCAM, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    made = [
        package(input_tensor=part, targets=[ClassifierOutputTarget(c) for c in labels.tolist()])
        for part, labels in batches(x, y)
    ]
    return torch.from_numpy(np.concatenate(made)) > THRESHOLD


def grad_cams(frozen: bool) -> list[GradCAM]:
    made = []
    for seed in (0, 1):
        net = models.build("resnet-32-64", 1, CLASSES, SIZE, seed).eval()
        if frozen:
            net.requires_grad_(False)
            # some leaf must want a gradient, or the target layer gets none
            net.stages[-1][-1].conv2_kxk.bn.requires_grad_(True)
        made.append(GradCAM(model=net, target_layers=[net.stages[-1]]))
    return made


def rounds(contestants: dict) -> dict[str, np.ndarray]:
    """CPU seconds (ROUNDS,) of each contestant; one round before them warms up."""
    order, seconds = list(contestants), {name: [] for name in contestants}
    for _ in range(ROUNDS + 1):
        for name in order:
            cpu = time.process_time()
            contestants[name]()
            seconds[name].append(time.process_time() - cpu)
        order.reverse()
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    random = np.random.default_rng(0)
    x = torch.tensor(random.integers(0, 256, (N, 1, *SIZE), dtype=np.uint8))
    y = torch.tensor(random.integers(0, CLASSES, N))
    nets = [models.build("resnet-32-64", 1, CLASSES, SIZE, seed).eval() for seed in (0, 1)]
    plain, tuned = grad_cams(frozen=False), grad_cams(frozen=True)
    t = rounds(
        {
            "forward": lambda: [train.forward(net, x, MEAN, STD) for net in nets],
            "kdcore": lambda: saliency.iou(*(masks(net, x, y) for net in nets)),
            "grad-cam": lambda: saliency.iou(*(their_masks(package, x, y) for package in plain)),
            "grad-cam, frozen": lambda: saliency.iou(
                *(their_masks(package, x, y) for package in tuned)
            ),
        }
    )
    print(
        f"\n{provenance.stamp()['cpu']}, torch {torch.__version__}, 1 thread, {ROUNDS} rounds, "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "images per CPU second, both networks: "
        + "; ".join(f"{name} {N / np.median(s):,.0f}" for name, s in t.items())
        + "\n"
    )
    print(f"{'ratio of CPU seconds':39s}median  low - high   target")
    for name, ratio, met, target in [
        ("d  kdcore / forward", t["kdcore"] / t["forward"], np.less_equal, "<= 1.25"),
        ("e  grad-cam / kdcore", t["grad-cam"] / t["kdcore"], np.greater_equal, ">= 3"),
        ("     gradients off below its layer", t["grad-cam, frozen"] / t["kdcore"], None, ""),
    ]:
        median = np.median(ratio)
        verdict = (
            f"{target:7s} {'met' if met(median, float(target.split()[1])) else 'missed'}"
            if target
            else ""
        )
        print(f"{name:39s}{median:6.2f}  {ratio.min():.2f} - {ratio.max():.2f}  {verdict}".rstrip())


if __name__ == "__main__":
    main()
