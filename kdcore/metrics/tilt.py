"""Does a student exaggerate its teacher's confidence? Statistics of the logit-logit plot, and a toy
model in which the answer is a formula.

The plot: one point per example, x the teacher's and y the student's log-odds of one class, the
teacher's predicted one. Nagarajan et al. 2023 find that students exaggerate their teacher's
confidence, and are reported to show it so, with a fitted slope above 1: the student is less sure
still where the teacher is unsure, or surer still where it is sure. The teacher chooses the class
and is one of the two axes, so that its luck tilts the plot without any distillation: show the same
statistics with a model trained on labels in the student's place, and with a third model's choices.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from kdcore.metrics import _classes, _logits, real, whole


def log_odds(logits, classes):
    """log(p_k / (1 - p_k)) of the softmax, one class k per example, as z_k - log sum_{j != k} exp
    z_j. (n, C), (n,) -> (n,).

    Exact also where p_k is 1 in floating point. For the logit-logit plot take k = teacher.argmax(1)
    for the student too.
    """
    (z,) = _logits(logits)
    if z.shape[1] < 2:
        raise ValueError(f"logits have {z.shape[1]} class; log-odds need 2 or more.")
    rows, k = np.arange(len(z)), _classes(classes, z.shape[1], len(z), "classes")
    own, others = z[rows, k], z.copy()
    others[rows, k] = -np.inf
    return own - logsumexp(others, axis=1)


def _points(**values):
    arrays = {name: real(v, name) for name, v in values.items()}
    n = next(iter(arrays.values())).size
    for name, v in arrays.items():
        if v.shape != (n,) or n == 0 or not np.isfinite(v).all():
            raise ValueError(
                f"{name} has shape {v.shape} and {(~np.isfinite(v)).sum()} NaN or infinite "
                f"values; expected {n} finite ones, at least 1."
            )
    return arrays.values()


def instrument_slope(x, y, z):
    """cov(y, z) / cov(x, z): the slope of y on x with a third model z as instrument. (n,) three
    times -> scalar.

    z: log-odds, of the same class, by a model trained on labels that is independent of teacher and
    student; that model's predicted class is taken for all three. The teacher's own luck, which
    lowers or raises the plain slope, is not in z: if y too is trained on labels like the teacher,
    the value is 1 up to sampling. z = x gives the least-squares slope. nan where cov(x, z) is 0;
    unstable near it.
    """
    x, y, z = _points(x=x, y=y, z=z)
    z = z - z.mean()
    below = ((x - x.mean()) * z).sum()
    return float(((y - y.mean()) * z).sum() / below) if below else float("nan")


def slope(x, y):
    """cov(x, y) / var(x): slope of the least-squares line of y on x. (n,) twice -> scalar, nan
    where x does not vary.
    """
    x, y = _points(x=x, y=y)
    return instrument_slope(x, y, x) if np.ptp(x) > 0 else float("nan")


class Tilt(NamedTuple):
    """How a cloud of log-odds lies beside the diagonal: y of a model over x of its teacher, in all
    and in the outer quartiles of x.
    """

    slope: float  # least squares, all examples
    slope_low: float  # in the bottom quartile; varies much between seeds
    slope_high: float  # in the top quartile
    # mean of y - x in the bottom quartile: below 0 where low confidence is underfitted
    shift_low: float
    shift_high: float
    below_low: float  # share of examples with y < x in the bottom quartile
    below_high: float


def tilt(x, y, by=None):
    """Slope and quartile statistics of the logit-logit plot. x, y (n,) -> Tilt, in units of
    log-odds.

    Quartiles are those of x, or of `by` (n,): a third model's log-odds. Choosing low values of x
    and comparing with y shows regression to the mean even where x and y are alike; choosing by an
    independent model does not. The bottom quartile holds values up to and including the first
    quartile (linear interpolation), the top one those from the third on. A slope is nan where x
    does not vary.
    """
    x, y, by = _points(x=x, y=y, by=x if by is None else by)
    first, third = np.quantile(by, (0.25, 0.75))
    low, high = by <= first, by >= third
    slopes = (slope(x[q], y[q]) for q in (low, high))
    shifts = (float((y - x)[q].mean()) for q in (low, high))
    below = (float((y < x)[q].mean()) for q in (low, high))
    return Tilt(slope(x, y), *slopes, *shifts, *below)


# --- toy model: exaggerated bias is exaggerated confidence ---


def _finite(**values):
    arrays = [real(v, name) for name, v in values.items()]
    for name, v in zip(values, arrays):
        if not np.isfinite(v).all():
            raise ValueError(f"{name} is {v}; it must be finite.")
    if len({v.shape for v in arrays if v.ndim}) > 1:
        raise ValueError(
            f"{' and '.join(values)} have shapes {' and '.join(str(v.shape) for v in arrays)}; "
            "arrays need equal ones."
        )
    return arrays


def toy_eigenvalues(n, shared, private):
    """n shared^2 + private^2 and private^2: the eigenvalues of X X^T in the toy model, once and n -
    1 times.

    Example i has true class s_i = +-1 and input (shared s_i, private e_i): one direction common to
    all, one of its own for each. Labels are s_i but for a share of flipped ones. Linear regression
    by gradient descent on it has the filters of kdcore.metrics.eigen: g_top on the first
    eigenvalue, g_rest on the second.
    """
    n, (shared, private) = whole(n, "n", 1), _finite(shared=shared, private=private)
    return n * shared**2 + private**2, private**2


def toy_margins(flipped, top, rest):
    """(1 - 2r) g_top + 2r g_rest and 2 (1 - r) g_rest - (1 - 2r) g_top: prediction times given
    label, of clean and of mislabelled examples.

    flipped: share r of labels that are flipped, 0 <= r < 1/2; top, rest: the filters. A mislabelled
    example's margin is below 0, its true class predicted, until g_rest / g_top = (1 - 2r) / (2 -
    2r).
    """
    if np.ndim(flipped) or not 0 <= flipped < 0.5:
        raise ValueError(f"flipped is {flipped}; it must be 0 or more and below 0.5.")
    top, rest = _finite(top=top, rest=rest)
    return (1 - 2 * flipped) * top + 2 * flipped * rest, 2 * (1 - flipped) * rest - (
        1 - 2 * flipped
    ) * top


def toy_slope(flipped, teacher, student):
    """(g'_top - g'_rest) / (g_top - g_rest): slope of the student's margins over the teacher's,
    both for the teacher's predicted class.

    teacher, student: (g_top, g_rest), (g'_top, g'_rest). That is where the teacher has learnt the
    flipped labels. In gradient flow, once lam_top t and lam_top T are large, it is 1 + (1 -
    exp(-lam_rest T)) exp(lam_rest (T - t)) > 1; at t = T that is 2 - exp(-lam_rest T). Before, the
    teacher predicts the true classes and the slope is g'_rest / g_rest <= 1: no exaggeration
    without learnt noise.
    """
    for name, filters in (("teacher", teacher), ("student", student)):
        if len(filters) != 2:
            raise ValueError(
                f"{name} has {len(filters)} filters; expected two, on the first eigenvalue and on "
                "the rest."
            )
    clean, wrong = toy_margins(flipped, *teacher)
    clean_, wrong_ = toy_margins(flipped, *student)
    # the teacher's class on a mislabelled example: the given one, or the true one
    sign = np.where(wrong > 0, 1, -1)
    # no slope where both kinds have one margin
    with np.errstate(divide="ignore", invalid="ignore"):
        return (clean_ - sign * wrong_) / (clean - sign * wrong)
