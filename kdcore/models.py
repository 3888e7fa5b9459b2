"""Networks, built with timm. Names say what they are.

resnet-16-32   basic residual blocks of 16 and 32 channels after a 3x3 stem of stride 2 without
               max-pool; the second stage halves the map, so a 28 px image ends in a 7x7 map (the
               students; 20 thousand weights)
resnet-32-64   the same with 32 and 64 channels (the teachers; 73 thousand weights)
resnet-16-32-64, resnet-32-64-128   a third stage, without stride: 32 px end in an 8x8 map (student
                                    and teacher on photographs)
vit-64x2       a vision transformer, patches of 4 px, width 64, depth 2, heads of 32
cifar-resnet-20   three stages of 16, 32 and 64 channels, 6 n + 2 layers (8, 14, 20, 32, 44, 56,
                  110), as usual on CIFAR
cnn-16         three convolutions with BatchNorm, 16, 32 and 64 channels, each halves the map;
               cnn-16-plain: without BatchNorm
mlp-128        a hidden layer of 128 ReLUs, mlp-128-64 two; mlp-128-centred: on centred inputs, and
               its first weights start 0.3 times as large
linear         a linear map of the centred pixels that starts at zero
relu-features-500   a linear map, from zero, of 500 random ReLU features that are never trained
bag-64-128     text: the mean of word vectors of 64 numbers, then a hidden layer of 128 ReLUs
transformer-32x1    text: an encoder of width 32 and depth 1, mean over the words
"Centred" inputs or features have mean zero over the training images, and their covariance has the
largest eigenvalue 1; with -raw at the end the mean stays, and the second moment has. These two
constants are fixed before training.

Any other name is handed to timm.create_model, e.g. resnet50, resnet18 and vit_base_patch32_224,
which Guo et al. (2024) use. Networks of timm that draw random numbers while they train (stochastic
depth, dropout) are refused: a run could not be repeated.
"""

import math
from functools import lru_cache

import kdcore._torchvision  # noqa: F401  (declares operators of torchvision that may be missing)

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models import byobnet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._python_dispatch import TorchDispatchMode

from kdcore.data.text import MOST_WORDS
from kdcore.spec import check_model, reads_text, shorten, timm_models

IDS = MOST_WORDS + 2  # word numbers: padding and unknown words have one each
MOST_WEIGHTS = 2 * 10**9  # 8 GB in float32, before gradients and moments


class Drawn(TorchDispatchMode):
    """Inside it, and in this thread alone, every random number of torch comes from one generator:
    what `torch.manual_seed(seed)` would give.

    Initialisers draw from torch's global generator. Threads share it: seeding it there, even for a
    while, gives the networks of the others wrong weights. Raises TypeError where an operation
    cannot be given a generator.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded in func.tags:
            return func.overloadpacket(*args, **(kwargs or {}) | {"generator": self.generator})
        return func(*args, **(kwargs or {}))


def resnet(
    widths: tuple[int, ...],
    strides: tuple[int, ...],
    in_chans: int,
    num_classes: int,
    stem: int = 16,
    depth: int = 1,
) -> nn.Module:
    """timm's ByobNet after a 3x3 stem of stride 2: in each stage `depth` basic blocks of one width,
    the first of them with the stage's stride.
    """
    blocks = tuple(
        byobnet.ByoBlockCfg(type="basic", d=depth, c=c, s=s, gs=0, br=1.0)
        for c, s in zip(widths, strides, strict=True)
    )
    return byobnet.ByobNet(
        byobnet.ByoModelCfg(blocks=blocks, stem_chs=stem, stem_type="3x3", stem_pool=""),
        num_classes=num_classes,
        in_chans=in_chans,
    )


def vit(
    width: int, depth: int, in_chans: int, num_classes: int, size: tuple[int, int]
) -> nn.Module:
    """timm's vision transformer with patches of 4 px and heads of 32; `size` is the height and
    width of the images.
    """
    return VisionTransformer(
        img_size=size,
        patch_size=4,
        in_chans=in_chans,
        num_classes=num_classes,
        embed_dim=width,
        depth=depth,
        num_heads=max(1, width // 32),
    )


def cifar_resnet(depth: int, in_chans: int, num_classes: int) -> nn.Module:
    """Three stages of (depth - 2) / 6 basic blocks; the first convolution keeps the size."""
    net = resnet((16, 32, 64), (1, 2, 2), in_chans, num_classes, depth=(depth - 2) // 6)
    net.stem.conv.stride = (1, 1)  # timm's stem halves the map
    return net


def cnn(width: int, in_chans: int, num_classes: int, plain: bool) -> nn.Module:
    """A 5x5 and two 3x3 convolutions of stride 2, each with ReLU; mean over the map, linear."""
    layers = []
    for before, after, kernel in (
        (in_chans, width, 5),
        (width, 2 * width, 3),
        (2 * width, 4 * width, 3),
    ):
        layers += [
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=plain),
            nn.Identity() if plain else nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes)
    )


def mlp(sizes: list[int]) -> nn.Sequential:
    """Linear maps between these sizes, ReLU between them."""
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Features(nn.Module):
    """What the trained part of a network is given, fixed before training: flattened images, or
    random ReLU features of them, scaled.

    f(x) = (g(x) - mean) / scale, g(x) = x or max(x G, 0) with G (inputs, width) ~ N(0, 1 / inputs).
    (n, ...) -> (n, width).
    """

    def __init__(self, inputs: int, width: int | None, centred: bool):
        super().__init__()
        self.centred = centred
        self.register_buffer(
            "random", torch.randn(inputs, width) / math.sqrt(inputs) if width else None
        )
        self.register_buffer("mean", torch.zeros(width or inputs))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        g = x.flatten(1) if self.random is None else torch.relu(x.flatten(1) @ self.random)
        return (g - self.mean) / self.scale

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Sets mean (zero if not centred) and scale, so that the largest eigenvalue of f^T f / n is
        1 on these images.
        """
        f = self(x).double()
        if self.centred:
            self.mean.copy_(f.mean(0))
        self.scale.copy_(torch.linalg.matrix_norm(f - self.mean, 2) / math.sqrt(len(f)))


class OnFeatures(nn.Module):
    """A trained `head` on `fixed` features."""

    def __init__(self, fixed: Features, head: nn.Module):
        super().__init__()
        self.fixed, self.head = fixed, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fixed(x))


def from_zero(width: int, num_classes: int) -> nn.Linear:
    """A linear layer whose weights and bias are zero."""
    head = nn.Linear(width, num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class Bag(nn.Module):
    """Mean of word vectors, N(0, 0.3^2) at first, then a ReLU layer. Ids (n, words), 0 is padding
    -> logits (n, classes).
    """

    def __init__(self, width: int, hidden: int, num_classes: int):
        super().__init__()
        self.words = nn.EmbeddingBag(IDS, width, mode="mean", padding_idx=0)
        with torch.no_grad():
            self.words.weight.normal_(0, 0.3)[0] = 0
        self.head = mlp([width, hidden, num_classes])

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.words(ids))


class TextTransformer(nn.Module):
    """Word and position vectors, pre-norm encoder layers without dropout, mean over the words. Ids
    (n, words), 0 is padding -> logits (n, classes).
    """

    def __init__(self, width: int, depth: int, length: int, num_classes: int):
        super().__init__()
        self.words = nn.Embedding(IDS, width, padding_idx=0)
        self.places = nn.Parameter(torch.randn(length, width) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                max(1, width // 16),
                2 * width,
                dropout=0.0,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)
        with torch.no_grad():
            # with N(0, 1), the default, it learns markedly worse
            self.words.weight.normal_(0, 0.3)[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        ids = ids[:, : max(1, int((ids != 0).sum(1).max()))]  # columns of padding alone say nothing
        absent = ids == 0
        absent[:, 0] = False  # of an empty text: attention needs one word
        x = self.words(ids) + self.places[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=absent)
        present = (~absent).unsqueeze(-1).to(x.dtype)
        return self.head((self.norm(x) * present).sum(1) / present.sum(1))


def from_timm(
    name: str, in_chans: int, num_classes: int, size: tuple[int, int], pretrained: bool
) -> nn.Module:
    """timm's network; a vision transformer's position embedding has the size of the images, for
    other networks the size does not matter.

    ValueError where it draws random numbers in training (stochastic depth, dropout): a run would
    not be a function of its spec.
    """
    options = (
        {"img_size": size}
        if timm.models.is_model_in_modules(name, ("vision_transformer", "deit"))
        else {}
    )
    try:
        net = timm.create_model(
            name, pretrained=pretrained, in_chans=in_chans, num_classes=num_classes, **options
        )
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise unavailable(name, error) from error
    draws = {
        type(m).__name__
        for m in net.modules()
        if getattr(m, "drop_prob", None) or isinstance(m, _DropoutNd) and m.p
    }
    if draws:
        raise ValueError(
            f"{name} draws random numbers while it trains ({', '.join(sorted(draws))}), so that a "
            "run could not be repeated: "
            "networks without dropout and stochastic depth are allowed."
        )
    return net


def unavailable(name: str, error: Exception | str) -> ValueError:
    """The sentence for pretrained weights that cannot be had, and why."""
    reason = shorten(str(error).partition("\n")[0], 200)
    return ValueError(
        f"Pretrained weights of {name} cannot be had: the network is needed, or a copy in timm's "
        f"cache ({reason})."
    )


def check_weights(name: str) -> None:
    """ValueError, within seconds, where timm's weights are neither in the local cache nor on a hub
    that answers; timm itself tries again for a minute.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ValueError(f"pretrained = True is not allowed for {name}: timm has no such weights.")
    if not config.hf_hub_id:
        return  # a plain address: one try, no waiting
    repository, _, revision = config.hf_hub_id.partition("@")
    files = (
        [config.hf_hub_filename]
        if config.hf_hub_filename
        else ["model.safetensors", "pytorch_model.bin"]
    )
    if any(
        isinstance(try_to_load_from_cache(repository, file, revision=revision or None), str)
        for file in files
    ):
        return
    if constants.HF_HUB_OFFLINE:
        raise unavailable(name, "HF_HUB_OFFLINE is set")
    try:
        get_hf_file_metadata(hf_hub_url(repository, files[0], revision=revision or None), timeout=5)
    except EntryNotFoundError:
        pass  # the hub answers; timm knows other names of files
    except Exception as error:  # of several libraries
        raise unavailable(name, error) from error


def assemble(
    name: str, in_chans: int, num_classes: int, size: tuple[int, ...], pretrained: bool = False
) -> nn.Module:
    """The network with initial weights from whatever generator torch draws from, and in whatever
    memory it makes them: see `build`.
    """
    family, _, rest = check_model(name).partition("-")
    pixels = in_chans * math.prod(size)
    numbers = [int(part) for part in rest.replace("x", "-").split("-") if part.isdigit()]
    if name in timm_models():
        return from_timm(name, in_chans, num_classes, size, pretrained)
    match family:
        case "resnet":
            strides = (1, 2, 1)[: len(numbers)]  # the map is halved once: 28 px end in 7 x 7
            return resnet(
                tuple(numbers), strides, in_chans, num_classes, stem=8 if numbers[0] == 8 else 16
            )
        case "vit":
            return vit(*numbers, in_chans, num_classes, size)
        case "cifar":
            return cifar_resnet(*numbers, in_chans, num_classes)
        case "cnn":
            return cnn(*numbers, in_chans, num_classes, plain=name.endswith("-plain"))
        case "linear":
            return OnFeatures(
                Features(pixels, None, not name.endswith("-raw")), from_zero(pixels, num_classes)
            )
        case "relu":
            return OnFeatures(
                Features(pixels, *numbers, not name.endswith("-raw")),
                from_zero(*numbers, num_classes),
            )
        case "mlp":
            layers = mlp([pixels, *numbers, num_classes])
            if not name.endswith("-centred"):
                return nn.Sequential(nn.Flatten(), layers)
            with torch.no_grad():
                layers[0].weight.mul_(0.3)
            return OnFeatures(Features(pixels, None, True), layers)
        case "bag":
            return Bag(*numbers, num_classes)
        case "transformer":
            return TextTransformer(*numbers, *size, num_classes)


def build(
    name: str,
    in_chans: int,
    num_classes: int,
    size: tuple[int, ...],
    model_seed: int,
    pretrained: bool = False,
) -> nn.Module:
    """The network with initial weights drawn from `model_seed`, channels_last, whatever other
    threads do; the global generator is left alone.

    pretrained   timm's ImageNet weights; a new head, drawn from `model_seed`, unless the number of
                 classes is theirs. ValueError where they cannot be had, or where the network is one
                 of those built here.
    """
    if pretrained and name not in timm_models():
        raise ValueError(
            f"pretrained = True is not allowed for {name}: only networks of timm have such weights."
        )
    with Drawn(model_seed):
        net = assemble(name, in_chans, num_classes, size, pretrained)
    return net.to(memory_format=torch.channels_last)


@lru_cache(maxsize=256)
def check_network(
    name: str, in_chans: int, num_classes: int, size: tuple[int, ...], pretrained: bool = False
) -> None:
    """ValueError in one sentence where such a network cannot be built, is too large, or does not
    give `num_classes` logits for such inputs.

    It is built and run on torch's meta device, which knows shapes and no numbers: no memory, no
    arithmetic, a fraction of a second. `size` is the height and width of images, or the number of
    words. For pretrained weights it is asked whether they can be had.
    """
    text = reads_text(name)
    what = (
        f"texts of {size[0]} words"
        if text
        else f"images of {size[0]} x {size[1]} pixels in {in_chans} channel{'s' * (in_chans > 1)}"
    )
    try:
        with torch.device("meta"), torch.no_grad():
            net = assemble(name, in_chans, num_classes, size)
            weights = sum(w.numel() for w in (*net.parameters(), *net.buffers()))
            if weights > MOST_WEIGHTS:
                raise ValueError(
                    f"{name} has {weights:,} weights for {what}: at most {MOST_WEIGHTS:,} are "
                    "allowed."
                )
            # word numbers are looked at, and have none there
            shape = None if text else tuple(net(torch.empty(2, in_chans, *size)).shape)
    except Exception as error:  # whatever a network of timm raises
        if isinstance(error, ValueError) and str(error).startswith(name):
            raise
        if "meta" in str(error):
            # a network that computes with numbers while it is built or run: it has to be tried with
            # some
            return
        raise ValueError(
            f"{name} does not read {what}: "
            f"{shorten(' '.join(str(error).split()) or type(error).__name__, 200)}"
        ) from error
    if shape not in (None, (2, num_classes)):
        raise ValueError(
            f"{name} gives {shape} for 2 {what}: expected (2, {num_classes}), a logit for each "
            "class."
        )
    if pretrained:
        check_weights(name)
