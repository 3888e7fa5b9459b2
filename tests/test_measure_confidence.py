"""Log-odds of a student and its controls, as can be computed by hand from the same logits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore import metrics
from kdcore.book.settings import Setting, student, teacher
from kdcore.data import load
from kdcore.design import rerun, third
from kdcore.measure import EVALUATION_SEED
from kdcore.measure import confidence as mc
from kdcore.metrics.tilt import log_odds
from kdcore.spec import Inputs
from kdcore.train import logits

SETTING = Setting(
    name="test",
    dataset="digits",
    n_train=100,
    n_test=60,
    label_noise=0.2,
    teacher="mlp-24",
    student="mlp-16",
    teacher_epochs=30,
    epochs=30,
    batch_size=10,
    learning_rate=0.01,
    method="adamw",
    weight_decay=0.0,
)
STUDENT = student(SETTING, 0, temperature=4.0)
few = settings(max_examples=10, deadline=None)


pytestmark = pytest.mark.usefixtures("own_store")


def two_classes(margins):
    """Logits whose log-odds of class 0 are the margins."""
    return np.stack([np.asarray(margins, float), np.zeros(len(margins))], axis=1)


# its class has log-odds 1, 2, 3, 4, 1, 2, 3, 4
TEACHER = [1.0, 2.0, 3.0, 4.0, -1.0, -2.0, -3.0, -4.0]


def test_a_copy_has_slope_one_and_no_shift():
    z = two_classes(TEACHER)
    row = mc.versus(z, z, z, {"true": np.zeros(8, int)}, np.arange(8) < 4)
    assert [
        row[k]
        for k in ("slope", "instrument slope", "true slope", "true instrument slope", "agreement")
    ] == pytest.approx([1] * 5)
    assert {v for k, v in row.items() if "shift" in k or "below" in k} == {0.0} and row["kl"] == 0


def test_statistics_by_hand():
    # the student is twice as sure, but for the two examples of the lowest confidence, which it
    # moves to the other side
    other = two_classes([-1.0, 4.0, 6.0, 8.0, 1.0, -4.0, -6.0, -8.0])
    row = mc.versus(
        two_classes(TEACHER),
        other,
        two_classes(TEACHER),
        {"true": np.zeros(8, int)},
        np.array([True] + 7 * [False]),
    )
    # quartiles 1, 1 and 4, 4
    assert (row["shift low"], row["below low"], row["shift high"], row["below high"]) == (
        -2,
        1,
        4,
        0,
    )
    # x - 2.5 = -1.5 ... 1.5, y = -1, 4, 6, 8: (-1.5 * -1 - .5 * 4 + .5 * 6 + 1.5 * 8) / 5
    assert row["slope"] == pytest.approx(2.9)
    assert row["agreement"] == 0.75
    assert row["shift mislabelled"] == -2 and row["shift clean"] == pytest.approx(
        (2 + 3 + 4 - 2 + 2 + 3 + 4) / 7
    )
    # of class 0: both sides are symmetric about 0
    assert row["true slope"] == pytest.approx((1 * -1 + 2 * 4 + 3 * 6 + 4 * 8) / 30)


def test_the_class_of_the_labels_is_taken_for_both():
    row = mc.versus(
        two_classes(TEACHER),
        two_classes(TEACHER) / 2,
        two_classes(TEACHER),
        {"true": np.zeros(8, int), "given": np.ones(8, int)},
    )
    assert row["true slope"] == row["given slope"] == pytest.approx(0.5)
    # x = -4 and -3, y = -2 and -1.5
    assert row["true shift low"] == pytest.approx(1.75) and row["true below low"] == 0
    assert row["given shift low"] == pytest.approx(1.75)  # the examples with margins 4 and 3
    assert not any("mislabelled" in name for name in row)


def test_the_third_model_chooses_class_and_quartiles():
    # always class 0, its bottom quartile is the first two examples
    by = two_classes([10.0, 20, 30, 40, 50, 60, 70, 80])
    row = mc.versus(two_classes(TEACHER), two_classes(np.array(TEACHER) - 1), by, {})
    assert (row["third shift low"], row["third below low"], row["third shift high"]) == (-1, 1, -1)
    # (0 - 1 and -2 + 1: -1 and +1 on the teacher's class)
    assert row["instrument slope"] == pytest.approx(1) and row["shift low"] == 0


@few
@given(st.integers(0, 1000), st.sampled_from([0.7, 1.0, 1.4]))
def test_without_distillation_the_plot_tilts_and_the_third_model_sets_it_right(seed, luck):
    """Three models that differ by luck alone: on the teacher's class the other one seems less sure,
    on the third's class it does not.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(20_000, 5))
    teacher_, other, by = (truth + luck * rng.normal(size=truth.shape) for _ in range(3))
    row = mc.versus(teacher_, other, by, {"true": truth.argmax(1)})
    assert row["shift low"] < -0.3 and row["below low"] > 0.6
    assert abs(row["instrument slope"] - 1) < 0.3 and abs(row["third shift low"]) < 0.25
    # luck in x alone flattens the line
    assert row["true slope"] < 0.6 and abs(row["true instrument slope"] - 1) < 0.4


def test_collapse_is_said_of_every_model():
    assert mc.collapsed(
        {"teacher": 0.9, "student": 0.11, "rerun": 0.49, "third": 0.51}, 0.1
    ) == dict(teacher=False, student=True, rerun=True, third=False)
    assert not any(mc.collapsed({"teacher": 0.3, "student": 0.3}, 0.3).values())


def test_a_row_is_about_the_four_models():
    row, data = mc.confidence(STUDENT), load(STUDENT.data)
    assert (
        set(mc.confidence.needs(STUDENT)) == {rerun(STUDENT), third(STUDENT)}
        and len({*mc.models_of(STUDENT).values()}) == 4
    )
    z = {name: logits(m, where("train"))[0] for name, m in mc.models_of(STUDENT).items()}
    assert row["accuracy train given rerun"] == pytest.approx(
        (z["rerun"].argmax(1) == data.train_y).mean()
    )
    assert row["accuracy train true student"] == pytest.approx(
        (z["student"].argmax(1) == data.train_true).mean()
    )
    assert row["agreement train student"] == pytest.approx(
        metrics.agreement(z["teacher"], z["student"]).mean()
    )
    wrong = data.train_y != data.train_true
    assert wrong.sum() == 20
    k = z["teacher"].argmax(1)
    x, y = log_odds(z["teacher"], k), log_odds(z["student"], k)
    assert row["shift mislabelled train student"] == pytest.approx((y - x)[wrong].mean())
    assert row["log-odds mislabelled"] == pytest.approx(x[wrong].mean())
    assert row["slope train student"] == pytest.approx(np.polyfit(x, y, 1)[0])
    assert not any("mislabelled" in name and "test" in name for name in row) and all(
        np.isfinite(v) for v in row.values()
    )
    assert row["collapsed student"] == 0 and row["accuracy train given teacher"] > 0.9


def where(split):
    return Inputs(
        data=STUDENT.data,
        split=split,
        view=STUDENT.view,
        aug_seed=EVALUATION_SEED,
        first=0,
        count=1,
    )


def test_without_label_noise_there_is_no_mislabelled_value():
    row = mc.confidence(
        student(
            SETTING.model_copy(update={"label_noise": 0.0, "epochs": 2, "teacher_epochs": 2}),
            0,
            temperature=4.0,
        )
    )
    assert all(np.isnan(v) for k, v in row.items() if "mislabelled" in k) and any(
        "mislabelled" in k for k in row
    )
    assert (
        not any(k.startswith("given") for k in row)
        and row["shift clean train student"] == row["shift clean train student"]
    )


def test_log_odds_need_one_teacher():
    with pytest.raises(ValueError, match="The spec has 0 teachers"):
        mc.confidence(teacher(SETTING, 0))


def test_counts_and_means_by_hand():
    assert mc.cell_counts(
        np.array([0.5, 0.5, 1.5, 9.0]), np.array([0.5, 1.5, -9.0, 1.5]), 2, 0.0, 2.0
    ) == [[1, 1], [1, 1]]
    # row: the student's bin
    assert mc.cell_counts(np.array([1.5]), np.array([0.5]), 2, 0.0, 2.0) == [[0, 1], [0, 0]]
    assert mc.means(np.array([3.0, 1.0, 2.0, 4.0]), np.array([30.0, 10.0, 20.0, 40.0]), 2) == [
        [1.5, 3.5],
        [15.0, 35.0],
    ]


def test_the_plot_is_small_plain_and_complete():
    plot, row = mc.density(STUDENT, 20, -4.0, 12.0), mc.confidence(STUDENT)
    assert json.loads(json.dumps(plot)) == plot
    for split, n in (("train", 100), ("test", 60)):
        assert np.sum(plot[f"{split} student"]) == n and np.shape(plot[f"{split} rerun"]) == (
            20,
            20,
        )
        assert plot[f"line {split} student"][0] == pytest.approx(
            row[f"slope {split} student"], abs=1e-4
        )
        assert np.shape(plot[f"mean {split} student"]) == (2, 20)
        assert 0 <= plot[f"beyond {split} student"] <= 1
    assert (
        np.sum(plot["train student mislabelled"]) == 20 and "test student mislabelled" not in plot
    )
    assert (np.array(plot["train student mislabelled"]) <= np.array(plot["train student"])).all()
