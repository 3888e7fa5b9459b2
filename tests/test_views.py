"""Views are pure functions of (augmentation, strength, aug_seed, epoch, index)."""

import hashlib

import numpy as np
import pytest
import torch

from kdcore import views
from kdcore.data import load
from kdcore.spec import Data, View

DATA = Data(name="fashion_mnist", n_train=64, n_test=32, seed=0)
NAMES = ["base", "weak", "strong", "autoaugment", "randaugment"]


def make(name, seed=1, epoch=0, n=64, strength=1.0):
    return views.augment(torch.tensor(load(DATA).train_x[:n]), View(name=name, strength=strength), views.uniforms(seed, epoch, n))


@pytest.mark.parametrize("name", NAMES)
def test_a_view_depends_on_seed_epoch_and_index_alone(name):
    x = make(name)
    assert x.dtype == torch.uint8 and x.shape == (64, 1, 28, 28)
    assert torch.equal(x, make(name)), "same arguments, other bits"
    assert torch.equal(x[:20], make(name, n=20)), "an image's view depends on how many others there are"
    assert not torch.equal(x, make(name, seed=2)) and not torch.equal(x, make(name, epoch=1))


@pytest.mark.parametrize("name", NAMES)
def test_a_block_of_epochs_equals_its_epochs_one_by_one(name):
    for epoch in (0, 19, 20, 47):
        assert torch.equal(views.epoch_view(DATA, "train", View(name=name, strength=1.0), 1, epoch), make(name, epoch=epoch))


def test_clean_is_the_image_itself():
    assert torch.equal(make("clean"), torch.tensor(load(DATA).train_x))


def test_strength_is_the_share_of_images_touched():
    plain, half, full = (make("strong", strength=s) for s in (0.0, 0.5, 1.0))
    weak_and_cut = views.cutout(make("weak"), views.uniforms(1, 0, 64), 2)
    assert torch.equal(plain, weak_and_cut)
    touched = [(v != plain).flatten(1).any(1).float().mean() for v in (half, full)]
    assert 0.2 < touched[0] < 0.6 < touched[1]
    same_as_full = (half == full).flatten(1).all(1)
    assert (same_as_full | (half == plain).flatten(1).all(1)).all(), "an image is either untouched or as at full strength"


def test_uniform_numbers_are_fixed_for_good():
    """The table behind every view, pinned: another numpy must give the same numbers."""
    u = views.uniforms(7, 3, 1000)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    assert hashlib.sha256(u.tobytes()).hexdigest()[:16] == "8759772c698ec3f9"


def test_strong_views_are_fixed():
    """A canary: another torchvision that augments differently must be noticed (then raise kdcore.spec.RECIPE)."""
    x = make("strong").double()
    assert [x.mean().item(), x.std().item()] == pytest.approx([62.9615, 88.6012], rel=2e-4)


def test_shift_moves_by_at_most_the_limit():
    x = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    x[:, :, 14, 14] = 255
    where = (views.shift(x, views.uniforms(0, 0, 200), 2) == 255).nonzero()[:, 2:] - 14
    assert where.abs().max() == 2 and len(where) == 200 and len(where.unique(dim=0)) == 25


def test_cutout_zeroes_one_square():
    x = torch.full((500, 1, 28, 28), 200, dtype=torch.uint8)
    holes = (views.cutout(x, views.uniforms(0, 0, 500), 2) == 0).flatten(1).sum(1)
    assert set(holes.tolist()) == {1, 2, 4} and (holes == 4).float().mean() > 0.85  # clipped at the top and left border


@pytest.mark.parametrize("name, magnitude", [("shear_x", 0.3), ("shear_y", -0.3), ("translate_x", 0.45), ("translate_y", -0.45), ("rotate", 30), ("contrast", 0.9),
                                             ("brightness", -0.7), ("sharpness", 0.9), ("posterize", 2), ("solarize", 100), ("solarize_add", 110), ("autocontrast", 0), ("equalize", 0), ("invert", 0)])
def test_an_operation_on_a_group_equals_one_image_at_a_time(name, magnitude):
    x = (torch.tensor(load(DATA).train_x[:8]) // 2) + 20
    together = views.operate(x, name, magnitude, 0)
    assert torch.equal(together, torch.cat([views.operate(one[None], name, magnitude, 0) for one in x]))
    assert not torch.equal(together, x)


def test_colour_leaves_grey_images_alone_and_changes_coloured_ones():
    grey = torch.tensor(load(DATA).train_x[:4])
    colour = torch.cat([grey, grey // 2, grey // 3], 1)
    assert torch.equal(views.operate(grey, "color", 0.9, 0), grey) and not torch.equal(views.operate(colour, "color", 0.9, 0), colour)


def test_normalise_gives_zero_mean_and_unit_deviation_in_channels_last():
    data = load(Data(name="fashion_mnist", n_train=2000, n_test=10, seed=0))
    x = views.normalise(torch.tensor(data.train_x), data.mean, data.std)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05 and x.is_contiguous(memory_format=torch.channels_last)


def test_the_policy_is_drawn_uniformly():
    u = views.uniforms(3, 5, 20_000)
    counts = np.bincount((u[:, views.POLICY] * 25).astype(int), minlength=25)
    assert counts.min() > 680 and counts.max() < 920  # 800 each, 4.3 standard deviations
