"""Networks, built with timm. Names say what they are.

resnet-16-32   basic residual blocks of 16 and 32 channels after a 3x3 stem of stride 2 without max-pool;
               the second stage halves the map, so a 28 px image ends in a 7x7 map (the students; 20 thousand weights)
resnet-32-64   the same with 32 and 64 channels (the teachers; 73 thousand weights)
vit-64x2       a vision transformer, patches of 4 px, width 64, depth 2, heads of 32
Any other name is handed to timm.create_model, e.g. resnet50, resnet18 and vit_base_patch32_224, which Guo et al. (2024) use.
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


def from_timm(name: str, in_chans: int, num_classes: int, size: tuple[int, int], pretrained: bool) -> nn.Module:
    """timm's network; a vision transformer's position embedding has the size of the images, for other networks the size does not matter."""
    options = {"img_size": size} if timm.models.is_model_in_modules(name, ("vision_transformer", "deit")) else {}
    try:
        return timm.create_model(name, pretrained=pretrained, in_chans=in_chans, num_classes=num_classes, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"Pretrained weights of {name} cannot be had: the network is needed, or a copy in timm's cache ({reason}).") from error


def build(name: str, in_chans: int, num_classes: int, size: tuple[int, int], model_seed: int, pretrained: bool = False) -> nn.Module:
    """The network with initial weights drawn from `model_seed`, channels_last; the global generator is left as it was.

    pretrained   timm's ImageNet weights; a new head, drawn from `model_seed`, unless the number of classes is theirs. ValueError where
                 they cannot be had, or where the network is one of those built here.
    """
    if pretrained and name in MODELS:
        raise ValueError(f"pretrained = True is not allowed for {name}: only networks of timm have such weights.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model_seed)
        family, _, rest = check_model(name).partition("-")
        if family == "resnet" and name in MODELS:
            net = resnet(tuple(map(int, rest.split("-"))), in_chans, num_classes, stem=8 if rest.startswith("8-") else 16)
        elif family == "vit" and name in MODELS:
            width, depth = map(int, rest.split("x"))
            net = vit(width, depth, in_chans, num_classes, size)
        else:
            net = from_timm(name, in_chans, num_classes, size, pretrained)
    return net.to(memory_format=torch.channels_last)
