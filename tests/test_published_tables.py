"""The published tables of Guo et al. 2024, re-analysed: pooled trends against trends inside one
student view.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from scipy.stats import t as student_t

from kdcore import stats

TABLE = pd.read_csv(Path(__file__).parents[1] / "book/published/guo2024_two_teachers.csv")
DATASETS = ["cifar100", "cifar100_imb100", "imagenet", "imagenet_lt"]
THREE = TABLE[TABLE.dataset != "imagenet"]


def of(dataset):
    return TABLE[TABLE.dataset == dataset]


def test_the_file_holds_every_trial_once_and_only_fractions():
    assert len(TABLE) == 32 and not TABLE.duplicated(["dataset", "trial", "view"]).any()
    assert (
        set(TABLE.dataset) == set(DATASETS)
        and set(TABLE.trial) == {"ww", "ws", "sw", "ss"}
        and set(TABLE["view"]) == {"Sw", "Ss"}
    )
    numbers = TABLE.select_dtypes("number")
    assert (
        list(numbers)
        == "affinity accuracy gap iou fidelity gap_half iou_half fidelity_half ece".split()
    )
    assert ((numbers > 0) & (numbers < 1) | numbers.isna()).all(axis=None)
    assert numbers[["affinity", "accuracy", "ece"]].notna().all(axis=None)
    assert (
        numbers.drop(columns=["affinity", "accuracy", "ece"]).isna().all(axis=1)
        == (TABLE.dataset == "imagenet")
    ).all()


@pytest.mark.parametrize(
    "dataset, quantity, pooled, weak, strong, within",
    [
        ("cifar100", "iou", -0.77, -0.59, -0.72, -0.50),
        ("cifar100", "fidelity", -0.69, -0.71, +0.30, -0.18),
        ("cifar100", "affinity", -0.66, -0.55, +0.32, +0.03),
        ("cifar100_imb100", "iou", -0.64, -0.44, +0.08, -0.36),
        ("cifar100_imb100", "fidelity", -0.77, -0.91, +0.83, -0.17),
        ("cifar100_imb100", "affinity", -0.75, -0.40, +0.81, +0.20),
        ("imagenet_lt", "iou", -0.71, -0.16, -0.81, -0.49),
        ("imagenet_lt", "fidelity", -0.87, -0.47, +0.62, +0.29),
        ("imagenet_lt", "affinity", -0.89, -0.26, +0.45, +0.21),
        ("imagenet", "affinity", -0.75, -0.51, -0.13, -0.16),
    ],
)
def test_correlation_with_accuracy(dataset, quantity, pooled, weak, strong, within):
    d = of(dataset)
    by_view = {v: stats.correlation(g[quantity], g.accuracy).estimate for v, g in d.groupby("view")}
    got = [
        stats.correlation(d[quantity], d.accuracy).estimate,
        by_view["Sw"],
        by_view["Ss"],
        stats.correlation(d[quantity], d.accuracy, stratum=d["view"]).estimate,
    ]
    assert np.round(got, 2).tolist() == [pooled, weak, strong, within]


@pytest.mark.parametrize(
    "a, b, plain, scaled",
    [
        ("iou", "accuracy", -0.36, -0.45),
        ("fidelity", "accuracy", -0.12, -0.02),
        ("affinity", "accuracy", +0.14, +0.15),
        ("gap", "accuracy", -0.28, -0.19),
        ("iou", "fidelity", -0.10, -0.12),
    ],
)
def test_correlation_inside_data_set_and_view(a, b, plain, scaled):
    """Plain, and with each data set brought to one spread so that the long-tailed one does not
    decide alone.
    """
    cell, dataset = THREE.dataset + THREE["view"], THREE.dataset
    unit = {
        q: THREE[q]
        / (THREE[q] - THREE.groupby(cell)[q].transform("mean")).groupby(dataset).transform("std")
        for q in (a, b)
    }
    of_plain = stats.correlation(THREE[a], THREE[b], cell)
    of_scaled = stats.correlation(unit[a], unit[b], cell)
    assert (round(of_plain.estimate, 2), round(of_scaled.estimate, 2), of_scaled.n) == (
        plain,
        scaled,
        24,
    )
    assert of_plain.p > 0.2
    # 24 rows, 6 cell means and a slope leave 17 degrees of freedom
    if (a, b) == ("iou", "accuracy"):
        by_t = 2 * student_t.sf(
            abs(of_scaled.estimate) * np.sqrt(17 / (1 - of_scaled.estimate**2)), 17
        )
        assert by_t == pytest.approx(0.05, abs=0.005) and of_scaled.p == pytest.approx(
            by_t, abs=0.03
        )
    else:
        assert of_scaled.p > 0.3


@pytest.mark.parametrize(
    "quantity, printed", [("iou", [0.025, 0.085, 0.050]), ("fidelity", [0.059, 0.027, 0.005])]
)
def test_p_values_of_the_pooled_correlations(quantity, printed):
    sets = [of(d) for d in ("cifar100", "cifar100_imb100", "imagenet_lt")]
    by_t = [pearsonr(d[quantity], d.accuracy).pvalue for d in sets]
    assert np.round(by_t, 3).tolist() == printed
    # all 8! arrangements, no normality
    exact = [stats.correlation(d[quantity], d.accuracy).p for d in sets]
    assert exact == pytest.approx(by_t, abs=0.03)


@pytest.mark.parametrize(
    "quantity, percent",
    [("accuracy", [56, 71, 91]), ("fidelity", [69, 73, 90]), ("iou", [52, 33, 38])],
)
def test_share_of_variance_that_is_the_student_view(quantity, percent):
    got = []
    for dataset in ("cifar100", "cifar100_imb100", "imagenet_lt"):
        d = of(dataset)
        strong = (d["view"] == "Ss").astype(float)
        # two groups: r^2 is the share
        got.append(100 * stats.correlation(strong, d[quantity]).estimate ** 2)
    assert np.round(got).tolist() == percent


@pytest.mark.parametrize(
    "dataset, weak, strong",
    [
        ("cifar100", 0.0088, 0.0034),
        ("cifar100_imb100", 0.0012, 0.0072),
        ("imagenet", 0.0017, 0.0003),
        ("imagenet_lt", 0.0007, 0.0002),
    ],
)
def test_noise_floor_between_exchangeable_trials(dataset, weak, strong):
    cell = of(dataset).set_index(["trial", "view"]).accuracy
    got = [stats.noise_floor([cell["sw", v]], [cell["ws", v]]).rms for v in ("Sw", "Ss")]
    assert np.round(got, 4).tolist() == [weak, strong]


def test_largest_difference_of_iou_between_exchangeable_trials():
    wide = THREE.pivot(index=["dataset", "view"], columns="trial", values="iou")
    difference = (wide.sw - wide.ws).abs()
    assert difference.idxmax() == ("cifar100_imb100", "Sw") and round(difference.max(), 3) == 0.098


def test_mixed_teachers_under_strong_views():
    wide = TABLE[TABLE["view"] == "Ss"].pivot(index="dataset", columns="trial", values="accuracy")
    mixed = (wide.ws + wide.sw) / 2
    assert mixed.loc[DATASETS].to_numpy() == pytest.approx(
        [0.8178, 0.5184, 0.6915, 0.4967], abs=0.5001e-4
    )
    assert (mixed > wide[["ww", "ss"]].max(axis=1)).loc[DATASETS].tolist() == [
        True,
        False,
        True,
        True,
    ]


def test_half_images_lower_fidelity_always_and_the_gap_rarely():
    # the paper's "p-value" is this count over the trials
    assert (THREE.fidelity_half > THREE.fidelity).sum() == 0
    assert (THREE.iou_half > THREE.iou).sum() == 0
    assert (THREE.gap_half < THREE.gap).sum() == 5
    means = THREE.groupby("dataset")[["gap", "gap_half"]].mean()
    assert np.round(means, 3).to_numpy().tolist() == [
        [0.097, 0.109],
        [0.410, 0.428],
        [0.324, 0.338],
    ]
