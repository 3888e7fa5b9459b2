"""Measurements of one or two models on fixed examples: pure functions of logits, labels and
predicted classes.

Shapes: logits (n, C) real and finite, labels and predictions (n,) integers 0 .. C-1. Information is
in nats. Where a quantity exists for a single example the function returns (n,) float64; its mean is
the usual number. Bad input raises ValueError. The functions named official_* repeat what the code
published with Guo et al. 2024 (arXiv 2405.00739) computes, to be shown beside the definition;
nothing else should use them.
"""

from typing import NamedTuple

import numpy as np


def real(values, name):
    """The values as a float64 array. ValueError where they are complex, text or dates: numpy would
    drop or make up a part of them.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiubO":
        raise ValueError(
            f"{name} have shape {values.shape} and type {values.dtype}; expected real numbers."
        )
    try:
        return values.astype(np.float64, copy=False)
    except TypeError as error:  # objects that are no numbers
        raise ValueError(f"{name} are no real numbers: {error}.") from error


def whole(value, name, least):
    """The value as int, 15.0 too. ValueError where it is not a whole number, `least` or more."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, (bool, str)) or number != value or number < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    return number


def _logits(*arrays):
    arrays = [real(a, "logits") for a in arrays]
    for a in arrays:
        if a.ndim != 2 or 0 in a.shape:
            raise ValueError(
                f"logits have shape {a.shape}; expected (examples, classes), neither 0."
            )
        if a.shape != arrays[0].shape:
            raise ValueError(
                f"logits have shapes {arrays[0].shape} and {a.shape}; models compared need equal "
                "ones."
            )
        if not np.isfinite(a).all():
            raise ValueError(
                f"logits hold {(~np.isfinite(a)).sum()} values that are NaN or infinite; all must "
                "be finite."
            )
    return arrays


def _classes(values, classes, n=None, name="labels"):
    values = np.asarray(values)
    if values.ndim != 1 or values.size == 0 or n not in (None, len(values)):
        raise ValueError(
            f"{name} have shape {values.shape}; expected ({'n' if n is None else n},), not empty."
        )
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} have type {values.dtype}; expected integers.")
    if values.min() < 0 or values.max() >= classes:
        raise ValueError(
            f"{name} run from {values.min()} to {values.max()}; allowed are 0 to {classes - 1}."
        )
    return values.astype(np.int64)


def log_softmax(logits):
    """log softmax over the last axis, in float64, without overflow. (..., C) -> (..., C)."""
    z = real(logits, "logits")
    if z.ndim == 0 or 0 in z.shape or not np.isfinite(z).all():
        raise ValueError(
            f"logits have shape {z.shape} and {(~np.isfinite(z)).sum()} NaN or infinite values; "
            "expected finite ones (..., classes), none 0."
        )
    return _log_softmax(z)


def _log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def correct(logits, y):
    """1.0 where the largest logit is the label's, else 0.0. (n, C), (n,) -> (n,). A tie goes to the
    lower class.
    """
    (z,) = _logits(logits)
    return (z.argmax(1) == _classes(y, z.shape[1], len(z))).astype(np.float64)


def max_probability(logits):
    """max_c softmax_c, the probability of the predicted class. (n, C) -> (n,)."""
    return np.exp(_log_softmax(*_logits(logits)).max(1))


def entropy(logits):
    """-sum_c p_c log p_c with p = softmax. (n, C) -> (n,), nats, 0 .. log C. Guo et al. 2024, Eq.
    H.1.
    """
    log_p = _log_softmax(*_logits(logits))
    return np.maximum(-(np.exp(log_p) * log_p).sum(1), 0)


def ensemble(teachers):
    """Mean of the teachers' raw logits. (K, n, C) -> (n, C). Guo et al. 2024, sec. 4.2.

    The metrics of the paper use this mean; its loss averages per-teacher losses, which amounts to a
    mean of probabilities.
    """
    if len(teachers) == 0:
        raise ValueError("teachers is empty; an ensemble needs at least one.")
    return np.mean(_logits(*teachers), axis=0)


def agreement(teacher, student):
    """Fidelity: 1.0 where both predict the same class, else 0.0. (n, C) twice -> (n,). Guo et al.
    2024, Eq. 3.

    Two accurate models agree for that reason alone: compare with kappa, or take the mean over
    examples one of them gets wrong.
    """
    t, s = _logits(teacher, student)
    return (t.argmax(1) == s.argmax(1)).astype(np.float64)


def kl(p_logits, q_logits, temperature=1.0):
    """KL(p || q) = sum_c p_c log(p_c / q_c), p and q the softmax of logits / temperature. (n, C)
    twice -> (n,), nats.

    kl(teacher, student) is KL(teacher || student), the direction of Guo et al. 2024, Eq. 2, and of
    the distillation loss (no temperature^2 here). Not symmetric; 0 exactly when the two
    distributions are equal.
    """
    if np.ndim(temperature) or not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}; it must be a number above 0.")
    p, q = (_log_softmax(z / temperature) for z in _logits(p_logits, q_logits))
    return np.maximum((np.exp(p) * (p - q)).sum(1), 0)  # rounding alone could give -1e-17


def official_kl(teacher, student):
    """10 KL(student || teacher): reversed and scaled against the paper's Eq. 2. (n, C) twice ->
    (n,).
    """
    return 10 * kl(student, teacher)


def _joint(pred_a, pred_b, classes):
    classes = whole(classes, "classes", 1)
    a = _classes(pred_a, classes, name="pred_a")
    b = _classes(pred_b, classes, len(a), name="pred_b")
    return np.bincount(a * classes + b, minlength=classes**2).reshape(classes, classes)


def kappa(pred_a, pred_b, classes):
    """Cohen's kappa (po - pe) / (1 - pe): agreement po beyond what the two class frequencies give
    by chance, pe. Scalar.

    nan where both always predict the same one class: chance agreement is then 1.
    """
    p = _joint(pred_a, pred_b, classes) / len(np.asarray(pred_a))
    chance = p.sum(1) @ p.sum(0)
    return float("nan") if chance == 1 else float((np.trace(p) - chance) / (1 - chance))


def mutual_information(pred_a, pred_b, classes, estimator="plug-in"):
    """sum_ab P(a,b) log(P(a,b) / P(a)P(b)) over predicted classes, one C x C table for all
    examples. Scalar, nats.

    "plug-in" puts frequencies for P (Guo et al. 2024, Eq. 4); it reads too high, by about (C-1)^2 /
    2n for independent predictions. "miller-madow" adds (Ka + Kb - Kab - 1) / 2n, K the numbers of
    classes and of pairs that occur; it may fall below 0. At n = 10,000 that removes the bias for C
    = 10 but only half of it for C = 100 (independent: 0.57 -> 0.27, truth 0), because most pairs
    never occur: show shuffled_mutual_information beside it.
    """
    if estimator not in ("plug-in", "miller-madow"):
        raise ValueError(f'estimator is {estimator!r}; allowed are "plug-in" and "miller-madow".')
    counts = _joint(pred_a, pred_b, classes)
    n, rows, columns = counts.sum(), counts.sum(1), counts.sum(0)
    i, j = counts.nonzero()
    p = counts[i, j] / n
    value = max(float((p * np.log(p * n * n / (rows[i] * columns[j]))).sum()), 0.0)
    if estimator == "miller-madow":
        value += (np.count_nonzero(rows) + np.count_nonzero(columns) - len(i) - 1) / (2 * n)
    return float(value)


def shuffled_mutual_information(pred_a, pred_b, classes, seed, draws=20):
    """Plug-in mutual information after shuffling pred_b: what the estimator reads without any
    dependence. -> (draws,), nats.

    A baseline to show, not a general correction: subtracting it takes too much off when predictions
    depend strongly.
    """
    _joint(pred_a, pred_b, classes)  # a whole number in place of pred_b would be shuffled, too
    rng, draws = np.random.default_rng(whole(seed, "seed", 0)), whole(draws, "draws", 1)
    return np.array(
        [mutual_information(pred_a, rng.permutation(pred_b), classes) for _ in range(draws)]
    )


def official_mutual_information(pred_a, pred_b, classes):
    """Mean plug-in estimate over consecutive batches of 128, the last one as it falls. Scalar,
    nats.

    At C = 100 it reads 3.4 for independent predictions (truth 0) and 4.1 for identical ones (truth
    4.6).
    """
    _joint(pred_a, pred_b, classes)  # checks the whole input before it is cut
    starts = range(0, len(pred_a), 128)
    return float(
        np.mean(
            [mutual_information(pred_a[i : i + 128], pred_b[i : i + 128], classes) for i in starts]
        )
    )


class Reliability(NamedTuple):
    """The bins of a reliability diagram."""

    edges: np.ndarray  # (bins + 1,), 0 .. 1
    confidence: np.ndarray  # (bins,) mean in the bin, nan where it is empty
    accuracy: np.ndarray  # (bins,) likewise
    count: np.ndarray  # (bins,) examples


def reliability_bins(logits, y, bins=15):
    """Mean confidence and accuracy in equal-width bins (a, b] of confidence. (n, C), (n,) ->
    Reliability.
    """
    bins = whole(bins, "bins", 1)
    right, conf, edges = correct(logits, y), max_probability(logits), np.linspace(0, 1, bins + 1)
    where = np.searchsorted(edges, conf, side="left") - 1
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the nan of an empty bin
        means = [np.bincount(where, weights=w, minlength=bins) / count for w in (conf, right)]
    return Reliability(edges, *means, count)


def ece(logits, y, bins=15):
    """Expected calibration error sum_m (n_m / n) |accuracy_m - confidence_m|, bins (a, b]. Scalar,
    0 .. 1.

    Guo et al. 2017; Guo et al. 2024, Eq. H.2. Depends on the number of bins and on the examples:
    give validation examples.
    """
    r = reliability_bins(logits, y, bins)
    return float(np.nansum(r.count * np.abs(r.accuracy - r.confidence)) / r.count.sum())


def official_ece(logits, y):
    """Plain mean over 10 bins of |accuracy_m - confidence_m|, an empty bin counting 0: a bin of 1
    weighs as one of 9,999.
    """
    r = reliability_bins(logits, y, 10)
    return float(np.nansum(np.abs(r.accuracy - r.confidence)) / 10)


def _fractions(*values):
    values = [real(v, "accuracies") for v in values]
    if len({v.shape for v in values if v.ndim}) > 1:
        raise ValueError(
            f"accuracies have shapes {values[0].shape} and {values[1].shape}; arrays compared "
            "need equal ones."
        )
    for v in values:
        if not ((v >= 0) & (v <= 1)).all():
            raise ValueError(
                f"accuracy is {v[~((v >= 0) & (v <= 1))][0]}; expected a fraction, 0 to 1."
            )
    return values


def accuracy_gap(train_accuracy, validation_accuracy):
    """Train minus validation accuracy (fractions; scalars or arrays of one shape).

    Take both in eval mode on clean images. Guo et al. 2024 take the running training accuracy on
    augmented views, which stronger augmentation lowers by itself.
    """
    train, validation = _fractions(train_accuracy, validation_accuracy)
    return train - validation


def affinity(accuracy_on_view, accuracy_reference):
    """accuracy_on_view / accuracy_reference: how little an augmentation shifts the data for a model
    (1 = not at all).

    The ratio is the same in three definitions; model and denominator differ, so say which one was
    computed:
    original  a model trained on clean data; augmented over clean validation images (Gontijo-Lopes
              et al. 2021);
    paper     the distilled student itself; its own view over clean validation images (Guo et al.
              2024, Eq. 5);
    code      the distilled student itself; its own view over randomly cropped images (published
              code, likely Table 1).
    """
    view, reference = _fractions(accuracy_on_view, accuracy_reference)
    if (reference == 0).any():
        raise ValueError("accuracy_reference is 0; it must be above 0.")
    return view / reference
