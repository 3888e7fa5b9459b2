"""Networks, built with timm. Names say what they are.

resnet-16-32   basic residual blocks of 16 and 32 channels after a 3x3 stem of stride 2 without max-pool;
               the second stage halves the map, so a 28 px image ends in a 7x7 map (the students; 20 thousand weights)
resnet-32-64   the same with 32 and 64 channels (the teachers; 73 thousand weights)
vit-64x2       a vision transformer, patches of 4 px, width 64, depth 2, heads of 32
Any other name is handed to timm.create_model without pretrained weights, e.g. resnet18 or vit_base_patch32_224.
"""

import torch
from torch import nn

from kdcore import _torchvision  # noqa: F401  (timm imports torchvision: the missing operators must be declared first)
import timm
from timm.models import byobnet
from timm.models.vision_transformer import VisionTransformer

from kdcore.spec import MODELS, check_model


def resnet(widths: tuple[int, ...], in_chans: int, num_classes: int, stem: int = 16, depth: int = 1) -> nn.Module:
    """timm's ByobNet with basic blocks, `depth` per stage; every stage of new width after the first halves the map, at most once
    for three stages (28 px -> 7x7)."""
    strides = {1: (1,), 2: (1, 2), 3: (1, 2, 1)}[len(widths)]
    blocks = tuple(byobnet.ByoBlockCfg(type="basic", d=depth, c=c, s=s, gs=0, br=1.0) for c, s in zip(widths, strides))
    return byobnet.ByobNet(byobnet.ByoModelCfg(blocks=blocks, stem_chs=stem, stem_type="3x3", stem_pool=""),
                           num_classes=num_classes, in_chans=in_chans)


def vit(width: int, depth: int, in_chans: int, num_classes: int, size: tuple[int, int]) -> nn.Module:
    return VisionTransformer(img_size=size, patch_size=4, in_chans=in_chans, num_classes=num_classes, embed_dim=width, depth=depth,
                             num_heads=max(1, width // 32))


def build(name: str, in_chans: int, num_classes: int, size: tuple[int, int], model_seed: int) -> nn.Module:
    """The network with initial weights drawn from `model_seed`, channels_last; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model_seed)
        family, _, rest = check_model(name).partition("-")
        if family == "resnet" and name in MODELS:
            net = resnet(tuple(map(int, rest.split("-"))), in_chans, num_classes, stem=8 if rest.startswith("8-") else 16)
        elif family == "vit" and name in MODELS:
            width, depth = map(int, rest.split("x"))
            net = vit(width, depth, in_chans, num_classes, size)
        else:
            net = timm.create_model(name, in_chans=in_chans, num_classes=num_classes)
    return net.to(memory_format=torch.channels_last)
