"""Measurements agree with what can be computed by hand from the same logits and maps."""

import numpy as np
import pytest
from small import STRONG, WEAK, pair, spec

from kdcore import measure, metrics
from kdcore.data import load
from kdcore.measure import attention, outputs
from kdcore.metrics import saliency
from kdcore.train import frozen, logits

pytestmark = pytest.mark.usefixtures("own_store")


STUDENT = pair(epochs=12, parts=("left", "right"))


def test_recall_averages_to_accuracy():
    recall = list(outputs.recall(STUDENT).values())
    sizes = np.bincount(load(STUDENT.data).test_y, minlength=10)
    assert np.dot(recall, sizes) / sizes.sum() == pytest.approx(
        outputs.model(STUDENT, WEAK, STRONG, 1)["accuracy test clean"]
    )


def test_reliability_gives_back_the_calibration_error():
    r = outputs.reliability(STUDENT, 15)
    count, confidence, accuracy = (
        np.array([r[f"{name} {b}"] for b in range(15)])
        for name in ("count", "confidence", "accuracy")
    )
    assert count.sum() == 50
    assert np.nansum(count * abs(accuracy - confidence)) / 50 == pytest.approx(
        outputs.model(STUDENT, WEAK, STRONG, 1)["ece test clean"], abs=1e-6
    )


def test_teachers_of_halves_are_asked_about_what_they_saw():
    row, z = outputs.model(STUDENT, WEAK, STRONG, 1), logits(STUDENT, where := inputs(WEAK))[0]
    seen = np.mean(
        [
            logits(t, where.model_copy(update={"view": v}))[0]
            for t, v in zip(STUDENT.teachers, STUDENT.seen_by_teachers(WEAK))
        ],
        axis=0,
    )
    assert [v.part for v in STUDENT.seen_by_teachers(WEAK)] == ["left", "right"]
    assert row["agreement parts test weak"] == pytest.approx(metrics.agreement(seen, z).mean())
    assert not any("parts" in name for name in outputs.model(pair(), WEAK, STRONG, 1))


def inputs(view):
    from kdcore.spec import Inputs

    return Inputs(
        data=STUDENT.data,
        split="test",
        view=view,
        aug_seed=measure.EVALUATION_SEED,
        first=0,
        count=1,
    )


def test_overlap_of_teachers_is_that_of_their_maps():
    row = attention.attention(STUDENT, WEAK, STRONG, 40, 0.4)
    x, y = attention.test_images(STUDENT, measure.clean(STUDENT), range(40))
    masks = []
    for t in STUDENT.teachers:
        f, weight, _, _ = saliency.features(frozen(t), x)
        masks.append(
            saliency.mask(
                saliency.rescale(saliency.upsample(saliency.cam(f, weight, y), (8, 8))), 0.4
            )
        )
    assert row["iou label T clean"] == pytest.approx(saliency.iou(*masks).mean().item(), abs=1e-4)
    assert row["low label T clean"] <= row["iou label T clean"] <= row["high label T clean"]
    assert np.isfinite(row["class chance label T clean"]) == (
        np.bincount(y)[np.bincount(y) > 0].min() > 1
    )


def test_three_teachers_and_transformers():
    three = spec(epochs=1, teachers=tuple(spec(seed=100 + k, epochs=1) for k in range(3)))
    row = attention.attention(three, WEAK, STRONG, 30, 0.4)
    assert {"iou label T clean", "iou label T3-S weak"} <= set(row)
    vit = spec(epochs=1, model="vit-48x3", teachers=(spec(seed=101, epochs=1, model="vit-48x3"),))
    row = attention.attention(vit, WEAK, STRONG, 30, 0.4)
    assert 0 <= row["iou rollout T1-S clean"] <= 1 and not any(" T " in name for name in row)


def test_training_does_not_move_the_row_sum_and_weight_decay_does():
    free, decayed = spec(epochs=12), spec(epochs=12)
    decayed = decayed.model_copy(
        update={"optim": decayed.optim.model_copy(update={"weight_decay": 0.1})}
    )
    row, other = (attention.row_sum(s, 40, 0.4) for s in (free, decayed))
    assert row["row sum moved"] < 1e-3 < 0.1 < row["head moved"]
    assert other["row sum moved"] > 0.05
    assert row["predictions kept"] == 1 and row["iou of the class sum with itself"] < 0.98


def test_a_gallery_is_small_and_plain():
    g = attention.gallery(STUDENT, [3, 5])
    assert np.array(g["label T2"]).shape == (2, 2, 2)
    assert max(max(max(line) for line in image) for image in g["energy S"]) == 1
    assert np.array(outputs.example_logits(STUDENT, [0, 1])["logits"]).shape == (2, 10)


def test_doses_and_batch_statistics():
    row = outputs.doses(spec(epochs=12), [0.5, 1.0], 2)
    assert set(row) == {
        f"accuracy test {v}" for v in ("clean", "base", "weak", "strong 0.5", "strong 1")
    }
    still = outputs.batch_statistics(spec(epochs=12), WEAK, STRONG)
    assert still["agreement weak"] < 1 or still["kl weak"] > 0


def test_choosing_the_epoch_on_the_test_images_flatters():
    row = outputs.best_epoch(spec(epochs=6), 50)
    assert row["chosen, as reported"] >= row["last"] - 1e-9
    assert 0 <= row["epochs before the last"] < 3


def test_views_of_the_papers_recipe_stay_in_the_recipe():
    for name, expected in (
        ("cifar-strong", "resize"),
        ("resize", "resize"),
        ("imagenet-weak", "center-crop"),
        ("strong", "clean"),
        ("base", "clean"),
    ):
        run = spec(view=WEAK.model_copy(update={"name": name}))
        assert measure.clean(run).name == expected
    assert measure.base(spec(view=WEAK.model_copy(update={"name": "resize"}))).name == "cifar-base"


def test_chance_of_three_models_shows_each_another_image():
    three = spec(epochs=1, teachers=tuple(spec(seed=100 + k, epochs=1) for k in range(3)))
    row = attention.attention(three, WEAK, STRONG, 30, 0.4)
    x, y = attention.test_images(three, measure.clean(three), range(30))
    one, two, last = (
        saliency.mask(
            saliency.rescale(saliency.upsample(attention.maps(t, x, y)["label"], (8, 8))), 0.4
        )
        for t in three.teachers
    )
    order = saliency.other(30, 0)
    assert row["chance label T clean"] == pytest.approx(
        saliency.iou(one, two[order], last[order[order]]).mean().item(), abs=1e-4
    )


def test_spread_is_the_logits_standard_deviation():
    row = outputs.spread(STUDENT, WEAK)
    z = logits(STUDENT, inputs(WEAK).model_copy(update={"split": "train"}))[0]
    assert row["median"] == pytest.approx(np.median(z.std(1, ddof=1)))
    assert row["low"] < row["median"] < row["high"]


def test_each_teacher_by_itself_averages_to_nothing_hidden():
    row = outputs.by_teacher(STUDENT, WEAK, STRONG, 2)
    student = outputs.model(STUDENT, WEAK, STRONG, 2)
    right = student["teacher accuracy parts train weak"]
    both = (
        right * row["agreement where teachers are right train weak"]
        + (1 - right) * row["agreement where they err train weak"]
    )
    assert both == pytest.approx(student["agreement parts train weak"])
    twice = STUDENT.model_copy(
        update={
            "distill": STUDENT.distill.model_copy(
                update={"teachers": STUDENT.teachers[:1] * 2, "parts": ("left", "left")}
            )
        }
    )
    assert outputs.by_teacher(twice, WEAK, STRONG, 1)["agreement of teachers seen train weak"] == 1
