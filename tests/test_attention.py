"""Attention maps against autograd, timm's own attention and the grad-cam package; masks and
overlaps against numpy, scipy and Pillow.
"""

from concurrent.futures import ThreadPoolExecutor

import kdcore._torchvision  # noqa: F401

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.spatial.distance import jaccard
from scipy.stats import spearmanr
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import conv2d, interpolate

from kdcore import models
from kdcore.metrics import saliency as A

CLASSES = 5
# small: empty and full masks occur
some_masks = st.integers(2, 4).flatmap(lambda k: arrays(bool, (k, 3, 2, 3)))
some_maps = arrays(np.float32, (4, 3, 3), elements=st.floats(-9, 9, width=32))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(name, side, channels):
    """A network with the batch statistics of noise and a head as large as a trained one, the
    images, and a label for each.
    """
    net, x = models.build(name, channels, CLASSES, (side, side), 0), random(8, channels, side, side)
    with torch.no_grad():
        net.train()(x)
        net.get_classifier().weight.mul_(100)
    return net.eval(), x, torch.arange(8) % CLASSES


@pytest.fixture(scope="module")
def student():
    return build("resnet-16-32", 28, 1)


@pytest.fixture(scope="module")
def resnet18():
    return build("resnet18", 64, 3)


@pytest.fixture(params=["student", "resnet18"])
def cnn(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def vit():
    """Not square; with everything a VisionTransformer may add: norms of queries and keys, tokens
    beside CLS and patches.
    """
    torch.manual_seed(0)
    net = VisionTransformer(
        img_size=(28, 16),
        patch_size=4,
        in_chans=1,
        num_classes=CLASSES,
        embed_dim=64,
        depth=3,
        num_heads=2,
        qk_norm=True,
        reg_tokens=2,
    )
    for block in net.blocks:
        # first weights attend evenly: nothing to see
        torch.nn.init.normal_(block.attn.qkv.weight, std=0.3)
    return net.eval(), random(6, 1, 28, 16)


def labels(n, seed=0, classes=CLASSES):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


# --- one forward pass ---


def test_features_explain_the_logits(cnn):
    net, x, _ = cnn
    passes = []
    first = next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    handle = first.register_forward_hook(lambda *_: passes.append(1))
    f, weight, bias, logits = A.features(net, x)
    handle.remove()
    assert len(passes) == 1, "more than one forward pass"
    assert f.min() >= 0 and f.shape[0] == 8 and f.shape[2] > 1, (
        "not the last feature map after its activation"
    )
    assert torch.equal(logits, net(x)) and not any(
        t.requires_grad for t in (f, weight, bias, logits)
    )
    assert torch.allclose(
        torch.stack([A.cam(f, weight, torch.full((8,), c)).mean((1, 2)) for c in range(CLASSES)], 1)
        + bias,
        logits,
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_head_without_bias_counts_as_zero_bias():
    net = timm.create_model("resnet10t", num_classes=CLASSES).eval()
    net.fc = torch.nn.Linear(512, CLASSES, bias=False)
    assert torch.equal(A.features(net, random(2, 3, 64, 64))[2], torch.zeros(CLASSES))


@pytest.mark.parametrize(
    "net",
    [
        torch.nn.Linear(3, 3),
        timm.create_model("resnet10t", global_pool="max"),
        timm.create_model("resnet10t", drop_rate=0.5),
        timm.create_model("convnext_atto"),
        timm.create_model("mobilenetv3_small_050"),
        timm.create_model("test_vit"),
    ],
    ids=[
        "no timm network",
        "max pooling",
        "active dropout",
        "norm after pooling",
        "hidden layer",
        "transformer",
    ],
)
def test_a_network_with_another_head_is_refused(net):
    with pytest.raises(
        ValueError,
        match="expected a CNN of timm|expected one linear layer|differ from those of plain "
        "averaging",
    ):
        A.features(
            net, random(2, 3, *getattr(getattr(net, "patch_embed", None), "img_size", (64, 64)))
        )


@pytest.mark.parametrize("fused", [True, False])
def test_vit_attention_is_timms_own(vit, fused):
    """Without fusion timm has the weights in its hands: they pass through attn_drop."""
    net, x = vit
    theirs, was = [], [block.attn.fused_attn for block in net.blocks]
    handles = [
        block.attn.attn_drop.register_forward_hook(lambda _, __, out: theirs.append(out))
        for block in net.blocks
    ]
    for block in net.blocks:
        block.attn.fused_attn = False
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    for block in net.blocks:
        block.attn.fused_attn = fused
    attention, logits = A.vit_attention(net, x)
    with torch.no_grad():
        assert torch.equal(logits, net(x))
    for block, before in zip(net.blocks, was):
        block.attn.fused_attn = before
    assert attention.shape == (6, 3, 2, 31, 31) and not attention.requires_grad
    assert torch.allclose(attention, torch.stack(theirs, 1), atol=1e-6)
    assert attention.std() > 0.01, "the attention tested is even"


def test_vit_attention_leaves_no_hook_behind_even_on_error(vit):
    net, x = vit

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())

    A.vit_attention(net, x)
    assert hooks() == 0 and not net.training
    with pytest.raises(
        ValueError,
        match=r"images have height and width \(28, 12\); this VisionTransformer reads \(28, 16\)",
    ):
        A.vit_attention(net, x[..., :12])
    with pytest.raises(RuntimeError, match="channels"):
        A.vit_attention(net, x.repeat(1, 2, 1, 1))
    assert hooks() == 0


def test_vit_attention_refuses_other_networks(student):
    with pytest.raises(ValueError, match="^ByobNet is not a timm VisionTransformer"):
        A.vit_attention(student[0], student[1])


# --- class activation maps ---


def test_cam_by_hand():
    f = torch.tensor([[[[1.0, 2.0]], [[0.0, 5.0]]]])  # two channels on 1 x 2 positions
    weight, bias = torch.tensor([[1.0, -1.0], [2.0, 1.0]]), torch.tensor([10.0, 20.0])
    assert A.cam(f, weight, torch.tensor([0])).tolist() == [[[1, -3]]]
    assert A.cam(f, weight, torch.tensor([1])).tolist() == [[[2, 9]]]
    assert A.cam_sum(f, weight, bias).tolist() == [[[33, 36]]]
    assert A.grad_cam(f, weight, torch.tensor([0])).tolist() == [[[0.5, 0]]]
    assert A.energy(f).tolist() == [[[1, 29]]]


def test_cam_sum_is_the_head_as_a_convolution_summed_over_classes():
    f, weight, bias = random(4, 6, 3, 5), random(CLASSES, 6, seed=1), random(CLASSES, seed=2)
    z = conv2d(f, weight[:, :, None, None], bias)
    assert torch.allclose(A.cam_sum(f, weight, bias), z.sum(1), atol=1e-5)
    y = z.mean((2, 3)).argmax(1)
    assert torch.allclose(A.cam(f, weight, y) + bias[y][:, None, None], z[range(4), y], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_grad_cam_is_the_gradients(seed, d, h, w):
    f = random(3, d, h, w, seed=seed).relu().requires_grad_()
    weight = random(CLASSES, d, seed=seed + 1)
    bias = random(CLASSES)
    y = labels(3, seed)
    logits = f.mean((2, 3)) @ weight.T + bias
    (gradient,) = torch.autograd.grad(logits[range(3), y].sum(), f)
    expected = (gradient.mean((2, 3), keepdim=True) * f).sum(1).relu()
    assert torch.allclose(A.grad_cam(f, weight, y), expected, atol=1e-6)


def test_grad_cam_is_the_grad_cam_packages(cnn):
    """Raw, and as that package returns it: min-max, cv2.resize (bilinear, half-pixel centres, edges
    repeated, as here), min-max again.

    Interpolation weights sum to 1, so the second min-max makes the first one void. What remains is
    its 1e-7 on a range of 1 beside our 1e-8 on the range of the map: maps that differ by less than
    0.001 would differ by more than 1e-5 between the two.
    """
    net, x, y = cnn
    f, weight, _, _ = A.features(net, x)
    layer = net.layer4 if hasattr(net, "layer4") else net.stages[-1]
    with GradCAM(model=net, target_layers=[layer]) as package:
        theirs = package(input_tensor=x, targets=[ClassifierOutputTarget(int(c)) for c in y])
        kept = [
            part[0].numpy()
            for part in (
                package.activations_and_grads.activations,
                package.activations_and_grads.gradients,
            )
        ]
        raw = np.maximum(package.get_cam_image(x, layer, None, *kept), 0)
    net.zero_grad()
    ours = A.grad_cam(f, weight, y)
    assert (ours.flatten(1).amax(1) > 0).sum() >= 4, "nothing to compare"
    assert np.abs(ours.numpy() - raw).max() <= 1e-5 * raw.max()
    assert np.abs(A.rescale(A.upsample(ours, x.shape[-2:])).numpy() - theirs).max() <= 1e-5


def test_a_map_of_one_class_for_all_images_is_a_convolution(student):
    net, x, _ = student
    f, weight, _, logits = A.features(net, x)
    only = torch.full_like(logits.argmax(1), 2)
    assert torch.allclose(
        A.cam(f, weight, only), conv2d(f, weight[2][None, :, None, None])[:, 0], atol=1e-5
    )
    assert torch.equal(A.cam(f, weight, only), A.cam(f, weight, only.to(torch.int32)))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.tensor([0, 5]), "classes run from 0 to 5; allowed are 0 to 4"),
        (torch.tensor([-1, 1]), "classes run from -1 to 1"),
        (torch.tensor([1]), r"classes have shape \(1,\) .* expected 2 integers"),
        (torch.tensor([0.0, 1.0]), "torch.float32; expected 2 integers"),
    ],
)
def test_cam_refuses_other_classes(classes, message):
    for of_class in (A.cam, A.grad_cam):
        with pytest.raises(ValueError, match=message):
            of_class(random(2, 3, 4, 4), random(CLASSES, 3), classes)


def test_a_common_vector_in_all_rows_of_the_head_changes_no_prediction_but_the_summed_map(student):
    net, x, y = student
    f, weight, bias, logits = A.features(net, x)
    moved = weight + weight.std() * random(1, weight.shape[1], seed=3)
    z, size = f.mean((2, 3)) @ moved.T + bias, x.shape[-2:]
    assert torch.equal(z.argmax(1), logits.argmax(1)) and torch.allclose(
        z.softmax(1), logits.softmax(1), atol=1e-5
    )
    second = (y + 1) % CLASSES
    differences = [A.cam(f, w, y) - A.cam(f, w, second) for w in (weight, moved)]
    assert torch.allclose(*differences, atol=1e-4)

    def overlap(of):
        return A.iou(
            *(A.mask(A.rescale(A.upsample(of(w), size)), 0.4) for w in (weight, moved))
        ).mean()

    assert overlap(lambda w: A.cam(f, w, y) - A.cam(f, w, second)) > 0.99
    assert overlap(lambda w: A.cam_sum(f, w, bias)) < 0.8


# --- attention of transformers ---


def loop_rollout(attention, patches):
    """One image at a time, in float64, with the matrices and their row sums in full."""
    rows = []
    for blocks in attention.double().numpy():
        product = np.eye(blocks.shape[-1])
        for heads in blocks:
            a = heads.mean(0) / 2 + np.eye(len(product)) / 2
            product = a / a.sum(1, keepdims=True) @ product
        rows.append(product[0, -patches:])
    return np.stack(rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2))
def test_rollout_is_the_product_of_matrices(seed, blocks, heads, prefix):
    attention = (3 * random(2, blocks, heads, prefix + 6, prefix + 6, seed=seed)).softmax(-1)
    ours = A.rollout(attention, (2, 3), prefix)
    assert ours.shape == (2, 2, 3)
    assert ours.flatten(1).numpy() == pytest.approx(loop_rollout(attention, 6), abs=1e-6)


def test_cls_attention_and_rollout_by_hand():
    attention = torch.eye(7).repeat(1, 2, 2, 1, 1)  # every token looks at itself
    attention[0, 1, :, 0] = 0
    attention[0, 1, 0, 0, 1 + 4] = (
        # but CLS, in the last block, with one head at patch 4 = row 1, column 1, with the other at
        # patch 0
        1
    )
    attention[0, 1, 1, 0, 1] = 1
    expected = [[[0.5, 0, 0], [0, 0.5, 0]]]
    assert A.cls_attention(attention, (2, 3)).tolist() == expected
    assert (2 * A.rollout(attention, (2, 3))).tolist() == expected  # half of CLS stays with itself


def test_maps_of_a_transformer_follow_its_grid(vit):
    net, x = vit
    attention, _ = A.vit_attention(net, x)
    for of in (A.cls_attention, A.rollout):
        maps = of(attention, A.patch_grid(net, x), net.num_prefix_tokens)
        assert maps.shape == (6, 7, 4) and (maps > 0).all() and (maps.sum((1, 2)) < 1).all()
        assert torch.allclose(maps, torch.cat([of(one[None], (7, 4), 3) for one in attention])), (
            "an image's map depends on the others"
        )
        for grid, prefix in (
            ((31, 1), 1),
            ((7, 4), 1),
            ((7, 4), 2),
            ((6, 5), 3),
            ((4, 7), 4),
            ((30, 1), 0),
        ):
            with pytest.raises(
                ValueError,
                match=f"31 x 31 tokens for a grid of {grid[0]} x {grid[1]} patches|prefix is 0; "
                "it must be a whole number",
            ):
                of(attention, grid, prefix)


def of_images(size=(28, 16), side=None, **options):
    """A small VisionTransformer for images of this size, whose head is as large as a trained one,
    and images of this side or size.
    """
    torch.manual_seed(0)
    net = VisionTransformer(
        **dict(
            img_size=size,
            patch_size=4,
            in_chans=1,
            num_classes=CLASSES,
            embed_dim=32,
            depth=2,
            num_heads=2,
        )
        | options
    )
    torch.nn.init.normal_(net.head.weight) if isinstance(net.head, torch.nn.Linear) else None
    return net.eval(), random(3, 1, *(side or size))


def test_the_grid_is_that_of_the_images_not_of_the_network():
    net, x = of_images(side=(32, 20), dynamic_img_size=True)
    attention, _ = A.vit_attention(net, x)
    assert (
        net.patch_embed.grid_size == (7, 4)
        and A.patch_grid(net, x) == (8, 5)
        and attention.shape[-1] == 41
    )
    assert A.cls_attention(attention, A.patch_grid(net, x)).shape == (3, 8, 5)
    with pytest.raises(ValueError, match="41 x 41 tokens for a grid of 7 x 4"):
        A.cls_attention(attention, net.patch_embed.grid_size)


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(class_token=False, global_pool="avg"), "no class token"),
        (
            dict(global_pool="avg"),
            "does not make its logits of its class token alone .global_pool = 'avg'",
        ),
        (
            dict(global_pool="map"),
            "does not make its logits of its class token alone .global_pool = 'map'",
        ),
        (dict(size=(30, 16)), r"\(30, 16\), which patches of \(4, 4\) do not cover exactly"),
        (dict(side=(30, 18), dynamic_img_size=True, dynamic_img_pad=True), "do not cover exactly"),
        (dict(side=(16, 28)), r"\(16, 28\); this VisionTransformer reads \(28, 16\)"),
    ],
)
def test_attention_of_a_class_token_that_explains_nothing_is_refused(options, says):
    net, x = of_images(**options)
    with pytest.raises(ValueError, match=says):
        A.vit_attention(net, x)


def test_a_distillation_token_shares_in_the_logits():
    net = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=32, num_classes=CLASSES
    ).eval()
    for head in (net.head, net.head_dist):
        torch.nn.init.normal_(head.weight)
    with pytest.raises(
        ValueError,
        match="^VisionTransformerDistilled does not make its logits of its class token alone",
    ):
        A.vit_attention(net, random(2, 3, 32, 32))


def test_attention_read_by_several_threads_at_once_is_each_ones_own(vit):
    """One network, as kdcore.train.frozen hands it to all threads of a process."""
    net, x = vit
    alone = [A.vit_attention(net, x[i : i + 1].repeat(40, 1, 1, 1))[0] for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            together = pool.map(
                lambda i: A.vit_attention(net, x[i : i + 1].repeat(40, 1, 1, 1))[0], range(6)
            )
            assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


# --- masks ---


@settings(max_examples=30, deadline=None)
@given(some_maps, st.integers(3, 12), st.integers(3, 12))
def test_upsample_is_torchs_and_pillows(maps, height, width):
    ours = A.upsample(torch.from_numpy(maps), (height, width))
    pillow = [
        np.asarray(Image.fromarray(m).resize((width, height), Image.Resampling.BILINEAR))
        for m in maps
    ]
    assert ours.numpy() == pytest.approx(np.stack(pillow), abs=1e-4)
    assert torch.allclose(
        ours,
        interpolate(
            torch.from_numpy(maps)[None], (height, width), mode="bilinear", align_corners=False
        )[0],
        atol=1e-5,
    )


@settings(max_examples=50, deadline=None)
@given(some_maps)
def test_rescale_is_its_formula(maps):
    ours = A.rescale(torch.from_numpy(maps))
    m = maps.astype(np.float64)
    low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
    assert ours.numpy() == pytest.approx((m - low) / (high - low + 1e-8), abs=1e-5)
    assert ours.min() >= 0 and ours.max() <= 1


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.integers(7, 32))
def test_a_constant_map_has_an_empty_mask_at_any_size(value, side):
    """Interpolating the value itself would leave rounding, which min-max blows up to a pattern."""
    maps = A.rescale(A.upsample(torch.full((2, 7, 7), value), (side, side)))
    assert not maps.any() and not A.mask(maps, 0.0).any()


def test_mask_is_strict():
    assert A.mask(torch.tensor([[[0.0, 0.5, 0.75]]]), 0.5).tolist() == [[[False, False, True]]]


@settings(max_examples=50, deadline=None)
# few values: many ties
@given(arrays(np.float32, (3, 3, 4), elements=st.integers(-2, 2)), st.floats(0, 1))
def test_mask_top_has_its_share_and_breaks_ties_by_position(maps, share):
    ours, k = A.mask_top(torch.from_numpy(maps), share), round(share * 12)
    for m, top in zip(maps.reshape(3, 12), ours.flatten(1).tolist()):
        assert top == np.isin(range(12), sorted(range(12), key=lambda i: (-m[i], i))[:k]).tolist()


def test_mask_top_by_hand():
    assert A.mask_top(torch.zeros(1, 2, 2), 0.75).tolist() == [[[True, True], [True, False]]]
    assert A.mask_top(torch.tensor([[[1.0, 3.0], [3.0, 3.0]]]), 0.5).tolist() == [
        [[False, True], [True, False]]
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: A.upsample(torch.zeros(7, 7), (28, 28)), r"maps have shape \(7, 7\)"),
        (
            lambda: A.rescale(torch.tensor([[[0.0, float("nan")]]])),
            "maps hold 1 values that are NaN or infinite",
        ),
        (lambda: A.mask_top(torch.tensor([[[0.0, float("inf")]]]), 0.5), "maps hold 1 values"),
        (
            lambda: A.mask(torch.tensor([[[0.0, 3.0]]]), 0.4),
            r"maps run from 0 to 3; rescale them to 0 .. 1 first",
        ),
        (lambda: A.mask(torch.zeros(1, 1, 1), 40), "threshold is 40; allowed are 0 to 1"),
        (lambda: A.mask_top(torch.zeros(1, 1, 1), 40), "share is 40; allowed are 0 to 1"),
    ],
)
def test_bad_maps_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- comparisons ---


def test_iou_by_hand():
    a, b, c = (
        torch.tensor([[row]], dtype=torch.bool)
        for row in ([1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0])
    )
    assert A.iou(a, b).tolist() == [0.5] and A.iou(a, b, c).tolist() == [0.25]
    none = torch.zeros_like(a)
    assert A.iou(none, none).tolist() == [0.0] == A.iou(a, none).tolist()
    assert A.iou(a, a).tolist() == [1.0] and A.area(a).tolist() == [0.75]


@settings(max_examples=100, deadline=None)
@given(some_masks)
def test_iou_is_numpys_and_scipys(masks):
    ours = A.iou(*torch.from_numpy(masks))
    assert ours.dtype == torch.float64
    for i, value in enumerate(ours.tolist()):
        every, any_ = masks[:, i].all(0).sum(), masks[:, i].any(0).sum()
        assert value == pytest.approx(every / any_ if any_ else 0.0)
        if len(masks) == 2 and any_:
            assert value == pytest.approx(1 - jaccard(masks[0, i].ravel(), masks[1, i].ravel()))
    assert A.area(torch.from_numpy(masks[0])).numpy() == pytest.approx(masks[0].mean((1, 2)))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 3).flatmap(lambda k: arrays(bool, (k, 7, 2, 2))), st.integers(1, 9))
def test_pooled_iou_pools_batches(masks, batch):
    expected = 0.0
    for start in range(0, 7, batch):
        part = masks[:, start : start + batch]
        expected += part.shape[1] / 7 * part.all(0).sum() / max(part.any(0).sum(), 1)
    assert A.pooled_iou(*torch.from_numpy(masks), batch=batch) == pytest.approx(expected)


def test_pooled_iou_is_the_mean_over_images_in_batches_of_one():
    masks = random(2, 300, 4, 4) > 0.5
    assert A.pooled_iou(*masks, batch=1) == pytest.approx(float(A.iou(*masks).mean()))
    every, any_ = (masks.all(0), masks.any(0))
    expected = (
        sum(
            n * every[i : i + n].sum() / any_[i : i + n].sum()
            for i, n in ((0, 128), (128, 128), (256, 44))
        )
        / 300
    )
    assert A.pooled_iou(*masks) == pytest.approx(float(expected))


def test_masks_of_noise_overlap_by_half():
    """The published procedure on independent Gaussian 7 x 7 maps, resized to 224."""
    a, b = (
        A.mask(A.rescale(A.upsample(random(256, 7, 7, seed=s), (224, 224))), 0.4) for s in (0, 1)
    )
    assert A.pooled_iou(a, b) == pytest.approx(0.56, abs=0.02)
    assert float(A.area(a).mean()) == pytest.approx(0.71, abs=0.02)
    assert float(A.iou(a, b).mean()) == pytest.approx(
        float(A.iou(a, b[A.other(256, 0)]).mean()), abs=0.02
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**31), st.data())
def test_other_is_a_permutation_that_leaves_nobody_in_place(n, seed, data):
    partner = A.other(n, seed).numpy()
    assert sorted(partner) == list(range(n)) and (partner != np.arange(n)).all()
    assert (partner == A.other(n, seed).numpy()).all()
    classes = np.array(
        data.draw(st.permutations([i // 2 % 5 for i in range(2 * (n // 2))] + [0] * (n % 2)))
    )
    within = A.other(n, seed, classes).numpy()
    assert (
        sorted(within) == list(range(n))
        and (within != np.arange(n)).all()
        and (classes[within] == classes).all()
    )
    assert torch.equal(A.other(n, seed, torch.tensor(classes)), torch.from_numpy(within))


def test_other_depends_on_its_seed():
    assert not torch.equal(A.other(50, 0), A.other(50, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (3, 0, [0, 0, 7]),
            "^class 7 has one image; a different image of the same class needs two",
        ),
        ((1, 0), "^n is 1; another image needs two"),
        ((3, 0, [0, 0]), r"classes have shape \(2,\); expected \(3,\)"),
    ],
)
def test_other_refuses_a_single_image(arguments, message):
    with pytest.raises(ValueError, match=message):
        A.other(*arguments)


@settings(max_examples=50, deadline=None)
# ties and constant maps occur
@given(
    arrays(
        np.float32, (2, 4, 3, 3), elements=st.one_of(st.integers(-2, 2), st.floats(-9, 9, width=32))
    )
)
def test_rank_correlation_is_scipys(maps):
    ours = A.rank_correlation(*torch.from_numpy(maps))
    for value, a, b in zip(ours.tolist(), *maps.reshape(2, 4, 9)):
        constant = a.min() == a.max() or b.min() == b.max()
        assert value == (0.0 if constant else pytest.approx(spearmanr(a, b).statistic, abs=1e-9))


def test_rank_correlation_by_hand():
    a = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert A.rank_correlation(a, a.exp()).tolist() == [pytest.approx(1)] and A.rank_correlation(
        a, -a
    ).tolist() == [pytest.approx(-1)]
    assert A.rank_correlation(a, torch.ones(1, 2, 2)).tolist() == [0.0]
    with pytest.raises(ValueError, match=r"maps have shapes \(1, 2, 2\) and \(1, 1, 1\)"):
        A.rank_correlation(a, torch.ones(1, 1, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: A.iou(m), "^1 masks were given; an overlap needs at least 2"),
        (lambda m: A.iou(m, m.float()), "type torch.float32; expected bool"),
        (
            lambda m: A.iou(m, m[:1]),
            r"shapes \(2, 3, 3\) and \(1, 3, 3\); masks compared need equal ones",
        ),
        (lambda m: A.area(m[0]), r"shape \(3, 3\)"),
        (lambda m: A.pooled_iou(m, m, batch=0), "batch is 0"),
    ],
)
def test_bad_masks_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 3, 3, dtype=torch.bool))
