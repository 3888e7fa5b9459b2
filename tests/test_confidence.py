import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdcore.metrics import eigen
from kdcore.metrics import tilt as c

few = settings(max_examples=40, deadline=None)
logits = arrays(np.float64, (5, 4), elements=st.floats(-8, 8))
points = arrays(np.float64, (2, 12), elements=st.floats(-20, 20))
X, Y, Z = np.random.default_rng(0).normal(size=(3, 200)) + 2 * np.random.default_rng(1).normal(
    size=200
)


# --- log-odds ---


@few
@given(logits, st.integers(0, 3))
def test_log_odds_are_the_logit_of_the_probability(z, k):
    p = np.exp(z - z.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True))[:, k]
    assert c.log_odds(z, np.full(5, k)) == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-7)
    assert c.log_odds(z + 100, np.full(5, k)) == pytest.approx(
        c.log_odds(z, np.full(5, k)), abs=1e-10
    )


def test_log_odds_equal_the_naive_formula_for_moderate_logits():
    z = np.random.default_rng(0).normal(size=(500, 10)) * 2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    k = z.argmax(1)
    p = p[np.arange(500), k]
    assert np.abs(c.log_odds(z, k) - np.log(p / (1 - p))).max() < 1e-10


def test_log_odds_stay_exact_where_probabilities_round_to_0_or_1():
    z = [[1000.0, 0.0], [0.0, 1000.0], [-2000.0, 40.0]]
    assert c.log_odds(z, [0, 0, 1]).tolist() == [1000, -1000, 2040]
    assert c.log_odds([[1000.0, 0.0, 0.0]], [0]) == pytest.approx(1000 - np.log(2), abs=1e-12)


@few
@given(logits)
def test_only_a_majority_class_has_positive_log_odds(z):
    k = z.argmax(1)
    # the predicted class of four has probability 1/4 or more
    assert (c.log_odds(z, k) >= -np.log(3) - 1e-9).all()
    assert (c.log_odds(z, (k + 1) % 4) <= 1e-9).all()


# --- slopes ---


def test_slope_is_scipys():
    assert c.slope(X, Y) == pytest.approx(scipy.stats.linregress(X, Y).slope)
    assert np.isnan(c.slope([0.1, 0.1, 0.1], [1.0, 2.0, 4.0]))


@few
@given(points, st.floats(-3, 3), st.floats(-50, 50))
def test_slopes_of_a_scaled_and_shifted_teacher_are_the_scale(xz, scale, shift):
    x, z = xz
    if np.ptp(x) > 1e-3 and abs(np.cov(x, z)[0, 1]) > 1e-3:
        y = scale * x + shift
        assert c.instrument_slope(x, y, z) == pytest.approx(scale, abs=1e-6)
        assert c.tilt(x, y).slope == pytest.approx(scale, abs=1e-6)


def test_two_models_alike_have_instrument_slope_1_and_a_plain_slope_below():
    """Teacher and rerun share the examples' difficulty and nothing else: selection tilts the plot,
    not the instrument's.
    """
    shared, *luck = np.random.default_rng(0).normal(size=(4, 40_000))
    x, y, z = (shared + 0.7 * one for one in luck)
    assert c.slope(x, y) == pytest.approx(1 / 1.49, abs=0.02)
    assert c.instrument_slope(x, y, z) == pytest.approx(1, abs=0.02)
    assert c.instrument_slope(x, 1.3 * y, z) == pytest.approx(1.3, abs=0.03)
    own, third = c.tilt(x, y), c.tilt(x, y, by=z)
    assert own.shift_low > 0.3 and own.shift_high < -0.3
    assert third.shift_low == pytest.approx(0, abs=0.03) and third.shift_high == pytest.approx(
        0, abs=0.03
    )
    assert third.below_low == pytest.approx(0.5, abs=0.02) and own.below_low < 0.4


def test_instrument_slope_is_the_ratio_of_covariances():
    assert c.instrument_slope(X, Y, Z) == pytest.approx(np.cov(Y, Z)[0, 1] / np.cov(X, Z)[0, 1])
    assert c.instrument_slope(X, Y, X) == pytest.approx(c.slope(X, Y))
    assert np.isnan(c.instrument_slope([1.0, 2, 1, 2], [1.0, 2, 3, 4], [1.0, 1, 2, 2]))


# --- quartiles ---


def test_tilt_by_hand():
    x = np.arange(8.0)
    y = np.array([-2.0, -4, 2, 3, 4, 5, 7, 9])
    got = c.tilt(x, y)
    # two examples in each quartile: 0, 1 and 6, 7
    assert got[1:] == pytest.approx((-2, 2, -3.5, 1.5, 1, 0))
    by = c.tilt(x, y, by=[0, 9, 5, 5, 5, 5, 9, 0])
    assert by[1:] == pytest.approx((11 / 7, 11 / 5, (-2 + 2) / 2, (-5 + 1) / 2, 0.5, 0.5))
    assert by.slope == got.slope == pytest.approx(scipy.stats.linregress(x, y).slope)


@few
@given(
    st.lists(st.integers(-50, 50), min_size=12, max_size=12, unique=True),
    st.permutations(range(12)),
)
def test_tilt_does_not_depend_on_the_order_of_examples(x, order):
    x, y = np.array(x), Y[:12]
    assert c.tilt(x[order], y[order]) == pytest.approx(c.tilt(x, y))


def test_a_student_that_shrinks_everything_has_a_slope_below_1_and_lies_below_the_diagonal():
    """Why the slope alone is not enough."""
    x = np.linspace(1, 9, 100)
    got = c.tilt(x, 0.8 * x)
    assert got.slope == pytest.approx(0.8) and got.below_low == got.below_high == 1


def test_quartiles_include_ties_and_a_constant_teacher_has_no_slope():
    got = c.tilt([1.0, 1, 1, 1, 1, 2], [0.0, 2, 0, 0, 0, 2])
    assert np.isnan(got.slope_low) and got.below_low == 0.8 and got.shift_low == pytest.approx(-0.6)
    assert np.isnan(c.tilt([1.0, 1], [0.0, 2]).slope)


# --- toy model ---

N, FLIPPED, SHARED, PRIVATE = 40, 0.2, 1.0, 1.0
S = np.where(np.arange(N) % 2 == 0, 1.0, -1.0)
GIVEN = S * np.where(np.arange(N) < FLIPPED * N, -1, 1)


def spectral(inputs, g_of_lam):
    """Predictions on the training inputs, a filter applied through the eigenvectors of X X^T."""
    lam, u = np.linalg.eigh(inputs @ inputs.T)
    return u @ (g_of_lam(lam) * (u.T @ GIVEN))


def test_toy_eigenvalues_are_those_of_the_data():
    inputs = np.column_stack([0.7 * S, 0.3 * np.eye(N)])
    top, rest = c.toy_eigenvalues(N, 0.7, 0.3)
    lam = np.linalg.eigvalsh(inputs @ inputs.T)
    assert lam[-1] == pytest.approx(top) and lam[:-1] == pytest.approx(np.full(N - 1, rest))


@pytest.mark.parametrize("t", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("T", [0.1, 0.9, 3.0])
def test_toy_margins_and_slope_are_those_of_the_fitted_model(t, T):
    inputs = np.column_stack([SHARED * S, PRIVATE * np.eye(N)])
    lam = np.array(c.toy_eigenvalues(N, SHARED, PRIVATE))
    teacher, student = eigen.gradient_flow(lam, T), eigen.rounds(lam, t, T)
    f = spectral(inputs, lambda v: eigen.gradient_flow(v, T))
    f_ = spectral(inputs, lambda v: eigen.rounds(v, t, T))
    clean = S == GIVEN
    for g, prediction in ((teacher, f), (student, f_)):
        margins = c.toy_margins(FLIPPED, *g)
        assert prediction[clean] * GIVEN[clean] == pytest.approx(np.full(clean.sum(), margins[0]))
        assert prediction[~clean] * GIVEN[~clean] == pytest.approx(
            np.full((~clean).sum(), margins[1])
        )
    predicted = np.sign(f)
    expected = scipy.stats.linregress(f * predicted, f_ * predicted).slope
    assert c.toy_slope(FLIPPED, teacher, student) == pytest.approx(expected, rel=1e-6)
    learnt = teacher[1] / teacher[0] > (1 - 2 * FLIPPED) / (2 - 2 * FLIPPED)
    assert learnt == (predicted[~clean] == GIVEN[~clean]).all() and (expected > 1) == learnt


def test_toy_slope_by_reference_values_and_in_the_limit():
    lam, t, T = np.array(c.toy_eigenvalues(40, 1.0, 1.0)), np.array([0.5, 1, 2, 4, 8]), 2.0
    teacher = eigen.gradient_flow(lam, T)
    got = c.toy_slope(0.2, teacher, eigen.rounds(lam[:, None], t, T))
    assert got == pytest.approx([4.875158, 3.350402, 1.864665, 1.117020, 1.002143], abs=1e-5)
    assert got == pytest.approx(1 + (1 - np.exp(-T)) * np.exp(T - t), abs=1e-5)
    assert c.toy_margins(0.2, *teacher) == pytest.approx((0.9459, 0.7835), abs=1e-4)
    assert got[2] == pytest.approx(2 - np.exp(-T), abs=1e-5)


# --- errors ---


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: c.log_odds([[1.0], [2.0]], [0, 0]),
            "logits have 1 class; log-odds need 2 or more",
        ),
        (lambda: c.log_odds([[1.0, 2.0]], [2]), "classes run from 2 to 2; allowed are 0 to 1"),
        (lambda: c.log_odds([[1.0, np.inf]], [0]), "NaN or infinite"),
        (lambda: c.slope([1.0, 2.0], [1.0]), r"y has shape \(1,\)"),
        (lambda: c.tilt([1.0, np.nan], [1.0, 2.0]), "x has shape .* 1 NaN or infinite values"),
        (lambda: c.toy_margins(0.5, 1, 1), "flipped is 0.5; it must be 0 or more and below 0.5"),
    ],
)
def test_errors_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
