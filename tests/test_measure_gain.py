"""What distillation is worth, against hand counts; and loss switching in both directions, as it is
said to go, on small networks.
"""

import numpy as np
import pytest
import torch

from kdcore.book import settings
from kdcore.book.settings import Setting
from kdcore.data import load
from kdcore.measure import clean, recorded
from kdcore.measure.gain import gain
from kdcore.spec import Switch

S = Setting(
    name="digits",
    dataset="digits",
    n_train=400,
    n_test=500,
    label_noise=0.3,
    teacher="cnn-8",
    student="cnn-8",
    teacher_epochs=30,
    epochs=30,
    batch_size=25,
    learning_rate=0.1,
    method="sgd",
    weight_decay=0.0,
)


pytestmark = pytest.mark.usefixtures("own_store")


def test_every_number_is_what_a_count_gives():
    spec = settings.one_hot(S.model_copy(update={"epochs": 2}), 1000)
    row, data = gain(spec), load(spec.data)
    train, test = (recorded(spec, spec.data, split, clean(spec), 1) for split in ("train", "test"))
    wrong = data.train_y != data.train_true
    assert wrong.sum() == 120
    assert row["accuracy given"] == np.mean(train.argmax(1) == data.train_y)
    assert row["accuracy true"] == np.mean(train.argmax(1) == data.train_true)
    assert row["accuracy memorised"] == np.mean((train.argmax(1) == data.train_y)[wrong])
    assert row["accuracy test"] == pytest.approx(
        (row["accuracy test even"] + row["accuracy test odd"]) / 2
    )
    assert row["accuracy test even"] == np.mean((test.argmax(1) == data.test_y)[0::2])
    for split, z, labels in (("given", train, data.train_y), ("test", test, data.test_y)):
        expected = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(labels)).item()
        assert row[f"loss {split}"] == pytest.approx(expected, rel=1e-5)


def test_without_label_noise_nothing_can_be_memorised():
    row = gain(settings.one_hot(S.model_copy(update={"epochs": 1, "label_noise": 0.0}), 1000))
    assert np.isnan(row["accuracy memorised"]) and row["accuracy given"] == row["accuracy true"]


def test_a_student_is_measured_as_a_teacher_is():
    short = S.model_copy(update={"epochs": 1, "teacher_epochs": 1})
    assert (
        gain(settings.student(short, 1000, 4.0)).keys()
        == gain(settings.teacher(short, 1000)).keys()
    )


def accuracy(seed, teacher_epochs, to=None):
    switch = Switch(to=to, at=0.5, ramp=0.1) if to else None
    return gain(settings.student(S, seed, 4.0, switch=switch, teacher_epochs=teacher_epochs))[
        "accuracy test"
    ]


def test_which_way_to_switch_depends_on_the_teacher():
    """A teacher that fits its noisy labels: turning to it late helps, leaving it for the labels
    loses. A teacher of one epoch: leaving it helps. Two seeds.
    """
    seeds = (1000, 1001)
    assert min(gain(settings.teacher(S, seed))["accuracy given"] for seed in seeds) > 0.95
    assert (
        np.mean(
            [
                accuracy(seed, 30, "teacher") - gain(settings.one_hot(S, seed))["accuracy test"]
                for seed in seeds
            ]
        )
        >= 0.01
    )
    assert np.mean([accuracy(seed, 30, "labels") - accuracy(seed, 30) for seed in seeds]) <= -0.01
    assert np.mean([accuracy(seed, 1, "labels") - accuracy(seed, 1) for seed in seeds]) >= 0.02
