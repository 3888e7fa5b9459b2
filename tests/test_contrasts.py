"""The statistics of claims about trials, on tables small enough for a calculation by hand."""

import numpy as np
import pandas as pd
import pytest

from kdcore import stats
from kdcore.book import claims, contrasts
from kdcore.book.contrasts import published

TEACHERS = {"ww": 0.0, "ws": 1.0, "ss": 3.0}


def table(seeds=(0, 1)):
    """Students whose accuracy is 50 % + 2 points on strong views + teachers' points + a tenth of a
    point per seed; three one-hot students of each view.
    """
    rows = []
    for seed in seeds:
        for view, gain in (("Sw", 0.0), ("Ss", 2.0)):
            kinds = [("vanilla", t, more) for t, more in TEACHERS.items()] + [
                ("one-hot", "–", x) for x in (-4.0, -5.0, -6.0)
            ]
            kinds += [("z-same", "ws", -1.0), ("z-sun", "ws", -2.0)]
            kinds += (
                [
                    ("dealt within the class", "ww", -3.0),
                    ("dealt across all", "ww", -4.5),
                    ("vanilla", "w", -0.5),
                ]
                if view == "Sw"
                else []
            )
            for loss, teachers, more in kinds:
                points = 50 + gain + more + seed / 10
                row = dict(seed=seed, loss=loss, teachers=teachers, view=view)
                row |= {
                    "accuracy test clean": points / 100,
                    "accuracy train clean": (points + 10 + 2 * gain) / 100,
                    "accuracy online": (points + 8) / 100,
                }
                for metric in ("agreement", "kl", "mi", "kappa"):
                    row |= {
                        f"{metric} train weak": (points - 20) / 100,
                        f"{metric} train strong": (points - 25) / 100,
                        f"{metric} test clean": points / 100,
                    }
                rows.append(row | {"ece test clean": 0.1, "entropy test clean": 2.0})
    return contrasts.quantities(pd.DataFrame(rows))


def same(series, value):
    assert series.tolist() == pytest.approx([value] * len(series)) and len(series) == 2


def test_contrasts_by_hand():
    runs = table()
    same(contrasts.view_effect(runs, "accuracy"), 2.0)
    same(contrasts.view_effect(runs, "gap"), 4.0)
    # 2 of the views, 5 less because the ruler is harder
    same(contrasts.view_effect(runs, "agreement own"), -3.0)
    same(contrasts.view_effect(runs, "agreement mean"), 2.0)
    same(contrasts.teacher_effect(runs, "accuracy"), 3.0)
    same(contrasts.loss_effect(runs, "accuracy", "z-same"), -2.0)
    same(contrasts.gain(runs, ("one-hot", "–")), 5.0)  # the mean of three
    same(contrasts.gain(runs, ("vanilla", "w")), 0.5)


def test_nats_stay_nats_and_shares_become_points():
    runs = table()
    assert contrasts.cell(runs, "accuracy", "vanilla", "ww", "Sw").tolist() == pytest.approx(
        [50.0, 50.1]
    )
    assert contrasts.cell(runs, "kl clean", "vanilla", "ww", "Sw").tolist() == pytest.approx(
        [0.5, 0.501]
    )


def test_a_seed_without_one_of_the_compared_students_is_no_seed_of_the_contrast():
    runs = table((0, 1, 2))
    runs = runs[~((runs["seed"] == 2) & (runs["loss"] == "z-same") & (runs["view"] == "Ss"))]
    assert contrasts.loss_effect(runs, "accuracy", "z-same").index.tolist() == [0, 1]


def test_divergence_is_overlap_beyond_chance():
    maps = pd.DataFrame(
        [
            dict(seed=s, teachers=t)
            | {
                "iou sum T clean": 0.5 + x,
                "chance sum T clean": 0.4,
                "matched sum T clean": 0.6 - x,
                "matched chance sum T clean": 0.5,
            }
            for s in (0, 1)
            for t, x in (("ww", 0.1), ("ws", 0.0), ("ss", 0.3))
        ]
    )
    same(contrasts.divergence(maps, "sum"), -0.2)
    same(contrasts.divergence(maps, "sum", "matched"), 0.2)
    same(contrasts.divergence(maps, "sum", pairs=("ss", ("ww",))), 0.2)


def test_every_primary_contrast_is_a_claim_with_these_controls():
    numbers = {
        f"{what} {kind} T clean": 0.5
        for what in ("iou", "chance", "matched", "matched chance")
        for kind in ("sum", "label")
    }
    maps = pd.DataFrame([dict(seed=s, teachers=t) | numbers for s in (0, 1) for t in TEACHERS])
    slopes = {
        f"instrument slope {split} {who}": value
        for split, value in (("train", 1.3), ("test", 0.9))
        for who in ("student", "rerun")
    }
    tilts = pd.DataFrame([dict(seed=s) | slopes for s in (0, 1)])
    found = contrasts.primary(table(), maps, {4: tilts, 1: tilts})
    written = {
        c.id.removeprefix("photographs-"): c.controls
        for c in claims.load()
        if c.chapter == "cifar100"
    }
    assert {name: tuple(controls) for name, (_, controls) in found.items()} == written
    assert all(
        np.isfinite(series).all() and len(series) == 2
        for effect, controls in found.values()
        for series in (effect, *controls.values())
    )
    same(found["slope-train-4"][0], 0.3)
    same(found["slope-train-4"][1]["minus the rerun"], 0.0)
    same(found["gain-labels"][1]["minus dealt within the class"], 3.0)
    assert set(
        contrasts.primary(
            table().query("loss in ('vanilla', 'one-hot') and teachers != 'w'"), None, {4: None}
        )
    ) == {
        "view-fidelity",
        "teacher-fidelity",
        "view-accuracy",
        "view-gap-online",
        "view-gap-clean",
        "gain-labels",
    }


def test_on_the_garments_the_same_functions_give_the_published_verdicts():
    """What is asked on photographs, asked of the published rows of garments: where a claim of the
    chapters on garments has the same statistic, its numbers are those of verdicts.json.
    """
    found = contrasts.primary(*published.garments())
    lines = {line["id"]: line for line in claims.published()["claims"]}
    for name, twin in {
        "view-fidelity": "guo-fidelity",
        "view-accuracy": "guo-accuracy",
        "view-gap-online": "guo-gap",
        "slope-train-4": "nagarajan-confidence-images",
        "slope-test-4": "nagarajan-confidence-images-test",
    }.items():
        effect = stats.mean_interval(found[name][0].to_numpy())
        assert effect.n == lines[twin]["n"]
        assert effect.estimate == pytest.approx(lines[twin]["estimate"], abs=1e-9), name
        assert effect.low == pytest.approx(lines[twin]["ci_low"], abs=1e-9), name
