"""The statistics of the chapter on low fidelity, on tables small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from kdcore.book import claims
from kdcore.book.contrasts import fidelity, published

PAIR = {"ww": 0.0, "ws": 1.0, "sw": 3.0, "ss": 6.0}
T1 = 12.7062047  # Student's t, 97.5 %, one degree of freedom: half-widths of two seeds


def students(seeds=(3, 1)):
    """Distilled students and two without teachers; seeds, views and pairs not in order.

    Accuracy in points: 50, 10 for each seed, the teachers' points; on strong views 2 more, and with
    sw a point for each seed. Without teachers strong views bring 4 points at seed 1 and 8 at seed
    3. Other columns are told apart by where they were measured.
    """
    rows = []
    for seed in seeds:
        for view in ("Ss", "Sw"):
            strong = view == "Ss"
            for pair in ("ss", "ws", "one-hot", "ww", "sw"):
                points = (
                    50 + 10 * seed + PAIR.get(pair, 0) + 2 * strong + seed * strong * (pair == "sw")
                )
                if pair == "one-hot":
                    points = 40 + strong * (2 + 2 * seed)
                row = dict(seed=seed, teachers=pair, view=view, accuracy=points / 100)
                row["kl own"] = points / 100
                for k, where in enumerate(("own", "weak", "strong", "clean"), 1):
                    row[f"agreement {where}"] = 0.5 + strong * k / 100
                    row[f"mi {where}"] = 0.5 + strong * k / 100
                row |= {"official ece train weak": 0.10, "official ece train strong": 0.07}
                row |= {"ece train weak": 0.2, "ece train strong": 0.3}
                # what is said of the teachers; beside students on strong views something else
                row["agreement of teachers"] = PAIR.get(pair, 0) + seed + 100 * strong
                rows.append(row)
    table = pd.DataFrame(rows)
    for metric in ("agreement", "mi"):
        table[f"{metric} mean"] = (table[f"{metric} weak"] + table[f"{metric} strong"]) / 2
    return table


def distilled(seeds=(3, 1)):
    table = students(seeds)
    return table[table["teachers"] != "one-hot"]


def is_series(series, by_seed):
    assert dict(series) == pytest.approx(by_seed)


def is_interval(interval, estimate, half):
    assert interval.estimate == pytest.approx(estimate)
    assert interval.high - interval.estimate == pytest.approx(half)
    assert interval.estimate - interval.low == pytest.approx(half)


# --- units ---


def test_information_is_in_nats_and_everything_else_in_points():
    in_nats = ("kl own", "mi clean", "entropy test clean")
    assert {fidelity.unit(metric) for metric in in_nats} == {"nats"}
    in_points = ("accuracy", "ece test clean", "online gap", "agreement own", "many accuracy")
    assert {fidelity.unit(metric) for metric in in_points} == {"points"}
    assert (fidelity.scale("kl own"), fidelity.scale("gap")) == (1, 100)


# --- the eight trials ---


def test_trials_stand_in_the_order_of_the_weights_and_seeds_in_theirs():
    wide = fidelity.by_trial(distilled(), "accuracy")
    assert wide == pytest.approx(
        np.array([[60, 61, 63, 66, 62, 63, 66, 68], [80, 81, 83, 86, 82, 83, 88, 88]])
    )
    assert fidelity.by_trial(distilled(), "kl own") == pytest.approx(wide / 100)


def test_a_series_is_aligned_with_the_table_and_keeps_its_unit():
    table = distilled()
    shuffled = table["accuracy"].sample(frac=1, random_state=0)
    assert fidelity.by_trial(table, shuffled) * 100 == pytest.approx(
        fidelity.by_trial(table, "accuracy")
    )


def test_main_effects_are_taken_inside_each_seed():
    # at seeds 1 and 3: 2.25 and 2.75; 6 and 6; -0.75 and -0.25; -3.75 and -3.25
    table = distilled()
    is_interval(fidelity.effect(table, "accuracy"), 2.5, T1 / 4)
    is_interval(fidelity.effect(table, "accuracy", fidelity.STRONG), 6, 0)
    is_interval(fidelity.effect(table, "accuracy", fidelity.MIXED), -0.5, T1 / 4)
    is_interval(fidelity.effect(table, "accuracy", fidelity.MIXED_NOT_STRONG), -3.5, T1 / 4)
    assert list(fidelity.EFFECTS) == ["student's view", "strong teachers", "mixed teachers"]


def test_the_controls_of_the_view_are_measured_on_the_same_images_for_both():
    found = fidelity.on_same(distilled(), "agreement")
    assert {name: e.estimate for name, e in found.items()} == pytest.approx(
        {"mean of weak and strong views": 2.5, "clean test images": 4}
    )
    assert fidelity.on_same(distilled(), "mi")["clean test images"].estimate == pytest.approx(0.04)


def test_the_noise_floor_is_that_of_one_view():
    on_weak, on_strong = (fidelity.noise_floor(distilled(), "accuracy", v) for v in ("Sw", "Ss"))
    assert on_weak.rms == pytest.approx(2)
    assert on_strong.rms == pytest.approx(np.sqrt((3**2 + 5**2) / 2))
    assert on_weak.n == 2


def test_the_published_calibration_error_is_that_on_the_students_own_view():
    # weak students on weak views 10 points, strong ones on strong views 7
    is_interval(fidelity.official_calibration(distilled()), -3, 0)


def test_what_is_said_of_the_teachers_is_read_beside_one_student():
    assert fidelity.of_pairs(distilled(), "agreement of teachers") == pytest.approx(
        np.array([[1, 2, 4, 7], [3, 4, 6, 9]])
    )


# --- spread inside a seed ---


def test_a_seeds_level_is_no_spread_between_trials():
    r = np.sqrt(2)
    assert fidelity.within_seed(np.array([[0.0, 2], [10, 14]])) == pytest.approx(
        np.array([[5 + r / 2, 8 - r / 2], [5 - r / 2, 8 + r / 2]])
    )
    level = np.array([[1.0, 2, 3], [11, 12, 13]])
    assert fidelity.within_seed(level) == pytest.approx(np.array([[6, 7, 8], [6, 7, 8]]))


def test_intervals_of_groups_are_in_points_and_without_the_seeds_levels():
    table = distilled()
    found = fidelity.group_intervals(table[table["view"] == "Sw"], "accuracy", ["teachers"])
    assert set(found) == set(PAIR)
    for pair, points in PAIR.items():
        is_interval(found[pair], 70 + points, 0)
    both = fidelity.group_intervals(table, "accuracy", ["view", "teachers"])
    assert both["Ss", "sw"].estimate == pytest.approx(77)
    assert both["Ss", "sw"].high > both["Ss", "sw"].low


# --- correlations ---


def two_clouds(seeds=(0, 1)):
    """Inside each view y rises with x; between views it falls; between seeds both rise by 100."""
    clouds = {"Sw": ((4, 0), (5, 1)), "Ss": ((0, 4), (1, 5))}
    return pd.DataFrame(
        dict(seed=seed, view=view, x=x + 100 * seed, accuracy=y + 100 * seed, gap=-y - 100 * seed)
        for seed in seeds
        for view, points in clouds.items()
        for x, y in points
    )


def test_the_sign_of_a_correlation_may_turn_when_the_view_is_held_fixed():
    table = two_clouds()
    assert fidelity.correlate(table, "x").estimate == pytest.approx(-15 / 17)
    assert fidelity.correlate(table, "x", "view").estimate == pytest.approx(1)
    assert fidelity.correlate(table, "x", "view", upward="gap").estimate == pytest.approx(-1)
    assert fidelity.correlate(table, "x").seeds == 2


def test_a_correlation_of_one_seed_has_no_interval():
    found = fidelity.correlate(two_clouds((0,)), "x")
    assert found.estimate == pytest.approx(-15 / 17) and np.isnan(found.low)


# --- with and without teachers ---


def test_means_of_a_seed_are_in_the_unit_of_the_column():
    table = students()
    part = table[(table["view"] == "Sw") & table["teachers"].isin(["ww", "ss"])]
    is_series(fidelity.per_seed(part, "accuracy"), {1: 63, 3: 83})
    is_series(fidelity.per_seed(part, "kl own"), {1: 0.63, 3: 0.83})


def test_strong_views_alone_are_those_of_students_without_teachers():
    is_series(fidelity.alone(students(), "accuracy"), {1: 4, 3: 8})
    is_series(fidelity.alone(students(), "kl own"), {1: 0.04, 3: 0.08})


def test_distilled_students_are_compared_with_those_of_the_same_seed():
    # 2.25 - 4 and 2.75 - 8; with seeds exchanged the mean were the same, the interval were not
    is_interval(fidelity.beyond_alone(students(), "accuracy"), -3.5, T1 * 1.75)


# --- the number of teachers ---


def by_number():
    """Students of one and three weak or strong teachers, of mixed ones, and of none; one teacher:
    50 points + seed, three 53 + 2 seeds, strong ones 4 more, strong views 1 more.
    """
    rows = []
    for seed in (3, 1):
        for view in ("Ss", "Sw"):
            for teachers, number, trained_on, points in (
                ("w", 1, "weak", 50 + seed),
                ("s", 1, "strong", 54 + seed),
                ("sss", 3, "strong", 57 + 2 * seed),
                ("www", 3, "weak", 53 + 2 * seed),
                ("sww", 3, "mixed", 90 - seed * seed),
                ("one-hot", 0, "–", 10),
            ):
                points += view == "Ss"
                row = dict(seed=seed, view=view, teachers=teachers, number=number)
                rows.append(row | {"trained on": trained_on, "accuracy": points / 100})
    return pd.DataFrame(rows)


def test_the_number_of_teachers_is_compared_among_those_trained_alike():
    is_series(fidelity.teachers_gain(by_number(), "accuracy", 3), {1: 4, 3: 6})


def test_steps_of_the_papers_trials_are_those_on_strong_views():
    table = by_number()
    table.loc[table["view"] == "Sw", "accuracy"] = 0.0
    is_series(fidelity.teachers_step(table, "sww", "w"), {1: 38, 3: 28})


def test_the_price_of_choosing_a_trial():
    seeds_disagree = np.array([[2.0, -2], [2, -2], [-2, 2]]) + np.array([[10], [20], [30]])
    # the first two seeds choose what holds half of the time, the third what holds nowhere
    assert fidelity.price(seeds_disagree) == pytest.approx((2 + 2 + 4) / 3)
    assert fidelity.price(np.array([[3.0, 1], [13, 11]])) == 0
    assert np.isnan(fidelity.price(np.array([[3.0, 1]])))


# --- halves ---


def halved():
    """Two halves agree by 60 points, at seed 3 by 64; the same half by 65 and 1 less on strong
    views, whole images by 90.
    """
    rows = []
    for seed in (3, 1):
        for view in ("Sw", "Ss"):
            for arm, points in (
                ("whole", 90),
                ("halves", 60 + 2 * (seed - 1)),
                ("same half", 65 - (view == "Ss")),
            ):
                rows.append(dict(seed=seed, view=view, teachers=arm, agreement=points / 100))
    return pd.DataFrame(rows)


def test_different_halves_are_compared_with_one_half_twice_whatever_the_side():
    """A teacher's side moves agreement by up to 9 points and two different halves by 2 at seed 1,
    by 5 at seed 3; one view adds the same to all.
    """
    side = {"L": 0.04, "R": -0.03}
    runs = pd.DataFrame(
        {
            "seed": seed,
            "teachers": first + second,
            "view": view,
            "agreement": 0.6
            + side[first]
            + 0.5 * side[second]
            + add
            + different * (first != second),
        }
        for seed, different in ((1, -0.02), (3, 0.05))
        for first in "LR"
        for second in "LR"
        for view, add in (("Sw", 0), ("Ss", 0.1))
    )
    is_series(fidelity.different_halves(runs, "agreement"), {1: -2, 3: 5})
    # against the left half alone: what the right one costs either teacher, (3 + 4 + 1.5 + 2) / 2
    alone = fidelity.different_halves(runs, "agreement", ("LL",))
    is_series(alone, {1: -2 - 5.25, 3: 5 - 5.25})


def test_halves_are_compared_with_another_arm_of_the_same_seed():
    is_series(fidelity.arm_minus(halved(), "agreement", "same half"), {1: -4.5, 3: -0.5})
    is_series(fidelity.arm_minus(halved(), "agreement", "whole"), {1: -30, 3: -26})


def test_a_share_of_trials_is_told_from_a_p_value():
    found = fidelity.tested([-1, -2, -3])
    assert (found["n"], found["rose (Eq. 9)"], found["d"]) == ("3", "0 of 3", "−2.0")
    assert found["sign test"] == "p = 0.12"  # one half to the third
    p = ttest_1samp([-1, -2, -3], 0).pvalue / 2
    assert found["paired t"] == f"p = {p:.2g}"
    assert found["points"].estimate == -2
    risen = fidelity.tested(np.array([-1, -2, -3, 1]))
    assert (risen["rose (Eq. 9)"], risen["sign test"]) == ("1 of 4", "p = 0.31")  # 5 of 16
    assert fidelity.tested([1, 2, 3])["sign test"] == "p = 1"  # one-sided


def test_no_p_value_where_none_was_asked_for_beforehand_or_none_is_defined():
    found = fidelity.tested([-1, -2, -3], fixed=False)
    assert (found["sign test"], found["paired t"], found["d"]) == ("–", "–", "−2.0")
    alike = fidelity.tested([-1, -1])
    assert (alike["sign test"], alike["paired t"], alike["d"]) == ("p = 0.25", "–", "–")
    # what neither rose nor fell is not counted
    assert fidelity.tested([-1, 0])["sign test"] == "p = 0.5"
    assert fidelity.tested([0, 0])["sign test"] == "–"
    assert fidelity.tested([-1])["rose (Eq. 9)"] == "0 of 1"


# --- the long tail ---


def tail():
    """At imbalance 100: 20 points, two teachers bring 5 and at seed 3 9; strong views bring 1 to
    students of teachers and the seed's number to those without. At imbalance 1 all have 80.
    """
    rows = []
    for seed in (3, 1):
        for imbalance in ("1", "100"):
            for view in ("Ss", "Sw"):
                for teachers in ("one-hot", "ws"):
                    taught = teachers == "ws"
                    points = 20 + taught * (3 + 2 * seed)
                    points += (view == "Ss") * (1 if taught else seed)
                    row = dict(seed=seed, imbalance=imbalance, view=view, teachers=teachers)
                    rows.append(row | {"accuracy": (points if imbalance == "100" else 80) / 100})
    return pd.DataFrame(rows)


def test_an_effect_in_the_tail_is_that_of_one_imbalance_and_of_the_students_named():
    compared = ("teachers", "ws", "one-hot", ["ws", "one-hot"], "accuracy")
    # mean over views: 5 + (1 - 1) / 2 and 9 + (1 - 3) / 2
    is_series(fidelity.tail_effect(tail(), "100", *compared), {1: 5, 3: 8})
    is_series(fidelity.tail_effect(tail(), "1", *compared), {1: 0, 3: 0})


def test_the_view_in_the_tail_is_asked_of_one_kind_of_student_at_imbalance_100():
    is_series(fidelity.tail_view(tail(), "ws"), {1: 1, 3: 1})
    is_series(fidelity.tail_view(tail(), "one-hot"), {1: 1, 3: 3})


# --- the published protocol ---


def test_bins_of_all_seeds_together_count_images_and_empty_ones_count_none():
    nan = float("nan")
    count = {"count 0": [1, 3], "count 1": [0, 2], "count 2": [0, 0]}
    confidence = {"confidence 0": [0.6, 0.2], "confidence 1": [nan, 0.9], "confidence 2": nan}
    accuracy = {"accuracy 0": [1.0, 0.0], "accuracy 1": [nan, 0.5], "accuracy 2": nan}
    table = pd.DataFrame(count | confidence | accuracy)
    found = fidelity.pooled_reliability(table, 3)
    assert found[0].tolist() == [4, 2, 0]
    assert found[1] == pytest.approx(np.array([0.3, 0.9, 0]))
    assert found[2] == pytest.approx(np.array([0.25, 0.5, 0]))


def test_batches_invent_information_about_many_classes_and_none_about_one():
    invented = fidelity.invented_information(draws=3, images=1280)
    assert len(set(invented)) == 3 and invented == fidelity.invented_information(3, 1280)
    assert all(3.2 < value < 3.6 for value in invented)
    assert fidelity.invented_information(draws=2, images=256, classes=1) == [0, 0]


def test_a_teacher_is_compared_with_itself_in_the_rows_of_its_seed():
    moving = pd.DataFrame(
        {
            "seed": [3, 1, 3, 1],
            "agreement weak": [0.9, 1.0, 0.7, 1.0],
            "agreement strong": [0.8, 0.9, 0.6, 0.7],
        }
    )
    is_series(fidelity.unlike_itself(moving), {1: 10, 3: 25})


def test_what_a_best_epoch_promises_is_asked_of_images_that_did_not_choose_it():
    epochs = pd.DataFrame(
        {
            "seed": [3, 1],
            "chosen, as reported": [0.85, 0.80],
            "chosen, on other images": [0.82, 0.81],
            "last": [0.5, 0.5],
        }
    )
    is_series(fidelity.best_epoch_promise(epochs), {1: -1, 3: 3})


# --- the rows of the book ---


def test_of_the_published_rows_these_are_the_published_verdicts():
    runs, _, _ = published.garments()
    none = runs["loss"] == "one-hot"
    eight = (runs["loss"] == "vanilla") & runs["teachers"].isin(list(PAIR))
    taught = runs[eight]
    table = runs[eight | none].assign(teachers=runs["teachers"].where(~none, "one-hot"))
    lines = {line["id"]: line for line in claims.published()["claims"]}
    alone = "minus students without teachers"
    found = {
        "guo-fidelity": ("agreement own", fidelity.on_same(taught, "agreement")),
        "guo-kl": ("kl own", fidelity.on_same(taught, "kl")),
        "guo-mi": ("mi own", fidelity.on_same(taught, "mi")),
        "guo-accuracy": ("accuracy", {alone: fidelity.beyond_alone(table, "accuracy")}),
        "guo-gap": ("online gap", {"clean gap": fidelity.effect(taught, "gap")}),
    }
    for name, (metric, controls) in found.items():
        line = lines[name]
        compared = {name: fidelity.effect(taught, metric)} | controls
        for what, numbers in ({name: line} | line["controls"]).items():
            interval, bounds = compared.pop(what), ("estimate", "ci_low", "ci_high", "n")
            assert interval[:4] == pytest.approx([numbers[b] for b in bounds], abs=1e-9), what
        assert compared == {}
