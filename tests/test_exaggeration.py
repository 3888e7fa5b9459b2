"""The statistics of claims about exaggerated confidence, on tables for a calculation by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from kdcore import stats
from kdcore.book import claims, contrasts
from kdcore.book.contrasts import exaggerated

# of student and rerun, mean over seeds 3, 5, 8; the seeds lie 0.01 below, at and above it
MEANS = {
    "slope train": (1.30, 0.70),
    "slope test": (0.95, 0.80),
    "instrument slope train": (1.50, 1.00),
    "instrument slope test": (1.10, 1.04),
    "shift low train": (-0.80, 0.20),
    "shift low test": (-0.30, -0.50),
    "third shift low train": (-0.60, 0.10),
    "third shift low test": (0.40, 0.05),
    "third shift high train": (-0.10, 0.30),
    "third shift high test": (0.50, 0.06),
    "third shift mislabelled train": (-1.20, -0.15),
    "third shift clean train": (-0.20, -0.05),
}
SEEDS = (3, 5, 8)


def table(setting="main", tau=4.0, seeds=SEEDS, **changed):
    """A row for each seed; changed: {statistic and split with _ for blanks: (student, rerun)}."""
    means = MEANS | {name.replace("_", " "): pair for name, pair in changed.items()}
    rows = []
    for k, seed in enumerate(seeds):
        row = dict(setting=setting, tau=tau, seed=seed)
        row |= {f"collapsed {model}": 0.0 for model in exaggerated.MODELS}
        for name, pair in means.items():
            for who, mean in zip(("student", "rerun"), pair):
                # students and reruns vary in opposite ways: a wrong pairing of seeds is seen
                row[f"{name} {who}"] = mean + (k - 1) * (0.01 if who == "student" else -0.01)
        rows.append(row)
    return pd.DataFrame(rows)


def rows(**changed):
    return exaggerated.of_setting(table(**changed), "main", 4.0)


def by_hand(series, *expected):
    assert series.index.tolist() == list(SEEDS)
    assert series.tolist() == pytest.approx(expected)


def test_rows_are_of_one_setting_and_temperature_without_collapsed_models():
    runs = pd.concat([table(), table("other"), table(tau=1.0)], ignore_index=True)
    runs.loc[1, "collapsed third"] = 1.0  # seed 5 of the main setting at temperature 4
    runs.loc[6, "collapsed student"] = 1.0  # seed 3 at temperature 1
    assert exaggerated.failed(runs).tolist() == [i in (1, 6) for i in range(9)]
    found = exaggerated.of_setting(runs, "main", 4.0)
    assert found.index.tolist() == [3, 8] and set(found["setting"]) == {"main"}
    assert exaggerated.of_setting(runs, "main", 1.0).index.tolist() == [5, 8]
    assert exaggerated.of_setting(runs, "other", 4.0).index.tolist() == list(SEEDS)


def test_statistics_by_hand():
    found = rows()
    by_hand(exaggerated.values(found, "slope", "train"), 1.29, 1.30, 1.31)
    by_hand(exaggerated.values(found, "slope", "test", "rerun"), 0.81, 0.80, 0.79)
    by_hand(exaggerated.beyond_rerun(found, "slope", "train"), 0.58, 0.60, 0.62)
    by_hand(exaggerated.beyond_rerun(found, "third shift low", "test"), 0.33, 0.35, 0.37)
    # each difference is of one model, so that its seeds move together
    by_hand(exaggerated.drop(found), -1.0, -1.0, -1.0)
    by_hand(exaggerated.drop(found, "rerun"), -0.1, -0.1, -0.1)
    by_hand(exaggerated.bottom_minus_top(found, "train"), -0.5, -0.5, -0.5)
    by_hand(exaggerated.bottom_minus_top(found, "test", "rerun"), -0.01, -0.01, -0.01)
    by_hand(exaggerated.selection(found), -0.24, -0.24, -0.24)


def test_seeds_are_paired_whatever_the_order_of_rows():
    runs = table().iloc[[2, 0, 1]]
    found = exaggerated.beyond_rerun(exaggerated.of_setting(runs, "main", 4.0), "slope", "train")
    assert found.to_dict() == pytest.approx({3: 0.58, 5: 0.60, 8: 0.62})


def test_a_copy_has_slope_one_and_shift_zero():
    found = rows()
    slope = exaggerated.beyond_copy(found, "instrument slope", "train")
    half = stats.mean_interval([-0.01, 0.0, 0.01]).high
    assert slope[:4] == pytest.approx((0.5, 0.5 - half, 0.5 + half, 3))
    assert slope.values == pytest.approx([0.49, 0.5, 0.51])
    assert exaggerated.beyond_copy(found, "slope", "test").estimate == pytest.approx(-0.05)
    assert exaggerated.beyond_copy(found, "shift low", "train").estimate == pytest.approx(-0.8)


def test_on_photographs_and_garments_exaggeration_is_one_statistic():
    for split in ("train", "test"):
        found = exaggerated.beyond_copy(rows(), "instrument slope", split)
        there = stats.mean_interval(contrasts.exaggeration(table(), split).to_numpy())
        assert found[:4] == pytest.approx(there[:4], abs=1e-12)


def test_an_interval_needs_a_value_of_every_seed():
    assert exaggerated.interval([0.1, 0.2, 0.3]) == stats.mean_interval([0.1, 0.2, 0.3])
    for values in ([], [0.1, np.nan]):
        found = exaggerated.interval(values)
        assert found.n == 0 and math.isnan(found.estimate) and math.isnan(found.low)
    one = exaggerated.interval([0.4])
    assert (one.estimate, one.n) == (0.4, 1) and math.isnan(one.high)


def test_several_settings_are_averaged_inside_the_seeds_that_have_them_all():
    runs = table("small", seeds=(8, 3), instrument_slope_train=(1.70, 1.20))
    small = exaggerated.of_setting(runs, "small", 4.0)  # seed 8: 1.69, seed 3: 1.70; reruns + 0.01
    found = exaggerated.mean_slope([rows(), small])
    assert found.to_dict() == pytest.approx({3: (1.49 + 1.70) / 2, 8: (1.51 + 1.69) / 2})
    effect, controls = exaggerated.slope_of_several([rows(), small])
    assert effect.n == 2 and effect.estimate == pytest.approx((1.595 + 1.60) / 2 - 1)
    rerun = {3: (1.01 + 1.20) / 2, 8: (0.99 + 1.21) / 2}
    assert controls["minus the rerun"].estimate == pytest.approx(
        (found - pd.Series(rerun)).mean(), abs=1e-12
    )
    assert exaggerated.slope_of_several([]) is None


ABOVE, BELOW, ACROSS = ((low + 0.5, low, low + 1.0, 3) for low in (0.1, -1.1, -0.5))


@pytest.mark.parametrize("own", [ABOVE, BELOW, ACROSS])
@pytest.mark.parametrize("versus", [ABOVE, BELOW, ACROSS])
def test_a_claim_holds_beyond_a_copy_and_beyond_the_rerun(own, versus):
    pair = stats.Interval(*own), stats.Interval(*versus)
    assert exaggerated.holds(*pair) == (own == versus == ABOVE)
    assert exaggerated.holds(*pair, -1) == (own == versus == BELOW)


def test_one_seed_establishes_nothing():
    found = rows(seeds=(3,))
    assert not exaggerated.established(found, "slope", "train")
    assert not exaggerated.mislabelled_drop_more(found)
    assert exaggerated.tilt(found, "train") == "open"


def test_what_is_established_lies_on_the_claimed_side():
    found = rows()
    assert exaggerated.established(found, "slope", "train")
    assert not exaggerated.established(found, "slope", "test"), "above the rerun, below a copy"
    assert exaggerated.established(found, "shift low", "train"), "below, not above"
    assert not exaggerated.established(found, "shift low", "test"), "the rerun lies lower"
    assert not exaggerated.established(found, "third shift low", "test")
    assert exaggerated.mislabelled_drop_more(rows(third_shift_clean_train=(-0.3, -0.3)))
    assert not exaggerated.mislabelled_drop_more(rows(third_shift_clean_train=(-0.3, 1.0)))
    assert not exaggerated.mislabelled_drop_more(rows(third_shift_clean_train=(-1.5, 0.0)))


def test_both_choosers_decide_what_the_chapter_calls_exaggerated():
    assert exaggerated.tilt(rows(), "train") == "exaggerated"
    assert exaggerated.tilt(rows(), "test") == "undecided", "only the third model says so"
    steeper = rows(slope_train=(1.30, 1.60))
    assert exaggerated.tilt(steeper, "train") == "undecided", "the rerun is steeper"
    flat = rows(slope_test=(0.9, 0.5), instrument_slope_test=(0.8, 0.5))
    assert exaggerated.tilt(flat, "test") == "flatter", "whatever the rerun does"
    runs = table()
    runs["collapsed rerun"] = 1.0
    assert exaggerated.tilt(exaggerated.of_setting(runs, "main", 4.0), "train") == "open"


def test_effects_and_controls_by_hand():
    found = rows()

    def estimates(claim):
        effect, controls = claim
        return effect.estimate, {what: iv.estimate for what, iv in controls.items()}

    for claim, effect, controls in (
        (exaggerated.slope(found, "train"), 0.5, (0.5, 0.3, 0.6)),
        (exaggerated.slope(found, "test"), 0.1, (0.06, -0.05, 0.15)),
        (exaggerated.underfitting(found, "train"), -0.8, (-1.0, -0.6, -0.7)),
        (exaggerated.underfitting(found, "test"), -0.3, (0.2, 0.4, 0.35)),
        (exaggerated.mislabelled(found), -1.0, (-0.9,)),
    ):
        own, beside = estimates(claim)
        assert own == pytest.approx(effect) and list(beside.values()) == pytest.approx(controls)


def test_controls_are_those_of_the_list_of_claims():
    written = {c.id: c.controls for c in claims.load() if c.chapter == "confidence_exaggeration"}
    found = rows()
    for name, (_, controls) in {
        "nagarajan-confidence-images": exaggerated.slope(found, "train"),
        "nagarajan-underfitting": exaggerated.underfitting(found, "train"),
        "nagarajan-self": exaggerated.slope_of_several([found]),
        "nagarajan-mislabelled": exaggerated.mislabelled(found),
        "audit-selection": exaggerated.claim(exaggerated.interval(exaggerated.selection(found))),
    }.items():
        assert tuple(controls) == written[name], name


def test_without_a_seed_there_is_no_effect_to_judge():
    runs = table()
    runs["collapsed teacher"] = 1.0
    nothing = exaggerated.of_setting(runs, "main", 4.0)
    assert exaggerated.slope(nothing, "train") is None
    assert exaggerated.underfitting(nothing, "test") is None
    assert exaggerated.mislabelled(nothing) is None
    assert exaggerated.slope_of_several([nothing, rows()]) is None
