"""Augmentations: pure functions of images and of numbers in [0, 1), which kdcore.data.views draws.

Images are uint8 (N, C, H, W); `u` (N, COLUMNS) holds a row of numbers for each image, `v`
(FRAME_COLUMNS,) those of a crop. Operations are torchvision's own (transforms.v2.functional),
called once per group of images that need the same one: several times faster than an image at a
time, same distribution per image.
"""

import math
from itertools import permutations

import kdcore._torchvision  # noqa: F401  (declares operators of torchvision that may be missing)

import numpy as np
import torch
from PIL import Image
from scipy.special import ndtri
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from kdcore.spec import View

FLIP, DX, DY, POLICY, P1, P2, SIGN1, SIGN2, CUT_Y, CUT_X, TOUCH, OP1, OP2, LEVEL1, LEVEL2, SIDE = (
    range(16)
)
COLUMNS = 16
# A second table, for views of 224 pixels: ten tries of a crop's area and ratio, then one number per
# choice.
AREA, RATIO, (TOP, LEFT, ANGLE, JITTER, FACTOR) = 0, 10, range(20, 25)
FRAME_COLUMNS = 28
NEAREST = InterpolationMode.NEAREST
BILINEAR = InterpolationMode.BILINEAR
BICUBIC = InterpolationMode.BICUBIC

# The AutoAugment CIFAR-10 policy as in the code of Guo et al. (2024): (operation, probability,
# magnitude) twice per line. Shear in tangent, translate as a share of the side, rotate in degrees
# (never negated there), enhancements as |factor - 1|.
CIFAR10_POLICY = (
    (("invert", 0.1, 0), ("contrast", 0.2, 0.6)),
    (("rotate", 0.7, 6.67), ("translate_x", 0.3, 0.453)),
    (("sharpness", 0.8, 0.1), ("sharpness", 0.9, 0.3)),
    (("shear_y", 0.5, 0.267), ("translate_y", 0.7, 0.453)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 0.233), ("posterize", 0.3, 5)),
    (("color", 0.4, 0.3), ("brightness", 0.6, 0.7)),
    (("sharpness", 0.3, 0.9), ("brightness", 0.7, 0.9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 0.7), ("sharpness", 0.6, 0.5)),
    (("color", 0.7, 0.7), ("translate_x", 0.5, 0.403)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 0.151), ("sharpness", 0.2, 0.6)),
    (("brightness", 0.9, 0.6), ("color", 0.2, 0.8)),
    (("solarize", 0.5, 199.11), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 0.9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 28.44)),
    (("brightness", 0.1, 0.3), ("color", 0.7, 0.0)),
    (("solarize", 0.4, 113.78), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 0.453), ("translate_y", 0.7, 0.453)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 170.67)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 0.453), ("autocontrast", 0.9, 0)),
)
SIGNED = {
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "color",
    "contrast",
    "sharpness",
    "brightness",
}

# RandAugment rand-n2-m10-mstd0.5 as in the same code: operation, magnitude as a function of the
# level m in [0, 10], random sign.
RANDAUGMENT = (
    ("autocontrast", lambda m: 0, False),
    ("equalize", lambda m: 0, False),
    ("invert", lambda m: 0, False),
    ("rotate", lambda m: 3 * m, True),
    ("posterize", lambda m: int(0.4 * m), False),
    ("solarize", lambda m: int(25.6 * m), False),
    ("solarize_add", lambda m: int(11 * m), False),
    ("color", lambda m: 0.18 * m - 0.9, False),
    ("contrast", lambda m: 0.18 * m - 0.9, False),
    ("brightness", lambda m: 0.18 * m - 0.9, False),
    ("sharpness", lambda m: 0.18 * m - 0.9, False),
    ("shear_x", lambda m: 0.03 * m, True),
    ("shear_y", lambda m: 0.03 * m, True),
    ("translate_x", lambda m: 0.045 * m, True),
    ("translate_y", lambda m: 0.045 * m, True),
)


def affine(
    x: Tensor,
    fill: float | list[float],
    how: InterpolationMode,
    angle: float = 0.0,
    translate=(0, 0),
    shear=(0.0, 0.0),
    center=None,
) -> Tensor:
    """torchvision's affine map at scale 1, uint8 (n, C, H, W): angle in degrees clockwise,
    translate in pixels, shear in degrees.
    """
    return F.affine(
        x,
        angle=angle,
        translate=list(translate),
        scale=1.0,
        shear=list(shear),
        center=center,
        interpolation=how,
        fill=fill,
    )


def operate(
    x: Tensor,
    name: str,
    magnitude: float,
    fill: float | list[float],
    how: InterpolationMode = NEAREST,
) -> Tensor:
    """One operation with one signed magnitude on a group of images, uint8 (n, C, H, W); rotation is
    clockwise.

    Where a moved image ends there is `fill`, one value or one per channel; `how` says how its
    pixels are interpolated.
    """
    height, side = x.shape[-2:]
    match name:
        case "shear_x":
            return affine(
                x, fill, how, shear=(math.degrees(math.atan(magnitude)), 0.0), center=[0, 0]
            )
        case "shear_y":
            return affine(
                x, fill, how, shear=(0.0, math.degrees(math.atan(magnitude))), center=[0, 0]
            )
        case "translate_x":
            return affine(x, fill, how, translate=(int(magnitude * side), 0))
        case "translate_y":
            return affine(x, fill, how, translate=(0, int(magnitude * height)))
        case "rotate":
            return affine(x, fill, how, angle=magnitude)
        case "color":
            return F.adjust_saturation(x, 1 + magnitude) if x.shape[1] == 3 else x
        case "contrast":
            return F.adjust_contrast(x, 1 + magnitude)
        case "brightness":
            return F.adjust_brightness(x, 1 + magnitude)
        case "sharpness":
            return F.adjust_sharpness(x, 1 + magnitude)
        case "posterize":
            return F.posterize(x, int(magnitude))
        case "solarize":
            return F.solarize(x, magnitude) if magnitude <= 255 else x
        case "solarize_add":
            return torch.where(x < 128, (x.int() + int(magnitude)).clamp(0, 255).to(torch.uint8), x)
        case "autocontrast":
            return F.autocontrast(x)
        case "equalize":
            return F.equalize(x)
        case "invert":
            return F.invert(x)


def in_groups(
    x: Tensor,
    operations: list[tuple[str, float]],
    choice: np.ndarray,
    fill: float | list[float],
    how: InterpolationMode = NEAREST,
) -> Tensor:
    """Applies operations[choice[i]] to image i, or nothing where choice[i] is negative; images of
    one choice share a call.
    """
    x = x.clone()
    for c in np.unique(choice[choice >= 0]):
        index = torch.from_numpy(np.flatnonzero(choice == c)).to(x.device)
        x[index] = operate(x[index], *operations[c], fill, how)
    return x


def shift(x: Tensor, u: np.ndarray, limit: int) -> Tensor:
    """Random crop after zero padding by `limit` pixels, i.e. a shift by up to +-limit in each
    direction.
    """
    n, _, h, w = x.shape
    padded = torch.nn.functional.pad(x, (limit,) * 4)
    top, left = (
        torch.from_numpy((u[:, c] * (2 * limit + 1)).astype(np.int64)).to(x.device)
        for c in (DY, DX)
    )
    rows = (top[:, None] + torch.arange(h, device=x.device))[:, None, :, None]
    cols = (left[:, None] + torch.arange(w, device=x.device))[:, None, None, :]
    return padded[
        torch.arange(n, device=x.device)[:, None, None, None],
        torch.arange(x.shape[1], device=x.device)[:, None, None],
        rows,
        cols,
    ]


def flip(x: Tensor, u: np.ndarray) -> Tensor:
    """The images mirrored left to right where their uniform u[:, FLIP] is below 1/2. (n, C, H, W),
    (n, columns) -> (n, C, H, W).
    """
    return torch.where(
        torch.from_numpy(u[:, FLIP] < 0.5).to(x.device)[:, None, None, None], x.flip(-1), x
    )


def autoaugment(
    x: Tensor, u: np.ndarray, fill: float, share: float = 1.0, sense: int = 1
) -> Tensor:
    """AutoAugment's CIFAR-10 policy; an image is touched with probability `share`; rotation is
    clockwise, or counter-clockwise with sense = -1.
    """
    policy = (u[:, POLICY] * len(CIFAR10_POLICY)).astype(int)
    for step, (chance, sign) in enumerate(((P1, SIGN1), (P2, SIGN2))):
        lines = [
            (name, p, sense * m if name == "rotate" else m)
            for name, p, m in (line[step] for line in CIFAR10_POLICY)
        ]
        operations = [(name, m) for name, _, m in lines] + [
            (name, -m if name in SIGNED else m) for name, _, m in lines
        ]
        hit = (u[:, TOUCH] < share) & (u[:, chance] < np.array([p for _, p, _ in lines])[policy])
        x = in_groups(
            x, operations, np.where(hit, policy + len(lines) * (u[:, sign] < 0.5), -1), fill
        )
    return x


def randaugment(x: Tensor, u: np.ndarray, share: float = 1.0) -> Tensor:
    """Two operations drawn with replacement, each applied with probability 1/2, level N(10, 0.5)
    clipped to [0, 10].

    Levels are rounded to 0.1, so that images can share a call. Always bilinear, where the code of
    Guo et al. (2024) draws bilinear or bicubic for each image; fill is ImageNet's mean colour as
    there, for grey images its luminance.
    """
    fill = [124.0, 116.0, 104.0] if x.shape[1] == 3 else 117.0
    levels = [m / 10 for m in range(101)]
    operations = [
        (name, s * magnitude(m))
        for name, magnitude, signed in RANDAUGMENT
        for s in (1, -1 if signed else 1)
        for m in levels
    ]
    for op, chance, sign, level in ((OP1, P1, SIGN1, LEVEL1), (OP2, P2, SIGN2, LEVEL2)):
        tenths = np.rint(np.clip(10 + 0.5 * ndtri(u[:, level]), 0, 10) * 10).astype(int)
        line = (u[:, op] * len(RANDAUGMENT)).astype(int) * 2 + (u[:, sign] < 0.5)
        x = in_groups(
            x,
            operations,
            np.where((u[:, TOUCH] < share) & (u[:, chance] < 0.5), line * len(levels) + tenths, -1),
            fill,
            BILINEAR,
        )
    return x


def cutout(x: Tensor, u: np.ndarray, length: int) -> Tensor:
    """Zeroes a square of side `length`, its centre uniform over the image, clipped at the edge."""
    h, w = x.shape[-2:]
    outside = []
    for column, size in ((CUT_Y, h), (CUT_X, w)):
        centre = torch.from_numpy((u[:, column] * size).astype(np.int64)).to(x.device)[:, None]
        place = torch.arange(size, device=x.device)[None]
        outside.append((place < centre - length // 2) | (place >= centre - length // 2 + length))
    return x * (outside[0][:, None, :, None] | outside[1][:, None, None, :])


def part(x: Tensor, which: str, u: np.ndarray) -> Tensor:
    """Half of each image, uint8 (n, C, H, W) -> (n, C, H, W): enlarged to the whole frame, or in
    place with the other half black.
    """
    half = x.shape[-1] // 2
    match which:
        case "left":
            return F.resize(x[..., :half], list(x.shape[-2:]), antialias=True)
        case "right":
            return F.resize(x[..., -half:], list(x.shape[-2:]), antialias=True)
        case "random":
            left = torch.from_numpy(u[:, SIDE] < 0.5).to(x.device)[:, None, None, None]
            return torch.where(left, part(x, "left", u), part(x, "right", u))
        case "left-masked":
            return torch.cat([x[..., :half], torch.zeros_like(x[..., half:])], -1)
        case "right-masked":
            return torch.cat([torch.zeros_like(x[..., :-half]), x[..., -half:]], -1)
    return x


def augment(x: Tensor, view: View, u: np.ndarray) -> Tensor:
    """The view of uint8 images (n, C, H, W) that their rows of uniform numbers (n, COLUMNS)
    describe, same shape.

    clean   the images
    base    random shift by up to 2 px in 28 (zero padding): the denominator of the published
            Affinity code
    weak    base + horizontal flip
    strong  weak + AutoAugment on a share `strength` of the images + cutout of 2 px in 28; strength
            0 is weak + cutout
    The official cutout is 16 of 224 px, the same share of the side as 2 of 28. Views of 224 px:
    `at_224`.
    """
    if view.name == "clean":
        return part(x, view.part, u)
    side = min(x.shape[-2:])
    x = shift(x, u, max(1, round(side / 14)))
    if view.name == "base":
        return part(x, view.part, u)
    x = flip(x, u)
    if view.name == "strong":
        x = cutout(autoaugment(x, u, 0.0, view.strength), u, max(1, round(side / 14)))
    return part(x, view.part, u)


def crop_box(height: int, width: int, smallest: float, v: np.ndarray) -> tuple[int, int, int, int]:
    """A random crop (top, left, height, width) as torchvision's RandomResizedCrop draws it, from a
    row v of the second table.

    Area uniform in [smallest, 1] of the image, log(width / height) uniform in +-log(4/3); the first
    of ten tries that fits into the image, at a uniform place. If none fits: the largest central box
    with such a ratio.
    """
    area = height * width * (smallest + (1 - smallest) * v[AREA : AREA + 10])
    ratio = (4 / 3) ** (2 * v[RATIO : RATIO + 10] - 1)
    w, h = np.rint(np.sqrt(area * ratio)).astype(int), np.rint(np.sqrt(area / ratio)).astype(int)
    fits = np.flatnonzero((w >= 1) & (w <= width) & (h >= 1) & (h <= height))
    if len(fits):
        w, h = int(w[fits[0]]), int(h[fits[0]])
        return int(v[TOP] * (height - h + 1)), int(v[LEFT] * (width - w + 1)), h, w
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def jitter(image: Image.Image, v: np.ndarray) -> Image.Image:
    """ColorJitter(0.4, 0.4, 0.4): brightness, contrast and saturation, each times a factor uniform
    in [0.6, 1.4], in random order.
    """
    changes = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation
    for k in tuple(permutations(range(3)))[int(v[JITTER] * 6)]:
        image = changes[k](image, 0.6 + 0.8 * v[FACTOR + k])
    return image


def frame(image: Image.Image, name: str, u: np.ndarray, v: np.ndarray) -> Image.Image:
    """One image in 224 x 224: the part of `at_224` that is particular to it, from its rows u
    (COLUMNS,) and v (FRAME_COLUMNS,).
    """
    if name == "resize":
        return F.resize(image, [224, 224])
    if name == "center-crop":
        return F.center_crop(F.resize(image, [256]), [224, 224])
    smallest, how = (0.2, BICUBIC) if name.startswith("cifar") else (0.08, BILINEAR)
    image = F.resized_crop(
        image, *crop_box(image.height, image.width, smallest, v), [224, 224], how
    )
    if not name.endswith("base") and u[FLIP] < 0.5:
        image = F.horizontal_flip(image)
    match name:
        case "cifar-weak":
            return F.rotate(image, 30 * v[ANGLE] - 15)
        case "imagenet-weak" | "imagenet-strong":
            return jitter(image, v)
    return image
