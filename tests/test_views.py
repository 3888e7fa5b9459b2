"""Views are pure functions of (augmentation, strength, aug_seed, epoch, index)."""

import hashlib
from types import SimpleNamespace

from kdcore._torchvision import torchvision

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from kdcore import chance
from kdcore.data import augment, load, views
from kdcore.spec import Data, View

DATA = Data(name="fashion_mnist", n_train=64, n_test=32, seed=0)
NAMES = ["base", "weak", "strong"]
AT_224 = [
    "cifar-base",
    "cifar-weak",
    "cifar-strong",
    "resize",
    "imagenet-base",
    "imagenet-weak",
    "imagenet-strong",
    "center-crop",
]


def uniforms(seed, epoch, n):
    """The table behind the views of n images."""
    return chance.uniforms(chance.VIEWS, seed, epoch, n, augment.COLUMNS)


def make(name, seed=1, epoch=0, n=64, strength=1.0):
    return augment.augment(
        torch.tensor(load(DATA).train_x[:n]),
        View(name=name, strength=strength),
        uniforms(seed, epoch, n),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_view_depends_on_seed_epoch_and_index_alone(name):
    x = make(name)
    assert x.dtype == torch.uint8 and x.shape == (64, 1, 28, 28)
    assert torch.equal(x, make(name)), "same arguments, other bits"
    assert torch.equal(x[:20], make(name, n=20)), (
        "an image's view depends on how many others there are"
    )
    assert not torch.equal(x, make(name, seed=2)) and not torch.equal(x, make(name, epoch=1))


@pytest.mark.parametrize("name", NAMES)
def test_a_block_of_epochs_equals_its_epochs_one_by_one(name):
    for epoch in (0, 19, 20, 47):
        assert torch.equal(
            views.epoch_view(DATA, "train", View(name=name, strength=1.0), 1, epoch),
            make(name, epoch=epoch),
        )


def test_clean_is_the_image_itself():
    assert torch.equal(make("clean"), torch.tensor(load(DATA).train_x))


def test_strength_is_the_share_of_images_touched():
    plain, half, full = (make("strong", strength=s) for s in (0.0, 0.5, 1.0))
    weak_and_cut = augment.cutout(make("weak"), uniforms(1, 0, 64), 2)
    assert torch.equal(plain, weak_and_cut)
    touched = [(v != plain).flatten(1).any(1).float().mean() for v in (half, full)]
    assert 0.2 < touched[0] < 0.6 < touched[1]
    same_as_full = (half == full).flatten(1).all(1)
    assert (same_as_full | (half == plain).flatten(1).all(1)).all(), (
        "an image is either untouched or as at full strength"
    )


def test_uniform_numbers_are_fixed_for_good():
    """The table behind every view, pinned: another numpy must give the same numbers."""
    u = uniforms(7, 3, 1000)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    assert hashlib.sha256(u.tobytes()).hexdigest()[:16] == "8759772c698ec3f9"


def test_strong_views_are_fixed():
    """A canary: another torchvision that augments differently must be noticed (then raise
    kdcore.spec.RECIPE).
    """
    x = make("strong").double()
    assert [x.mean().item(), x.std().item()] == pytest.approx([62.9615, 88.6012], rel=2e-4)


def test_shift_moves_by_at_most_the_limit():
    x = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    x[:, :, 14, 14] = 255
    where = (augment.shift(x, uniforms(0, 0, 200), 2) == 255).nonzero()[:, 2:] - 14
    assert where.abs().max() == 2 and len(where) == 200 and len(where.unique(dim=0)) == 25


def test_cutout_zeroes_one_square():
    x = torch.full((500, 1, 28, 28), 200, dtype=torch.uint8)
    holes = (augment.cutout(x, uniforms(0, 0, 500), 2) == 0).flatten(1).sum(1)
    # clipped at the top and left border
    assert set(holes.tolist()) == {1, 2, 4} and (holes == 4).float().mean() > 0.85


@pytest.mark.parametrize(
    "name, magnitude",
    [
        ("shear_x", 0.3),
        ("shear_y", -0.3),
        ("translate_x", 0.45),
        ("translate_y", -0.45),
        ("rotate", 30),
        ("contrast", 0.9),
        ("brightness", -0.7),
        ("sharpness", 0.9),
        ("posterize", 2),
        ("solarize", 100),
        ("solarize_add", 110),
        ("autocontrast", 0),
        ("equalize", 0),
        ("invert", 0),
    ],
)
def test_an_operation_on_a_group_equals_one_image_at_a_time(name, magnitude):
    x = (torch.tensor(load(DATA).train_x[:8]) // 2) + 20
    together = augment.operate(x, name, magnitude, 0)
    assert torch.equal(
        together, torch.cat([augment.operate(one[None], name, magnitude, 0) for one in x])
    )
    assert not torch.equal(together, x)


def test_colour_leaves_grey_images_alone_and_changes_coloured_ones():
    grey = torch.tensor(load(DATA).train_x[:4])
    colour = torch.cat([grey, grey // 2, grey // 3], 1)
    assert torch.equal(augment.operate(grey, "color", 0.9, 0), grey) and not torch.equal(
        augment.operate(colour, "color", 0.9, 0), colour
    )


def test_normalise_gives_zero_mean_and_unit_deviation_in_channels_last():
    data = load(Data(name="fashion_mnist", n_train=2000, n_test=10, seed=0))
    x = views.normalise(torch.tensor(data.train_x), data.mean, data.std)
    assert (
        abs(x.mean()) < 0.05
        and abs(x.std() - 1) < 0.05
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def test_the_policy_is_drawn_uniformly():
    u = uniforms(3, 5, 20_000)
    counts = np.bincount((u[:, augment.POLICY] * 25).astype(int), minlength=25)
    assert counts.min() > 680 and counts.max() < 920  # 800 each, 4.3 standard deviations


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 10**6),
    index=st.lists(st.integers(0, 49), min_size=1, max_size=5),
)
def test_single_rows_are_those_of_the_whole_table(seed, epoch, index):
    assert np.array_equal(
        chance.uniform_rows(chance.VIEWS, seed, epoch, np.array(index), augment.COLUMNS),
        uniforms(seed, epoch, 50)[index],
    )
    assert not np.array_equal(
        chance.uniform_rows(chance.FRAMES, seed, epoch, np.array(index), augment.COLUMNS),
        uniforms(seed, epoch, 50)[index],
    )


# ---- halves --------------------------------------------------------------------------------------


def test_halves_are_enlarged_or_the_other_one_is_black():
    x, u = torch.zeros(2, 3, 8, 12, dtype=torch.uint8), uniforms(0, 0, 2)
    # two plain halves: enlarged, each fills the frame with its value
    x[..., :6], x[..., 6:] = (50, 200)
    assert (
        (augment.part(x, "left", u) == 50).all()
        and (augment.part(x, "right", u) == 200).all()
        and augment.part(x, "left", u).shape == x.shape
    )
    assert (
        torch.equal(augment.part(x, "left-masked", u)[..., :6], x[..., :6])
        and (augment.part(x, "left-masked", u)[..., 6:] == 0).all()
    )
    assert (
        torch.equal(augment.part(x, "right-masked", u)[..., 6:], x[..., 6:])
        and (augment.part(x, "right-masked", u)[..., :6] == 0).all()
    )
    assert torch.equal(augment.part(x, "whole", u), x)


def test_an_enlarged_half_keeps_its_order_from_left_to_right():
    x = torch.arange(0, 240, 10, dtype=torch.uint8).expand(1, 1, 24, 24)
    left = augment.part(x, "left", uniforms(0, 0, 1))[0, 0, 0].int()
    assert (left.diff() >= 0).all() and left[0] <= 5 and 105 <= left[-1] <= 115


def test_a_random_half_is_either_one_about_equally_and_fixed_by_seed_epoch_and_index():
    x = torch.zeros(4000, 1, 2, 4, dtype=torch.uint8)
    x[..., :2], x[..., 2:] = 50, 200
    side = augment.part(x, "random", uniforms(5, 2, 4000))
    # 4.4 standard deviations
    assert (
        set(side.unique().tolist()) == {50, 200}
        and abs((side[:, 0, 0, 0] == 50).float().mean() - 0.5) < 0.035
    )
    assert torch.equal(side[:100], augment.part(x[:100], "random", uniforms(5, 2, 100)))
    assert not torch.equal(side, augment.part(x, "random", uniforms(5, 3, 4000)))
    whole, half = (
        views.epoch_view(DATA, "train", View(name="weak", strength=0.0, part=p), 1, 3)
        for p in ("whole", "random")
    )
    sides = [augment.part(whole, p, uniforms(1, 3, 64)) for p in ("left", "right")]
    assert all(torch.equal(h, a) or torch.equal(h, b) for h, a, b in zip(half, *sides))


# ---- 224 pixels: the paper's recipes, against PIL ------------------------------------------------


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def pictures(request, monkeypatch):
    """12 images of 32 x 32 in place of the data set's."""
    x = (
        np.random.default_rng(0)
        .integers(0, 256, (12, request.param, 8, 8), dtype=np.uint8)
        .repeat(4, 2)
        .repeat(4, 3)
    )
    monkeypatch.setattr(
        views,
        "load",
        lambda _: SimpleNamespace(train_x=x, train_y=np.zeros(12), mean=(0.5,) * request.param),
    )
    views.latest.cache_clear()
    yield x
    views.latest.cache_clear()


def at_224(name, index=range(12), seed=1, epoch=0):
    return views.at_224(DATA, "train", View(name=name, strength=1.0), seed, epoch, np.array(index))


def by_hand(x, name, seed=1, epoch=0):
    """Base and weak views with PIL alone, from the two tables."""
    u = chance.uniform_rows(chance.VIEWS, seed, epoch, np.arange(len(x)), augment.COLUMNS)
    v = chance.uniform_rows(chance.FRAMES, seed, epoch, np.arange(len(x)), augment.FRAME_COLUMNS)
    for image, a, b in zip(x, u, v):
        image = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        top, left, h, w = augment.crop_box(32, 32, 0.2 if name.startswith("cifar") else 0.08, b)
        how = Image.Resampling.BICUBIC if name.startswith("cifar") else Image.Resampling.BILINEAR
        image = image.crop((left, top, left + w, top + h)).resize((224, 224), how)
        if name.endswith("weak") and a[augment.FLIP] < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if name == "cifar-weak":
            image = image.rotate(30 * b[augment.ANGLE] - 15)
        if name == "imagenet-weak":
            orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
            for k in orders[int(6 * b[augment.JITTER])]:
                image = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[k](
                    image
                ).enhance(0.6 + 0.8 * b[augment.FACTOR + k])
        yield torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("name", ["cifar-base", "cifar-weak", "imagenet-base", "imagenet-weak"])
def test_base_and_weak_views_are_the_papers_transforms(pictures, name):
    assert torch.equal(at_224(name), torch.stack(list(by_hand(pictures, name))))


@pytest.mark.parametrize("name", AT_224)
def test_a_view_of_224_pixels_depends_on_seed_epoch_and_index_alone(pictures, name):
    x = at_224(name)
    assert x.dtype == torch.uint8 and x.shape == (12, pictures.shape[1], 224, 224)
    assert torch.equal(at_224(name, [7, 2, 7]), x[[7, 2, 7]])
    fixed = name in ("resize", "center-crop")
    assert torch.equal(x, at_224(name, seed=2)) == torch.equal(x, at_224(name, epoch=1)) == fixed


def test_clean_views_of_224_pixels(pictures):
    bright = pictures[0, 0]
    assert torch.equal(
        at_224("resize", [0])[0, 0],
        torch.tensor(
            np.asarray(Image.fromarray(bright).resize((224, 224), Image.Resampling.BILINEAR))
        ),
    )
    large = np.asarray(Image.fromarray(bright).resize((256, 256), Image.Resampling.BILINEAR))
    assert torch.equal(at_224("center-crop", [0])[0, 0], torch.tensor(large[16:240, 16:240]))


def test_a_wide_image_is_cut_or_stretched():
    wide = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    cut, stretched = (
        np.asarray(augment.frame(wide, name, None, None)) for name in ("center-crop", "resize")
    )
    assert (
        cut.shape == stretched.shape == (224, 224)
        and stretched[0, 0] < 2
        and stretched[0, -1] > 197
    )
    assert 54 <= cut[0, 0] <= 58 and 141 <= cut[0, -1] <= 146  # 224 of 512 pixels, the middle


def test_the_strong_cifar_view_is_autoaugment_with_a_hole(pictures):
    weak_frame = torch.stack(list(by_hand(pictures, "cifar-base")))
    u = uniforms(1, 0, 12)
    x = at_224("cifar-strong")
    assert torch.equal(
        x,
        augment.cutout(augment.autoaugment(augment.flip(weak_frame, u), u, 128.0, sense=-1), u, 16),
    )
    y, c = (u[0, [augment.CUT_Y, augment.CUT_X]] * 224).astype(int)
    assert (x[0, :, max(0, y - 8) : y + 8, max(0, c - 8) : c + 8] == 0).all()


def test_rotation_of_the_policy_turns_as_pil_does():
    x = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    x[..., 16:48, 30:34] = 255
    u = np.full((1, augment.COLUMNS), 0.999)
    u[0, [augment.POLICY, augment.P1, augment.TOUCH]] = 1.5 / 25, 0.0, 0.0
    turned, other = (
        augment.autoaugment(x, u, 128.0, sense=sense)[0, 0].numpy().astype(int) for sense in (-1, 1)
    )
    pil = np.asarray(Image.fromarray(x[0, 0].numpy()).rotate(6.67, fillcolor=128)).astype(int)
    assert (turned != pil).mean() < 0.01 < (other != pil).mean() and turned[0, 0] == pil[
        0, 0
    ] == 128


def test_randaugment_fills_with_imagenets_mean_colour():
    x, u = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), np.full((1, augment.COLUMNS), 0.9)
    names = [name for name, _, _ in augment.RANDAUGMENT]
    u[0, [augment.OP1, augment.P1]] = (names.index("rotate") + 0.5) / 15, 0.0
    assert augment.randaugment(x, u)[0, :, 0, 0].tolist() == [
        124,
        116,
        104,
    ] and augment.randaugment(x[:, :1], u)[0, :, 0, 0].tolist() == [117]


def test_the_strong_imagenet_view_is_the_weak_one_with_randaugment(pictures):
    x, weak = at_224("imagenet-strong"), at_224("imagenet-weak")
    assert torch.equal(x, augment.randaugment(weak, uniforms(1, 0, 12)))
    # each of the two operations is left out half of the time
    assert 0 < (x == weak).flatten(1).all(1).float().mean() < 1


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    smallest=st.sampled_from([0.08, 0.2]),
    seed=st.integers(0, 10**6),
)
def test_a_crop_lies_in_the_image(height, width, smallest, seed):
    v = np.random.default_rng(seed).random(augment.FRAME_COLUMNS)
    top, left, h, w = augment.crop_box(height, width, smallest, v)
    assert 0 <= top and 0 <= left and h >= 1 and w >= 1 and top + h <= height and left + w <= width
    assert (w - 0.5) / (h + 0.5) < 4 / 3 and (h - 0.5) / (w + 0.5) < 4 / 3


def test_crops_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    image, crop = torch.zeros(1, 30, 40), torchvision.transforms.RandomResizedCrop
    theirs = np.array([crop.get_params(image, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)])
    ours = np.array(
        [
            augment.crop_box(30, 40, 0.2, v)
            for v in chance.uniform_rows(
                chance.FRAMES, 0, 0, np.arange(4000), augment.FRAME_COLUMNS
            )
        ]
    )
    difference = ours.mean(0) - theirs.mean(0)
    assert (np.abs(difference) < 4 * theirs.std(0) * (2 / 4000) ** 0.5).all() and np.abs(
        ours.std(0) / theirs.std(0) - 1
    ).max() < 0.07
    thin = torch.zeros(1, 100, 4)  # no try fits: the middle
    assert augment.crop_box(100, 4, 0.9, np.full(augment.FRAME_COLUMNS, 0.5)) == tuple(
        crop.get_params(thin, (0.9, 1.0), (3 / 4, 4 / 3))
    )


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clean", *NAMES, "cifar-strong", "imagenet-weak"])
@pytest.mark.parametrize("part", ["whole", "random"])
def test_a_batch_is_taken_from_its_epoch(name, part):
    view, index = View(name=name, strength=0.5, part=part), torch.tensor([5, 60, 5])
    expected = views.epoch_view(DATA, "train", view, 3, 21)[index]
    assert torch.equal(views.batch_view(DATA, "train", view, 3, 21, index), expected)


def test_of_large_data_nothing_but_the_batch_is_made(pictures, monkeypatch):
    view, index = View(name="cifar-strong", strength=1.0, part="random"), torch.tensor([5, 11, 5])
    expected = views.epoch_view(DATA, "train", view, 3, 21)[index]
    asked = []
    original = views.at_224
    monkeypatch.setattr(views, "LARGE", 11 * pictures.shape[1] * 224 * 224)
    monkeypatch.setattr(views, "at_224", lambda *a: asked.append(len(a[5])) or original(*a))
    assert (
        views.large(DATA, "train", view)
        and torch.equal(views.batch_view(DATA, "train", view, 3, 21, index), expected)
        and asked == [3]
    )
    assert not views.large(DATA, "train", View(name="strong", strength=1.0))
    monkeypatch.setattr(views, "LARGE", 12 * pictures.shape[1] * 224 * 224)
    views.batch_view(DATA, "train", view, 3, 21, index)
    assert asked == [3, 12]  # small: the epoch, once
    views.batch_view(DATA, "train", view, 3, 21, index)
    assert asked == [3, 12]


def test_the_size_of_a_view():
    assert views.size(DATA, View(name="strong", strength=1.0)) == (28, 28) and views.size(
        DATA, View(name="resize", strength=0.0)
    ) == (224, 224)
