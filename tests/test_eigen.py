import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from kdcore.metrics import eigen

times = st.floats(1e-3, 1e3)
rates = st.floats(1e-4, 1e2)
few = settings(max_examples=40, deadline=None)
X, Y = np.random.default_rng(0).normal(size=(6, 9)) / 2, np.random.default_rng(1).normal(size=6)
U, SIGMA, VT = np.linalg.svd(X, full_matrices=False)
LAM = SIGMA**2


def integrated(phases, decay=0.0):
    """Predictions X beta after gradient flow from 0 over phases of (time, target), by numerical
    integration in weight space.
    """
    beta = np.zeros(X.shape[1])
    for time, target in phases:
        ode = solve_ivp(
            lambda t, b, target=target: -X.T @ (X @ b - target) - decay * b,
            (0, time),
            beta,
            method="DOP853",
            rtol=1e-10,
            atol=1e-12,
        )
        beta = ode.y[:, -1]
    return X @ beta


def predictions(g):
    return U @ (g * (U.T @ Y))


# --- filters against integrated equations ---


@pytest.mark.parametrize("T", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("t", [0.3, 2.0, 15.0])
def test_teacher_student_and_a_third_round_solve_the_differential_equation(t, T):
    teacher = integrated([(T, Y)])
    student = integrated([(t, teacher)])
    assert predictions(eigen.gradient_flow(LAM, T)) == pytest.approx(teacher, abs=1e-8)
    assert predictions(
        eigen.student(eigen.gradient_flow(LAM, t), eigen.gradient_flow(LAM, T))
    ) == pytest.approx(student, abs=1e-8)
    assert predictions(eigen.rounds(LAM, T, t, 1.0)) == pytest.approx(
        integrated([(1.0, student)]), abs=1e-8
    )


@pytest.mark.parametrize("weight", [0.0, 0.4, 0.9])
def test_mixed_targets_solve_the_differential_equation(weight):
    teacher = integrated([(1.5, Y)])
    mixed = integrated([(2.5, (1 - weight) * Y + weight * teacher)])
    assert predictions(
        eigen.student(eigen.gradient_flow(LAM, 2.5), eigen.gradient_flow(LAM, 1.5), weight)
    ) == pytest.approx(mixed, abs=1e-8)


@pytest.mark.parametrize("decay", [0.0, 0.3, 2.0])
def test_weight_decay_solves_the_differential_equation(decay):
    teacher = integrated([(1.5, Y)], decay)
    g = eigen.ridge(LAM, 1.5, decay)
    assert predictions(g) == pytest.approx(teacher, abs=1e-8)
    assert predictions(eigen.student(eigen.ridge(LAM, 4.0, decay), g)) == pytest.approx(
        integrated([(4.0, teacher)], decay), abs=1e-8
    )


def test_switching_solves_the_differential_equation():
    first, then, teacher = (eigen.gradient_flow(LAM, t) for t in (0.7, 1.1, 2.0))
    target = integrated([(2.0, Y)])
    assert predictions(eigen.switched(first, then, teacher)) == pytest.approx(
        integrated([(0.7, Y), (1.1, target)]), abs=1e-8
    )
    assert predictions(eigen.switched(eigen.student(first, teacher), then, 1)) == pytest.approx(
        integrated([(0.7, target), (1.1, Y)]), abs=1e-8
    )


def test_finite_steps_are_iterated_gradient_descent_also_where_it_oscillates():
    step = 1.7 / LAM[0]
    betas = {"teacher": np.zeros(9), "student": np.zeros(9)}
    for name, target in (("teacher", lambda: Y), ("student", lambda: X @ betas["teacher"])):
        for _ in range(7):
            betas[name] = betas[name] - step * X.T @ (X @ betas[name] - target())
    g = eigen.gradient_descent(LAM, 7, step)
    assert g[0] == pytest.approx(1 + 0.7**7)  # overshot after an odd number of steps
    assert predictions(g) == pytest.approx(X @ betas["teacher"], abs=1e-12)
    assert predictions(eigen.student(g, g)) == pytest.approx(X @ betas["student"], abs=1e-12)


@few
@given(st.floats(1e-9, 0.99), st.integers(0, 1000))
def test_finite_steps_are_gradient_flow_on_the_descent_rate(x, steps):
    flow = eigen.gradient_flow(eigen.descent_rate(2.0, x / 2), steps * x / 2)
    assert eigen.gradient_descent(2.0, steps, x / 2) == pytest.approx(flow, rel=1e-9, abs=1e-300)


def test_a_converged_student_is_its_teacher():
    """Deviation lasts only as long as the student's training: predictions, and with them every
    slope, agree in the end.
    """
    teacher = predictions(eigen.gradient_flow(LAM, 2.0))
    student = predictions(
        eigen.student(eigen.gradient_flow(LAM, 50 / LAM.min()), eigen.gradient_flow(LAM, 2.0))
    )
    assert np.polyfit(teacher, student, 1)[0] == pytest.approx(1, abs=1e-3)
    assert student == pytest.approx(teacher, abs=1e-12)


@few
@given(rates, times, times, st.floats(0, 1))
def test_filters_lie_between_the_teachers_and_the_labels(lam, t, T, weight):
    own, teacher = eigen.gradient_flow(lam, t), eigen.gradient_flow(lam, T)
    mixed = eigen.student(own, teacher, weight)
    assert own * teacher * (1 - 1e-15) <= mixed <= own * (1 + 1e-15)
    assert eigen.ridge(lam, t, 0.1) <= own
    assert min(own, teacher) <= eigen.switched(own, own, teacher) * (1 + 1e-15)


def test_a_direction_without_data_stays_at_zero():
    assert eigen.ridge([0.0, 1.0], 5.0, 0.0) == pytest.approx([0, 1 - np.exp(-5)])
    assert eigen.rounds([0.0, 1.0], 5.0, 5.0)[0] == eigen.gradient_descent([0.0], 10, 0.1)[0] == 0


# --- matched progress ---


@few
@given(rates, times)
def test_one_hot_time_inverts_gradient_flow(lam, t):
    if lam * t < 5:
        assert eigen.one_hot_time(lam, eigen.gradient_flow(lam, t)) == pytest.approx(t, rel=1e-12)


def exact_time(lam, t, T):
    q, z = mpmath.exp(-lam * t), mpmath.exp(-lam * T)
    return -mpmath.log(q + z - q * z) / lam


@pytest.mark.parametrize("t, T", [(2.0, 3.0), (1.0, 1.0), (1e-3, 50.0)])
def test_effective_time_is_exact_from_tiny_to_huge_eigenvalues(t, T):
    lam = np.logspace(-150, 6, 157)
    s = eigen.effective_time(lam, t, T)
    with mpmath.workdps(400):
        exact = np.array(
            [float(exact_time(mpmath.mpf(v), mpmath.mpf(t), mpmath.mpf(T))) for v in lam]
        )
    assert s == pytest.approx(exact, rel=1e-14)
    assert s[0] == pytest.approx(lam[0] * t * T, rel=1e-12) and s[-1] == pytest.approx(
        min(t, T), rel=1e-5
    )
    # equal only once min(t, T) is reached in float64
    assert (np.diff(s) >= 0).all() and (np.diff(s[:151]) > 0).all()
    assert eigen.effective_time(1e300, t, T) == min(t, T)


def test_effective_time_by_reference_values():
    """Four reference values at lam = 1 and one at 200; one-hot training, whose effective time is
    its time; no time, and no end.
    """
    assert eigen.effective_time(1.0, [0.2, 1, 5, 5], [0.2, 1, 5, 1]) == pytest.approx(
        [0.0334, 0.5101, 4.3102, 0.9885], abs=5e-5
    )
    assert eigen.effective_time(200.0, 2.0, 2.0) == pytest.approx(1.9965343, abs=1e-7)
    assert eigen.effective_time([0.1, 30.0], 7.0) == pytest.approx([7, 7])
    assert eigen.effective_time(1.0, 0.0, 2.0) == 0 and eigen.effective_time(
        1.0, np.inf, 2.0
    ) == pytest.approx(2)


@few
@given(rates, st.lists(times, min_size=1, max_size=4))
def test_effective_time_is_when_one_hot_training_is_level(lam, ts):
    s = eigen.effective_time(lam, *ts)
    assert eigen.gradient_flow(lam, s) == pytest.approx(eigen.rounds(lam, *ts), rel=1e-12)
    assert s <= min(ts) * (1 + 1e-14)
    assert eigen.effective_time(lam, *ts[::-1]) == pytest.approx(s, rel=1e-12)


def exact_margin(a, b, *ts):
    share = [mpmath.fprod(1 - mpmath.exp(-lam * t) for t in ts) for lam in (a, b)]
    s = -mpmath.log(1 - share[0]) / a
    return 1 - mpmath.exp(-b * s) - share[1]


def test_the_inequality_holds_on_a_grid_in_250_digits_and_float64_is_close():
    tops, ratios, ts = [0.03, 1, 20], [0.003, 0.1, 0.5, 0.9, 0.999], [1e-3, 0.1, 0.7, 2, 5, 9]
    with mpmath.workdps(250):
        points = [(a, a * r, t, T) for a in tops for r in ratios for t in ts for T in ts]
        exact = [exact_margin(*map(mpmath.mpf, p)) for p in points]
        assert sum(m <= 0 for m in exact) == 0
        exact = np.array([float(m) for m in exact])
    got = eigen.margin(*np.array(points).T)
    assert np.abs(got - exact).max() < 1e-15
    resolved = exact > 1e-14
    assert (got[resolved] > 0).all() and resolved.sum() > 450


@few
@given(
    st.floats(1e-4, 10),
    st.floats(1e-3, 0.999),
    st.lists(st.floats(1e-3, 20), min_size=2, max_size=4),
)
def test_the_inequality_holds_for_students_and_for_further_rounds(a, ratio, ts):
    with mpmath.workdps(250):
        exact = exact_margin(*map(mpmath.mpf, (a, a * ratio, *ts)))
        assert exact > 0
    assert eigen.margin(a, a * ratio, *ts) == pytest.approx(float(exact), abs=1e-15)


def test_one_hot_training_has_no_margin_and_every_round_adds_to_it():
    assert eigen.margin(2.0, 1.0, 3.0) == 0
    for b, expected in (
        (0.5, [0.683772, 0.598253, 0.53981, 0.494953]),
        (0.1, [0.205672, 0.066016, 0.023355, 0.008744]),
    ):
        # .9 along the top
        bottom = [
            float(eigen.rounds(b, *[eigen.one_hot_time(1.0, 0.9 ** (1 / n))] * n))
            for n in range(1, 5)
        ]
        assert bottom == pytest.approx(expected, abs=1e-6)


def test_the_inequality_holds_for_finite_steps_in_rational_arithmetic():
    """Integer steps: where the one-hot run has come at least as far along the top, it is strictly
    ahead along the bottom.
    """
    from fractions import Fraction as F

    cases = 0
    for a, b in ((F(9, 10), F(3, 10)), (F(1, 2), F(9, 20)), (F(1, 5), F(1, 100))):
        for m in (1, 2, 5, 17):
            for M in (1, 3, 30):
                student = [(1 - (1 - x) ** m) * (1 - (1 - x) ** M) for x in (a, b)]
                steps = next(k for k in range(1, 31) if 1 - (1 - a) ** k >= student[0])
                assert 1 - (1 - b) ** steps > student[1]
                rates = eigen.descent_rate([float(a), float(b)], 1.0)
                assert eigen.margin(*rates, m, M) > 0
                cases += 1
    assert cases == 36


def test_ridge_twice_amplifies_more_than_a_stronger_ridge_once():
    """At convergence, matched along the top: 1 + c'/a = (1 + c/a)^2."""
    rng = np.random.default_rng(0)
    a = rng.uniform(0.1, 10, 2000)
    ratio = rng.uniform(0.01, 0.99, 2000)
    c = rng.uniform(0.01, 10, 2000)
    stronger = a * ((1 + c / a) ** 2 - 1)
    for lam in (a, a * ratio):
        twice, once = eigen.ridge(lam, 1e6, c) ** 2, eigen.ridge(lam, 1e6, stronger)
        assert twice == pytest.approx(once) if lam is a else (twice < once).all()


def test_labels_in_the_target_reverse_the_inequality_late():
    """Student's bottom filter over that of one-hot training level with it along the top; T = 3, a =
    1, b = 0.1.
    """
    expected = {
        1.0: [0.276342, 0.29671, 0.407651, 0.864665],
        0.9: [0.353021, 0.376634, 0.510147, 1.079474],
        0.5: [0.649914, 0.674918, 0.84718, 1.76295],
    }
    for weight, ratios in expected.items():
        top, bottom = (
            eigen.student(
                eigen.gradient_flow(lam, [0.5, 2, 5, 20]), eigen.gradient_flow(lam, 3), weight
            )
            for lam in (1, 0.1)
        )
        assert bottom / eigen.gradient_flow(0.1, eigen.one_hot_time(1, top)) == pytest.approx(
            ratios, abs=1e-6
        )


# --- risk ---


def test_risk_is_the_mean_over_noise():
    rng = np.random.default_rng(0)
    beta, g, noise = rng.normal(size=6), eigen.rounds(LAM, 2.0, 3.0), 0.3
    draws = SIGMA * beta + np.sqrt(noise) * rng.normal(size=(200_000, 6))
    errors = ((g * draws - SIGMA * beta) ** 2).mean(0)
    assert eigen.risk(g, LAM, beta, noise) == pytest.approx(errors, rel=0.03)


@few
@given(st.floats(0, 1), st.floats(1e-3, 10), st.floats(-3, 3), st.floats(1e-3, 10))
def test_no_filter_has_less_risk_than_the_optimal_one(g, lam, beta, noise):
    best = eigen.optimal_filter(lam, beta, noise)
    assert 0 <= best < 1
    assert eigen.risk(best, lam, beta, noise) <= eigen.risk(g, lam, beta, noise) + 1e-12


def test_distillation_helps_after_an_overtrained_teacher_and_hurts_after_an_undertrained_one():
    lam = np.arange(1, 201) ** -1.5
    beta, noise = np.where(np.arange(200) < 5, 1.0, 0.0), 0.003
    for T, helps in ((1, False), (1000, True)):
        own = eigen.gradient_flow(lam, T)
        first, then = eigen.gradient_flow(lam, 0.75 * T), eigen.gradient_flow(lam, 0.25 * T)
        one_hot, distilled, back = (
            eigen.risk(g, lam, beta, noise).sum()
            for g in (own, own * own, eigen.switched(first * own, then, 1))
        )
        assert (distilled < one_hot) == helps
        # returning to the labels loses what was gained, or regains what was lost
        assert (back > distilled) == helps


# --- trajectories ---


def test_directions_are_the_eigenvectors_of_the_second_moment():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 7)) * np.arange(1, 8)
    lam, v = eigen.directions(x, 5)
    assert x.T @ x / 40 @ v == pytest.approx(v * lam) and (np.diff(lam) < 0).all()
    assert v.T @ v == pytest.approx(np.eye(5), abs=1e-12)
    with pytest.raises(ValueError, match="k is 4; x has 3 directions"):
        eigen.directions(x[:3], 4)


def test_projections_are_norms_over_outputs():
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(4, 7, 3)), np.linalg.qr(rng.normal(size=(7, 2)))[0]
    got = eigen.projections(w, v)
    assert got.shape == (4, 2) and got[2, 1] == pytest.approx(np.linalg.norm(v[:, 1] @ w[2]))
    assert eigen.projections(w[:, :, 0], v)[1, 0] == pytest.approx(abs(v[:, 0] @ w[1, :, 0]))


def descent(features, target, step, steps, every=5):
    """Weights recorded every few steps of full-batch gradient descent on the mean squared error,
    from 0. -> (records, d, outputs).
    """
    w, records = np.zeros((features.shape[1], target.shape[1])), []
    for i in range(steps + 1):
        if i % every == 0:
            records.append(w.copy())
        w = w - step * features.T @ (features @ w - target) / len(features)
    return np.array(records)


def test_every_student_on_random_features_lies_below_an_early_stopped_teacher():
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(120, 10)) @ rng.normal(size=(10, 60)), 0)
    features = features - features.mean(0)
    lam, v = eigen.directions(features, 24)
    target = rng.normal(size=(120, 3))
    teacher = descent(features, target, 0.2 / lam[0], 100)
    student = descent(features, features @ teacher[-1], 0.2 / lam[0], 300)
    pairs = eigen.compare(*(eigen.projections(w, v[:, ::3]) for w in (teacher, student)))
    assert eigen.share_below(pairs) == (1, 1, 25, 3, 0)
    # a stopped teacher's weights are the closed form, in norm over outputs
    at = np.array([0, 6, 12])
    g = eigen.gradient_descent(lam[at], 100, 0.2 / lam[0])
    u = features @ v[:, at] / np.sqrt(120 * lam[at])
    assert eigen.projections(teacher, v[:, at])[-1] == pytest.approx(
        g * np.linalg.norm(u.T @ target, axis=1) / np.sqrt(120 * lam[at])
    )


def curve(lam, time, *teacher):
    """A trajectory in closed form: (records, directions)."""
    return eigen.rounds(lam, time[:, None], *teacher)


def test_compare_finds_the_ratio_of_the_closed_forms():
    lam = np.array([1.0, 0.3, 0.02])
    pairs = eigen.compare(
        curve(lam, np.arange(0, 8.01, 0.25)), curve(lam, np.arange(0, 40, 0.25), 8.0)
    )
    assert (
        list(zip(pairs.top, pairs.bottom)) == [(0, 1), (0, 2), (1, 2)]
        and not pairs.tie.any()
        and (pairs.below == 1).all()
    )
    x = curve(lam, np.arange(0, 40, 0.25), 8.0)
    inside = (x[:, 0] >= 0.02 * (1 - np.exp(-8))) & (x[:, 0] <= 0.97 * (1 - np.exp(-8)))
    level = eigen.gradient_flow(0.02, eigen.one_hot_time(1.0, x[inside, 0]))
    assert pairs.ratio[1] == pytest.approx(np.median(x[inside, 2] / level), abs=1e-4)


@pytest.mark.parametrize("interval", [0.2, 0.5, 1.0])
def test_a_run_compared_with_itself_at_other_records_is_a_tie(interval):
    """Here interpolation by straight lines reports median ratios .998, .986 and .950."""
    lam, t = np.array([1.0, 0.1]), np.arange(0, 40, interval)
    got = eigen.share_below(eigen.compare(curve(lam, t), curve(lam, t + interval / 2)))
    assert (got.decided, got.ties) == (0, 1) and np.isnan(got.pairs)


def test_ties_and_unmatched_pairs_are_counted_apart():
    lam = np.array([50.0, 30.0, 0.1])  # the first two have converged in the teacher
    teacher, student = curve(lam, np.linspace(0, 5, 5001)), curve(lam, np.linspace(0, 5, 5001), 5.0)
    assert eigen.share_below(eigen.compare(teacher, student)) == (1, 1, 2, 1, 0)
    stuck = np.concatenate([teacher, student[:1]])[[-1]]
    assert eigen.share_below(eigen.compare(teacher, stuck))[2:] == (0, 0, 3)
    above = eigen.share_below(eigen.compare(student, teacher))
    assert above.pairs == above.points == 0 and above.decided == 2


def test_records_that_fall_back_along_the_top_are_not_read():
    lam, t = np.array([1.0, 0.1]), np.arange(0, 8, 0.1)
    teacher, student = curve(lam, t), curve(lam, t, 4.0)
    noisy = np.insert(teacher, 20, [0.5, 40.0], axis=0), np.insert(student, 30, [0.1, -7.0], axis=0)
    for got, expected in zip(eigen.compare(*noisy), eigen.compare(teacher, student)):
        assert got == pytest.approx(expected)


# --- errors ---


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: eigen.gradient_flow(-1, 1), "lam is -1; it must be 0 or more"),
        (lambda: eigen.gradient_flow(1, [1, np.nan]), "time is nan"),
        (lambda: eigen.descent_rate(2, 0.5), "step . lam is 1; it must be below 1"),
        (lambda: eigen.gradient_descent(2, 5, 1), "diverges from 2 on"),
        (lambda: eigen.ridge(1, 1, -0.1), "decay is -0.1"),
        (lambda: eigen.student(0.5, 0.5, 1.5), "weight is 1.5; it must be 0 to 1"),
        (lambda: eigen.one_hot_time(1, 1.0), "g is 1; it must be 0 or more and below 1"),
        (lambda: eigen.effective_time(0, 1, 1), "lam is 0; it must be above 0"),
        (lambda: eigen.margin(1, 2, 1, 1), "top minus bottom is -1; it must be above 0"),
        (lambda: eigen.optimal_filter(1, 1, 0), "noise is 0; it must be above 0"),
        (
            lambda: eigen.projections(np.zeros((2, 3)), np.zeros((4, 1))),
            r"weights have shape \(2, 3\); expected \(records, 4\)",
        ),
        (
            lambda: eigen.compare(np.zeros((2, 3)), np.zeros((2, 2))),
            r"shapes \(2, 3\) and \(2, 2\)",
        ),
        (lambda: eigen.compare(np.zeros((2, 2)), np.full((2, 2), np.nan)), "a run that diverged"),
    ],
)
def test_errors_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
