"""The papers' own scale on tiny files: ImageNet in folders and lists, images of 224 pixels,
ResNet-50 and ViT-B/32 teachers, schedules by epoch.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from kdcore import chance, data, losses, models
from kdcore import train as tr
from kdcore.data import views
from kdcore.data.sources import SOURCES
from kdcore.spec import Data, Distill, Inputs, Optim, Spec, View
from kdcore.train import fit, learning_rate, logits

CLASSES = ("n01440764", "n01443537")
WEAK, STRONG, CLEAN = (
    View(name=name, strength=1.0) for name in ("imagenet-weak", "imagenet-strong", "center-crop")
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four training and two validation JPEGs, each of another size, plain colours with a bright
    left half; one is grey, as some of ImageNet's are.
    """
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("KDCORE_DOWNLOAD", raising=False)
    for name in ("imagenet", "imagenet_lt"):
        monkeypatch.setitem(SOURCES, name, SOURCES[name]._replace(counts=None))  # these are tiny
    for part, count in (("train", 2), ("val", 1)):
        for c, name in enumerate(CLASSES):
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.full(
                    (300 - 20 * i, 260 + 70 * c, 3), (40 * i, 100 * c, 90), dtype=np.uint8
                )
                pixels[:, :130] += 60
                Image.fromarray(pixels).convert(
                    "L" if (part, c, i) == ("train", 1, 1) else "RGB"
                ).save(tmp_path / "imagenet" / part / name / f"{name}_{i}.JPEG", quality=95)
    root = tmp_path / "imagenet"
    lines = [
        f"train/{name}/{name}_{i}.JPEG {c}" for c, name in enumerate(CLASSES) for i in range(2)
    ]
    (root / "ImageNet_LT_train.txt").write_text("\n".join([lines[2], lines[0], lines[1]]) + "\n")
    (root / "ImageNet_LT_test.txt").write_text(
        "".join(f"val/{name}/{name}_0.JPEG {c}\n" for c, name in enumerate(CLASSES))
    )
    for cache in (views.on_device, views.kept, views.latest, tr.frozen):
        cache.cache_clear()
    torch.set_num_threads(1)
    return root


def dataset(name="imagenet", n_train=None, **more):
    return Data(name=name, n_train=n_train, n_test=None, seed=0, **more)


def spec(model, data_=None, view=WEAK, teachers=(), seed=0, epochs=1, **more):
    loss = dict(temperature=3.0, ce_weight=0.6, kd_weight=0.4, zscore=False, teacher_mode="eval")
    return Spec(
        data=data_ or dataset(),
        view=view,
        model=model,
        model_seed=seed,
        order_seed=seed,
        aug_seed=seed,
        optim=Optim(
            epochs=epochs, batch_size=2, lr=0.01, momentum=0.9, weight_decay=0.0, warmup=0.0
        ),
        distill=Distill(teachers=teachers, **loss) if teachers else None,
        **more,
    )


# ---- files ---------------------------------------------------------------------------------------


def test_imagenet_is_read_as_paths_and_decoded_one_at_a_time(folder):
    d = data.load(dataset())
    assert sorted(d.train_x) == [
        f"train/{c}/{c}_{i}.JPEG" for c in CLASSES for i in range(2)
    ] and d.test_x.tolist() == [f"val/{c}/{c}_0.JPEG" for c in CLASSES]
    assert [CLASSES[label] for label in d.train_y] == [
        path.split("/")[1] for path in d.train_x
    ] and d.test_y.tolist() == [0, 1]
    assert (
        d.classes == CLASSES
        and d.mean == (0.485, 0.456, 0.406)
        and d.train_y.dtype == np.int64
        and not d.train_x.flags.writeable
    )
    sizes = {(image.mode, image.size) for image in map(data.picture, d.train_x)}
    assert sizes == {
        ("RGB", (260, 300)),
        ("RGB", (260, 280)),
        ("RGB", (330, 300)),
        ("RGB", (330, 280)),
    }
    assert data.load(dataset(n_train=3)).train_x.tolist() == d.train_x[:3].tolist()


def test_imagenet_lt_is_what_its_lists_say_and_its_test_images_are_no_training_images(folder):
    d = data._whole("imagenet_lt", str(folder.parent))
    assert d.train_x.tolist() == [
        f"train/{CLASSES[c]}/{CLASSES[c]}_{i}.JPEG" for c, i in ((1, 0), (0, 0), (0, 1))
    ] and d.train_y.tolist() == [1, 0, 0]
    assert (
        d.test_x.tolist() == [f"val/{c}/{c}_0.JPEG" for c in CLASSES]
        and d.test_y.tolist() == [0, 1]
        and d.classes == CLASSES
    )
    assert not set(d.train_x) & set(d.test_x)


@pytest.mark.parametrize(
    "text, says",
    [
        ("train/a.JPEG\n", 'line 1 of .*train.txt is not of the form "path label"'),
        ("", "line 1 of"),
        ("a.JPEG 0\nb.JPEG x\n", "line 2 of"),
        ("n/a.JPEG 0\nn/b.JPEG 2\n", "names 2 classes, but labels go up to 2"),
    ],
)
def test_a_wrong_list_is_refused(folder, text, says):
    (folder / "ImageNet_LT_train.txt").write_text(text)
    with pytest.raises(ValueError, match=says):
        data._whole.__wrapped__("imagenet_lt", str(folder.parent))


def test_other_folders_in_val_than_in_train_are_refused(folder):
    (folder / "val" / "n99999999").mkdir()
    with pytest.raises(ValueError, match="val.n99999999 holds no picture"):
        data._whole.__wrapped__("imagenet", str(folder.parent))


@pytest.mark.parametrize("content", [None, b"", b"no image", "half"])
def test_an_absent_or_damaged_image_is_named(folder, content):
    path = folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    content = path.read_bytes()[:1000] if content == "half" else content
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{CLASSES[0]}_0.JPEG is missing or damaged"):
        data.picture(f"train/{CLASSES[0]}/{CLASSES[0]}_0.JPEG")


# ---- views ---------------------------------------------------------------------------------------


def test_files_become_views_of_224_pixels(folder):
    x = views.epoch_view(dataset(), "test", CLEAN, 0, 0)
    by_hand = Image.open(folder / "val" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG")
    # 256 x 295; the middle
    by_hand = by_hand.resize((256, int(256 * 300 / 260)), Image.Resampling.BILINEAR).crop(
        (16, 35, 240, 259)
    )
    assert torch.equal(x[0], torch.tensor(np.asarray(by_hand)).permute(2, 0, 1)) and x.shape == (
        2,
        3,
        224,
        224,
    )
    index = torch.tensor([3, 1])
    assert torch.equal(
        views.batch_view(dataset(), "train", STRONG, 0, 5, index),
        views.epoch_view(dataset(), "train", STRONG, 0, 5)[index],
    )


def test_a_view_of_the_images_own_size_is_refused_where_sizes_differ(folder):
    with pytest.raises(ValueError, match="images of imagenet differ in size.*imagenet-weak"):
        views.epoch_view(dataset(), "train", View(name="weak", strength=0.0), 0, 0)
    with pytest.raises(ValueError, match="images of imagenet differ in size"):
        tr.network(spec("resnet18", view=View(name="clean", strength=0.0)))


# ---- training ------------------------------------------------------------------------------------


def test_one_epoch_of_a_resnet18_under_two_live_resnet50(folder, monkeypatch):
    """Large data: images are made batch by batch, teachers run beside the student, and the step is
    the one computed here by hand.
    """
    teachers = [spec("resnet50", seed=1, view=WEAK), spec("resnet50", seed=2, view=STRONG)]
    student = spec("resnet18", teachers=tuple(teachers), view=STRONG, data_=dataset(n_train=2))
    made = []
    original = views.at_224
    states = {t: tr.network(t).state_dict() for t in teachers}  # untrained ones do here
    monkeypatch.setattr(tr, "train", lambda t: tr.Run(t, states[t], None, None, {}))
    monkeypatch.setattr(
        tr, "logits", lambda *_: pytest.fail("logits of a whole epoch were asked for")
    )
    monkeypatch.setattr(views, "LARGE", 0)
    monkeypatch.setattr(views, "at_224", lambda *a: made.append(a[5].tolist()) or original(*a))
    state, loss, _ = fit(student)
    order = chance.order(0, 0, 2)
    assert made == [order.tolist()]  # once: student and teachers share the tensor

    d, net = data.load(student.data), tr.network(student)
    x = views.normalise(
        views.epoch_view(student.data, "train", STRONG, 0, 0)[torch.from_numpy(order)],
        d.mean,
        d.std,
    )
    y, z = torch.from_numpy(d.train_y[order]), net.train()(x)
    heard = torch.stack([tr.network(t, states[t]).eval()(x).detach() for t in teachers])
    by_hand = losses.distillation(z, heard, y, 3.0, 0.6, 0.4, False)
    by_hand.backward()
    assert loss[0] == pytest.approx(by_hand.item(), rel=1e-5)
    assert torch.allclose(
        state["fc.weight"], net.fc.weight.detach() - 0.01 * net.fc.weight.grad, atol=1e-6
    )


def test_logits_of_large_data_are_recorded_in_chunks(folder, monkeypatch):
    model = spec("resnet18")
    monkeypatch.setattr(
        tr, "train", lambda s: tr.Run(s, tr.network(s).state_dict(), None, None, {})
    )
    at = Inputs(data=model.data, split="train", view=WEAK, aug_seed=7, first=0, count=2)
    whole = logits(model, at)
    made, original = [], views.at_224
    for module, name, value in (
        (tr, "CHUNK", 3),
        (views, "LARGE", 0),
        (views, "at_224", lambda *a: made.append(len(a[5])) or original(*a)),
    ):
        monkeypatch.setattr(module, name, value)
    tr.store.drop("logits", next((tr.store.root() / "logits").glob("*/*")).name)
    assert (
        np.allclose(logits(model, at), whole, atol=1e-5)
        and made == [3, 1, 3, 1]
        and whole.shape == (2, 4, 2)
    )


def test_teachers_run_live_where_a_block_of_logits_is_too_large(folder, monkeypatch):
    student = spec("resnet18", teachers=(spec("resnet18", seed=1),))
    monkeypatch.setattr(
        tr, "train", lambda s: tr.Run(s, tr.network(s).state_dict(), None, None, {})
    )
    monkeypatch.setattr(tr, "logits", lambda *_: pytest.fail("shared"))
    # images x classes x epochs x bytes
    monkeypatch.setattr(tr, "SHARED", 4 * 2 * views.BLOCK * 4 - 1)
    assert np.isfinite(fit(student)[1]).all()
    monkeypatch.setattr(tr, "SHARED", 4 * 2 * views.BLOCK * 4)
    with pytest.raises(pytest.fail.Exception, match="shared"):
        fit(student)


def test_vit_b32_teaches_vit_b16(folder):
    """One teacher's forward pass and one update of the student, batch of two."""
    student = spec("vit_base_patch16_224", teachers=(spec("vit_base_patch32_224", seed=1),))
    d = data.load(student.data)
    x = views.normalise(
        views.batch_view(student.data, "train", WEAK, 0, 0, torch.tensor([0, 1])), d.mean, d.std
    )
    y, net = torch.tensor(d.train_y[:2]), tr.network(student)
    teacher = tr.network(student.teachers[0]).eval()
    with torch.inference_mode():
        heard = teacher(x)[None]
    assert (
        teacher.patch_embed.grid_size == (7, 7)
        and net.patch_embed.grid_size == (14, 14)
        and heard.shape == (1, 2, 2)
    )
    before = net.head.weight.detach().clone()
    z, loss = tr.step(net, torch.optim.SGD(net.parameters(), lr=0.01), x, y, student, heard)
    assert torch.isfinite(loss) and z.shape == (2, 2) and not torch.equal(before, net.head.weight)


# ---- networks and schedules ----------------------------------------------------------------------


def test_the_papers_networks():
    students = (
        models.build("resnet18", 3, 100, (224, 224), 0),
        models.build("resnet50", 3, 1000, (224, 224), 0),
    )
    assert [sum(w.numel() for w in net.parameters()) for net in students] == [
        11_227_812,
        25_557_032,
    ]
    assert students[0].forward_features(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)
    # a position embedding for the data's size
    small = models.build("deit_tiny_patch16_224", 1, 10, (32, 48), 0)
    assert small(torch.zeros(2, 1, 32, 48)).shape == (2, 10) and small.patch_embed.grid_size == (
        2,
        3,
    )


def test_pretrained_weights_that_cannot_be_had_are_named(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        ValueError,
        match="Pretrained weights of resnet18 cannot be had: the network is needed, or a copy in "
        "timm's cache",
    ) as caught:
        models.build("resnet18", 3, 10, (224, 224), 0, pretrained=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="pretrained = True is not allowed for resnet-16-32"):
        models.build("resnet-16-32", 3, 10, (32, 32), 0, pretrained=True)


def test_pretrained_weights_arrive_with_a_new_head(monkeypatch, tmp_path):
    """A file in place of timm's: 1,000 classes and three channels there, two classes here."""
    there = models.build("resnet18", 3, 1000, (224, 224), 5)
    torch.save(there.state_dict(), tmp_path / "weights.pth")
    create = models.timm.create_model
    monkeypatch.setattr(
        models.timm,
        "create_model",
        lambda *a, **k: create(
            *a, **k, pretrained_cfg_overlay={"file": str(tmp_path / "weights.pth")}
        ),
    )
    net = models.build("resnet18", 3, 2, (224, 224), 0, pretrained=True)
    assert torch.equal(
        net.layer4[1].conv2.weight, there.layer4[1].conv2.weight
    ) and net.fc.weight.shape == (2, 512)
    assert torch.equal(
        net.fc.weight, models.build("resnet18", 3, 2, (224, 224), 0, pretrained=True).fc.weight
    )


def test_pretrained_weights_and_schedules_have_hashes_of_their_own():
    one = spec("resnet18", data_=dataset("cifar100"))
    assert (
        not {"pretrained", "schedule", "milestones"} & set(one.model_dump(exclude_defaults=True))
        and "schedule" not in one.optim.canonical
    )
    assert spec("resnet18", data_=dataset("cifar100"), pretrained=True).hash != one.hash
    options = one.optim.model_dump() | {"schedule": "steps"}
    assert (
        len({Optim(**options).hash, Optim(**options | {"milestones": (3,)}).hash, one.optim.hash})
        == 3
    )
    with pytest.raises(
        ValueError, match="milestones = .5,. are not allowed with schedule = 'cosine'"
    ):
        Optim(**one.optim.model_dump() | {"milestones": (5,)})


def test_the_schedule_of_the_cifar100_students():
    """Guo et al. (2024), appendix A: 200 epochs, a tenth from 190 and from 195 on. In their code
    everything comes one epoch early: 0.025 in epoch 0, 0.1 in epoch 6, the drop in epoch 189; that
    is not repeated.
    """
    o = Optim(
        epochs=200,
        batch_size=128,
        lr=0.1,
        momentum=0.9,
        weight_decay=0,
        warmup=8 / 200,
        schedule="steps",
        milestones=(190, 195),
    )
    batches = 390
    rate = [
        [learning_rate(o, e * batches + b, 200 * batches) for b in (0, 200, batches - 1)]
        for e in range(200)
    ]
    assert all(len(set(r)) == 1 for r in rate)  # constant within an epoch
    rate = [r[0] for r in rate]
    assert (
        rate[:8] == pytest.approx([0.0125, 0.025, 0.0375, 0.05, 0.0625, 0.075, 0.0875, 0.1])
        and rate[8] == rate[189] == 0.1
    )
    assert rate[190:195] == pytest.approx([0.01] * 5) and rate[195:] == pytest.approx([0.001] * 5)


def test_the_schedule_of_the_cifar100_teachers():
    """60 epochs, a tenth from 25, 40 and 60 on: the last one is never reached."""
    o = Optim(
        epochs=60,
        batch_size=128,
        lr=0.1,
        momentum=0.9,
        weight_decay=0,
        warmup=8 / 60,
        schedule="steps",
        milestones=(25, 40, 60),
    )
    rate = [learning_rate(o, e, 60) for e in range(60)]
    assert rate[6:9] == pytest.approx([0.0875, 0.1, 0.1]) and rate[24:26] == pytest.approx(
        [0.1, 0.01]
    )
    assert rate[39:41] == pytest.approx([0.01, 0.001]) and min(rate) > 9e-4


@pytest.mark.parametrize("epochs, batches", [(1, 1), (3, 7), (175, 84), (7, 3)])
def test_steps_without_warm_up_or_milestones_keep_the_rate(epochs, batches):
    o = Optim(
        epochs=epochs,
        batch_size=2,
        lr=0.3,
        momentum=0,
        weight_decay=0,
        warmup=0,
        schedule="steps",
        milestones=(epochs,),
    )
    assert {learning_rate(o, s, epochs * batches) for s in range(epochs * batches)} == {0.3}
