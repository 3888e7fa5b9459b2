"""Where a network looks: attention maps, the masks made from them, and how far two networks' masks
overlap. Pure torch functions in batches.

Shapes: n images, C classes, d channels, h x w the last feature map, H x W the image. f (n, d, h,
w), weight (C, d), classes (n,) integers 0 .. C-1, maps (n, h, w) float and finite, masks (n, H, W)
bool. Bad input raises ValueError. The usual way from images to one number per image:

    f, weight, bias, logits = features(net, x)                             # x normalised, the net
            in eval mode, some hundred images at a time
    m = mask(rescale(upsample(cam(f, weight, labels), (28, 28))), 0.4)     # one for each network
    iou(m1, m2)

Masks of unrelated networks overlap too, more so the larger they are: show area, and iou(m1,
m2[other(n, seed)]), beside every IoU.
"""

from contextlib import ExitStack
from functools import reduce
from threading import get_ident

import kdcore._torchvision  # noqa: F401  (declares operators of torchvision that may be missing)

import numpy as np
import torch
from scipy.stats import rankdata
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import interpolate


def _real(x: Tensor, name: str, axes: str) -> None:
    """ValueError unless x has real numbers and these axes, "images, height, width", none of length
    0.
    """
    if x.ndim != len(axes.split(",")) or 0 in x.shape or not x.is_floating_point():
        raise ValueError(
            f"{name} have shape {tuple(x.shape)} and type {x.dtype}; expected real numbers "
            f"({axes}), none 0."
        )


def _whole(value, name: str, least: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    return int(value)


def _grid(size, name: str) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"{name} is {size!r}; it must be two whole numbers, height and width.")
    return _whole(size[0], name, 1), _whole(size[1], name, 1)


def _maps(maps: Tensor) -> None:
    _real(maps, "maps", "images, height, width")
    # NaN and infinity reach the extremes; ten times faster than asking every pixel
    if not torch.stack(maps.aminmax()).isfinite().all():
        raise ValueError(
            f"maps hold {(~maps.isfinite()).sum()} values that are NaN or infinite; all must be "
            "finite."
        )


def _masks(masks: tuple[Tensor, ...], least: int) -> None:
    if len(masks) < least:
        raise ValueError(f"{len(masks)} masks were given; an overlap needs at least {least}.")
    for m in masks:
        if m.dtype != torch.bool or m.ndim != 3 or 0 in m.shape:
            raise ValueError(
                f"masks have shape {tuple(m.shape)} and type {m.dtype}; expected bool (images, "
                "height, width), none 0."
            )
        if m.shape != masks[0].shape:
            raise ValueError(
                f"masks have shapes {tuple(masks[0].shape)} and {tuple(m.shape)}; masks compared "
                "need equal ones."
            )


# --- one forward pass ---


@torch.no_grad()
def features(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(f, weight, bias, logits) of a network that ends in a mean over positions and one linear
    layer. Normalised images (n, channels, H, W) -> f (n, d, h, w) the last feature map after its
    activation, weight (C, d), bias (C,), logits (n, C) = mean over positions of f @ weight.T +
    bias.

    Any such timm CNN (ByobNet, ResNet, DenseNet, ...). Another head (hidden layer, norm after
    pooling, max pooling, active dropout, transformer) raises ValueError: these maps would not
    explain its logits.
    """
    _real(x, "images", "images, channels, height, width")
    if not all(
        hasattr(net, name) for name in ("forward_features", "forward_head", "get_classifier")
    ):
        raise ValueError(
            f"{type(net).__name__} has no forward_features, forward_head and get_classifier; "
            "expected a CNN of timm."
        )
    f, head = net.forward_features(x), net.get_classifier()
    if not isinstance(head, nn.Linear) or f.ndim != 4 or f.shape[1] != head.in_features:
        raise ValueError(
            f"{type(net).__name__} ends in {head} on features of shape {tuple(f.shape)}; expected "
            "one linear layer on averaged channels."
        )
    logits = net.forward_head(f)
    bias = head.weight.new_zeros(head.out_features) if head.bias is None else head.bias.detach()
    expected = f.mean((2, 3)) @ head.weight.T + bias
    if not torch.allclose(
        logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()), equal_nan=True
    ):
        raise ValueError(
            f"{type(net).__name__} does more than average its features before its linear layer: "
            "logits differ from those of plain "
            f"averaging by up to {float((logits - expected).abs().max()):.2g}."
        )
    return f, head.weight.detach(), bias, logits


def patch_grid(net: VisionTransformer, x: Tensor) -> tuple[int, int]:
    """Rows and columns of the patches that a timm VisionTransformer makes of these images (n,
    channels, H, W), from their own size.

    ValueError where the patches do not cover the images exactly: a map of them would be stretched
    over other pixels.
    """
    _real(x, "images", "images, channels, height, width")
    size = tuple(x.shape[-2:])
    patch = tuple(net.patch_embed.feat_ratio(as_scalar=False))
    fixed = net.patch_embed.img_size
    if fixed is not None and net.patch_embed.strict_img_size and tuple(fixed) != size:
        raise ValueError(
            f"images have height and width {size}; this {type(net).__name__} reads {tuple(fixed)}."
        )
    if size[0] % patch[0] or size[1] % patch[1]:
        raise ValueError(
            f"images have height and width {size}, which patches of {patch} do not cover exactly."
        )
    return size[0] // patch[0], size[1] // patch[1]


@torch.no_grad()
def vit_attention(net: VisionTransformer, x: Tensor) -> tuple[Tensor, Tensor]:
    """(attention, logits) of a timm VisionTransformer: attention (n, blocks, heads, tokens, tokens)
    = softmax(q k^T / sqrt(width of a head)), each row sums to 1; tokens are CLS, other prefix
    tokens if any, net.num_prefix_tokens in all, then the patches row by row, patch_grid(net, x) of
    them.

    The forward pass is the network's own, fused or not: queries and keys are only read in passing,
    and nothing stays attached to the network. Logits that are not made of the CLS token alone (no
    class token, mean or attention over tokens, a distillation token), which its attention would not
    explain, raise ValueError; so do tokens that are not prefix and patches.
    """
    blocks = (
        [block.attn for block in net.blocks if isinstance(getattr(block, "attn", None), Attention)]
        if isinstance(net, VisionTransformer)
        else []
    )
    if not blocks or len(blocks) != len(net.blocks):
        raise ValueError(
            f"{type(net).__name__} is not a timm VisionTransformer with standard attention in "
            "each of its blocks."
        )
    if not net.has_class_token:
        raise ValueError(f"{type(net).__name__} has no class token whose attention could be shown.")
    grid, prefix, this = patch_grid(net, x), net.num_prefix_tokens, get_ident()
    queries, keys = [], []
    with ExitStack() as hooks:
        for block in blocks:
            # the identity where there is no norm
            for module, kept in ((block.q_norm, queries), (block.k_norm, keys)):

                def keep(_, __, out, kept=kept):  # other threads may be using the network
                    if get_ident() == this:
                        kept.append(out)

                hooks.callback(module.register_forward_hook(keep).remove)
        f = net.forward_features(x)
        logits = net.forward_head(f)
    expected = (
        net.head(net.fc_norm(f[:, 0]))
        if net.attn_pool is None
        else torch.full_like(logits, float("inf"))
    )
    if not torch.allclose(
        logits, expected, rtol=1e-3, atol=1e-3 * float(logits.abs().max()), equal_nan=True
    ):
        raise ValueError(
            f"{type(net).__name__} does not make its logits of its class token alone (global_pool "
            f"= {net.global_pool!r}): the attention of that "
            "token would not explain them."
        )
    attention = torch.stack(
        [
            (q * block.scale @ k.mT).softmax(-1)
            for block, q, k in zip(blocks, queries, keys, strict=True)
        ],
        dim=1,
    )
    _tokens(attention, grid, prefix)
    return attention, logits


# --- maps ---


def _head(f: Tensor, weight: Tensor) -> None:
    (
        _real(f, "features", "images, channels, height, width"),
        _real(weight, "weights", "classes, channels"),
    )
    if weight.shape[1] != f.shape[1]:
        raise ValueError(
            f"features have shape {tuple(f.shape)} and weights {tuple(weight.shape)}; channels "
            "must be as many."
        )


def cam_sum(f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """sum_c (weight_c . f_ij + bias_c) = s . f_ij + const, s the sum of the weight's rows. -> (n,
    h, w). The map of the code published with Guo et al. 2024.

    s is what no loss of logits up to a common constant can train (cross-entropy, distillation,
    z-scores): under SGD it stays as it was drawn, or decays. The map shows where features are large
    along a random direction; use `cam`.
    """
    _head(f, weight)
    if bias.shape != weight.shape[:1] or not bias.is_floating_point():
        raise ValueError(
            f"bias has shape {tuple(bias.shape)} and type {bias.dtype}; expected {len(weight)} "
            "real numbers, one for each class."
        )
    return torch.einsum("ndhw,d->nhw", f, weight.sum(0)) + bias.sum()


def cam(f: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """weight_c . f_ij, c the image's own class. -> (n, h, w). Zhou et al. 2016, Eq. 2. With labels:
    label CAM; with logits.argmax(1): predicted-class CAM. Its mean over positions is the class's
    logit less the bias, a constant that neither masks nor ranks see.
    """
    _head(f, weight)
    if (
        classes.shape != f.shape[:1]
        or classes.is_floating_point()
        or classes.is_complex()
        or classes.dtype == torch.bool
    ):
        raise ValueError(
            f"classes have shape {tuple(classes.shape)} and type {classes.dtype}; expected "
            f"{len(f)} integers."
        )
    if classes.min() < 0 or classes.max() >= len(weight):
        raise ValueError(
            f"classes run from {int(classes.min())} to {int(classes.max())}; allowed are 0 to "
            f"{len(weight) - 1}."
        )
    return (weight[classes.long()][:, None] @ f.flatten(2)).view(len(f), *f.shape[2:])


def grad_cam(f: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """relu(sum_k a_k f_k), a_k the mean over positions of d logit_c / d f_k. -> (n, h, w).
    Selvaraju et al. 2017, Eq. 1-2.

    With a mean and one linear layer as head that gradient is weight_ck / (h w) everywhere: Grad-CAM
    is relu(cam) / (h w), no backward pass.
    """
    return cam(f, weight, classes).relu() / f[0, 0].numel()


def energy(f: Tensor) -> Tensor:
    """sum_k f_k^2. -> (n, h, w). Zagoruyko & Komodakis 2017, the activation-based map with p = 2;
    no class, no head.
    """
    _real(f, "features", "images, channels, height, width")
    return f.square().sum(1)


def _tokens(attention: Tensor, grid: tuple[int, int], prefix: int) -> tuple[int, int]:
    """The grid, if the attention has as many tokens as it and the prefix have together."""
    _real(attention, "attention maps", "images, blocks, heads, tokens, tokens")
    (rows, columns), tokens = _grid(grid, "grid"), attention.shape[-1]
    if attention.shape[-2] != tokens or tokens != rows * columns + _whole(prefix, "prefix", 1):
        raise ValueError(
            f"attention has {attention.shape[-2]} x {tokens} tokens for a grid of {rows} x "
            f"{columns} patches and a prefix of {prefix}; "
            f"expected {rows * columns + prefix}, a CLS token and others of the prefix before the "
            "patches."
        )
    return rows, columns


def cls_attention(attention: Tensor, grid: tuple[int, int], prefix: int = 1) -> Tensor:
    """What the CLS token attends to in the last block, mean over heads. attention of
    `vit_attention`, grid (g_h, g_w) -> (n, g_h, g_w).

    grid: `patch_grid`; prefix: tokens before the patches, net.num_prefix_tokens, CLS first.
    ValueError where they are not all tokens there are.
    """
    grid = _tokens(attention, grid, prefix)
    return attention[:, -1, :, 0].mean(1)[:, prefix:].unflatten(1, grid)


def rollout(attention: Tensor, grid: tuple[int, int], prefix: int = 1) -> Tensor:
    """CLS row of A_L ... A_1 with A_l = (mean over heads of block l + identity) / 2. attention,
    grid and prefix as in `cls_attention` -> (n, g_h, g_w).

    Abnar & Zuidema 2020; the identity stands for the residual connection. Rows of A_l sum to 1
    already, so none is renormalised.
    """
    grid = _tokens(attention, grid, prefix)
    row = torch.eye(1, attention.shape[-1], dtype=attention.dtype, device=attention.device).repeat(
        len(attention), 1
    )[:, None]
    # a row times matrices, last block first: no product of matrices is needed
    for block in attention.mean(2).flip(1).unbind(1):
        row = (row @ block + row) / 2
    return row[:, 0, prefix:].unflatten(1, grid)


# --- masks ---


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, half-pixel centres (align_corners=False), edges repeated. (n, h, w) -> (n, *size).
    A constant map stays exactly constant.
    """
    _maps(maps)
    size = _grid(size, "size")
    # zeros are interpolated without rounding, which min-max would blow up to a pattern
    low = maps.amin((1, 2), keepdim=True)
    # images as channels: three times faster
    return interpolate((maps - low)[None], size, mode="bilinear", align_corners=False)[0] + low


def rescale(maps: Tensor) -> Tensor:
    """(m - min) / (max - min + 1e-8), minimum and maximum of each image. -> (n, h, w), 0 .. 1. A
    constant map becomes 0.
    """
    _maps(maps)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


def mask(maps: Tensor, threshold: float) -> Tensor:
    """maps > threshold, strictly. Rescaled maps (n, H, W), threshold 0 .. 1 -> bool. The code
    published with Guo et al. 2024 has 0.4.

    A constant map has an empty mask.
    """
    _maps(maps)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; allowed are 0 to 1.")
    low, high = maps.aminmax()
    if low < 0 or high > 1:
        raise ValueError(
            f"maps run from {float(low):.3g} to {float(high):.3g}; rescale them to 0 .. 1 first."
        )
    return maps > threshold


def mask_top(maps: Tensor, share: float) -> Tensor:
    """The round(share * H * W) highest pixels of each image. (n, H, W), share 0 .. 1 -> bool. Masks
    of equal area: only their place can differ.

    Exactly that many: of equal pixels the one further up, then further left, comes first, so a
    constant map's mask is its top rows.
    """
    _maps(maps)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; allowed are 0 to 1.")
    flat = maps.flatten(1)
    first = flat.argsort(dim=1, descending=True, stable=True)[:, : round(share * flat.shape[1])]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, first, True).view(maps.shape)


# --- comparisons ---


def _overlap(masks: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    _masks(masks, least=2)
    return tuple(
        reduce(combine, masks).sum((1, 2)) for combine in (torch.logical_and, torch.logical_or)
    )


def iou(*masks: Tensor) -> Tensor:
    """Pixels in all masks / pixels in any, per image. Two or more (n, H, W) -> (n,) float64, 0 ..
    1. Guo et al. 2024, Eq. 1.

    0 where all are empty. Of three masks it is the triple intersection over the triple union, never
    above the smallest of the pairs' IoU.
    """
    every, any_ = _overlap(masks)
    return every.double() / any_.clamp(min=1)


def pooled_iou(*masks: Tensor, batch: int = 128) -> float:
    """Pixels in all masks / pixels in any, counted over a whole batch of consecutive images; mean
    over batches, weighted by their images.

    What the code published with Guo et al. 2024 reports for Eq. 1. Images with large masks weigh
    more, and it has no spread: prefer `iou`.
    """
    batch = _whole(batch, "batch", 1)
    parts = zip(*(count.split(batch) for count in _overlap(masks)))
    return sum(
        len(every) * every.sum().item() / max(any_.sum().item(), 1) for every, any_ in parts
    ) / len(masks[0])


def area(masks: Tensor) -> Tensor:
    """Share of an image's pixels in its mask. (n, H, W) -> (n,) float64, 0 .. 1. Two random masks
    of shares a and b have an IoU near ab / (a + b - ab).
    """
    _masks((masks,), least=1)
    return masks.sum((1, 2)).double() / masks[0].numel()


def other(n: int, seed: int, classes=None) -> Tensor:
    """For each of n images the index of another one, of the same class if classes (n,) are given.
    -> (n,) int64. For overlap by chance: iou(a, b[other(n, seed)]) compares each image's mask with
    one that belongs to another image.

    A permutation (each image is a partner once) that leaves none in place: images in random order,
    each followed by its partner. ValueError where a class, or n, is a single image.
    """
    n, seed = _whole(n, "n", 1), _whole(seed, "seed", 0)
    classes = np.zeros(n, dtype=int) if classes is None else np.asarray(classes)
    if classes.shape != (n,):
        raise ValueError(f"classes have shape {classes.shape}; expected ({n},).")
    if classes.dtype.kind not in "iu":
        raise ValueError(f"classes have type {classes.dtype}; expected integers.")
    rng, partner = np.random.default_rng(seed), np.empty(n, dtype=np.int64)
    for c in np.unique(classes):
        order = rng.permutation(np.flatnonzero(classes == c))
        if len(order) == 1:
            raise ValueError(
                f"class {c} has one image; a different image of the same class needs two."
                if n > 1
                else "n is 1; another image needs two."
            )
        partner[order] = np.roll(order, -1)
    return torch.from_numpy(partner)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of two maps over positions, per image; no threshold. (n, h, w) twice
    -> (n,) float64, -1 .. 1.

    Equal values share their mean rank. 0 where a map is constant. Give maps of their own size:
    interpolated pixels add none.
    """
    _maps(a), _maps(b)
    if a.shape != b.shape:
        raise ValueError(
            f"maps have shapes {tuple(a.shape)} and {tuple(b.shape)}; maps compared need equal "
            "ones."
        )
    a, b = (torch.from_numpy(rankdata(m.flatten(1).numpy(force=True), axis=1)) for m in (a, b))
    a, b = (m - m.mean(1, keepdim=True) for m in (a, b))
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    # 0 / 1e-9 where a map is constant; else the scale is 0.5 or more
    return (a * b).sum(1) / scale.clamp(min=1e-9)
