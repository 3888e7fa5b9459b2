"""Linear regression by gradient descent, direction by direction: what distillation does to the
implicit bias, in closed form.

X (n, p) has the thin singular value decomposition U diag(sigma) V^T, and lam = sigma^2 are the
eigenvalues of X^T X. Training from zero on 1/2 ||X beta - y||^2 gives beta_k = g_k (u_k^T y) /
sigma_k and predictions U diag(g) U^T y. The filter g says all: 0 where nothing is learnt, 1 where
the labels are fitted, larger where lam is, which is the implicit bias. For the mean loss take lam /
n, for several outputs norms over outputs. Times are those of gradient flow, in units of 1 / lam.
Everything broadcasts and is float64.

Nagarajan et al. 2023 say in their abstract that distillation exaggerates this bias, in some simple
settings. The closed forms, the inequality and its proof are derived here, and checked against
integrated equations in tests/test_eigen.py.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from kdcore.metrics import real, whole


def _real(**values):
    arrays = [real(v, name) for name, v in values.items()]
    for name, v in zip(values, arrays):
        if v.size == 0:
            raise ValueError(f"{name} has shape {v.shape}; expected at least one number.")
        if np.isnan(v).any():
            raise ValueError(f"{name} is nan in {np.isnan(v).sum()} places; it must be a number.")
    try:
        np.broadcast_shapes(*(v.shape for v in arrays))
    except ValueError as error:
        raise ValueError(
            f"{', '.join(values)} have shapes {', '.join(str(v.shape) for v in arrays)}, which do "
            "not broadcast."
        ) from error
    return arrays


def _one_or_more(times):
    if not times:
        raise ValueError(
            "no time was given; expected one for each round of training, at least one."
        )


def _checked(positive=False, **values):
    arrays = _real(**values)
    for name, v in zip(values, arrays):
        if not ((v > 0) if positive else (v >= 0)).all():
            raise ValueError(
                f"{name} is {v.min():g}; it must be {'above 0' if positive else '0 or more'}."
            )
    return arrays


# --- filters ---


def gradient_flow(lam, time):
    """1 - exp(-lam t): the one-hot filter after time t. Stop it at T and it is the teacher's."""
    lam, time = _checked(lam=lam, time=time)
    return -np.expm1(-lam * time)


def descent_rate(lam, step):
    """-log(1 - step lam) / step: gradient descent on lam is gradient flow on this rate, sampled at
    times step, 2 step, ...

    Needs step lam < 1: then the rate rises with lam, and what holds for gradient flow holds for
    finite steps.
    """
    lam, step = _checked(True, lam=lam, step=step)
    if (lam * step >= 1).any():
        raise ValueError(
            f"step * lam is {(lam * step).max():g}; it must be below 1, beyond that the filter "
            "oscillates."
        )
    return -np.log1p(-lam * step) / step


def gradient_descent(lam, steps, step):
    """1 - (1 - step lam)^steps: the one-hot filter after so many steps. Oscillates for step lam in
    (1, 2), diverges from 2 on.
    """
    lam, steps, step = _checked(lam=lam, steps=steps, step=step)
    x = lam * step
    if (x >= 2).any():
        raise ValueError(f"step * lam is {x.max():g}; gradient descent diverges from 2 on.")
    return np.where(x < 0.5, -np.expm1(steps * np.log1p(-np.minimum(x, 0.5))), 1 - (1 - x) ** steps)


def ridge(lam, time, decay):
    """lam / (lam + c) (1 - exp(-(lam + c) t)): gradient flow on the loss plus c / 2 ||beta||^2, c
    the weight decay.

    As t grows it tends to lam / (lam + c), and R rounds to the R-th power of that: the
    amplification by explicit regularisation of Mobahi et al. 2020. In `student` this filter stands
    for the teacher's and for the student's own training alike.
    """
    lam, time, decay = _checked(lam=lam, time=time, decay=decay)
    return np.where(lam > 0, lam / np.where(lam > 0, lam + decay, 1), 0) * gradient_flow(
        lam + decay, time
    )


def student(own, teacher, weight=1.0):
    """own ((1 - w) + w teacher): trained on (1 - w) labels + w teacher's predictions, weight w.

    own: the filter that the student's own training would have on the labels; teacher: the stopped
    teacher's. At w = 1 a product, for gradient flow (1 - exp(-lam t)) (1 - exp(-lam T)), which is
    reported to be the paper's. For w < 1 and large t `margin`'s claim reverses.
    """
    if np.ndim(weight) or not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}; it must be 0 to 1.")
    own, teacher = _real(own=own, teacher=teacher)
    return own * (1 - weight + weight * teacher)


def rounds(lam, *times):
    """prod_r (1 - exp(-lam t_r)): gradient flow distilled from model to model. One time: one-hot;
    two, in any order: student and teacher.
    """
    _one_or_more(times)
    return np.prod(np.broadcast_arrays(*(gradient_flow(lam, t) for t in times)), axis=0)


def switched(start, own, target):
    """(1 - own) start + own target: training that goes on from the filter `start` with another
    target; own as in `student`.

    Labels, then teacher: start the one-hot filter so far, target the teacher's. Teacher, then
    labels: start student(...), target 1.
    """
    start, own, target = _real(start=start, own=own, target=target)
    return (1 - own) * start + own * target


# --- matched progress ---


def one_hot_time(lam, g):
    """-log(1 - g) / lam: when one-hot training reaches the filter value g < 1, the inverse of
    gradient_flow.
    """
    (lam,), (g,) = _checked(True, lam=lam), _real(g=g)
    if not ((g >= 0) & (g < 1)).all():
        raise ValueError(f"g is {g[~((g >= 0) & (g < 1))][0]:g}; it must be 0 or more and below 1.")
    return -np.log1p(-g) / lam


def effective_time(lam, *times):
    """S = -1/lam log(1 - prod_r (1 - exp(-lam t_r))): the one-hot run that direction lam of a
    distilled model is equal to.

    For a student at t of a teacher stopped at T: S(lam; t, T) = -1/lam log(exp(-lam t) + exp(-lam
    T) - exp(-lam (t + T))). One-hot training has S = t everywhere. A student's rises strictly with
    lam, from lam t T at small lam to min(t, T). Accurate to a few units in the last place for lam t
    from 1e-150 to 1e300.
    """
    _one_or_more(times)
    (lam,) = _checked(True, lam=lam)
    times = _checked(**{f"time {i}": t for i, t in enumerate(times, 1)})
    # what is learnt, and the logarithm of what is left: each is accurate where the other is not
    share, log_left = (1.0, -np.inf)
    with np.errstate(divide="ignore"):
        for t in times:
            a = gradient_flow(lam, t)
            share, log_left = share * a, np.logaddexp(log_left + np.log(a), -lam * t)
    return np.where(share < 0.5, -np.log1p(-np.minimum(share, 0.5)), -log_left) / lam


def margin(top, bottom, *times):
    """(1 - exp(-b s)) - prod_r (1 - exp(-b t_r)) at s = effective_time(a, *times), a = top > b =
    bottom: how far the student is behind.

    A one-hot run stopped at s is level with the student along a. The margin is what it has learnt
    more along b (as a filter value): above 0 for two or more times, 0 for one. That for gradient
    flow on linear models is reported to be the paper's theorem; this version is ours. It cancels:
    in float64 its error is about 1e-15, and below that its sign means nothing.

    Proof for two times: let q = exp(-a t), z = exp(-a T), alpha = b / a < 1. Level along a means
    exp(-a s) = q + z - qz, so the margin is q^alpha + z^alpha - (qz)^alpha - (q + z - qz)^alpha.
    The pairs {q, z} and {q + z - qz, qz} have one sum, the second is further spread, and u^alpha is
    strictly concave: the margin is above 0. Each further factor spreads it again (induction).
    """
    _one_or_more(times)
    top, bottom = _checked(True, top=top, bottom=bottom)
    if not (top > bottom).all():
        raise ValueError(
            f"top minus bottom is {(top - bottom).min():g}; it must be above 0: progress is "
            "matched along the larger eigenvalue."
        )
    late, early = effective_time(top, *times), effective_time(bottom, *times)
    return -np.exp(-bottom * early) * np.expm1(-bottom * (late - early))


# --- risk ---


def risk(g, lam, beta, noise):
    """lam (1 - g)^2 beta^2 + noise g^2: n times the expected excess risk on the training inputs,
    per direction; its sum is the whole.

    For y = X beta + Gaussian noise of that variance. Quadratic in g: of two filters the one nearer
    to optimal_filter is better.
    """
    lam, noise = _checked(lam=lam, noise=noise)
    g, beta = _real(g=g, beta=beta)
    return lam * (1 - g) ** 2 * np.square(beta) + noise * np.square(g)


def optimal_filter(lam, beta, noise):
    """lam beta^2 / (lam beta^2 + noise): the filter of least risk, no training reaches below it."""
    (lam,), (noise,), (beta,) = _checked(lam=lam), _checked(True, noise=noise), _real(beta=beta)
    signal = lam * np.square(beta)
    return signal / (signal + noise)


# --- trajectories ---


def _matrix(values, name, axes):
    values = real(values, name)
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
        raise ValueError(
            f"{name} have shape {values.shape} and {(~np.isfinite(values)).sum()} NaN or infinite "
            f"values; expected finite ones {axes}, neither 0."
        )
    return values


def directions(x, k):
    """The k largest eigenvalues of x^T x / n and their eigenvectors. (n, d) -> (k,), (d, k).

    x (n, d): inputs, features or unfolded patches. Centre x for the covariance; uncentred, the
    first direction is near the mean of x.
    """
    x = _matrix(x, "x", "(rows, inputs)")
    k = whole(k, "k", 1)
    _, sigma, vt = np.linalg.svd(x, full_matrices=False)
    rank = int((sigma > sigma[0] * max(x.shape) * np.finfo(float).eps).sum())
    if not 1 <= k <= rank:
        raise ValueError(
            f"k is {k}; x has {rank} directions of its own, so 1 to {rank} are allowed."
        )
    return sigma[:k] ** 2 / len(x), vt[:k].T


def projections(weights, vectors):
    """||v_k^T W(t)||_2 over outputs. Recorded weights (records, d) or (records, d, h), vectors (d,
    k) -> (records, k).

    For a layer that does not start near 0 give W - W_0: the initial weights hide what is learnt.
    """
    w, v = real(weights, "weights"), _matrix(vectors, "vectors", "(inputs, k)")
    if not np.isfinite(w).all():
        raise ValueError(
            f"weights hold {(~np.isfinite(w)).sum()} values that are NaN or infinite; all must be "
            "finite."
        )
    if w.ndim not in (2, 3) or w.shape[1] != len(v):
        raise ValueError(
            f"weights have shape {w.shape}; expected (records, {len(v)}) or (records, {len(v)}, "
            "outputs)."
        )
    return np.linalg.norm(np.einsum("tdh,dk->tkh", w.reshape(len(w), len(v), -1), v), axis=2)


class Pairs(NamedTuple):
    """Pairs of eigendirections at matched progress along the upper one, and how far the student is
    along the lower one.
    """

    top: np.ndarray  # (pairs,) column of the direction along which progress is matched
    bottom: np.ndarray  # (pairs,) column of the direction that is compared, bottom > top
    # (pairs,) median of student / one-hot along bottom at matched progress; nan where none matches
    ratio: np.ndarray
    below: np.ndarray  # (pairs,) share of the student's points with a ratio below 1; nan likewise
    # (pairs,) the ratio is 1 within the tolerance, as where both directions had converged in the
    # teacher
    tie: np.ndarray


def compare(one_hot, student, tolerance=1e-3):
    """The student's trajectory against the one-hot run's, for each pair of directions. projections
    (records, k) twice -> Pairs.

    A run is read at records where its component along the top direction is larger than ever before.
    A student's record counts between 2 % and 97 % of the one-hot run's largest value; there the
    one-hot run's bottom component is interpolated over its top component by a monotone cubic
    (PCHIP). In gradient flow the curve is convex: straight lines lie above it and report students
    below it where there is no difference, median ratio .95 for a run against itself, recorded once
    per 1 / lam_top, lam_bottom = lam_top / 10 (PCHIP: 1.0000). Pairs of one run share its luck: the
    unit of replication is the run.
    """
    one_hot, student = real(one_hot, "projections"), real(student, "projections")
    if np.ndim(tolerance) or not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}; it must be 0 or more.")
    if (
        one_hot.ndim != 2
        or student.ndim != 2
        or one_hot.shape[1] != student.shape[1]
        or one_hot.shape[1] < 2
    ):
        raise ValueError(
            f"projections have shapes {one_hot.shape} and {student.shape}; expected (records, k) "
            "twice, one k of 2 or more."
        )
    if not (np.isfinite(one_hot).all() and np.isfinite(student).all()):
        raise ValueError(
            "projections hold NaN or infinite values; a run that diverged has no trajectory to "
            "compare."
        )
    top, bottom = np.triu_indices(one_hot.shape[1], 1)
    ratio, below = np.full((2, len(top)), np.nan)
    for k in range(one_hot.shape[1] - 1):
        a, b = (c[_rising(c[:, k])] for c in (one_hot, student))
        x, high = b[:, k], a[-1, k]
        b = b[(x >= max(0.02 * high, a[0, k])) & (x <= 0.97 * high)]
        if len(a) < 2 or len(b) == 0:
            continue
        # a direction without any signal has 0 / 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = b[:, k + 1 :] / PchipInterpolator(a[:, k], a[:, k + 1 :])(b[:, k])
        ratio[top == k], below[top == k] = np.median(ratios, axis=0), (ratios < 1).mean(0)
    return Pairs(
        top, bottom, ratio, np.where(np.isnan(ratio), np.nan, below), np.abs(ratio - 1) <= tolerance
    )


def _rising(x):
    return x > np.concatenate([[-np.inf], np.maximum.accumulate(x)[:-1]])


class Below(NamedTuple):
    """How often the student is behind along the lower direction, summed up over pairs; ties and
    unmatched pairs are counted apart.
    """

    pairs: float  # share of the decided pairs whose median ratio is below 1
    points: float  # mean share of points below the one-hot curve, over the decided pairs
    decided: int
    ties: int
    unmatched: int  # pairs without any matched progress


def share_below(pairs):
    """How many trajectories lie below the one-hot curve, ties and unmatched pairs counted apart.
    Pairs -> Below (nan if none is decided).
    """
    if len({np.shape(v) for v in pairs}) > 1 or np.ndim(pairs.ratio) != 1:
        raise ValueError(
            f"pairs have shapes {', '.join(str(np.shape(v)) for v in pairs)}; expected one number "
            "for each pair in all of them."
        )
    unmatched = np.isnan(pairs.ratio)
    decided = ~unmatched & ~pairs.tie
    shares = (
        float(v[decided].mean()) if decided.any() else np.nan
        for v in (pairs.ratio < 1, pairs.below)
    )
    return Below(*shares, int(decided.sum()), int(pairs.tie.sum()), int(unmatched.sum()))
