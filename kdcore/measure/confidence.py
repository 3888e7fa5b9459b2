"""Measurements of exaggerated confidence: a student and its controls on the logit-logit plot, spec
-> scalars, and the plot itself as small lists.

A student's two controls come from kdcore.design: `rerun`, its network trained on labels alone, is
put in the student's place; `third`, a model like the teacher, chooses classes and quartiles for
both. All models are asked about the same examples without augmentation, in eval mode, at
temperature 1.
"""

import numpy as np

from kdcore import metrics
from kdcore.data import load
from kdcore.design import rerun, third
from kdcore.measure import clean, measurement, on_clean, recorded
from kdcore.metrics.tilt import instrument_slope, log_odds, slope, tilt
from kdcore.spec import Spec


def versus(teacher, other, by, labels, mislabelled=None) -> dict[str, float]:
    """A model against the teacher. Logits (n, C) of the teacher, the model and a third one; labels:
    {"true": (n,), ...}; mislabelled (n,) bool or None.

    slope, shift, slope low ...    `tilt`, and mean y - x: log-odds y of the model over x of the
                                   teacher, class and quartiles chosen by the teacher
    instrument slope, third shift, third shift low ...    class and quartiles chosen by the third
                                                          model
    <label> slope ...       the class of these labels; quartiles chosen by the teacher, for
                            "instrument slope" by the third model
    shift mislabelled, shift clean    mean of y - x on the teacher's class; "third shift ..." on the
                                      third model's class
    agreement, kl           share of equal predictions; KL(teacher || model), nats
    """
    pair, chosen = (teacher, other), by.argmax(1)
    x, y = (log_odds(z, teacher.argmax(1)) for z in pair)
    row = {name.replace("_", " "): value for name, value in tilt(x, y)._asdict().items()}
    x3, y3, z3 = (log_odds(z, chosen) for z in (*pair, by))
    row |= {
        "shift": (y - x).mean(),
        "third shift": (y3 - x3).mean(),
        "instrument slope": instrument_slope(x3, y3, z3),
    }
    independent = tilt(x3, y3, z3)
    row |= {
        f"third {name.replace('_', ' ')}": getattr(independent, name)
        for name in ("shift_low", "shift_high", "below_low", "below_high")
    }
    for name, classes in labels.items():
        u, v, w = (log_odds(z, classes) for z in (*pair, by))
        of_class = tilt(u, v)
        row |= {
            f"{name} slope": of_class.slope,
            f"{name} shift low": of_class.shift_low,
            f"{name} below low": of_class.below_low,
            f"{name} instrument slope": instrument_slope(u, v, w),
        }
    if mislabelled is not None:
        for name, which in (("mislabelled", mislabelled), ("clean", ~mislabelled)):
            for choice, shift in (("", y - x), ("third ", y3 - x3)):
                row[f"{choice}shift {name}"] = shift[which].mean() if which.any() else np.nan
    return row | {"agreement": metrics.agreement(*pair).mean(), "kl": metrics.kl(*pair).mean()}


def collapsed(accuracies: dict[str, float], chance: float) -> dict[str, bool]:
    """Which models have a training accuracy nearer to chance than to the best model's: too large a
    step, or hardly any training.
    """
    return {
        name: bool(a - chance < (max(accuracies.values()) - chance) / 2)
        for name, a in accuracies.items()
    }


def models_of(spec: Spec) -> dict[str, Spec]:
    """A student of one teacher, with everything it is compared with."""
    if len(spec.teachers) != 1:
        raise ValueError(
            f"The spec has {len(spec.teachers)} teachers; log-odds are compared with those of "
            "exactly 1."
        )
    return {
        "teacher": spec.teachers[0],
        "student": spec,
        "rerun": rerun(spec),
        "third": third(spec),
    }


@measurement(
    version=1,
    needs=lambda spec: (rerun(spec), third(spec)),
    passes=lambda spec: on_clean(spec, *models_of(spec).values()),
)
def confidence(spec: Spec) -> dict[str, float]:
    """A student and its rerun against the teacher, "<statistic> <split> <student or rerun>" with
    the statistics of `versus`, splits train and test.

    accuracy train given | train true | test, and ece train | test, of all four models (training:
    given labels, for ece too)
    log-odds mislabelled, log-odds clean    the teacher's mean on its own class, training examples;
                                            nan without label noise, like all of mislabelled
    collapsed       1 where a model's training accuracy, by given or true labels, is nearer to
                    chance, the largest class's share, than to the best one's
    """
    return compared(spec, models_of(spec))


@measurement(
    version=1, passes=lambda spec, rerun, third: on_clean(spec, spec, *spec.teachers, rerun, third)
)
def confidence_with(spec: Spec, rerun: Spec, third: Spec) -> dict[str, float]:
    """As `confidence`, with a given network trained on labels alone as the rerun and a given model
    like the teacher as the third one: where a grid of runs has them already.
    """
    return compared(spec, models_of(spec) | {"rerun": rerun, "third": third})


def compared(spec: Spec, models: dict[str, Spec]) -> dict[str, float]:
    """The row of `confidence` for these four models."""
    data, row = load(spec.data), {}
    wrong = data.train_y != data.train_true
    chance = np.bincount(data.train_y).max() / len(data.train_y)
    for split in ("train", "test"):
        z = {name: recorded(m, spec.data, split, clean(spec), 1) for name, m in models.items()}
        given, true = (
            (data.train_y, data.train_true) if split == "train" else (data.test_y, data.test_y)
        )
        for name in z:
            row[f"ece {split} {name}"] = metrics.ece(z[name], given)
            for which, y in (
                {"train given": given, "train true": true} if split == "train" else {"test": given}
            ).items():
                row[f"accuracy {which} {name}"] = metrics.correct(z[name], y).mean()
        noisy = split == "train" and wrong.any()
        for name in ("student", "rerun"):
            found = versus(
                z["teacher"],
                z[name],
                z["third"],
                {"true": true} | ({"given": given} if noisy else {}),
                wrong if split == "train" else None,
            )
            row |= {f"{statistic} {split} {name}": value for statistic, value in found.items()}
        if split == "train":
            x = log_odds(z["teacher"], z["teacher"].argmax(1))
            row |= {
                "log-odds mislabelled": x[wrong].mean() if noisy else np.nan,
                "log-odds clean": x[~wrong].mean(),
            }
    failed = collapsed(
        {
            name: max(row[f"accuracy train {labels} {name}"] for labels in ("given", "true"))
            for name in models
        },
        chance,
    )
    row |= {f"collapsed {name}": failed[name] for name in models}
    return {k: float(f"{v:.8g}") for k, v in row.items()}


def cell_counts(x, y, bins: int, low: float, high: float) -> list[list[int]]:
    """Points per cell, [bin of y][bin of x], bins x bins equal cells of the square from low to
    high; what lies beyond counts in the outermost cells.
    """
    edges = np.linspace(low, high, bins + 1)
    inside = [np.clip(v, low, high) for v in (y, x)]
    return np.histogram2d(*inside, bins=(edges, edges))[0].astype(int).tolist()


def means(x, y, groups: int = 20) -> list[list[float]]:
    """[means of x, means of y] in groups of equal size by x, or one point each where there are
    fewer.
    """
    parts = np.array_split(np.argsort(x, kind="stable"), min(groups, len(x)))
    return [[round(float(v[part].mean()), 3) for part in parts] for v in (x, y)]


@measurement(
    version=1,
    needs=lambda spec: (rerun(spec),),
    passes=lambda spec, **_: on_clean(spec, spec, *spec.teachers, rerun(spec)),
)
def density(spec: Spec, bins: int, low: float, high: float) -> dict[str, list]:
    """The logit-logit plot of a student and of its rerun on the teacher's class: "<split> <student
    or rerun>" as `counts`, "mean ..." as `means`, "line ..." [slope, intercept] of least squares,
    "beyond ..." the share of points outside the square; with label noise "train ... mislabelled".
    """
    data, models, row = load(spec.data), models_of(spec), {}
    wrong = data.train_y != data.train_true
    for split in ("train", "test"):
        z = {
            name: recorded(m, spec.data, split, clean(spec), 1)
            for name, m in models.items()
            if name != "third"
        }
        chosen = z["teacher"].argmax(1)
        x = log_odds(z["teacher"], chosen)
        for name in ("student", "rerun"):
            at, y = f"{split} {name}", log_odds(z[name], chosen)
            m = slope(x, y)
            row |= {
                at: cell_counts(x, y, bins, low, high),
                f"mean {at}": means(x, y),
                f"line {at}": [round(v, 4) for v in (m, float(y.mean() - m * x.mean()))],
                f"beyond {at}": float(
                    np.mean((np.minimum(x, y) < low) | (np.maximum(x, y) > high))
                ),
            }
            if split == "train" and wrong.any():
                row[f"{at} mislabelled"] = cell_counts(x[wrong], y[wrong], bins, low, high)
    return row
