"""A run's relatives: the specs that it is compared with, made from its own.

The models of one seed lie APART million in their seeds, so that no two of them share initial
weights, batch order or views unless a function here says so.
"""

from kdcore.spec import Spec

APART = 1_000_000  # between the seeds of the models of one seed


def reseeded(spec: Spec, seed: int) -> Spec:
    """The same run with other initial weights, batch order and views."""
    return spec.model_copy(update={"model_seed": seed, "order_seed": seed, "aug_seed": seed})


def again(spec: Spec, k: int) -> Spec:
    """The k-th repetition of a run on the same examples: other initial weights, batch order and
    views than those of any teacher (k = 1, 2, ...).
    """
    return reseeded(spec, spec.model_seed + (3 + k) * APART)


def rerun(student: Spec) -> Spec:
    """The control of a student: its network and training on the labels alone, other initial weights
    and order than student and teacher.
    """
    run = student.model_seed + 2 * APART
    return student.model_copy(update={"distill": None, "model_seed": run, "order_seed": run})


def third(student: Spec) -> Spec:
    """A model like the teacher, trained on the labels alone and independent of all others: it picks
    classes and quartiles for both sides.
    """
    run = student.model_seed + 3 * APART
    return student.teachers[0].model_copy(update={"model_seed": run, "order_seed": run})


def teacher_continued(student: Spec, times: int) -> Spec:
    """The teacher's training, or the same continued to so many times its epochs (with a constant
    learning rate it only goes on).
    """
    teacher = student.teachers[0]
    return teacher.model_copy(
        update={"optim": teacher.optim.model_copy(update={"epochs": times * teacher.optim.epochs})}
    )
