"""Trials as specs: what is shared inside a seed, what differs, and that presets fit."""

import pytest
import yaml
from pydantic import ValidationError

from kdcore import data
from kdcore.book import trials
from kdcore.spec import Spec

QUICK = dict(
    dataset="digits",
    seeds=2,
    first_seed=0,
    n_train=100,
    n_test=50,
    student="resnet-8-16-32",
    teacher="resnet-16-32",
    strength=1.0,
    epochs=3,
    teacher_epochs=4,
    batch_size=20,
    learning_rate=0.1,
    teacher_learning_rate=0.2,
    temperature=3.0,
    ce_weight=0.6,
    kd_weight=0.4,
    draws=1,
    imbalance=1.0,
    recipe="small",
    milestones=[],
    teacher_milestones=[],
    pretrained=False,
)


def regime(**changes):
    return trials.Regime(**QUICK | changes)


def test_a_trial_is_named_by_its_teachers():
    p = regime()
    weak, strong, third = trials.named(p, 5, "wss")
    assert (weak.view.name, strong.view.name, third.view.name) == ("weak", "strong", "strong")
    assert [t.model_seed for t in (weak, strong, third)] == [1_000_005, 2_000_005, 3_000_005]
    assert weak.data == third.data == trials.student(p, 5, weak.view).data
    assert weak != trials.named(p, 5, "sw")[1]  # T1w and T2w are two networks


def test_students_of_a_seed_differ_in_their_teachers_only():
    p = regime()
    view = trials.views(p)["s"]
    a, b = (trials.student(p, 1, view, trials.named(p, 1, pair)) for pair in ("ww", "ss"))
    assert (
        a.model_copy(update={"distill": None})
        == b.model_copy(update={"distill": None})
        == trials.student(p, 1, view)
    )
    assert trials.student(p, 1, view, trials.named(p, 1, "ww"), zscore=True).distill.zscore


def test_text_is_refused_where_views_are_augmented():
    with pytest.raises(
        ValidationError,
        match="wordnet_glosses is text, and this chapter is about images: digits, fashion_mnist",
    ):
        regime(dataset="wordnet_glosses")


def test_a_long_tail_is_the_regimes_or_the_callers():
    assert trials.images(regime(imbalance=5.0), 0).imbalance == 5
    tail = trials.student(
        regime(), 0, trials.views(regime())["w"], trials.named(regime(), 0, "w"), imbalance=10.0
    )
    assert (tail.data.imbalance, tail.teachers[0].data.imbalance) == (10, 1)


def test_milestones_stand_for_the_papers_schedule():
    o = trials.optim(regime(), 200, 0.1, [190, 195])
    assert (o.schedule, o.milestones, o.warmup) == ("steps", (190, 195), 0.04)
    assert trials.optim(regime(), 200, 0.1).schedule == "cosine"


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(batch_size=101), "batch_size = 101"),
        (dict(n_train=5000), "n_train = 5000"),
        (dict(recipe="large"), "recipe"),
        (dict(milestones=[0]), "milestones"),
        (dict(teacher_milestones=[True]), "must be a number"),
        (
            dict(student="bag-8-8"),
            "student = 'bag-8-8' reads text, and this chapter is about images",
        ),
        (dict(pretrained=True), "pretrained = True: must be False with teacher = 'resnet-16-32'"),
        (dict(teacher="resnet50.tv_in1k"), "names weights: that is for pretrained = True"),
        (
            dict(student="resnet18.tv_in1k"),
            "tv_in1k is a name of weights, which only the parameter",
        ),
        (dict(teacher="resnet50.tv", pretrained=True), "not a known network.*resnet50.tv"),
        (
            dict(n_train=None, batch_size=2000),
            "batch_size = 2000: must be at most the 1297 training examples of digits",
        ),
        (dict(temperature=1e300), "must be 0.01 to 1,000"),
        (dict(epochs=10**12), "must be 1 to 1,000,000"),
    ],
)
def test_a_regime_that_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        regime(**changes)


def test_the_papers_regime_names_its_networks_and_views():
    values = yaml.safe_load(open("presets/paper/low_fidelity.yaml"))
    assert (values["teacher"], values["student"], values["dataset"]) == (
        "resnet50.tv_in1k",
        "resnet18",
        "cifar100",
    )
    p = regime(
        **{
            k: v
            for k, v in values.items()
            if k in QUICK and k not in ("dataset", "n_train", "n_test", "batch_size")
        }
    )
    teacher = trials.teacher(p, 0, 1, trials.views(p)["s"])
    assert (teacher.view.name, teacher.model, teacher.pretrained, teacher.optim.milestones) == (
        "cifar-strong",
        "resnet50.tv_in1k",
        True,
        (25, 40, 60),
    )
    assert isinstance(trials.student(p, 0, teacher.view, [teacher]), Spec)


@pytest.mark.parametrize(
    "name, changes, student, teacher",
    [  # appendix A of the paper; of teachers see the files
        (
            "cifar100_imb100",
            ("cifar100", "cifar", 100.0),
            (175, (160, 165, 170)),
            (60, (25, 40, 60)),
        ),
        ("imagenet", ("imagenet", "imagenet", 1.0), (60, ()), (60, ())),
        ("imagenet_lt", ("imagenet_lt", "imagenet", 1.0), (165, (150, 155, 160)), (60, (35, 50))),
    ],
)
@pytest.mark.parametrize("chapter", ["low_fidelity", "zscore_kd", "attention_divergence"])
def test_each_data_set_of_the_paper_has_its_schedule(
    chapter, name, changes, student, teacher, monkeypatch
):
    monkeypatch.setattr(data, "check", lambda name: None)
    monkeypatch.setattr(data, "available", lambda examples: (10**7, 10**7))
    values = {}
    for file in (f"presets/paper/{chapter}.yaml", f"presets/datasets/{name}.yaml"):
        values |= yaml.safe_load(open(file))
    p = regime(**{k: v for k, v in values.items() if k in QUICK and k != "imbalance"})
    assert (values["dataset"], values["recipe"], values["imbalance"]) == changes
    weak = trials.views(p)["w"]
    assert weak.name == f"{changes[1]}-weak"
    taught_by = trials.teacher(p, 0, 1, weak)
    for run, (epochs, milestones) in (
        (trials.student(p, 0, weak, [taught_by]), student),
        (taught_by, teacher),
    ):
        schedule = "steps" if milestones else "cosine"
        assert (run.optim.epochs, run.optim.schedule) == (epochs, schedule)
        assert (run.optim.milestones, run.optim.lr, run.optim.batch_size) == (milestones, 0.1, 128)


def test_the_papers_transformers_learn_from_long_tailed_images_at_a_rate_of_their_own():
    values = yaml.safe_load(open("presets/paper/attention_divergence.yaml"))
    assert (values["vit_teacher"], values["vit_student"]) == (
        "vit_base_patch32_224",
        "vit_base_patch16_224",
    )
    assert values["vit_imbalance"] == 100 and "imbalance" not in values  # 1, the notebook's own
    assert values["vit_learning_rate"] == pytest.approx(0.0005 * values["batch_size"] / 512)
