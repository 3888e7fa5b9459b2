import kdcore._torchvision  # noqa: F401  (declares operators of torchvision that may be missing)

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score, mutual_info_score
from torchmetrics.classification import MulticlassCalibrationError

from kdcore import metrics as m

rng = np.random.default_rng(0)
Y = rng.integers(10, size=3000)
T = rng.normal(size=(3000, 10)) * 2 + 3 * np.eye(10)[Y]
S = T + rng.normal(size=T.shape) * 1.5
PT, PS = T.argmax(1), S.argmax(1)
logit_pairs = arrays(np.float64, (2, 3, 4), elements=st.floats(-50, 50))


def logit(p):
    """Two-class logits whose second class has probability p."""
    p = np.asarray(p, dtype=float)
    return np.stack([np.log1p(-p), np.log(p)], axis=1)


def independent(classes, n=10_000):
    draw = np.random.default_rng(3)
    return draw.integers(classes, size=n), draw.integers(classes, size=n)


# --- against other implementations ---


def test_log_softmax_is_scipys_also_for_huge_logits():
    z = np.array([[1e4, -1e4, 0.0], [1.0, 2.0, 3.0]])
    assert m.log_softmax(z) == pytest.approx(scipy.special.log_softmax(z, axis=1), abs=1e-12)
    assert m.log_softmax(np.float32(z)).dtype == np.float64


def test_kl_and_entropy_are_scipys():
    p, q = (scipy.special.softmax(z / 3, axis=1) for z in (T, S))
    assert m.kl(T, S, temperature=3) == pytest.approx(scipy.special.rel_entr(p, q).sum(1), rel=1e-9)
    assert m.entropy(T) == pytest.approx(
        scipy.stats.entropy(scipy.special.softmax(T, axis=1), axis=1), rel=1e-9
    )


def test_kappa_and_mutual_information_are_scikit_learns():
    assert m.kappa(PT, PS, 10) == pytest.approx(cohen_kappa_score(PT, PS), rel=1e-9)
    assert m.mutual_information(PT, PS, 10) == pytest.approx(mutual_info_score(PT, PS), rel=1e-9)
    # classes nobody predicts
    assert m.mutual_information(PT, PS, 50) == m.mutual_information(PT, PS, 10)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_ece_is_torchmetrics(bins):
    other = MulticlassCalibrationError(num_classes=10, n_bins=bins, norm="l1")
    assert m.ece(S, Y, bins) == pytest.approx(
        float(other(torch.tensor(S).softmax(1), torch.tensor(Y))), abs=1e-6
    )


# --- by hand ---


def test_correct_and_agreement_by_hand():
    t = np.array([[2.0, 1, 0], [0, 5, 1], [0, 0, 1]])
    s = np.array([[1.0, 0, 0], [3, 1, 2], [0, 1, 9]])
    assert m.correct(t, [0, 1, 0]).tolist() == [1, 1, 0]
    assert m.agreement(t, s).tolist() == [1, 0, 1]
    assert m.max_probability([[0.0, 0.0], [0.0, np.log(3)]]).tolist() == pytest.approx([0.5, 0.75])


def test_ensemble_is_the_mean_of_raw_logits_not_of_probabilities():
    a, b = np.array([[9.0, 0, 0]]), np.array([[0.0, 4, 0]])
    assert m.ensemble([a, b]).tolist() == [[4.5, 2, 0]]
    assert m.ensemble(np.stack([T, T])) == pytest.approx(T)


def test_kl_names_its_direction():
    teacher, student = logit([0.9]), logit([0.5])
    forward = 0.9 * np.log(1.8) + 0.1 * np.log(0.2)
    reverse = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert m.kl(teacher, student)[0] == pytest.approx(forward)
    assert m.kl(student, teacher)[0] == pytest.approx(reverse) != pytest.approx(forward)
    assert m.official_kl(teacher, student)[0] == pytest.approx(10 * reverse)


def test_entropy_ends():
    assert m.entropy(np.zeros((1, 7)))[0] == pytest.approx(np.log(7))
    assert m.entropy([[1000.0, 0, 0]])[0] == 0


def test_kappa_by_hand():
    assert m.kappa([0, 0, 1, 1], [0, 1, 1, 1], 2) == pytest.approx(0.5)  # po 3/4, pe 1/2
    assert m.kappa([0, 1, 2], [0, 1, 2], 3) == 1
    assert np.isnan(m.kappa([1, 1], [1, 1], 3))


def test_mutual_information_by_hand():
    a = np.repeat([0, 1], 50)
    assert m.mutual_information(a, a, 2) == pytest.approx(np.log(2))
    assert m.mutual_information(a, np.tile([0, 1], 50), 2) == 0
    # Ka = Kb = 2; the identical pair fills 2 cells of the table, the independent one 4
    assert m.mutual_information(a, a, 2, "miller-madow") == pytest.approx(np.log(2) + 1 / 200)
    assert m.mutual_information(a, np.tile([0, 1], 50), 2, "miller-madow") == pytest.approx(
        -1 / 200
    )


def test_ece_two_bins_by_hand():
    z, y = logit([0.9, 0.9, 0.6, 0.6]), np.array([1, 0, 1, 1])
    # (.5,.75]: confidence .6, accuracy 1; (.75,1]: confidence .9, accuracy .5; two examples each of
    # four
    assert m.ece(z, y, bins=4) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    r = m.reliability_bins(z, y, bins=4)
    assert r.count.tolist() == [0, 0, 2, 2] and r.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert r.confidence[2:] == pytest.approx([0.6, 0.9]) and r.accuracy[2:].tolist() == [1, 0.5]
    assert np.isnan(r.confidence[:2]).all() and np.isnan(r.accuracy[:2]).all()


def test_bins_are_open_on_the_left_and_closed_on_the_right():
    z = np.array([[0.0, 0.0], [0.0, 800.0]])  # confidences exactly .5 and 1
    assert m.reliability_bins(z, [0, 1], bins=4).count.tolist() == [0, 1, 0, 1]


def test_ece_of_a_calibrated_model_is_zero():
    z, y = logit([0.75] * 4 + [0.9] * 10), np.array([1, 1, 1, 0] + [1] * 9 + [0])
    assert m.ece(z, y) == pytest.approx(0, abs=1e-12)


def test_official_ece_forgets_how_full_a_bin_is():
    z, y = logit([0.9] * 99 + [0.55]), np.ones(100, dtype=int)
    assert m.ece(z, y, bins=10) == pytest.approx(0.99 * 0.1 + 0.01 * 0.45)
    assert m.official_ece(z, y) == pytest.approx((0.1 + 0.45) / 10)


def test_gap_and_affinity():
    assert m.accuracy_gap(0.95, 0.80) == pytest.approx(0.15)
    assert m.affinity([0.4, 0.8], 0.8).tolist() == [0.5, 1.0]


# --- properties ---


@given(logit_pairs)
@settings(max_examples=100, deadline=None)
def test_kl_is_never_negative_and_zero_only_for_equal_distributions(z):
    value = m.kl(*z)
    distance = np.abs(np.exp(m.log_softmax(z[0])) - np.exp(m.log_softmax(z[1]))).sum(1)
    assert np.isfinite(value).all() and (value >= 0).all()
    # Pinsker: unequal distributions cannot have KL 0
    assert (value >= distance**2 / 2 - 1e-12).all()
    assert m.kl(z[0], z[0] + 3).max() < 1e-12  # a shift of all logits changes no probability
    assert m.kl(z[0], z[0]).max() == 0


@given(logit_pairs)
@settings(max_examples=50, deadline=None)
def test_agreement_is_symmetric_and_one_with_itself(z):
    assert m.agreement(z[0], z[0]).tolist() == [1, 1, 1]
    assert (m.agreement(*z) == m.agreement(z[1], z[0])).all()
    assert ((m.entropy(z[0]) >= 0) & (m.entropy(z[0]) <= np.log(4) + 1e-12)).all()


def test_mutual_information_does_not_depend_on_the_names_of_classes():
    names = np.random.default_rng(1).permutation(10)
    assert m.mutual_information(names[PT], PS, 10) == pytest.approx(
        m.mutual_information(PT, PS, 10), rel=1e-12
    )
    assert m.mutual_information(PS, PT, 10) == pytest.approx(
        m.mutual_information(PT, PS, 10), rel=1e-12
    )


def test_mutual_information_of_independent_predictions():
    a, b = independent(100)
    plug_in = m.mutual_information(a, b, 100)
    baseline = m.shuffled_mutual_information(a, b, 100, seed=0)
    assert m.official_mutual_information(a, b, 100) == pytest.approx(3.44, abs=0.03)
    assert plug_in == pytest.approx(0.57, abs=0.02)
    # half the bias stays: 10,000 pairs, 6,300 seen
    assert 0.2 < m.mutual_information(a, b, 100, "miller-madow") < 0.32
    assert (
        plug_in - baseline.mean() == pytest.approx(0, abs=0.02)
        and abs(plug_in - baseline.mean()) < 4 * baseline.std()
    )
    a, b = independent(10)
    assert m.mutual_information(a, b, 10) > 0.002
    assert m.mutual_information(a, b, 10, "miller-madow") == pytest.approx(0, abs=0.002)


def test_official_mutual_information_of_identical_predictions_reads_low():
    a, _ = independent(100)
    assert m.mutual_information(a, a, 100) == pytest.approx(np.log(100), abs=0.01)
    assert m.official_mutual_information(a, a, 100) == pytest.approx(4.13, abs=0.03)


def test_official_mutual_information_is_a_mean_over_batches_of_128():
    parts = [mutual_info_score(PT[i : i + 128], PS[i : i + 128]) for i in range(0, 3000, 128)]
    assert len(parts) == 24 and m.official_mutual_information(PT, PS, 10) == pytest.approx(
        np.mean(parts), rel=1e-9
    )


def test_shuffling_follows_its_seed():
    first, same, other = (
        m.shuffled_mutual_information(PT, PS, 10, seed, draws=3) for seed in (1, 1, 2)
    )
    assert first.shape == (3,) and (first == same).all() and (first != other).all()


# --- bad input ---


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: m.agreement(T, S[:5]), r"\(3000, 10\) and \(5, 10\)"),
        (lambda: m.kl(T, S[:, :4]), r"\(3000, 4\)"),
        (lambda: m.entropy(T[0]), r"shape \(10,\)"),
        (lambda: m.entropy(T[:0]), r"shape \(0, 10\)"),
        (lambda: m.max_probability([[0.0, np.nan]]), "1 values that are NaN"),
        (lambda: m.kl([[0.0, np.inf]], [[0.0, 1.0]]), "NaN or infinite"),
        (lambda: m.kl(T, S, temperature=0), "temperature is 0"),
        (lambda: m.correct(T, Y[:4]), r"shape \(4,\); expected \(3000,\)"),
        (lambda: m.correct(T, Y + 1), "from 1 to 10; allowed are 0 to 9"),
        (lambda: m.correct(T, Y - 1), "from -1 to 8"),
        (lambda: m.correct(T, Y.astype(float)), "type float64"),
        (lambda: m.ece(T, Y, bins=0), "bins is 0"),
        (lambda: m.ensemble([]), "teachers is empty"),
        (lambda: m.ensemble([T, S[:4]]), r"\(4, 10\)"),
        (lambda: m.kappa([0, 1], [0, 1, 1], 2), "pred_b have shape"),
        (lambda: m.mutual_information([0, 3], [0, 1], 3), "pred_a run from 0 to 3"),
        (lambda: m.mutual_information(PT, PS, 10, "knn"), "estimator is 'knn'; allowed are"),
        (lambda: m.accuracy_gap(82.3, 80.0), "accuracy is 82.3; expected a fraction"),
        (lambda: m.affinity(0.5, 0.0), "accuracy_reference is 0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
