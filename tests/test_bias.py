"""The statistics of claims about eigendirections, on tables small enough to calculate by hand."""

import numpy as np
import pandas as pd
import pytest

from kdcore import stats
from kdcore.book.contrasts import bias
from kdcore.book.settings import CLEAN
from kdcore.metrics import eigen
from kdcore.spec import Data, Distill, Optim, Spec


def student(setting, seed, share, decided=20, place="first", **others):
    """A row: the student's share of decided pairs below in the first layer, and those of others."""
    row = dict(place=place, setting=setting, seed=seed)
    for run, value in ({"student": share} | others).items():
        row |= {f"below {run} layer 1": value, f"decided {run} layer 1": decided}
    return row


def table(*rows):
    return pd.DataFrame(list(rows))


def test_a_run_without_a_decided_pair_has_one_half_and_an_unmeasured_one_none():
    rows = table(student("a", 0, 0.9), student("a", 1, np.nan, decided=0))
    assert bias.below(rows).tolist() == [0.9, 0.5]
    assert bias.below(rows, "order").isna().all() and len(bias.below(rows, "order")) == 2
    rows["decided student layer 1"] = [20, np.nan]  # measured for one of the two
    assert bias.below(rows).isna().tolist() == [False, True]


def test_settings_of_one_name_on_two_sets_of_images_are_two():
    rows = table(
        student("b", 0, 0.8),
        student("b", 1, 0.6),
        student("a", 0, 1.0),
        student("b", 0, 0.3, place="second"),
    )
    found = bias.by_setting(rows)
    assert found.to_dict() == pytest.approx(
        {("first", "b"): 70, ("first", "a"): 100, ("second", "b"): 30}
    )
    assert found.index[0] == ("first", "b"), "the table's order"


def test_over_half_is_a_mean_over_settings_inside_each_seed():
    rows = table(
        student("a", 1, 0.9), student("a", 0, 0.7), student("b", 0, 0.4), student("b", 1, 1.0)
    )
    found = bias.over_half(rows)
    assert found.index.tolist() == [0, 1]
    assert found.tolist() == pytest.approx([5.0, 45.0])


def test_a_seed_without_one_of_the_settings_does_not_count():
    rows = table(student("a", 0, 0.6), student("a", 1, 1.0), student("b", 0, 0.6, place="second"))
    assert bias.over_half(rows).to_dict() == pytest.approx({0: 10.0})


def test_the_control_is_subtracted_inside_the_seed():
    rows = table(student("a", 0, 0.9, order=0.4), student("a", 1, 0.6, order=0.5))
    assert bias.over_control(rows).to_dict() == pytest.approx({0: 50.0, 1: 10.0})
    assert bias.over_control(rows[::-1]).to_dict() == pytest.approx({0: 50.0, 1: 10.0})


def test_without_another_order_one_half_is_subtracted():
    rows = table(student("a", 0, 0.9), student("b", 0, 0.9, order=0.7))
    assert bias.over_control(rows[:1]).tolist() == pytest.approx([40.0])
    assert bias.over_control(rows).tolist() == pytest.approx([30.0])  # of 40 and 20


def test_another_start_has_its_own_student_and_layer():
    row = student("a", 0, 1.0, order=0.0, **{"student, start": 0.8, "start": 0.3})
    row |= {"below student layer 2": 0.2, "decided student layer 2": 5}
    rows = table(row)
    assert bias.over_control(rows, "layer 1", "student, start", "start").tolist() == pytest.approx(
        [50.0]
    )
    assert bias.over_control(rows, "layer 2").tolist() == pytest.approx([-30.0])


def test_late_effect_pairs_seeds_and_not_rows():
    mixed = table(student("m", 1, 1.0, late=0.1), student("m", 0, 1.0, late=0.5))
    alone = table(
        student("p", 0, 0.0, late=1.0), student("p", 1, 0.0, late=0.9), student("p", 2, 0.0, late=1)
    )
    assert bias.late_effect(mixed, alone).to_dict() == pytest.approx({0: -50.0, 1: -80.0})


# ---------------------------------------------------------------------------------- closed forms

LAM = np.array([0.9, 0.3, 0.1])


def distilled(epochs, teacher_epochs, decay=0.0, weight=1.0):
    optim = Optim(
        epochs=teacher_epochs,
        batch_size=20,
        lr=0.5,
        momentum=0.0,
        weight_decay=decay,
        warmup=0.0,
        method="sgd",
        schedule="constant",
    )
    teacher = Spec(
        data=Data(name="digits", n_train=20, n_test=20, seed=0),
        view=CLEAN,
        model="linear",
        optim=optim,
        distill=None,
        model_seed=0,
        order_seed=0,
        aug_seed=0,
        loss="squared",
    )
    distill = Distill(
        teachers=(teacher,),
        temperature=1.0,
        ce_weight=1 - weight,
        kd_weight=weight,
        zscore=False,
        teacher_mode="eval",
    )
    longer = optim.model_copy(update={"epochs": epochs})
    return teacher.model_copy(update={"optim": longer, "distill": distill})


def row_of(spec, seed=0):
    return student("a", seed, 1.0) | {f"eigenvalue {k} layer 1": v for k, v in enumerate(LAM, 1)}


def predicted(spec, continued=1):
    return bias.closed_form(table(row_of(spec)), {("first", "a", 0): spec}, 1, continued).item()


def by_weights(spec, continued=1):
    """The same ratio from gradient descent itself, one weight for each direction, all labels 1; in
    float32, in which a converged weight moves no more.
    """
    teacher, decay = spec.teachers[0].optim, spec.optim.weight_decay

    def descended(target, steps):
        w = [np.zeros(3)]
        for _ in range(steps):
            w.append(w[-1] - teacher.lr * (LAM * (w[-1] - target) + decay * w[-1]))
        return np.array(w)

    def compared(*paths):
        return eigen.compare(*(path.astype(np.float32) for path in paths))

    one_hot = descended(1.0, continued * teacher.epochs)
    w = spec.distill.kd_weight
    path = descended(1 - w + w * one_hot[teacher.epochs], spec.optim.epochs)
    return np.nanmedian(compared(one_hot, path).ratio)


@pytest.mark.parametrize(
    "continued, spec",
    [
        (1, distilled(30, 10)),
        (1, distilled(30, 20, decay=0.2)),
        (6, distilled(60, 10, weight=0.5)),
        (6, distilled(60, 10)),
    ],
    ids=["alone", "weight decay", "labels in the target", "continued"],
)
def test_the_closed_form_is_gradient_descent(continued, spec):
    assert predicted(spec, continued) == pytest.approx(by_weights(spec, continued), abs=1e-4)


def test_each_row_has_its_own_spec():
    specs = {("first", "a", 0): distilled(30, 5), ("first", "a", 1): distilled(30, 20)}
    rows = table(row_of(None, 1), row_of(None, 0)).set_axis([7, 8])
    found = bias.closed_form(rows, specs, 1)
    assert found.loc[8] == predicted(distilled(30, 5)) < found.loc[7]


# -------------------------------------------------------------------------- what is proved


def test_cases_are_counted_and_the_value_of_no_effect_is_subtracted():
    assert bias.cases(np.array([3.0, 1.0, 2.0, 9.0])) == stats.Interval(2.5, 1.0, 9.0, 4)
    assert bias.cases(np.array([3.0, 1.5]), 1.0) == stats.Interval(1.25, 0.5, 2.0, 2)


def test_margins_are_those_of_the_filters():
    found, chance = bias.margins(np.random.default_rng(3), 50), np.random.default_rng(3)
    a, ratio = chance.uniform(0.1, 3, 50), chance.uniform(0.05, 0.9, 50)
    t, T = chance.uniform(0.1, 3, (2, 50))
    level = (1 - np.exp(-a * t)) * (1 - np.exp(-a * T))
    behind = (1 - np.exp(-a * ratio * t)) * (1 - np.exp(-a * ratio * T))
    assert found == pytest.approx(1 - (1 - level) ** ratio - behind, abs=1e-12)
    assert len(found) == 50 and (found > 0).all()


def test_toy_slopes_are_those_of_the_limit_and_need_learnt_noise():
    found = bias.toy_slopes((0.1, 0.4), (1.0, 2.0), (0.5, 3.0))
    by_hand = [1 + (1 - np.exp(-T)) * np.exp(T - t) for T in (1.0, 2.0) for t in (0.5, 3.0)]
    assert found == pytest.approx(2 * by_hand)
    assert (bias.toy_slopes() > 1).all() and len(bias.toy_slopes()) == 60
    # learnt 0.39: more than the 1/6 that two fifths of flipped labels need, less than 4/9
    assert len(bias.toy_slopes((0.1, 0.4), (0.5,), (1.0,))) == 1


def test_what_one_intervention_moves_is_correlated_inside_seeds():
    """Lag and slope rise with the weight by as much in each seed, accuracy falls; seeds lie apart
    the other way.
    """
    rows = pd.DataFrame(
        {"seed": seed, "lag": w + seed, "slope": 2 * w - 9 * seed, "accuracy": 70 - w - seed}
        for seed in range(3)
        for w in (0.25, 0.5, 1.0)
    )
    effect, controls = bias.together(rows)
    assert effect.estimate == pytest.approx(1) and effect.seeds == 3
    assert {name: round(r.estimate, 6) for name, r in controls.items()} == {
        "lag and accuracy": -1,
        "slope and accuracy": -1,
    }
