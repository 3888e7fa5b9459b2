"""What distillation is worth: the statistics on tables small enough for a calculation by hand, the
linear model against kdcore.metrics.eigen, and what a chapter's parameters vary.
"""

import numpy as np
import pandas as pd
import pytest

from kdcore.book import chapter
from kdcore.book.contrasts import gains
from kdcore.book.places import Places
from kdcore.metrics import eigen

LENGTHS = (2, 5, 9)
# test accuracy, percent: all differences below are differences of these
TEACHER = {2: 60, 5: 75, 9: 70}
STUDENT = {2: 62, 5: 74, 9: 73}
ONE_HOT = 71
SWITCHED = {("OH→KD", 2): 64, ("OH→KD", 9): 72, ("KD→OH", 2): 67, ("KD→OH", 9): 69}


def line(seed, loss, varied, value, percent, at=0, even=None, odd=None):
    """A run; a seed adds a tenth of a point of its own, so that pairs of two seeds are noticed."""
    row = dict(seed=seed, loss=loss, varied=varied, value=value, at=at)
    for column, x in (("", percent), (" even", even or percent), (" odd", odd or percent)):
        row[f"accuracy test{column}"] = (x + seed / 10) / 100
    return row | {"accuracy given": 0.9}


def table(seeds=(0, 1)):
    """Teachers of three lengths, a sweep of temperatures and one of label noise, two switches."""
    rows = []
    for s in seeds:
        for e in LENGTHS:
            rows.append(line(s, "teacher", "length", e, TEACHER[e]))
            rows.append(line(s, "one-hot", "length", e, ONE_HOT))
            rows.append(line(s, "KD", "length", e, STUDENT[e]))
        for tau, kd in ((1.0, 70), (4.0, 73), (8.0, 90)):
            rows.append(line(s, "KD", "temperature", tau, kd))
        for noise, alone, kd in ((0.0, 80, 78), (0.2, 71, 73), (0.4, 60, 66)):
            rows.append(line(s, "one-hot", "noise", noise, alone))
            rows.append(line(s, "KD", "noise", noise, kd))
        for (direction, e), x in SWITCHED.items():
            rows.append(line(s, direction, "length", e, x, at=0.5))
            rows.append(line(s, direction, "length", e, 1.0, at=0.8))
    # the order of rows says nothing: seeds are paired by their number
    return pd.DataFrame(rows[::2] + rows[1::2][::-1])


def same(series, value, seeds=(0, 1)):
    assert series.sort_index().index.tolist() == list(seeds)
    assert series.tolist() == pytest.approx([value] * len(seeds))


def test_a_share_is_asked_in_percent_at_one_value_of_one_sweep():
    runs = table()
    found = gains.percent(runs, "KD", length=5)
    assert found.sort_index().tolist() == pytest.approx([74.0, 74.1])
    same(gains.percent(runs, "KD", "accuracy given", length=5), 90.0)
    assert gains.percent(runs, "KD→OH", at=0.8, length=2)[0] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no run teacher at length = 7, switched at 0"):
        gains.percent(runs, "teacher", length=7)
    with pytest.raises(ValueError, match="switched at 0.3"):
        gains.percent(runs, "KD→OH", at=0.3, length=2)


def test_what_is_missing_is_no_number_and_no_error():
    runs = table().astype({"accuracy given": object})
    runs["accuracy given"] = None
    assert gains.percent(runs, "KD", "accuracy given", length=5).isna().all()


def test_values_of_a_sweep_ascend_and_those_of_a_switch_are_its_own():
    runs = table()
    assert gains.values(runs, "length") == [2, 5, 9]
    assert gains.values(runs, "length", ("KD→OH",)) == [2, 9]
    assert gains.values(runs, "temperature") == [1, 4, 8]
    assert gains.values(runs, "weight") == []


def test_the_two_gains_and_how_they_grow():
    runs = table()
    same(gains.over_teacher(runs, length=9), 3.0)
    same(gains.over_teacher(runs, length=5), -1.0)
    same(gains.over_labels(runs, length=9), 2.0)
    same(gains.over_labels(runs, noise=0.4), 6.0)  # the one-hot student of the same noise
    same(gains.growth(runs, gains.over_teacher, "length"), 3.0 - 2.0)
    same(gains.growth(runs, gains.over_labels, "length"), 2.0 - -9.0)
    same(gains.growth(runs, gains.over_labels, "noise"), 6.0 - -2.0)


def test_a_seed_is_compared_with_itself():
    runs = table((3, 7))
    mine = (runs["seed"] == 7) & (runs["loss"] == "teacher")
    runs.loc[mine, "accuracy test"] -= 0.1
    assert gains.over_teacher(runs, length=9)[[3, 7]].tolist() == pytest.approx([3.0, 13.0])


def test_one_half_chooses_the_length_and_the_other_judges():
    rows = []
    # length: teacher on even and odd examples, its student on even and odd ones
    measured = {2: ((80, 50), (81, 52)), 5: ((70, 66), (72, 60)), 9: ((60, 69), (63, 75))}
    for e, ((even, odd), (kd_even, kd_odd)) in measured.items():
        rows.append(line(0, "teacher", "length", e, 0, even=even, odd=odd))
        rows.append(line(0, "KD", "length", e, 71, even=kd_even, odd=kd_odd))
        rows.append(line(0, "one-hot", "length", e, 40))
    runs = pd.DataFrame(rows)
    # even examples choose 2, odd ones judge it: 50, its student 52; odd choose 9: 60 and 63
    found = gains.early_stopped(runs).loc[0]
    assert found.tolist() == pytest.approx([55.0, 57.5, 2, 9])
    assert list(found.index) == ["teacher", "student", "by even", "by odd"]
    same(gains.without_student(runs), 55.0 - 40.0, (0,))
    same(gains.passed_on(runs), 2.5, (0,))
    same(gains.earlier_teacher(runs), 57.5 - 71.0, (0,))
    same(gains.over_stopping(runs), 71.0 - 55.0, (0,))


def test_each_seed_chooses_its_own_length_and_of_equals_the_shortest():
    rows = []
    for seed, best in ((0, (70, 70, 60)), (1, (50, 60, 80))):
        for e, x in zip(LENGTHS, best):
            rows.append(line(seed, "teacher", "length", e, x))
            rows.append(line(seed, "KD", "length", e, 10 * e))
    found = gains.early_stopped(pd.DataFrame(rows))
    assert found["by even"].tolist() == found["by odd"].tolist() == [2, 9]
    assert found["student"].tolist() == pytest.approx([20.0, 90.1])


def test_temperatures_are_compared_with_the_lowest():
    same(gains.over_lowest(table(), 4.0), 3.0)
    same(gains.over_lowest(table(), 1.0), 0.0)


def test_the_ends_of_a_switch_are_the_runs_of_one_loss():
    runs = table()
    for direction, first, last in (("OH→KD", 71, 62), ("KD→OH", 62, 71)):
        # switched at once is the second loss, switched never the first
        same(
            gains.switched(runs, direction, 2, 1) - gains.switched(runs, direction, 2, 0),
            first - last,
        )
        assert gains.switched(runs, direction, 2, 1)[0] == pytest.approx(first)
    assert gains.switched(runs, "OH→KD", 9, 0.5)[0] == pytest.approx(72.0)
    same(gains.switched(runs, "OH→KD", 9, 0, "accuracy given"), 90.0)


def test_a_turn_is_measured_against_the_first_loss():
    runs = table()
    same(gains.turn(runs, "OH→KD", 9, 0.5), 72.0 - 71.0)
    same(gains.turn(runs, "OH→KD", 2, 0.5), 64.0 - 71.0)
    same(gains.turn(runs, "KD→OH", 9, 0.5), 69.0 - 73.0)
    same(gains.turn(runs, "KD→OH", 2, 0.5), 67.0 - 62.0)
    same(gains.interaction(runs, 0.5), 5.0 - -4.0)


def test_the_whole_list_holds_what_the_table_has_runs_for():
    found = gains.statistics(table(), 0.5, 4.0)
    by_hand = {
        "over_teacher": 1.0,
        "long_teacher": 3.0,
        "long": 2.0,
        "short": -9.0,
        "well": 74.0 - 73.0,
        "stop": 73.0 - 75.0,
        "both": 74.0 - 75.0,
        "late_turn": 1.0,
        "late_return": -4.0,
        "weak_turn": -7.0,
        "weak_return": 5.0,
        "interaction": 9.0,
        "noise": 8.0,
        "clean": -2.0,
        "temperature": 3.0,
    }
    assert found.keys() == by_hand.keys()
    for name, value in by_hand.items():
        same(found[name], value)
    runs = table()
    one_length = runs[(runs["varied"] == "length") & (runs["value"] == 9)]
    assert gains.statistics(one_length, 0.5, 4.0).keys() == {"late_turn", "late_return"}
    noisy = runs[(runs["varied"] == "noise") & (runs["value"] > 0)]
    assert gains.statistics(noisy, 0.5, 4.0).keys() == {"noise"}
    warm = runs[(runs["varied"] == "temperature") & (runs["value"] > 1)]
    assert gains.statistics(warm, 0.5, 4.0) == {}, "the usual temperature is the lowest"


# ------------------------------------------------------------------------------- the linear model


def test_a_switch_of_the_linear_model_is_the_integrated_training():
    """Small steps of gradient flow on each direction, with a target that changes on the way."""
    time, at = 30, 0.3
    for direction in ("OH→KD", "KD→OH"):
        g, steps = np.zeros(200), 40_000
        turns = gains.BUDGET * gains.clock(at)
        for now in np.arange(steps) * gains.BUDGET / steps:
            labels = (direction == "OH→KD") == (now < turns)
            target = 1.0 if labels else gains.flow(time)
            g = g + gains.EIGENVALUES * (target - g) * gains.BUDGET / steps
        assert gains.mixed(direction, time, at) == pytest.approx(g, abs=2e-3)


def test_the_ends_of_the_linear_switch_are_one_loss_alone():
    one_hot = gains.flow(gains.BUDGET)
    taught = eigen.student(one_hot, gains.flow(30))
    assert gains.clock(0) == 0 and gains.clock(1) == pytest.approx(1)
    assert gains.clock(0.5) > 0.7, "most of the time lies before the middle of a cosine's steps"
    for direction, first, last in (("OH→KD", one_hot, taught), ("KD→OH", taught, one_hot)):
        assert gains.mixed(direction, 30, 1) == pytest.approx(first)
        assert gains.mixed(direction, 30, 0) == pytest.approx(last)


def test_the_risk_of_a_world_is_signal_not_learnt_and_noise_learnt():
    nothing, everything = np.zeros(200), np.ones(200)
    leading = np.arange(1, 11) ** -1.5
    assert gains.risk(gains.NOISY, nothing) == pytest.approx(leading.sum())
    assert gains.risk(gains.NOISY, everything) == pytest.approx(200 * 0.003)
    assert gains.risk(gains.TRUE, everything) == 0
    assert gains.risk(gains.QUIET, nothing) == pytest.approx(gains.EIGENVALUES.sum())


def test_the_linear_model_predicts_differences_of_risks_positive_where_the_first_is_better():
    found = {k: v.item() for k, v in gains.statistics(gains.linear_runs(), 0.5, 4.0).items()}
    one_hot = gains.flow(1000)
    best, long = (eigen.student(one_hot, gains.flow(T)) for T in (30, 1000))

    def better(a, b, world=gains.NOISY):
        return gains.risk(world, b) - gains.risk(world, a)

    assert found["long"] == pytest.approx(better(long, one_hot))
    assert found["long_teacher"] == pytest.approx(better(long, gains.flow(1000)))
    assert found["well"] == pytest.approx(better(best, long))
    assert found["stop"] == pytest.approx(better(long, gains.flow(30)))
    assert found["late_return"] == pytest.approx(better(gains.mixed("KD→OH", 1000, 0.5), long))
    noiseless = better(long, one_hot, gains.TRUE)
    assert found["noise"] == pytest.approx(found["long"] - noiseless)
    assert abs(noiseless) < 1e-20, "both have converged where there is signal"
    # the list that was fixed before the runs, presets/published/when_to_disobey.yaml
    plus = "over_teacher long_teacher long well late_turn weak_return interaction noise"
    minus = "short stop weak_turn late_return"
    assert {k for k, v in found.items() if v > 1e-3} == set(plus.split())
    assert {k for k, v in found.items() if v < -1e-3} == set(minus.split())


# --------------------------------------------------------------------------------- what is varied


def test_a_place_varies_one_thing_at_a_time_the_usual_value_among_them():
    given = chapter.preset("when_to_disobey", "published")
    places = Places(**given).places
    assert places["main"].usual == dict(length=25, temperature=4.0, weight=1.0, noise=0.2)
    assert places["main"].lengths == [1, 3, 8, 25, 60]
    assert places["features"].sweeps["weight"] == [0.25, 0.5, 0.75, 0.9, 1.0]
    assert places["features"].sweeps["noise"] == [0.0, 0.15, 0.3]
    assert places["text"].sweeps["temperature"] == [1.0, 4.0]
    assert places["text"].sweeps["weight"] == [1.0]
    for q in places.values():
        assert all(q.usual[name] in values for name, values in q.sweeps.items())
        assert set(q.switched) <= set(q.lengths) and q.judged in q.points
    with pytest.raises(ValueError, match="text_judged_point = 0.4: must be one of text_switch"):
        Places(**given | {"text_judged_point": 0.4})
    with pytest.raises(ValueError, match="text_network = 'cnn-8': must be one for texts"):
        Places(**given | {"text_network": "cnn-8"})
