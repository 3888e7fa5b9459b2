"""What models say of images: accuracy, gap, calibration, and fidelity to their teachers."""

import numpy as np
import torch

from kdcore import metrics
from kdcore.data import load
from kdcore.data.views import batch_view, normalise
from kdcore.measure import (
    EVALUATION_SEED,
    Passes,
    base,
    clean,
    measurement,
    of_teachers,
    on_clean,
    recipe,
    recorded,
)
from kdcore.spec import Spec, View
from kdcore.train import device, fit, forward, network, train


def of_model(spec: Spec, weak: View, strong: View, draws: int) -> Passes:
    """What `model` asks for."""
    seen = [clean(spec), weak, strong]
    looks = [("train", view, draws) for view in seen]
    looks += [("test", view, 1) for view in (*seen, base(spec))]
    return Passes((spec, *spec.teachers), tuple(looks))


@measurement(version=1, passes=of_model)
def model(spec: Spec, weak: View, strong: View, draws: int) -> dict[str, float]:
    """One model by itself, and against its teachers' mean logits where it has teachers.

    weak, strong: the fixed views beside the clean one; `draws` of each on the training images, one
    on the test images.
    """
    data, run, row = load(spec.data), train(spec), {}
    row["accuracy online"] = float(run.online_accuracy[-1])
    row["loss online"] = float(run.loss[-1])
    for split in ("train", "test"):
        views = {"clean": clean(spec), "weak": weak, "strong": strong} | (
            {"base": base(spec)} if split == "test" else {}
        )
        for name, view in views.items():
            k = 1 if split == "test" or name == "clean" else draws
            at, labels = f"{split} {name}", np.tile(getattr(data, f"{split}_y"), k)
            z = recorded(spec, spec.data, split, view, k)
            row[f"accuracy {at}"] = metrics.correct(z, labels).mean()
            if name != "base":
                row |= alone(z, labels, at) | (
                    against(spec, z, labels, split, view, k, at) if spec.teachers else {}
                )
    return {k: float(f"{v:.8g}") for k, v in row.items()}


def alone(z: np.ndarray, labels: np.ndarray, at: str) -> dict[str, float]:
    """What one model's logits say by themselves: entropy and cross-entropy with the labels (nats),
    calibration error here and as published.
    """
    return {
        f"entropy {at}": metrics.entropy(z).mean(),
        f"nll {at}": -metrics.log_softmax(z)[np.arange(len(z)), labels].mean(),
        f"ece {at}": metrics.ece(z, labels),
        f"official ece {at}": metrics.official_ece(z, labels),
    }


def against(
    spec: Spec, z: np.ndarray, labels: np.ndarray, split: str, view: View, draws: int, at: str
) -> dict[str, float]:
    """The student's logits z against those of its teachers on the same images."""
    each = of_teachers(spec, split, [view] * len(spec.teachers), draws)
    mean = metrics.ensemble(each)
    t, s, classes = mean.argmax(1), z.argmax(1), z.shape[1]
    row = {
        f"teacher accuracy {at}": metrics.correct(mean, labels).mean(),
        f"teacher entropy {at}": metrics.entropy(mean).mean(),
        f"agreement {at}": metrics.agreement(mean, z).mean(),
        f"agreement where the teacher errs {at}": metrics.agreement(mean, z)[
            ~metrics.correct(mean, labels).astype(bool)
        ].mean(),
        f"kl {at}": metrics.kl(mean, z).mean(),
        f"kl reverse {at}": metrics.kl(z, mean).mean(),
        f"official kl {at}": metrics.official_kl(mean, z).mean(),
        f"kappa {at}": metrics.kappa(t, s, classes),
        f"mi {at}": metrics.mutual_information(t, s, classes, "plug-in"),
        f"mi miller-madow {at}": metrics.mutual_information(t, s, classes, "miller-madow"),
        f"mi shuffled {at}": metrics.shuffled_mutual_information(
            t, s, classes, seed=0, draws=5
        ).mean(),
        f"official mi {at}": metrics.official_mutual_information(t, s, classes),
    }
    # the teachers on what they were shown in training, halves of the student's images
    if spec.distill.parts:
        seen = metrics.ensemble(of_teachers(spec, split, spec.seen_by_teachers(view), draws))
        row |= {
            f"agreement parts {at}": metrics.agreement(seen, z).mean(),
            f"teacher accuracy parts {at}": metrics.correct(seen, labels).mean(),
        }
    if len(each) > 1:
        row[f"agreement of teachers {at}"] = metrics.agreement(each[0], each[1]).mean()
        row[f"kl of teachers {at}"] = metrics.kl(each[0], each[1]).mean()
    return row


@measurement(
    version=1,
    passes=lambda spec, weak, strong, draws: Passes(
        (spec, *spec.teachers), (("train", weak, draws), ("train", strong, draws))
    ),
)
def by_teacher(spec: Spec, weak: View, strong: View, draws: int) -> dict[str, float]:
    """Each teacher by itself, and the teachers' mean, on what they saw in training, against the
    student on its views of the training images.
    """
    row, labels = {}, np.tile(load(spec.data).train_y, draws)
    for name, view in {"weak": weak, "strong": strong}.items():
        z = recorded(spec, spec.data, "train", view, draws)
        seen = of_teachers(spec, "train", spec.seen_by_teachers(view), draws)
        for k, t in enumerate(seen, 1):
            row |= {
                f"agreement T{k} train {name}": metrics.agreement(t, z).mean(),
                f"accuracy T{k} train {name}": metrics.correct(t, labels).mean(),
            }
        mean = metrics.ensemble(seen)
        right, same = metrics.correct(mean, labels).astype(bool), metrics.agreement(mean, z)
        row |= {
            f"agreement where teachers are right train {name}": same[right].mean(),
            f"agreement where they err train {name}": same[~right].mean(),
        }
        if len(seen) > 1:
            row[f"agreement of teachers seen train {name}"] = metrics.agreement(
                seen[0], seen[1]
            ).mean()
    return {k: float(v) for k, v in row.items()}


@measurement(version=1, passes=lambda spec, **_: on_clean(spec, splits=["test"]))
def recall(spec: Spec) -> dict[str, float]:
    """Share of each class's clean test images that are classified correctly: "recall <class
    number>".
    """
    data = load(spec.data)
    right = metrics.correct(recorded(spec, spec.data, "test", clean(spec), 1), data.test_y)
    return {f"recall {c}": float(right[data.test_y == c].mean()) for c in range(len(data.classes))}


@measurement(version=1, passes=lambda spec, **_: on_clean(spec, splits=["test"]))
def reliability(spec: Spec, bins: int) -> dict[str, float]:
    """The reliability diagram on clean test images: "count b", "confidence b", "accuracy b" in bins
    b = 0 ... of confidence.
    """
    r = metrics.reliability_bins(
        recorded(spec, spec.data, "test", clean(spec), 1), load(spec.data).test_y, bins
    )
    columns = {"count": r.count, "confidence": r.confidence, "accuracy": r.accuracy}
    return {
        f"{name} {b}": float(values[b]) for name, values in columns.items() for b in range(bins)
    }


def dosed(spec: Spec, strengths: list[float]) -> dict[str, View]:
    """The views of `doses` by their names."""
    _, _, weak, strong = recipe(spec)
    views = {"clean": clean(spec), "base": base(spec), "weak": View(name=weak, strength=0.0)}
    return views | {f"strong {s:g}": View(name=strong, strength=s) for s in strengths}


@measurement(
    version=1,
    passes=lambda spec, strengths, draws: Passes(
        (spec,), tuple(("test", view, draws) for view in dosed(spec, strengths).values())
    ),
)
def doses(spec: Spec, strengths: list[float], draws: int) -> dict[str, float]:
    """Accuracy on test images, clean and under each view: numerators and denominators of every
    variant of Affinity; mean of `draws` draws.
    """
    y, row = load(spec.data).test_y, {}
    for name, view in dosed(spec, strengths).items():
        z = recorded(spec, spec.data, "test", view, draws)
        row[f"accuracy test {name}"] = float(
            metrics.correct(z, np.tile(y, len(z) // len(y))).mean()
        )
    return row


@measurement(version=1, passes=lambda spec, **_: on_clean(spec, splits=["test"]))
def example_logits(spec: Spec, images: list[int]) -> dict[str, list]:
    """A model's logits on chosen clean test images, and the labels: "logits" (images, classes),
    "labels" (images,).
    """
    z = recorded(spec, spec.data, "test", clean(spec), 1)[images]
    return {
        "logits": [[round(float(v), 4) for v in line] for line in z],
        "labels": load(spec.data).test_y[images].tolist(),
    }


@measurement(version=1, passes=lambda spec, view: Passes((spec,), (("train", view, 1),)))
def spread(spec: Spec, view: View) -> dict[str, float]:
    """A teacher's logits on all training images in a view: quantiles of their standard deviation
    over classes (unbiased), and the mean entropy of its probabilities, nats.
    """
    z = recorded(spec, spec.data, "train", view, 1)
    low, median, high = np.quantile(z.std(-1, ddof=1), (0.05, 0.5, 0.95))
    return {
        "median": float(median),
        "low": float(low),
        "high": float(high),
        "entropy": float(metrics.entropy(z).mean()),
    }


@measurement(
    version=1,
    passes=lambda spec, weak, strong: Passes(
        (spec,), (("train", weak, 1), ("train", strong, 1)), images=2 * len(load(spec.data).train_y)
    ),
)
def batch_statistics(spec: Spec, weak: View, strong: View) -> dict[str, float]:
    """A teacher left in training mode: BatchNorm on the statistics of each batch of 128, against
    the same teacher in eval mode.
    """
    data, row = load(spec.data), {}
    net = network(spec, train(spec).state).train()
    for name, view in (("weak", weak), ("strong", strong)):
        with torch.no_grad():
            parts = (
                batch_view(spec.data, "train", view, EVALUATION_SEED, 0, index, device())
                for index in torch.arange(len(data.train_y)).split(128)
            )
            moving = (
                torch.cat([net(normalise(part, data.mean, data.std)) for part in parts])
                .cpu()
                .numpy()
            )
        fixed = recorded(spec, spec.data, "train", view, 1)
        row |= {
            f"accuracy {name} eval": metrics.correct(fixed, data.train_y).mean(),
            f"accuracy {name} batch": metrics.correct(moving, data.train_y).mean(),
            f"agreement {name}": metrics.agreement(fixed, moving).mean(),
            f"kl {name}": metrics.kl(fixed, moving).mean(),
        }
    return {k: float(v) for k, v in row.items()}


@measurement(
    version=1,
    passes=lambda spec, images: Passes(
        (spec,), images=images * (spec.optim.epochs - spec.optim.epochs // 2), again=(spec,)
    ),
)
def best_epoch(spec: Spec, images: int) -> dict[str, float]:
    """What choosing the epoch on test images is worth: the run is trained again and tested after
    every epoch of its second half.

    Half of the `images` clean test images choose the epoch; its accuracy there is what would be
    reported, its accuracy on the other half is what it is worth. Swapped and averaged. "last": the
    last epoch, the same for both.
    """
    data, half = load(spec.data), spec.optim.epochs // 2
    x = batch_view(
        spec.data,
        "test",
        clean(spec),
        EVALUATION_SEED,
        0,
        torch.arange(images, device=device()),
        device(),
    )
    right = []

    def look(epoch, net):
        if epoch >= half:
            right.append(
                metrics.correct(
                    forward(net.eval(), x, data.mean, data.std).cpu().numpy(), data.test_y[:images]
                )
            )
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
