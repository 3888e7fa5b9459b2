"""Views: augmented images as pure functions of (augmentation, strength, aug_seed, epoch, index).

Every random choice is read from a table of uniform numbers, row = image, that kdcore.chance draws
for (aug_seed, epoch). No generator state exists, so any epoch, in any order, in any process, gives
the same bits; teachers and students that name the same view see the same tensor.

Images are uint8 (N, C, H, W) throughout; what is done to them is in kdcore.data.augment.

Views of 224 x 224 pixels are Guo et al.'s own, transform by transform. What differs from image to
image (crop, flip, rotation, colour jitter) is done on single PIL images, as in their code. A data
set that is large at this size is augmented batch by batch.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from kdcore import chance
from kdcore.data import load, picture
from kdcore.data.augment import (
    COLUMNS,
    FRAME_COLUMNS,
    augment,
    autoaugment,
    cutout,
    frame,
    part,
    randaugment,
)
from kdcore.spec import Data, View, ViewName

BLOCK = 20  # epochs of a small data set that are augmented in one go
LARGE = 2**28  # bytes: an epoch of images above this is never held at once
# views that keep the size of the data's images; all others are 224 x 224
OWN_SIZE = ("clean", "base", "weak", "strong")
STILL = ("clean", "resize", "center-crop")  # views that are the same in every epoch


def at_224(
    data: Data,
    split: str,
    view: View,
    aug_seed: int,
    epoch: int,
    index: np.ndarray,
    device: str = "cpu",
) -> Tensor:
    """The view of the images `index` in one epoch, uint8 (len(index), C, 224, 224): Guo et al.'s
    recipes, read in their code.

    cifar-base       RandomResizedCrop(224, scale 0.2 to 1, bicubic): the denominator of their
                     Affinity code
    cifar-weak       cifar-base, horizontal flip, rotation by up to 15 degrees, black where nothing
                     is left
    cifar-strong     cifar-base, flip, AutoAugment's CIFAR-10 policy with grey fill on a share
                     `strength` of the images, cutout of 16 px
    resize           Resize(224), their clean CIFAR image; an image that is not square is stretched
    imagenet-base    RandomResizedCrop(224), scale 0.08 to 1, bilinear
    imagenet-weak    imagenet-base, flip, ColorJitter(0.4, 0.4, 0.4)
    imagenet-strong  imagenet-weak, RandAugment n2-m10-mstd0.5 on a share `strength` of the images
    center-crop      Resize(256), CenterCrop(224), their clean ImageNet image
    What the two policies move is interpolated nearest for CIFAR and bilinear for ImageNet.
    """
    x = getattr(load(data), f"{split}_x")
    u = chance.uniform_rows(chance.VIEWS, aug_seed, epoch, index, COLUMNS)
    v = chance.uniform_rows(chance.FRAMES, aug_seed, epoch, index, FRAME_COLUMNS)
    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
        frames = pool.map(
            lambda i, a, b: np.atleast_3d(np.asarray(frame(picture(x[i]), view.name, a, b))),
            index,
            u,
            v,
        )
        x = torch.from_numpy(np.stack(list(frames))).to(device).permute(0, 3, 1, 2).contiguous()
    match view.name:
        case "cifar-strong":
            x = cutout(autoaugment(x, u, 128.0, view.strength, sense=-1), u, 16)
        case "imagenet-strong":
            x = randaugment(x, u, view.strength)
    return part(x, view.part, u)


def pixels(data: Data, split: str) -> np.ndarray:
    """The split's images at their own size, uint8 (n, C, H, W); of text its words, int32 (n,
    length). ValueError where they differ in size.
    """
    x = getattr(load(data), f"{split}_x")
    if x.ndim == 1:
        raise ValueError(
            f"The images of {data.name} differ in size: views that are allowed are "
            f"{', '.join(name for name in get_args(ViewName) if name not in OWN_SIZE)}."
        )
    return x


def size(data: Data, view: View) -> tuple[int, ...]:
    """Height and width of the images that a network sees; of text, its words."""
    x = load(data).train_x
    if x.ndim == 2:
        return x.shape[1:]
    return pixels(data, "train").shape[-2:] if view.name in OWN_SIZE else (224, 224)


def still(view: View) -> bool:
    """Whether the view is the same in every epoch, so that one draw stands for all."""
    return view.name in STILL and view.part != "random"


def large(data: Data, split: str, view: View) -> bool:
    """Whether an epoch of the view takes more than LARGE bytes. At their own size, all data sets
    that are held in memory are smaller.
    """
    return (
        view.name not in OWN_SIZE
        and len(getattr(load(data), f"{split}_y")) * len(load(data).mean) * 224 * 224 > LARGE
    )


@lru_cache(maxsize=4)
def on_device(data: Data, split: str, device: str) -> Tensor:
    """The split's images on the device, uint8 (n, C, H, W)."""
    return torch.tensor(pixels(data, split), device=device)


def several(
    data: Data, split: str, view: View, aug_seed: int, epochs: range, device: str
) -> Tensor:
    """The view in several epochs, uint8 (epochs, n, C, H, W), in one go: the more images share a
    call, the faster.
    """
    x = on_device(data, split, device)
    u = np.concatenate(
        [chance.uniforms(chance.VIEWS, aug_seed, e, len(x), COLUMNS) for e in epochs]
    )
    return augment(x.repeat(len(epochs), 1, 1, 1), view, u).view(len(epochs), *x.shape)


kept = lru_cache(maxsize=32)(several)


def epoch_view(
    data: Data, split: str, view: View, aug_seed: int, epoch: int, device: str = "cpu"
) -> Tensor:
    """The view of a split in one epoch, uint8 (n, C, H, W). Of small data, a block of epochs is
    made at once and kept for the next student.
    """
    if view.name not in OWN_SIZE:
        return at_224(
            data,
            split,
            view,
            aug_seed,
            epoch,
            np.arange(len(getattr(load(data), f"{split}_y"))),
            device,
        )
    if view.name == "clean" and view.part == "whole":
        return on_device(data, split, device)
    if on_device(data, split, device).ndim == 2:
        raise ValueError(
            f"{data.name} is text: the only view of it is 'clean', whole; {view.name!r}, "
            f"{view.part} is for images."
        )
    if on_device(data, split, device).numel() > 2**20:
        return several(data, split, view, aug_seed, range(epoch, epoch + 1), device)[0]
    first = epoch - epoch % BLOCK
    return kept(data, split, view, aug_seed, range(first, first + BLOCK), device)[epoch - first]


latest = lru_cache(maxsize=4)(epoch_view)


def batch_view(
    data: Data,
    split: str,
    view: View,
    aug_seed: int,
    epoch: int,
    index: Tensor,
    device: str = "cpu",
) -> Tensor:
    """epoch_view(...)[index], uint8 (len(index), C, H, W). The latest epochs are kept; of large
    data only these images are made.
    """
    if large(data, split, view):
        return at_224(data, split, view, aug_seed, epoch, index.cpu().numpy(), device)
    return latest(data, split, view, aug_seed, epoch, device)[index]


@lru_cache(maxsize=32)
def constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """(1 / (255 std), -mean / std), each (1, C, 1, 1) on the device: sent there once, not in every
    step.
    """
    with torch.inference_mode(False):  # or what asks for a gradient later could not use them
        return tuple(
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in ([1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std)])
        )


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x / 255 - mean) / std per channel, uint8 (n, C, H, W) -> float32 in channels_last layout. Of
    text, (n, length), the ids as they are.
    """
    if x.ndim == 2:
        return x.long()
    scale, offset = constants(tuple(mean), tuple(std), x.device)
    return torch.addcmul(offset, x.to(torch.float32), scale).contiguous(
        memory_format=torch.channels_last
    )
