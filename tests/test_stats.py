from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from kdcore import stats


def simpson(rng, seeds=6):
    """Rows of (seed, view, x, y): the view moves x up and y down, and inside a view x and y are
    independent.
    """
    seed, view = np.repeat(np.arange(seeds), 8), np.tile(np.repeat([0, 1], 4), seeds)
    shared = rng.normal(size=(seeds, 2))[seed]  # luck of a seed, which all its trials share
    x, y = np.stack([3 * view, -3 * view]) + shared.T + rng.normal(size=(2, len(seed)))
    return seed, view, x, y


# --- mean_interval, contrast, noise_floor ---


def test_mean_interval_by_hand():
    got = stats.mean_interval([1.0, 2.0, 3.0])
    assert got[:4] == pytest.approx(
        (2, 2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3), 3), rel=1e-6
    )
    assert stats.mean_interval([1.0, 2.0, 3.0], level=0.5).high < got.high
    assert got.values == (1.0, 2.0, 3.0)


def test_mean_interval_is_scipys_paired_t():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7))
    other = scipy.stats.ttest_rel(a, b).confidence_interval(0.9)
    assert stats.mean_interval(a - b, 0.9)[1:3] == pytest.approx((other.low, other.high), rel=1e-9)


def test_one_seed_has_no_interval():
    got = stats.mean_interval([0.5])
    assert got.estimate == 0.5 and np.isnan(got.low) and np.isnan(got.high) and got.n == 1


@pytest.mark.parametrize("n", [2, 5, 20])
def test_mean_interval_covers_the_mean_of_normal_values(n):
    draws = np.random.default_rng(n).normal(loc=0.3, size=(1000, n))
    covered = np.mean([got.low <= 0.3 <= got.high for got in map(stats.mean_interval, draws)])
    assert 0.92 <= covered <= 0.98


def test_contrast_is_taken_inside_each_seed():
    rng = np.random.default_rng(0)
    luck, noise = 10 * rng.normal(size=(6, 1)), 0.01 * rng.normal(size=(6, 4))
    table = luck + noise + np.array([0.0, 1.0, 0.0, 1.0])  # second factor: +1
    got = stats.contrast(table, [-0.5, 0.5, -0.5, 0.5])
    assert got.low < 1 < got.high and got.high - got.low < 0.05 and got.n == 6
    assert got.estimate == pytest.approx(table[:, [1, 3]].mean() - table[:, [0, 2]].mean())
    assert abs(stats.contrast(table, [0.5, 0.5, -0.5, -0.5]).estimate) < 0.05


def test_noise_floor_by_hand():
    got = stats.noise_floor([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0])
    assert got == pytest.approx((1.0, 2.776445 / 2, 4), rel=1e-6)
    assert stats.noise_floor([0.8], [0.7]).half_width == pytest.approx(0.1 * 12.7062, rel=1e-4)


def test_noise_floor_bounds_95_percent_of_chance_differences():
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(2000, 4, 5))  # two pairs of exchangeable trials, 5 seeds
    inside = [abs(np.mean(c - d)) <= stats.noise_floor(a, b).half_width for a, b, c, d in trials]
    assert 0.93 <= np.mean(inside) <= 0.97


# --- correlation ---


def test_correlation_pooled_is_pearsons_with_an_exact_permutation_p():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 7])
    got = stats.correlation(x, y)
    assert got.estimate == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    every = [abs(scipy.stats.pearsonr(x, q).statistic) for q in permutations(y)]
    assert (
        got.p == np.mean(np.array(every) >= abs(got.estimate) - 1e-9)
        and got.n == 5
        and got.seeds == 0
    )
    assert np.isnan(got.low) and np.isnan(got.high)  # rows of unknown seeds: nothing to resample


def test_exact_p_of_a_perfect_line_and_of_two_strata():
    assert stats.correlation([1, 2, 3, 4], [2, 4, 6, 8]).p == 2 / 24
    got = stats.correlation([1, 2, 3, 7, 8, 9], [1, 2, 3, 0, 1, 2], stratum=list("aaabbb"))
    # both strata in order, or both reversed
    assert got.estimate == pytest.approx(1) and got.p == 2 / 36


@pytest.mark.parametrize("slope", [0, 0.1, 0.3])
def test_drawn_p_agrees_with_scipys_on_normal_values(slope):
    x, noise = np.random.default_rng(0).normal(size=(2, 40))
    y = slope * x + noise
    assert stats.correlation(x, y).p == pytest.approx(scipy.stats.pearsonr(x, y).pvalue, abs=0.02)


def test_drawn_p_is_never_zero():
    x = np.arange(30)
    assert stats.correlation(x, 5 * x).p == 1 / (stats.DRAWS + 1)


def test_strata_are_centred_whatever_their_names_and_order():
    x, y = np.array([1.0, 2, 3, 11, 12, 14]), np.array([5.0, 7, 6, 1, 2, 0])
    centred = [v - np.repeat([v[:3].mean(), v[3:].mean()], 3) for v in (x, y)]
    want = scipy.stats.pearsonr(*centred).statistic
    order = [3, 0, 4, 1, 5, 2]
    assert stats.correlation(x, y, ["Sw"] * 3 + ["Ss"] * 3).estimate == pytest.approx(want)
    assert stats.correlation(x[order], y[order], [7, 2, 7, 2, 7, 2]).estimate == pytest.approx(want)


def test_simpson_pooled_correlation_is_the_view_and_vanishes_inside_it():
    rng = np.random.default_rng(0)
    pooled, false_alarms, cover = [], 0, 0
    for _ in range(300):
        seed, view, x, y = simpson(rng)
        pooled.append(scipy.stats.pearsonr(x, y))
        got = stats.correlation(x, y, stratum=view, seed_ids=seed)
        false_alarms += got.p <= 0.05
        cover += got.low <= 0 <= got.high
    assert (
        np.mean([r.statistic for r in pooled]) < -0.4
        and np.median([r.pvalue for r in pooled]) < 1e-3
    )
    assert got.n == 48 and got.seeds == 6
    assert 0.02 <= false_alarms / 300 <= 0.07
    assert 0.92 <= cover / 300 <= 0.98


def test_false_alarms_by_stratum_alone():
    rng = np.random.default_rng(1)
    view, hits = np.repeat([0, 1], 4), 0
    for _ in range(400):  # one seed, 4 trials in each view, all 576 arrangements
        x, y = np.stack([4 * view, -4 * view]) + rng.normal(size=(2, 8))
        hits += stats.correlation(x, y, stratum=view).p <= 0.05
    assert 0.02 <= hits / 400 <= 0.07


def test_luck_of_a_seed_does_not_pass_for_a_correlation():
    rng = np.random.default_rng(0)
    seed = np.repeat(np.arange(5), 6)
    luck = np.array([-2.0, -1, 0, 1, 2])[seed]
    x, y = 3 * luck + rng.normal(size=30), 3 * luck + rng.normal(size=30)
    assert stats.correlation(x, y).estimate > 0.9
    assert abs(stats.correlation(x, y, seed_ids=seed).estimate) < 0.5


def test_interval_of_a_true_correlation_covers_it_and_narrows_with_seeds(monkeypatch):
    monkeypatch.setattr(stats, "DRAWS", 9)  # p is not looked at here
    rng = np.random.default_rng(0)
    width = {}
    for seeds in (4, 16):
        seed = np.repeat(np.arange(seeds), 5)
        got = []
        for _ in range(200):
            x = rng.normal(size=len(seed))
            got.append(stats.correlation(x, x + rng.normal(size=len(x)), seed_ids=seed))
        assert 0.91 <= np.mean([g.low <= np.sqrt(0.5) <= g.high for g in got]) <= 0.99
        width[seeds] = np.median([g.high - g.low for g in got])
    assert width[16] < width[4] / 2


def test_interval_of_two_seeds_by_hand():
    """A resample of two seeds is the first twice, both, or the second twice: 1/4, 1/2, 1/4."""
    x = np.array([1.0, 2, 3, 4, 1, 2, 3, 4])
    y = np.array([1.0, 3, 2, 4, 1, 2, 4, 3]) ** 2
    seed = np.repeat([0, 1], 4)
    both = stats.correlation(x, y, seed_ids=seed)
    z = np.arctanh(
        [
            stats.correlation(x[:4], y[:4]).estimate,
            both.estimate,
            both.estimate,
            stats.correlation(x[4:], y[4:]).estimate,
        ]
    )
    half = 12.7062 * np.std(z) * np.sqrt(2)
    assert (np.arctanh(both.high) - np.arctanh(both.low)) / 2 == pytest.approx(half, rel=0.05)
    assert (np.arctanh(both.high) + np.arctanh(both.low)) / 2 == pytest.approx(z[1])


def test_one_seed_gives_r_and_p_but_no_interval():
    got = stats.correlation([1, 2, 3, 5], [1, 3, 2, 4], seed_ids=[0, 0, 0, 0])
    assert got.seeds == 1 and np.isnan(got.low) and 0 < got.p <= 1


def test_the_same_input_gives_the_same_result():
    seed, view, x, y = simpson(np.random.default_rng(5))
    first = stats.correlation(x, y, view, seed)
    np.random.default_rng().normal(size=3)
    assert stats.correlation(x, y, view, seed) == first and not np.isnan(first[:4]).any()


def test_the_sums_of_seeds_are_enough_for_a_correlation_of_some_of_them():
    seed, view, x, y = simpson(np.random.default_rng(6))
    found = stats.correlation(x, y, view, seed)
    first = np.isin(seed, sorted(set(seed))[:3])
    fewer = stats.correlation(x[first], y[first], view[first], seed[first])
    assert len(found.sums) == found.seeds > 3
    assert stats.of_seeds(found.sums) == pytest.approx(found[:3], abs=1e-12)
    assert stats.of_seeds(found.sums[:3]) == pytest.approx(fewer[:3], abs=1e-12)
    r, low, _ = stats.of_seeds(found.sums[:1])
    assert -1 <= r <= 1 and np.isnan(low)


# --- verdicts ---


def interval(low, high):
    return stats.Interval((low + high) / 2, low, high, 5)


@pytest.mark.parametrize(
    "low, high, direction, word",
    [
        (0.2, 2.0, 1, "reproduced"),
        (0.2, 2.0, -1, "contradicted"),
        (-2.0, -0.2, -1, "reproduced"),
        (-0.2, 2.0, 1, "undecided"),
        (-2.0, 0.2, 1, "not seen"),
        (-0.2, 2.0, -1, "not seen"),
        (-2.0, 0.5, 1, "undecided"),
        (-0.4, 0.3, 1, "no effect"),
        (0.1, 0.5, 1, "no effect"),
        (-0.5, 0.5, -1, "no effect"),
        (-0.5, 0.51, -1, "undecided"),
        (-0.51, 0.49, 1, "not seen"),
        (np.nan, np.nan, 1, "undecided"),
    ],
)
def test_verdicts_by_hand(low, high, direction, word):
    assert stats.verdict(interval(low, high), direction, 0.5) == word


def test_a_claim_can_hold_only_without_its_control():
    strong = interval(1.0, 3.0)
    held = interval(0.7, 2.0)
    unclear = interval(-0.1, 2.0)
    turned = interval(-2.0, -1.0)
    small = interval(0.1, 0.2)
    unseen = interval(-3.0, 0.4)
    without = "holds only without the control"
    for controls, word in (
        ([held], "reproduced"),
        ([held, held], "reproduced"),
        ([unclear], "control undecided"),
        ([turned], without),
        ([unseen], without),
        ([small], without),
        ([held, small], without),
        ([unclear, small], without),
        ([held, unclear], "control undecided"),
    ):
        assert stats.verdict(strong, 1, 0.5, *controls) == word
    assert stats.verdict(interval(-1.0, 3.0), 1, 0.5, interval(-1.0, 3.0)) == "undecided"


@pytest.mark.parametrize("n", [5, 8, 20])
def test_a_verdict_on_nothing_is_rarely_an_effect(n):
    """No true effect: reproduced and contradicted in at most 5 % of 1,000 draws (bound: that of a
    binomial with p = .05, 99.9 %).
    """
    rng = np.random.default_rng(n)
    words = [stats.verdict(stats.mean_interval(rng.normal(size=n)), 1, 0.1) for _ in range(1000)]
    assert words.count("reproduced") + words.count("contradicted") <= 74


@pytest.mark.parametrize("n", [5, 8, 20])
@pytest.mark.parametrize("margin", [0.3, 1.0, 3.0])
def test_an_effect_as_large_as_the_margin_is_rarely_called_absent(n, margin):
    """No effect, not seen and contradicted in at most 2.5 % of 2,000 draws (bound: that of a
    binomial, 99.9 %), also where it is a control's: then the claim is given up as rarely.
    """
    rng = np.random.default_rng(n)
    found = [stats.mean_interval(margin + rng.normal(size=n)) for _ in range(2000)]
    words = [stats.verdict(interval, 1, margin) for interval in found]
    assert sum(word in stats.AGAINST for word in words) <= 73
    sure = stats.Interval(100.0, 99.0, 101.0, n)
    given_up = [stats.verdict(sure, 1, margin, control) for control in found]
    assert given_up.count("holds only without the control") <= 73


@pytest.mark.parametrize("n", [5, 8, 20])
def test_a_control_without_effect_rarely_lets_a_claim_pass(n):
    """Reproduced in at most 2.5 % of 2,000 draws where the control's true effect is zero."""
    rng, sure = np.random.default_rng(n), stats.Interval(100.0, 99.0, 101.0, n)
    controls = [stats.mean_interval(rng.normal(size=n)) for _ in range(2000)]
    assert [stats.verdict(sure, 1, 0.1, c) for c in controls].count("reproduced") <= 73


def test_p_values_are_those_of_the_test_behind_the_interval():
    values = np.random.default_rng(3).normal(size=9) + 0.4
    assert stats.p_value(stats.mean_interval(values)) == pytest.approx(
        scipy.stats.ttest_1samp(values, 0).pvalue
    )
    assert np.isnan(stats.p_value(stats.mean_interval(values[:1])))
    assert stats.p_value(stats.Interval(1.0, 1.0, 1.0, 5)) == 0
    assert stats.p_value(stats.Interval(0.0, 0.0, 0.0, 5)) == 1
    z = np.arctanh(0.5)
    half = scipy.stats.t.ppf(0.975, 19) * 0.2
    r = stats.Interval(0.5, np.tanh(z - half), np.tanh(z + half), 20)
    assert stats.p_value(r, correlation=True) == pytest.approx(2 * scipy.stats.t.sf(z / 0.2, 19))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, np.nan]) == [True, False, False, False]
    assert stats.holm([0.01, 0.02, 0.03]) == [True, True, True]
    assert stats.holm([0.04, 0.001]) == [True, True]
    assert stats.holm([]) == []


@pytest.mark.parametrize("n, effect", [(5, 1.9), (8, 1.3), (20, 0.75)])
def test_a_verdict_on_an_effect_finds_it(n, effect):
    """An effect of this many standard deviations of the paired differences is found in at least 80
    % of 1,000 draws of n seeds.
    """
    rng = np.random.default_rng(n)
    words = [
        stats.verdict(stats.mean_interval(effect + rng.normal(size=n)), 1, 0.1 * effect)
        for _ in range(1000)
    ]
    assert words.count("reproduced") >= 800


# --- bad input ---


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: stats.mean_interval([]), r"shape \(0,\)"),
        (lambda: stats.mean_interval([[1.0, 2.0]]), r"shape \(1, 2\); expected 1 axes"),
        (lambda: stats.mean_interval([1.0, np.nan]), "1 values that are NaN"),
        (lambda: stats.mean_interval([1.0, 2.0], level=95), "level is 95"),
        (lambda: stats.contrast(np.ones((3, 2)), [1, -1, 0]), "length 3; table has 2 trials"),
        (lambda: stats.contrast(np.ones((3, 2)), [0.5, 0.5]), "weights sum to 1"),
        (lambda: stats.contrast(np.ones((3, 2)), [0, 0]), "weights sum to 0"),
        (lambda: stats.contrast([1.0, 2.0], [1, -1]), "table has shape"),
        (lambda: stats.noise_floor([1.0, 2.0], [1.0]), "a has 2 seeds and b has 1"),
        (lambda: stats.correlation([1, 2, 3], [1, 2]), "x has length 3 and y 2"),
        (lambda: stats.correlation([1, 2, 3], [1, 1, 1]), "y does not vary"),
        (
            lambda: stats.correlation([1, 2], [3, 4], stratum=["a", "b"]),
            "x does not vary inside any of the 2 cells",
        ),
        (
            lambda: stats.correlation([1, 2, 3], [1, 3, 2], stratum=["a"]),
            "stratum has length 1; x has 3",
        ),
        (lambda: stats.correlation([1, 2, 3], [1, 3, 2], seed_ids=[0, 1]), "seed_ids has length 2"),
        (lambda: stats.correlation([1, 2, np.inf], [1, 3, 2]), "x holds 1 values"),
        (lambda: stats.verdict(interval(0, 1), 2, 0.1), "direction is 2"),
        (lambda: stats.verdict(interval(0, 1), 1, 0.0), "margin is 0.0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
