"""Which models of one seed share what, and what a chapter's parameters may say."""

import subprocess
import sys

import pytest

from kdcore import design
from kdcore.book import parameters, settings
from kdcore.spec import Switch

IMAGES = settings.Setting(
    name="images",
    dataset="digits",
    n_train=200,
    n_test=100,
    label_noise=0.2,
    **settings.USUAL["images"],
)
MAIN = dict(
    dataset="digits",
    seeds=2,
    first_seed=0,
    n_train=200,
    n_test=100,
    label_noise=0.2,
    teacher=None,
    student=None,
    teacher_epochs=None,
    epochs=None,
    batch_size=None,
    learning_rate=None,
    method=None,
    weight_decay=None,
    temperature=4.0,
)


class Parameters(settings.Main):
    pass


def main(**changes):
    return parameters.read(Parameters, MAIN | changes)


def test_models_of_a_seed_share_examples_and_labels_and_nothing_else_but_what_is_said():
    student = settings.student(IMAGES, 5, 4.0)
    one_hot = settings.one_hot(IMAGES, 5)
    teacher = settings.teacher(IMAGES, 5)
    rerun = design.rerun(student)
    third = design.third(student)
    assert {s.data for s in (student, one_hot, teacher, rerun, third)} == {
        student.data
    } and student.data.label_seed == 5
    assert (
        student.teachers == (teacher,)
        and len({s.model_seed for s in (student, teacher, rerun, third)}) == 4
    )
    assert one_hot == student.model_copy(update={"distill": None})
    assert rerun.distill is third.distill is None and (rerun.model, third.model) == (
        student.model,
        teacher.model,
    )
    assert settings.examples(IMAGES, 6) != settings.examples(IMAGES, 5)


def test_the_students_loss():
    d = settings.student(IMAGES, 0, 2.0, weight=0.9).distill
    assert (d.temperature, d.ce_weight, d.kd_weight, d.switch) == (2.0, 0.1, 0.9, None)
    late = settings.student(
        IMAGES, 0, 2.0, switch=Switch(to="labels", at=0.5, ramp=0.1), teacher_epochs=3
    )
    assert (
        late.distill.switch.at == 0.5
        and late.teachers[0].optim.epochs == 3
        and late.optim.epochs == 40
    )


def test_what_is_left_open_is_as_usual_for_images_or_text():
    assert main().setting.teacher == "cnn-8" and main().setting.method == "sgd"
    assert main(dataset="wordnet_glosses").setting.student == "bag-32-64"
    assert main(teacher="mlp-32", learning_rate=0.02).setting.learning_rate == 0.02


@pytest.mark.parametrize(
    "wrong, says",
    [
        (dict(teacher="bag-32-64"), "teacher = 'bag-32-64' does not read digits, which is images"),
        (
            dict(dataset="wordnet_glosses", student="cnn-8"),
            "student = 'cnn-8' does not read wordnet_glosses, which is text",
        ),
        (dict(label_noise=1.2), "label_noise = 1.2: must be at most 0.9"),
        (dict(n_train=30), "batch_size = 50: must be at most n_train = 30"),
        (dict(n_train=5000), "n_train = 5000"),
        (
            dict(n_train=None, batch_size=2000),
            "batch_size = 2000: must be at most the 1297 training examples of digits",
        ),
        (dict(temperature=1e300), r"temperature = 1e\+300: must be 0.01 to 1,000"),
        (dict(temperature=1e-300), "temperature = 1e-300: must be 0.01 to 1,000"),
        (dict(epochs=10**12), "epochs = 1000000000000: must be 1 to 1,000,000"),
        (dict(student="mlp-٣٢"), "student = 'mlp-٣٢': not a known network"),
        (dict(teacher="linear", learning_rate=True), "learning_rate = True: must be a number"),
    ],
)
def test_wrong_parameters_are_refused_in_a_sentence(wrong, says):
    with pytest.raises(parameters.ParameterError, match=says):
        main(**wrong)


class WithMore(settings.Main):
    temperatures: list[float]
    further: list[settings.Setting]


ENTRY = IMAGES.model_dump()


@pytest.mark.parametrize(
    "wrong, says",
    [
        (dict(epochs=True), r"further\[0\].epochs = True: must be a number"),
        (dict(learning_rate=True), r"further\[0\].learning_rate = True: must be a number"),
        (dict(n_train=True), r"further\[0\].n_train = True: must be a number"),
        (
            dict(learning_rate=float("inf")),
            r"further\[0\].learning_rate = inf: must be a finite number",
        ),
        (dict(clip_norm=float("inf")), "clip_norm = inf: must be a finite number"),
        (
            dict(teacher_epochs=10**12),
            r"further\[0\].teacher_epochs = 1000000000000: must be 1 to 1,000,000",
        ),
        (dict(student="cnn-8" + "0" * 10_000), r"further\[0\].student = 'cnn-8000"),
    ],
)
def test_entries_of_a_list_are_read_like_parameters(wrong, says):
    with pytest.raises(parameters.ParameterError, match=says) as caught:
        parameters.read(WithMore, MAIN | dict(temperatures=[2.0], further=[ENTRY | wrong]))
    assert len(str(caught.value)) < 1500


def test_a_wrong_entry_is_named_in_a_few_words():
    for further in (
        [{"a": "x" * 10_000}],
        ["x" * 10_000],
        "x" * 10_000,
        [[{}] * 5000],
        [ENTRY | {"surprise": "x" * 10_000}],
    ):
        with pytest.raises(parameters.ParameterError, match="further") as caught:
            parameters.read(WithMore, MAIN | dict(temperatures=[2.0], further=further))
        assert max(map(len, str(caught.value).splitlines())) < 300
    with pytest.raises(
        parameters.ParameterError, match="temperatures = .2.0, True.: must be a number"
    ):
        parameters.read(WithMore, MAIN | dict(temperatures=[2.0, True], further=[]))


def test_a_refusal_needs_no_torch():
    code = (
        "import sys; sys.path.insert(0, 'tests')\nfrom test_settings import *\nfrom kdcore.book "
        "import trials\n"
        "for wrong in (dict(temperature=1e300), dict(epochs=10**12), dict(n_train=None, "
        "batch_size=2000), dict(student='mlp-0')):\n"
        "    try:\n        main(**wrong)\n    except parameters.ParameterError as error:\n        "
        "print(error)\n"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 4, run.stderr
