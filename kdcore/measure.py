"""Measurements: pure functions of recorded runs, spec -> scalars (a gallery: small lists). `version` is raised when a definition changes.

Every model is measured on the same fixed draws of the same views, whole split, eval mode. Column names read
"<metric> <split> <view>", e.g. "agreement train strong".
"""

import numpy as np
import torch

from kdcore import attention as att
from kdcore import metrics
from kdcore.data import load
from kdcore.spec import Data, Inputs, Spec, View
from kdcore.train import device, fit, frozen, logits, network, train
from kdcore.views import batch_view, normalise

EVALUATION_SEED = 2_000_000_000  # views used for measuring are drawn apart from every training view

# by the recipe of the spec's own view: its views without augmentation, cropped or shifted at random, weak, strong
CIFAR, IMAGENET = ("resize", "cifar-base", "cifar-weak", "cifar-strong"), ("center-crop", "imagenet-base", "imagenet-weak", "imagenet-strong")
SMALL = ("clean", "base", "weak", "strong")


def recipe(spec: Spec) -> tuple[str, str, str, str]:
    return next(names for names in (CIFAR, IMAGENET, SMALL) if spec.view.name in names)


def clean(spec: Spec) -> View:
    """Images without augmentation, in the size that the spec's own view has."""
    return View(name=recipe(spec)[0], strength=0.0)


def base(spec: Spec) -> View:
    """Cropped or shifted at random and nothing else: the denominator of the published Affinity."""
    return View(name=recipe(spec)[1], strength=0.0)


def recorded(spec: Spec, data: Data, split: str, view: View, draws: int) -> np.ndarray:
    """Logits (draws * n, classes) on the fixed draws of a view; a clean view has one draw."""
    at = Inputs(data=data, split=split, view=view, aug_seed=EVALUATION_SEED, first=0, count=1 if view == clean(spec) else draws)
    z = logits(spec, at)
    return z.reshape(-1, z.shape[-1])


def model(spec: Spec, weak: View, strong: View, draws: int) -> dict[str, float]:
    """One model by itself, and against its teachers' mean logits where it has teachers.

    weak, strong: the fixed views beside the clean one; `draws` of each on the training images, one on the test images.
    """
    data, run, row = load(spec.data), train(spec), {}
    row["accuracy online"] = float(run.online_accuracy[-1])
    row["loss online"] = float(run.loss[-1])
    for split in ("train", "test"):
        views = {"clean": clean(spec), "weak": weak, "strong": strong} | ({"base": base(spec)} if split == "test" else {})
        for name, view in views.items():
            k = 1 if split == "test" or name == "clean" else draws
            at, labels = f"{split} {name}", np.tile(getattr(data, f"{split}_y"), k)
            z = recorded(spec, spec.data, split, view, k)
            row[f"accuracy {at}"] = metrics.correct(z, labels).mean()
            if name != "base":
                row |= alone(z, labels, at) | (against(spec, z, labels, split, view, k, at) if spec.teachers else {})
    return {k: float(f"{v:.8g}") for k, v in row.items()}


def alone(z: np.ndarray, labels: np.ndarray, at: str) -> dict[str, float]:
    return {
        f"entropy {at}": metrics.entropy(z).mean(),
        f"nll {at}": -metrics.log_softmax(z)[np.arange(len(z)), labels].mean(),
        f"ece {at}": metrics.ece(z, labels),
        f"official ece {at}": metrics.official_ece(z, labels),
    }


def against(spec: Spec, z: np.ndarray, labels: np.ndarray, split: str, view: View, draws: int, at: str) -> dict[str, float]:
    """The student's logits z against those of its teachers on the same images."""
    each = np.stack([recorded(t, spec.data, split, view, draws) for t in spec.teachers])
    mean = metrics.ensemble(each)
    t, s, classes = mean.argmax(1), z.argmax(1), z.shape[1]
    row = {
        f"teacher accuracy {at}": metrics.correct(mean, labels).mean(),
        f"teacher entropy {at}": metrics.entropy(mean).mean(),
        f"agreement {at}": metrics.agreement(mean, z).mean(),
        f"agreement where the teacher errs {at}": metrics.agreement(mean, z)[~metrics.correct(mean, labels).astype(bool)].mean(),
        f"kl {at}": metrics.kl(mean, z).mean(),
        f"kl reverse {at}": metrics.kl(z, mean).mean(),
        f"official kl {at}": metrics.official_kl(mean, z).mean(),
        f"kappa {at}": metrics.kappa(t, s, classes),
        f"mi {at}": metrics.mutual_information(t, s, classes, "plug-in"),
        f"mi miller-madow {at}": metrics.mutual_information(t, s, classes, "miller-madow"),
        f"mi shuffled {at}": metrics.shuffled_mutual_information(t, s, classes, seed=0, draws=5).mean(),
        f"official mi {at}": metrics.official_mutual_information(t, s, classes),
    }
    if spec.distill.parts:  # the teachers on what they were shown in training, halves of the student's images
        seen = metrics.ensemble(np.stack([recorded(t, spec.data, split, v, draws) for t, v in zip(spec.teachers, spec.seen_by_teachers(view))]))
        row |= {f"agreement parts {at}": metrics.agreement(seen, z).mean(), f"teacher accuracy parts {at}": metrics.correct(seen, labels).mean()}
    if len(each) > 1:
        row[f"agreement of teachers {at}"] = metrics.agreement(each[0], each[1]).mean()
        row[f"kl of teachers {at}"] = metrics.kl(each[0], each[1]).mean()
    return row


model.version = 1


def by_teacher(spec: Spec, weak: View, strong: View, draws: int) -> dict[str, float]:
    """Each teacher by itself, and the teachers' mean, on what they saw in training, against the student on its views of the training images."""
    row, labels = {}, np.tile(load(spec.data).train_y, draws)
    for name, view in {"weak": weak, "strong": strong}.items():
        z = recorded(spec, spec.data, "train", view, draws)
        seen = np.stack([recorded(t, spec.data, "train", v, draws) for t, v in zip(spec.teachers, spec.seen_by_teachers(view))])
        for k, t in enumerate(seen, 1):
            row |= {f"agreement T{k} train {name}": metrics.agreement(t, z).mean(), f"accuracy T{k} train {name}": metrics.correct(t, labels).mean()}
        mean = metrics.ensemble(seen)
        right, same = metrics.correct(mean, labels).astype(bool), metrics.agreement(mean, z)
        row |= {f"agreement where teachers are right train {name}": same[right].mean(), f"agreement where they err train {name}": same[~right].mean()}
        if len(seen) > 1:
            row[f"agreement of teachers seen train {name}"] = metrics.agreement(seen[0], seen[1]).mean()
    return {k: float(v) for k, v in row.items()}


by_teacher.version = 1


def recall(spec: Spec) -> dict[str, float]:
    """Share of each class's clean test images that are classified correctly: "recall <class number>"."""
    data = load(spec.data)
    right = metrics.correct(recorded(spec, spec.data, "test", clean(spec), 1), data.test_y)
    return {f"recall {c}": float(right[data.test_y == c].mean()) for c in range(len(data.classes))}


recall.version = 1


def reliability(spec: Spec, bins: int) -> dict[str, float]:
    """The reliability diagram on clean test images: "count b", "confidence b", "accuracy b" in bins b = 0 ... of confidence."""
    r = metrics.reliability(recorded(spec, spec.data, "test", clean(spec), 1), load(spec.data).test_y, bins)
    return {f"{name} {b}": float(values[b]) for name, values in (("count", r.count), ("confidence", r.confidence), ("accuracy", r.accuracy)) for b in range(bins)}


reliability.version = 1


def doses(spec: Spec, strengths: list[float], draws: int) -> dict[str, float]:
    """Accuracy on test images, clean and under each view: numerators and denominators of every variant of Affinity; mean of `draws` draws."""
    _, _, weak, strong = recipe(spec)
    views = {"clean": clean(spec), "base": base(spec), "weak": View(name=weak, strength=0.0)} | {f"strong {s:g}": View(name=strong, strength=s) for s in strengths}
    y, row = load(spec.data).test_y, {}
    for name, view in views.items():
        z = recorded(spec, spec.data, "test", view, draws)
        row[f"accuracy test {name}"] = float(metrics.correct(z, np.tile(y, len(z) // len(y))).mean())
    return row


doses.version = 1


def example_logits(spec: Spec, images: list[int]) -> dict[str, list]:
    """A model's logits on chosen clean test images, and the labels: "logits" (images, classes), "labels" (images,)."""
    z = recorded(spec, spec.data, "test", clean(spec), 1)[images]
    return {"logits": [[round(float(v), 4) for v in line] for line in z], "labels": load(spec.data).test_y[images].tolist()}


example_logits.version = 1


def spread(spec: Spec, view: View) -> dict[str, float]:
    """A teacher's logits on all training images in a view: quantiles of their standard deviation over classes (unbiased), and the mean
    entropy of its probabilities, nats."""
    z = recorded(spec, spec.data, "train", view, 1)
    low, median, high = np.quantile(z.std(-1, ddof=1), (0.05, 0.5, 0.95))
    return {"median": float(median), "low": float(low), "high": float(high), "entropy": float(metrics.entropy(z).mean())}


spread.version = 1


def batch_statistics(spec: Spec, weak: View, strong: View) -> dict[str, float]:
    """A teacher left in training mode: BatchNorm on the statistics of each batch of 128, against the same teacher in eval mode."""
    data, row = load(spec.data), {}
    net = network(spec, train(spec).state).train()
    for name, view in (("weak", weak), ("strong", strong)):
        with torch.no_grad():
            parts = (batch_view(spec.data, "train", view, EVALUATION_SEED, 0, index, device()) for index in torch.arange(len(data.train_y)).split(128))
            moving = torch.cat([net(normalise(part, data.mean, data.std)) for part in parts]).cpu().numpy()
        fixed = recorded(spec, spec.data, "train", view, 1)
        row |= {f"accuracy {name} eval": metrics.correct(fixed, data.train_y).mean(), f"accuracy {name} batch": metrics.correct(moving, data.train_y).mean(),
                f"agreement {name}": metrics.agreement(fixed, moving).mean(), f"kl {name}": metrics.kl(fixed, moving).mean()}
    return {k: float(v) for k, v in row.items()}


batch_statistics.version = 1


def best_epoch(spec: Spec, images: int) -> dict[str, float]:
    """What choosing the epoch on test images is worth: the run is trained again and tested after every epoch of its second half.

    Half of the `images` clean test images choose the epoch; its accuracy there is what would be reported, its accuracy on
    the other half is what it is worth. Swapped and averaged. "last": the last epoch, the same for both.
    """
    data, half = load(spec.data), spec.optim.epochs // 2
    (x, _), y = test_images(spec, clean(spec), range(images)), data.test_y[:images]
    right = []

    @torch.inference_mode()
    def look(epoch, net):
        if epoch >= half:
            net.eval()
            right.append(metrics.correct(torch.cat([net(part) for part in x.split(125)]).cpu().numpy(), y))
            net.train()

    fit(spec, after_epoch=look)
    right = np.array(right)  # (epochs, images)
    first, second = right[:, ::2].mean(1), right[:, 1::2].mean(1)
    return {
        "chosen, as reported": float((first.max() + second.max()) / 2),
        "chosen, on other images": float((second[first.argmax()] + first[second.argmax()]) / 2),
        "last": float(right[-1].mean()),
        "epochs before the last": float(len(right) - 1 - right.mean(1).argmax()),
    }


best_epoch.version = 1


def maps(spec: Spec, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Attention maps (n, h, w) of a trained model on normalised images, by kind: class activation maps of a CNN, attention of a transformer."""
    net = frozen(spec)
    kinds: dict[str, list] = {}
    for part, y in zip(x.split(125), labels.split(125)):
        if hasattr(net, "blocks"):
            attention, _ = att.vit_attention(net, part)
            found = {kind: make(attention, net.patch_embed.grid_size) for kind, make in (("cls", att.cls_attention), ("rollout", att.rollout))}
        else:
            f, weight, bias, z = att.features(net, part)
            found = {"label": att.cam(f, weight, y), "sum": att.cam_sum(f, weight, bias), "predicted": att.cam(f, weight, z.argmax(1)),
                     "grad": att.grad_cam(f, weight, y), "energy": att.energy(f)}
        for kind, m in found.items():
            kinds.setdefault(kind, []).append(m)
    return {kind: torch.cat(parts) for kind, parts in kinds.items()}


def test_images(spec: Spec, view: View, which) -> tuple[torch.Tensor, torch.Tensor]:
    """Chosen test images in a view, normalised, with their labels."""
    data, index = load(spec.data), torch.tensor(list(which), device=device())
    x = batch_view(spec.data, "test", view, EVALUATION_SEED, 0, index, device())
    return normalise(x, data.mean, data.std), torch.from_numpy(data.test_y.copy()).to(device())[index]


def enough(classes: np.ndarray, models: int) -> bool:
    """Whether each class has an image for every model, so that chance inside a class can be taken."""
    return np.unique(classes, return_counts=True)[1].min() >= max(models - 1, 2)


def attention(spec: Spec, weak: View, strong: View, images: int, threshold: float) -> dict[str, float]:
    """Where a student (S) and its teachers (T1, T2, ...) look: "<quantity> <kind of map> <models> <view>", means over the first test images.

    models      T: all teachers together (of three: triple intersection over triple union); T1-S, T2-S, ...: a teacher and the student
    iou         per image, masks at `threshold`; "pooled": as published, over batches of 128
    chance      the same with each further model's map of another image; "class chance": of another image of the same class (nan where
                a class has too few images)
    matched     masks of the 40 % highest pixels, equal in area by construction; "matched chance" likewise
    rank        Spearman's correlation of the maps, no threshold
    low, high   95 % percentile bootstrap of the mean iou over images, for this one group of networks
    area        share of the image in the mask, each model by itself
    On the weak and strong views and for teacher and student only iou and chance are taken; thresholds vary on clean images.
    """
    models = {f"T{k}": t for k, t in enumerate(spec.teachers, 1)} | {"S": spec}
    teachers = [name for name in models if name != "S"]
    groups = ({"T": teachers} if len(teachers) > 1 else {}) | {f"{t}-S": [t, "S"] for t in teachers}
    row = {}
    for view_name, view in {"clean": clean(spec), "weak": weak, "strong": strong}.items():
        x, y = test_images(spec, view, range(images))
        size = tuple(x.shape[-2:])
        small = {name: maps(model, x, y) for name, model in models.items()}
        # the k-th further model is shown the k-th next image of a round, so that no two of them see the same one
        rounds = att.other(len(y), 0), att.other(len(y), 0, classes) if enough(classes := y.cpu().numpy(), len(models)) else None

        def chance(compare, first, rest, order):
            partners, shifted = order, []
            for m in rest:
                shifted.append(m[partners])
                partners = partners[order]
            return compare(first, *shifted)

        for kind in [k for k in small["S"] if view_name == "clean" or k in ("label", "sum", "cls", "rollout")]:
            full = {name: att.rescale(att.upsample(m[kind], size)) for name, m in small.items()}
            masks = {name: att.mask(m, threshold) for name, m in full.items()}
            for group, names in groups.items():
                at = f"{kind} {group} {view_name}"
                first, *rest = (masks[n] for n in names)
                row[f"iou {at}"] = att.iou(first, *rest)
                row[f"chance {at}"] = chance(att.iou, first, rest, rounds[0])
                if view_name != "clean" or group != "T":
                    continue
                each, again = row[f"iou {at}"].cpu().numpy(), np.random.default_rng(0).integers(len(y), size=(1000, len(y)))
                row[f"low {at}"], row[f"high {at}"] = torch.from_numpy(np.quantile(each[again].mean(1), (0.025, 0.975)))
                row[f"pooled {at}"] = torch.tensor(att.pooled_iou(first, *rest))
                row[f"class chance {at}"] = torch.tensor(float("nan")) if rounds[1] is None else chance(att.iou, first, rest, rounds[1])
                top, *others = (att.mask_top(full[n], 0.4) for n in names)
                row[f"matched {at}"] = att.iou(top, *others)
                row[f"matched chance {at}"] = chance(att.iou, top, others, rounds[0])
                row[f"rank {at}"] = att.rank_correlation(*(small[n][kind] for n in names[:2]))
                if kind in ("label", "sum", "cls"):
                    for t in (0.2, 0.3, 0.5, 0.6, 0.7, 0.8):
                        one, *more = (att.mask(full[n], t) for n in names)
                        row[f"iou {at} at {t}"] = att.iou(one, *more)
                        row[f"chance {at} at {t}"] = chance(att.iou, one, more, rounds[0])
            if view_name == "clean":
                row |= {f"area {kind} {name} clean": att.area(m) for name, m in masks.items()}
    return {k: float(f"{v.double().mean():.5g}") for k, v in row.items()}


attention.version = 2


def row_sum(spec: Spec, images: int, threshold: float) -> dict[str, float]:
    """The class-summed map follows s, the sum of the head's rows, which training does not touch: how far s and the head moved from
    their initial values (relative, Frobenius norm), and what remains of the map when one random vector, as long as a typical row, is added to
    every row of the head, which changes no prediction: IoU of the network with itself, its chance level, the share of predictions kept."""
    x, y = test_images(spec, clean(spec), range(images))
    weight0, weight = (n.get_classifier().weight.detach() for n in (network(spec), frozen(spec)))
    size = tuple(x.shape[-2:])
    f, weight, bias, z = (torch.cat(parts) if k in (0, 3) else parts[0] for k, parts in enumerate(zip(*(att.features(frozen(spec), part) for part in x.split(125)))))
    shift = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(spec.model_seed)).to(weight) * weight.std()
    moved = weight + shift
    shifted = f.mean((2, 3)) @ moved.T + bias

    def mask(m):
        return att.mask(att.rescale(att.upsample(m, size)), threshold)

    before, after = mask(att.cam_sum(f, weight, bias)), mask(att.cam_sum(f, moved, bias))
    return {
        "row sum moved": float((weight.sum(0) - weight0.sum(0)).norm() / weight0.sum(0).norm()),
        "head moved": float((weight - weight0).norm() / weight0.norm()),
        "predictions kept": float((shifted.argmax(1) == z.argmax(1)).double().mean()),
        "iou of the class sum with itself": float(att.iou(before, after).mean()),
        "iou of the class sum with the negated shift": float(att.iou(before, mask(att.cam_sum(f, weight - shift, bias))).mean()),
        "chance of the class sum with itself": float(att.iou(before, after[att.other(len(y), 0)]).mean()),
        "row sum shift": float(len(weight) * shift.norm() / weight.sum(0).norm()),
    }


row_sum.version = 3


def gallery(spec: Spec, images: list[int]) -> dict[str, list]:
    """Rescaled maps of chosen clean test images by each teacher and the student: "<kind> <model>", (images, h, w) as lists of three digits."""
    x, y = test_images(spec, clean(spec), images)
    models = {f"T{k}": t for k, t in enumerate(spec.teachers, 1)} | {"S": spec}
    return {f"{kind} {name}": [[[round(float(v), 3) for v in line] for line in one] for one in att.rescale(m)]
            for name, model in models.items() for kind, m in maps(model, x, y).items()}


gallery.version = 1
