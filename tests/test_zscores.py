"""The statistics of claims about z-score distillation, on tables small enough for a calculation by
hand.
"""

import numpy as np
import pandas as pd
import pytest

from kdcore.book import claims
from kdcore.book.contrasts import zscores

# points above vanilla of ww, by loss; teachers ws add 1, the strong view 2, a seed 10
LOSSES = {"vanilla": 0.0, "softer vanilla": -1.0, "z-same": -4.0, "sun, no z": 3.0, "z-sun": 1.0}
BOTH_PAIRS = ("vanilla", "z-same")


def student(seed, loss, teachers, view, points):
    """A row whose accuracies and agreements lie at known distances from `points`."""
    row = dict(seed=seed, loss=loss, teachers=teachers, view=view)
    for metric in ("agreement", "kl", "mi", "kappa"):
        row |= {
            f"{metric} train weak": (points - 10) / 100,
            f"{metric} train strong": (points - 20) / 100,
            f"{metric} test clean": 2 * points / 100,
        }
    return row | {
        "accuracy test clean": points / 100,
        "accuracy train clean": 3 * points / 100,
        "accuracy online": 1.5 * points / 100,
        "ece test clean": 0.1,
        "entropy test clean": points / 100,
        "teacher entropy test clean": 0.5,
    }


def table(seeds=(0, 1), controlled=(0, 1)):
    """Students of all losses; softer vanilla and sun, no z with the seeds `controlled`."""
    rows = []
    for seed in seeds:
        for view, more in (("Sw", 0.0), ("Ss", 2.0)):
            at = 50 + 10 * seed + more
            rows.append(student(seed, "one-hot", "–", view, at - 5))
            for loss, points in LOSSES.items():
                if loss not in ("softer vanilla", "sun, no z") or seed in controlled:
                    if loss in BOTH_PAIRS:
                        rows.append(student(seed, loss, "ww", view, at + points))
                    rows.append(student(seed, loss, "ws", view, at + points + 1))
    return zscores.quantities(pd.DataFrame(rows))


def same(series, value, seeds=(0, 1)):
    assert series.index.tolist() == list(seeds)
    assert series.tolist() == pytest.approx([value] * len(seeds))


def changed(runs, metric, points, **where):
    """The table with `points` added, in points, to a metric of the students named."""
    named = np.logical_and.reduce([runs[name] == value for name, value in where.items()])
    assert named.any()
    return runs.assign(**{metric: runs[metric] + np.where(named, points / 100, 0.0)})


def test_training_accuracy_and_entropies():
    runs = table().set_index(["seed", "loss", "teachers", "view"])
    found = runs.loc[(0, "z-same", "ws", "Ss")]
    assert found["training accuracy"] == pytest.approx(1.47)  # 3 x 49: training, not test images
    assert found["entropy"] == pytest.approx(0.49) and found["entropy of the teachers"] == 0.5
    assert found["gap"] == pytest.approx(0.98) and found["agreement own"] == pytest.approx(0.29)


def test_trials_are_those_that_both_losses_have():
    runs = table()
    four = [("ww", "Sw"), ("ws", "Sw"), ("ww", "Ss"), ("ws", "Ss")]
    assert zscores.common_trials(runs, "z-same", "vanilla") == four
    assert zscores.common_trials(runs, "vanilla", "one-hot") == four
    two = [("ws", "Sw"), ("ws", "Ss")]
    assert zscores.common_trials(runs, "z-same", "softer vanilla") == two
    assert zscores.common_trials(runs, "z-sun", "one-hot") == two
    one = runs[(runs["loss"] != "z-same") | (runs["view"] == "Ss")]
    assert zscores.common_trials(one, "z-same", "softer vanilla") == [("ws", "Ss")]
    assert zscores.common_trials(runs, "z-same", "no such loss") == []


def test_a_pair_is_of_one_seed_and_a_seed_without_one_of_them_is_left_out():
    runs = table((2, 0, 1), controlled=(1, 2)).sample(frac=1, random_state=0)
    both = zscores.paired(runs, "accuracy", "z-same", "softer vanilla", ("ws", "Ss"))
    assert both.index.tolist() == [1, 2] and both.columns.tolist() == ["z-same", "softer vanilla"]
    assert both["z-same"].tolist() == pytest.approx([59, 69])
    assert both["softer vanilla"].tolist() == pytest.approx([62, 72])
    alone = zscores.paired(runs, "accuracy", "z-same", "one-hot", ("ws", "Ss"))
    assert (alone["z-same"] - alone["one-hot"]).tolist() == pytest.approx([2, 2, 2])


def test_an_effect_is_the_first_loss_minus_the_second_over_their_trials():
    runs = table()
    same(zscores.effect(runs, "accuracy", "z-same", "vanilla"), -4)
    same(zscores.effect(runs, "gap", "z-same", "vanilla"), -8)
    same(zscores.effect(runs, "online gap", "z-same", "vanilla"), -2)
    same(zscores.effect(runs, "entropy", "z-same", "vanilla"), -0.04)  # nats stay nats
    # one-hot students stand for both pairs: 5 above by ww, 6 by ws
    same(zscores.effect(runs, "accuracy", "vanilla", "one-hot"), 5.5)
    same(zscores.effect(runs, "accuracy", "z-same", "vanilla", [("ww", "Sw")]), -4)


def test_a_trial_counts_as_much_as_any_other():
    runs = changed(table(), "accuracy", 8, loss="z-same", teachers="ww", view="Ss")
    same(zscores.effect(runs, "accuracy", "z-same", "vanilla"), -2)
    same(zscores.effect(runs, "accuracy", "z-same", "vanilla", [("ww", "Ss"), ("ws", "Ss")]), 0)
    same(zscores.effect(runs, "accuracy", "z-same", "softer vanilla"), -3)  # ws alone


def test_a_seed_without_one_of_the_trials_is_no_repetition():
    runs = table((0, 1, 2), controlled=(0, 1, 2))
    lost = (runs["seed"] == 1) & (runs["loss"] == "vanilla") & (runs["teachers"] == "ww")
    runs = runs[~(lost & (runs["view"] == "Ss"))]
    same(zscores.effect(runs, "accuracy", "z-same", "vanilla"), -4, (0, 2))
    same(zscores.effect(runs, "accuracy", "z-same", "softer vanilla"), -3, (0, 1, 2))


def test_the_gap_is_the_online_one_and_the_clean_one_a_control():
    statistic, controls = zscores.gap(table(controlled=(0, 1)))
    same(statistic, -2)
    same(controls["clean gap"], -8)
    same(controls["equally soft and light"], -1.5)
    same(controls["z-sun minus sun without z"], -1)


def test_fidelity_is_on_the_own_view_and_clean_images_are_a_control():
    runs = changed(table(), "agreement own", 6, loss="z-same", view="Ss")
    statistic, controls = zscores.fidelity(runs)
    same(statistic, -1)
    same(controls["clean test images"], -8)
    same(controls["equally soft and light"], 0)
    same(controls["z-sun minus sun without z"], -2)


def test_accuracy_is_that_on_test_images():
    statistic, controls = zscores.accuracy(table())
    same(statistic, -4)
    assert controls == {}


def test_the_claims_of_the_chapter_have_these_controls():
    written = {c.id: c.controls for c in claims.load() if c.chapter == "zscore_kd"}
    for name, function in {"gap": zscores.gap, "fidelity": zscores.fidelity}.items():
        for place in ("", "-many"):
            assert set(function(table())[1]) == set(written.pop(f"guo-zscore-{name}{place}"))
    assert written == {"audit-zscore-accuracy": ()}


def test_a_setting_is_chosen_on_the_other_seeds():
    accuracy = pd.DataFrame({1.0: [90, 60, 61], 3.0: [70, 71, 75]}, index=[5, 6, 7])
    found = zscores.chosen_elsewhere(accuracy)
    # on all seeds 3.0 is best, each by itself prefers another, and neither is asked
    assert found["setting"].tolist() == [3.0, 1.0, 1.0]
    assert found["value"].tolist() == [70, 60, 61] and found.index.tolist() == [5, 6, 7]
    alone = zscores.chosen_elsewhere(accuracy.loc[[5]])
    assert alone["setting"].tolist() == [1.0] and alone["value"].tolist() == [90]
