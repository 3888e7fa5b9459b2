"""Which models of one seed share what, and what a chapter's parameters may say."""

import pytest

from kdcore import parameters, settings
from kdcore.spec import Switch

IMAGES = settings.Setting(name="images", dataset="digits", n_train=200, n_test=100, label_noise=0.2, **settings.USUAL["images"])
MAIN = dict(dataset="digits", seeds=2, first_seed=0, n_train=200, n_test=100, label_noise=0.2, teacher=None, student=None, teacher_epochs=None, epochs=None,
            batch_size=None, learning_rate=None, method=None, weight_decay=None, temperature=4.0)


class Parameters(settings.Main):
    pass


def main(**changes):
    return parameters.read(Parameters, MAIN | changes)


def test_models_of_a_seed_share_examples_and_labels_and_nothing_else_but_what_is_said():
    student = settings.student(IMAGES, 5, 4.0)
    one_hot, teacher, rerun, third = settings.one_hot(IMAGES, 5), settings.teacher(IMAGES, 5), settings.rerun(student), settings.third(student)
    assert {s.data for s in (student, one_hot, teacher, rerun, third)} == {student.data} and student.data.label_seed == 5
    assert student.teachers == (teacher,) and len({s.model_seed for s in (student, teacher, rerun, third)}) == 4
    assert one_hot == student.model_copy(update={"distill": None})
    assert rerun.distill is third.distill is None and (rerun.model, third.model) == (student.model, teacher.model)
    assert settings.examples(IMAGES, 6) != settings.examples(IMAGES, 5)


def test_the_students_loss():
    d = settings.student(IMAGES, 0, 2.0, weight=0.9).distill
    assert (d.temperature, d.ce_weight, d.kd_weight, d.switch) == (2.0, 0.1, 0.9, None)
    late = settings.student(IMAGES, 0, 2.0, switch=Switch(to="labels", at=0.5, ramp=0.1), teacher_epochs=3)
    assert late.distill.switch.at == 0.5 and late.teachers[0].optim.epochs == 3 and late.optim.epochs == 40


def test_what_is_left_open_is_as_usual_for_images_or_text():
    assert main().setting.teacher == "cnn-8" and main().setting.method == "sgd"
    assert main(dataset="wordnet_glosses").setting.student == "bag-32-64"
    assert main(teacher="mlp-32", learning_rate=0.02).setting.learning_rate == 0.02


@pytest.mark.parametrize("wrong, says", [
    (dict(teacher="bag-32-64"), "teacher = 'bag-32-64' does not read digits, which is images"),
    (dict(dataset="wordnet_glosses", student="cnn-8"), "student = 'cnn-8' does not read wordnet_glosses, which is text"),
    (dict(label_noise=1.2), "label_noise = 1.2: must be at most 0.9"),
    (dict(n_train=30), "batch_size = 50: must be at most n_train = 30"),
    (dict(n_train=5000), "n_train = 5000"),
])
def test_wrong_parameters_are_refused_in_a_sentence(wrong, says):
    with pytest.raises(parameters.ParameterError, match=says):
        main(**wrong)
