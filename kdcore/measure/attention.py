"""Measurements of where networks look: spec -> scalars, and a gallery of small lists."""

import numpy as np
import torch

from kdcore.data import load, photographs
from kdcore.data.views import batch_view, normalise
from kdcore.measure import EVALUATION_SEED, Passes, clean, measurement
from kdcore.metrics import saliency as att
from kdcore.spec import Spec, View
from kdcore.train import device, frozen, network


def maps(spec: Spec, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Attention maps (n, h, w) of a trained model on normalised images, by kind: class activation
    maps of a CNN, attention of a transformer.
    """
    net = frozen(spec)
    kinds: dict[str, list] = {}
    for part, y in zip(x.split(125), labels.split(125)):
        if isinstance(net, att.VisionTransformer):
            attention, _ = att.vit_attention(net, part)
            grid, prefix = att.patch_grid(net, part), net.num_prefix_tokens
            found = {
                kind: make(attention, grid, prefix)
                for kind, make in (("cls", att.cls_attention), ("rollout", att.rollout))
            }
        else:
            f, weight, bias, z = att.features(net, part)
            found = {
                "label": att.cam(f, weight, y),
                "sum": att.cam_sum(f, weight, bias),
                "predicted": att.cam(f, weight, z.argmax(1)),
                "grad": att.grad_cam(f, weight, y),
                "energy": att.energy(f),
            }
        for kind, m in found.items():
            kinds.setdefault(kind, []).append(m)
    return {kind: torch.cat(parts) for kind, parts in kinds.items()}


def test_images(spec: Spec, view: View, which) -> tuple[torch.Tensor, torch.Tensor]:
    """Chosen test images in a view, normalised, with their labels."""
    data, index = load(spec.data), torch.tensor(list(which), device=device())
    x = batch_view(spec.data, "test", view, EVALUATION_SEED, 0, index, device())
    return normalise(x, data.mean, data.std), torch.from_numpy(data.test_y.copy()).to(device())[
        index
    ]


def teachers_and_student(spec: Spec) -> dict[str, Spec]:
    """A student and its teachers by the names they have in the tables."""
    return {f"T{k}": t for k, t in enumerate(spec.teachers, 1)} | {"S": spec}


def by_chance(masks: list[torch.Tensor], order: torch.Tensor) -> torch.Tensor:
    """IoU of the first model's mask with the others' of other images: the k-th further model is
    shown the k-th next image of a round, so that no two of them see the same one.
    """
    first, *rest = masks
    shifted, partners = [], order
    for m in rest:
        shifted.append(m[partners])
        partners = partners[order]
    return att.iou(first, *shifted)


def enough(classes: np.ndarray, models: int) -> bool:
    """Whether each class has an image for every model: then chance inside a class can be taken."""
    return np.unique(classes, return_counts=True)[1].min() >= max(models - 1, 2)


def seen_in(views: int):
    """What a student and its teachers are shown: so many test images in so many views."""
    return lambda spec, images, **_: Passes(
        (spec, *spec.teachers), images=views * (images if isinstance(images, int) else len(images))
    )


@measurement(version=2, passes=seen_in(3))
def attention(
    spec: Spec, weak: View, strong: View, images: int, threshold: float
) -> dict[str, float]:
    """Where a student (S) and its teachers (T1, T2, ...) look: "<quantity> <kind of map> <models>
    <view>", means over the first test images.

    models      T: all teachers together (of three: triple intersection over triple union); T1-S,
                T2-S, ...: a teacher and the student
    iou         per image, masks at `threshold`; "pooled": as published, over batches of 128
    chance      the same with each further model's map of another image; "class chance": of another
                image of the same class (nan where a class has too few images)
    matched     masks of the 40 % highest pixels, equal in area by construction; "matched chance"
                likewise
    rank        Spearman's correlation of the maps, no threshold
    low, high   95 % percentile bootstrap of the mean iou over images, for this one group of
                networks
    area        share of the image in the mask, each model by itself
    On the weak and strong views and for teacher and student only iou and chance are taken;
    thresholds vary on clean images.
    """
    models = teachers_and_student(spec)
    teachers = [name for name in models if name != "S"]
    groups = ({"T": teachers} if len(teachers) > 1 else {}) | {f"{t}-S": [t, "S"] for t in teachers}
    row = {}
    for view_name, view in {"clean": clean(spec), "weak": weak, "strong": strong}.items():
        x, y = test_images(spec, view, range(images))
        size = tuple(x.shape[-2:])
        small = {name: maps(model, x, y) for name, model in models.items()}
        classes = y.cpu().numpy()
        other = att.other(len(y), 0)
        alike = att.other(len(y), 0, classes) if enough(classes, len(models)) else None
        again = np.random.default_rng(0).integers(len(y), size=(1000, len(y)))
        for kind in [
            k for k in small["S"] if view_name == "clean" or k in ("label", "sum", "cls", "rollout")
        ]:
            full = {name: att.rescale(att.upsample(m[kind], size)) for name, m in small.items()}
            masks = {name: att.mask(m, threshold) for name, m in full.items()}
            for group, names in groups.items():
                at = f"{kind} {group} {view_name}"
                theirs = [masks[n] for n in names]
                row[f"iou {at}"], row[f"chance {at}"] = att.iou(*theirs), by_chance(theirs, other)
                if view_name != "clean" or group != "T":
                    continue
                row[f"low {at}"], row[f"high {at}"] = torch.from_numpy(
                    np.quantile(row[f"iou {at}"].cpu().numpy()[again].mean(1), (0.025, 0.975))
                )
                row[f"pooled {at}"] = torch.tensor(att.pooled_iou(*theirs))
                row[f"class chance {at}"] = (
                    torch.tensor(float("nan")) if alike is None else by_chance(theirs, alike)
                )
                top = [att.mask_top(full[n], 0.4) for n in names]
                row[f"matched {at}"] = att.iou(*top)
                row[f"matched chance {at}"] = by_chance(top, other)
                row[f"rank {at}"] = att.rank_correlation(*(small[n][kind] for n in names[:2]))
                for t in (0.2, 0.3, 0.5, 0.6, 0.7, 0.8) if kind in ("label", "sum", "cls") else ():
                    cut = [att.mask(full[n], t) for n in names]
                    row[f"iou {at} at {t}"] = att.iou(*cut)
                    row[f"chance {at} at {t}"] = by_chance(cut, other)
            if view_name == "clean":
                row |= {f"area {kind} {name} clean": att.area(m) for name, m in masks.items()}
    return {k: float(f"{v.double().mean():.5g}") for k, v in row.items()}


@measurement(version=3, passes=seen_in(1))
def row_sum(spec: Spec, images: int, threshold: float) -> dict[str, float]:
    """The class-summed map follows s, the sum of the head's rows, which training does not touch:
    how far s and the head moved from their initial values (relative, Frobenius norm), and what
    remains of the map when one random vector, as long as a typical row, is added to every row of
    the head, which changes no prediction: IoU of the network with itself, its chance level, the
    share of predictions kept.
    """
    x, y = test_images(spec, clean(spec), range(images))
    weight0, size = network(spec).get_classifier().weight.detach(), tuple(x.shape[-2:])
    f, weight, bias, z = zip(*(att.features(frozen(spec), part) for part in x.split(125)))
    f, weight, bias, z = torch.cat(f), weight[0], bias[0], torch.cat(z)
    shift = (
        torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(spec.model_seed)).to(
            weight
        )
        * weight.std()
    )
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
        "iou of the class sum with the negated shift": float(
            att.iou(before, mask(att.cam_sum(f, weight - shift, bias))).mean()
        ),
        "chance of the class sum with itself": float(
            att.iou(before, after[att.other(len(y), 0)]).mean()
        ),
        "row sum shift": float(len(weight) * shift.norm() / weight.sum(0).norm()),
    }


@measurement(version=1, passes=seen_in(1))
def gallery(spec: Spec, images: list[int]) -> dict[str, list]:
    """Rescaled maps of chosen clean test images by each teacher and the student: "<kind> <model>",
    (images, h, w) as lists of three digits.
    """
    x, y = test_images(spec, clean(spec), images)
    return {
        f"{kind} {name}": [
            [[round(float(v), 3) for v in line] for line in one] for one in att.rescale(m)
        ]
        for name, model in teachers_and_student(spec).items()
        for kind, m in maps(model, x, y).items()
    }


@measurement(
    version=1, passes=lambda spec: Passes((spec, *spec.teachers), images=len(photographs.NAMES))
)
def portraits(spec: Spec) -> dict[str, list]:
    """What a student (S) and its teachers (T1, T2, ...), CNNs, make of the photographs of
    kdcore.data.photographs:

    predicted, probability   of each model and photograph: the class, its probability
    kept                     whether the shifted head, see below, predicts the same class
    label                    class activation map of that class, rescaled to 0 ... 1, (photographs,
                             h, w) as lists of three digits
    sum, sum of the shifted head     the class-summed map, before it is rescaled, of the head as
                                     trained and of one to whose rows one vector is added, as long
                                     as a typical row: the same predictions. Maps in between belong
                                     to parts of the vector: the class-summed map is linear in the
                                     head.
    """
    data, row = load(spec.data), {}
    x = torch.from_numpy(photographs.reduced(*data.train_x.shape[1:])).to(device())
    x = normalise(x, data.mean, data.std)
    for name, model in teachers_and_student(spec).items():
        f, weight, bias, z = att.features(frozen(model), x)
        shift = (
            torch.randn(
                weight.shape[1], generator=torch.Generator().manual_seed(model.model_seed)
            ).to(weight)
            * weight.std()
        )
        kept = (f.mean((2, 3)) @ (weight + shift).T + bias).argmax(1) == z.argmax(1)
        row[f"kept {name}"] = kept.tolist()
        row[f"predicted {name}"] = [data.classes[c] for c in z.argmax(1)]
        row[f"probability {name}"] = [round(float(q), 4) for q in z.softmax(1).max(1).values]
        maps = {
            "label": att.rescale(att.cam(f, weight, z.argmax(1))),
            "sum": att.cam_sum(f, weight, bias),
            "sum of the shifted head": att.cam_sum(f, weight + shift, bias),
        }
        row |= {
            f"{kind} {name}": [
                [[float(f"{v:.4g}") for v in line] for line in one] for one in m.tolist()
            ]
            for kind, m in maps.items()
        }
    return row
