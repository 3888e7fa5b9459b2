"""The statistics of claims about where networks look, on tables small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest

from kdcore.book.contrasts import overlap

IOU = {"ww": 0.6, "ws": 0.4, "sw": 0.5, "ss": 0.8}
POINTS = {"ww": 70.0, "ws": 73.0, "sw": 74.0, "ss": 75.0}


def students(seeds=(3, 1), pairs=IOU):
    """Students of both views, seeds and views not in order. Teachers overlap as in IOU and a tenth
    more per seed, by chance 0.1 per teacher of weak views; of strong views students are 2 points
    better.
    """
    rows = []
    for seed in seeds:
        for view in ("Ss", "Sw"):
            for pair in pairs:
                weak = pair.count("w")
                row = dict(seed=seed, teachers=pair, view=view, spec=f"{seed} {pair} {view}")
                row |= {
                    "iou label T clean": IOU[pair] + seed / 10,
                    "chance label T clean": weak / 10,
                    "class chance label T clean": weak / 10 + 0.05,
                    "matched label T clean": IOU[pair],
                    "matched chance label T clean": 0.3,
                    "iou sum T clean": 0.9,
                    "iou label T clean at 0.2": 0.95,
                    "iou label T weak": 0.21,
                    "iou label T strong": 0.22,
                    "iou sum T weak": 0.31,
                    "iou sum T strong": 0.32,
                    "iou label T1-S clean": 0.5 + seed / 10,
                    "chance label T1-S clean": 0.2 if view == "Ss" else 0.1,
                    "iou label T2-S clean": 0.7,
                    "chance label T2-S clean": 0.4,
                    "accuracy": (POINTS[pair] + seed + 2 * (view == "Ss")) / 100,
                }
                rows.append(row)
    return pd.DataFrame(rows)


def is_series(series, by_seed):
    assert dict(series) == pytest.approx(by_seed)


# --- tables by seed and pair ---


def test_overlap_beyond_chance_takes_the_chance_of_its_own_kind():
    table = students()
    is_series(overlap.by_pair(table, "iou")["ws"], {1: 0.5, 3: 0.7})
    is_series(overlap.by_pair(table, "excess")["ws"], {1: 0.4, 3: 0.6})
    is_series(overlap.by_pair(table, "class excess")["ww"], {1: 0.45, 3: 0.65})
    is_series(overlap.by_pair(table, "matched excess")["ss"], {1: 0.5, 3: 0.5})
    is_series(overlap.by_pair(table, "iou", "sum")["ws"], {1: 0.9, 3: 0.9})
    is_series(overlap.by_pair(table, "iou", view="strong")["ws"], {1: 0.22, 3: 0.22})
    is_series(overlap.by_pair(table, "iou", view="clean at 0.2")["ws"], {1: 0.95, 3: 0.95})


def test_accuracies_are_points_and_the_mean_of_both_views():
    is_series(overlap.accuracy(students())["ws"], {1: 75.0, 3: 77.0})


def test_mixed_and_strong_have_the_sign_of_their_names():
    table, points = overlap.by_pair(students(), "iou"), overlap.accuracy(students())
    is_series(overlap.mixed(table), {1: -0.25, 3: -0.25})  # 0.45 less the mean of 0.6 and 0.8
    is_series(overlap.strong(table), {1: 0.2, 3: 0.2})
    is_series(overlap.mixed(points), {1: 1.0, 3: 1.0})
    is_series(overlap.mixed(points, ["ss"]), {1: -1.5, 3: -1.5})
    is_series(overlap.mixed(points, ["ww"]), {1: 3.5, 3: 3.5})


def test_where_one_order_of_different_teachers_was_measured_it_stands_for_both():
    table = overlap.by_pair(students(pairs=("ww", "ws", "ss")), "iou")
    is_series(overlap.mixed(table), {1: -0.3, 3: -0.3})


def test_seeds_are_paired_by_name_and_not_by_place():
    table = students()
    shuffled = table.sample(frac=1, random_state=0)
    for statistic in (overlap.mixed, overlap.strong, overlap.over_pairs):
        is_series(
            statistic(overlap.by_pair(shuffled, "excess")),
            dict(statistic(overlap.by_pair(table, "excess"))),
        )


def test_a_seed_without_one_of_the_pairs_has_no_contrast():
    table = students()
    table = table[~((table["seed"] == 3) & (table["teachers"] == "ss"))]
    assert overlap.strong(overlap.by_pair(table, "iou")).dropna().index.tolist() == [1]


def test_chance_is_the_mean_over_pairs():
    is_series(overlap.over_pairs(overlap.by_pair(students(), "chance")), {1: 0.1, 3: 0.1})


def test_the_slope_is_on_the_dose_and_not_on_its_number():
    table = pd.DataFrame({"strong": [0.8, 0.3], "weak": [0.6, 0.3], "0.25": [0.65, 0.3]}, [3, 1])
    doses = {"weak": 0.0, "0.25": 0.25, "strong": 1.0}
    is_series(overlap.slope_on_dose(table, doses), {3: 0.2, 1: 0.0})


# --- students and networks ---


def test_a_student_overlaps_beyond_chance_with_the_teacher_that_is_asked_for():
    table = students()
    first, second = (overlap.with_teacher(table, k, "ws", "Ss") for k in (1, 2))
    is_series(first, {1: 0.4, 3: 0.6})
    is_series(first - second, {1: 0.1, 3: 0.3})
    is_series(overlap.with_teacher(table, 1, "ws", "Sw"), {1: 0.5, 3: 0.7})


def test_the_class_sum_moved_by_what_is_left_of_one():
    heads = pd.DataFrame(
        {"seed": [1, 1, 0], "iou of the class sum with itself": [0.4, 0.6, 0.7], "x": 0.0}
    )
    is_series(overlap.class_sum_moved(heads), {0: 0.3, 1: 0.5})


def outputs():
    """What kdcore.measure.outputs.model says of `students`, in another order of rows."""
    labels = students()[["seed", "teachers", "view", "spec"]]
    numbers = {
        f"{metric} {split}": 0.5
        for metric in ("agreement", "kl", "mi", "kappa")
        for split in ("train weak", "train strong", "test clean")
    }
    numbers |= {"agreement train strong": 0.4, "ece test clean": 0.1, "entropy test clean": 2.0}
    numbers |= {"accuracy train clean": 0.9, "accuracy online": 0.8, "provenance": None}
    numbers |= {"accuracy test base": 0.75, "accuracy test weak": 0.72, "accuracy test strong": 0.6}
    runs = labels.assign(**numbers, **{"accuracy test clean": labels["seed"] / 10 + 0.5})
    return runs[::-1]


def test_maps_and_outputs_of_a_student_are_joined_and_asked_on_its_own_view():
    maps = students().drop(columns="accuracy").assign(provenance=None)
    found = overlap.quantities(maps, outputs()).set_index(["seed", "teachers", "view"])
    assert len(found) == len(maps) and not found.columns.duplicated().any()
    weak, strong = found.loc[(3, "ws", "Sw")], found.loc[(3, "ws", "Ss")]
    asked = ["iou own", "sum own", "iou beyond chance", "accuracy", "agreement own", "affinity"]
    asked += ["affinity of the code"]
    assert weak[asked].tolist() == pytest.approx([0.21, 0.31, 0.6, 0.8, 0.5, 0.9, 0.96])
    assert strong[asked].tolist() == pytest.approx([0.22, 0.32, 0.6, 0.8, 0.4, 0.75, 0.8])
    transformers = maps.drop(columns=[c for c in maps if " label " in c or " sum " in c])
    assert "iou own" not in overlap.quantities(transformers, outputs())


# --- correlations ---


def by_kind(seeds=6):
    """Students of which pairs with more x have more y, views apart; but among pairs of one kind y
    falls with x: what a pair has more of x than its kind, it has less of y.
    """
    luck = np.random.default_rng(0).normal(size=(seeds, 3))
    return pd.DataFrame(
        [
            dict(
                seed=s, teachers=pair, view=view, x=4 * k + luck[s, k], y=apart + 4 * k - luck[s, k]
            )
            for s in range(seeds)
            for k, pair in enumerate(("ww", "ws", "ss"))
            for view, apart in (("Sw", 0.0), ("Ss", 100.0))
        ]
    )


def test_a_correlation_inside_views_is_not_the_pooled_one():
    table = by_kind()
    pooled = overlap.correlation(table, "x", "y")
    within = overlap.correlation(table, "x", "y", "view")
    x, y = (table[c] - table.groupby(["seed", "view"])[c].transform("mean") for c in "xy")
    assert within.estimate == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert 0.7 < within.low < within.high < 1 and pooled.estimate < 0.2  # views swamp everything
    assert (within.n, within.seeds) == (36, 6)


def test_among_pairs_of_one_kind_the_kinds_do_not_count():
    found = overlap.among_pairs_of_one_kind(by_kind(), "x", "y")
    assert found.estimate == pytest.approx(-1.0) and found.seeds == 6


def test_one_seed_has_a_correlation_without_bounds():
    found = overlap.correlation(by_kind(1), "x", "y", "view")
    assert found.seeds == 0 and np.isnan(found.low) and found.estimate > 0.8
