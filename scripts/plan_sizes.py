"""Operations and bytes of the work that is left: arithmetic, nothing is timed."""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import torch
from plan_work import Net, Work, alongside, like, update_of
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from kdcore import models, train
from kdcore.data import load
from kdcore.data.text import MOST_WORDS
from kdcore.data.views import BLOCK, LARGE, OWN_SIZE
from kdcore.spec import reads_text

SMALL = 2**20  # pixels of an epoch of views that is kept in blocks, see kdcore.data.views


class Size(NamedTuple):
    """A network for one example: operations (a multiply-add counts two) of a forward pass, and of a
    forward and a backward pass; bytes of its state, and of what a forward pass keeps for the
    backward one.
    """

    forward: float
    both: float
    state: int
    kept: int


def assembled(net: Net) -> nn.Module:
    """The part of a network that runs, with whatever weights torch makes where this is called."""
    whole = models.assemble(net.model, net.channels, net.classes, net.size)
    return whole.head if net.head else whole


def some_inputs(net: Net, body: nn.Module, count: int) -> torch.Tensor:
    """Inputs as examples are stored: uint8 images, numbers of words, or fixed features."""
    if net.head:
        width = next(m.in_features for m in body.modules() if isinstance(m, nn.Linear))
        return torch.randn(count, width)
    if reads_text(net.model):
        return torch.randint(1, MOST_WORDS, (count, *net.size))
    return torch.randint(0, 256, (count, net.channels, *net.size), dtype=torch.uint8)


@lru_cache(maxsize=256)
def size_of(net: Net) -> Size:
    """Found on torch's meta device, which computes nothing; of text, whose words are looked up, on
    the processor.
    """
    where = "cpu" if reads_text(net.model) else "meta"
    with torch.device(where):
        body = assembled(net).train()
        state = sum(v.numel() * v.element_size() for v in body.state_dict().values())
        kept = []
        for count in (2, 4):  # batch norm wants two examples of a vector
            x = some_inputs(net, body, count)
            x = x if net.head or reads_text(net.model) else x.float()
            saved = Counter()

            def keep(tensor, saved=saved):
                saved["bytes"] += tensor.numel() * tensor.element_size()
                return tensor

            hooks = saved_tensors_hooks(keep, lambda tensor: tensor)
            with FlopCounterMode(display=False) as counter, hooks:
                z = body(x)
                forward = counter.get_total_flops()
                z.sum().backward()
                both = counter.get_total_flops()
            kept.append(saved["bytes"])
    return Size(forward / 4, both / 4, state, (kept[1] - kept[0]) // 2)


def flops(work: Work) -> float:
    """Floating point operations of all passes that are left."""
    return sum(size_of(kind.net).both * n for kind, n in work.updates.items()) + sum(
        size_of(net).forward * n for net, n in work.looks.items()
    )


def passes(work: Work) -> float:
    """Batches that would go through networks on a graphics card."""
    asked = (n / train.asked_at_once("cuda", net.size[-1]) for net, n in work.looks.items())
    return sum(n / kind.batch for kind, n in work.updates.items()) + sum(asked)


def runs_bytes(work: Work) -> int:
    """Bytes of the weights of all runs that are missing."""
    return sum(
        size_of(update_of(spec).net._replace(head=False)).state for spec in work.missing.values()
    )


def memory(work: Work, base: int) -> int:
    """Bytes of one worker at its peak, about, that holds `base` before its first run: the largest
    of all kinds of runs.
    """
    found = [base]
    for kind, spec in work.example.items():
        data, net = load(like(spec.data)), size_of(kind.net)
        parts = data.train_x.nbytes, data.test_x.nbytes
        arrays = 3 * sum(parts)  # of the whole set, drawn, on the device
        live = bool(spec.teachers) and alongside(spec)
        draws = 0 if live else min(BLOCK, spec.optim.epochs)
        heard = 2 * 4 * len(spec.teachers) * draws * len(data.train_y) * kind.net.classes
        weights = 4 * net.state * (1 + live * len(spec.teachers))
        views = sum(map(views_bytes, parts)) if spec.view.name in OWN_SIZE else LARGE
        found.append(base + arrays + views + heard + weights + net.kept * kind.batch)
    return max(found)


def views_bytes(epoch: int) -> int:
    """What views of a split take whose epochs have so many bytes: blocks that are kept of small
    ones, the latest four epochs of others, and eight times what is made in one go.
    """
    block = epoch * BLOCK if epoch <= SMALL else epoch
    return (16 + 8) * block if epoch <= SMALL else (4 + 8) * block
