"""The runs of Nagarajan et al. (2023) as specs: a teacher, a model trained on the labels alone, a
student, and the controls.

Within a seed all models see the same examples with the same (noisy) labels, without augmentation;
every model has its own initial weights and batch order, unless a function says otherwise. Nothing
here imports torch.
"""

from typing import Literal

from pydantic import Field, model_validator

from kdcore import data
from kdcore.book.parameters import (
    DatasetName,
    ModelName,
    Name,
    Parameters,
    Pixels,
    one_batch,
    size_of_own_pictures,
)
from kdcore.design import APART
from kdcore.spec import Data, Distill, Epochs, Optim, Spec, Switch, Temperature, View, reads_text

CLEAN = View(name="clean", strength=0.0)


class Setting(Parameters):
    """Data, networks and training of one teacher and its students. `name` is for tables and not
    part of any spec.
    """

    name: Name
    dataset: DatasetName
    n_train: int | None = Field(ge=20)
    n_test: int | None = Field(ge=20)
    label_noise: float = Field(ge=0, le=0.9)
    teacher: ModelName
    student: ModelName
    teacher_epochs: Epochs
    epochs: Epochs
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    method: Literal["sgd", "adamw"]
    weight_decay: float = Field(ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    size: Pixels = Field(default=None, exclude_if=lambda size: size is None)


def check(s: Setting, seed: int) -> None:
    """ValueError in one sentence where the setting cannot run: fewer examples than asked for or
    than a batch, a network that does not read them.
    """
    n_train, _ = data.available(examples(s, seed))  # says what is wrong with n_train or n_test
    one_batch(n_train, s.batch_size, "n_train", s.n_train, s.dataset)
    for name in ("teacher", "student"):
        if reads_text(getattr(s, name)) != data.is_text(s.dataset):
            kind = "text" if data.is_text(s.dataset) else "images"
            raise ValueError(
                f"{name} = {getattr(s, name)!r} does not read {s.dataset}, which is {kind}"
            )


def examples(s: Setting, seed: int) -> Data:
    """The examples of a setting; which training labels are replaced depends on the seed."""
    return Data(
        **data.identity(s.dataset, s.size),
        n_train=s.n_train,
        n_test=s.n_test,
        seed=seed,
        label_noise=s.label_noise,
        label_seed=seed if s.label_noise else 0,
    )


def optim(s: Setting, epochs: int) -> Optim:
    """SGD has Nesterov's momentum 0.9, Adam its usual 0.9 and 0.999."""
    return Optim(
        epochs=epochs,
        batch_size=s.batch_size,
        lr=s.learning_rate,
        momentum=0.9,
        weight_decay=s.weight_decay,
        warmup=s.warmup,
        method=s.method,
        nesterov=s.method == "sgd",
        clip_norm=s.clip_norm,
        schedule=s.schedule,
    )


def _run(
    s: Setting, seed: int, k: int, model: str, epochs: int, distill: Distill | None = None
) -> Spec:
    run = seed + k * APART
    return Spec(
        data=examples(s, seed),
        view=CLEAN,
        model=model,
        optim=optim(s, epochs),
        distill=distill,
        model_seed=run,
        order_seed=run,
        aug_seed=0,
    )


def teacher(s: Setting, seed: int) -> Spec:
    """The teacher of a setting: trained on the labels alone, from initial weights and in an order
    that no student has.
    """
    return _run(s, seed, 1, s.teacher, s.teacher_epochs)


def one_hot(s: Setting, seed: int) -> Spec:
    """The student's network trained on the labels alone, with the student's initial weights and
    batch order.
    """
    return _run(s, seed, 0, s.student, s.epochs)


def student(
    s: Setting,
    seed: int,
    temperature: float,
    weight: float = 1.0,
    switch: Switch | None = None,
    teacher_epochs: int | None = None,
) -> Spec:
    """Loss (1 - w) CE + w tau^2 KL(teacher || student), w = weight; with `switch` on one side of it
    CE alone.
    """
    taught_by = teacher(
        s if teacher_epochs is None else s.model_copy(update={"teacher_epochs": teacher_epochs}),
        seed,
    )
    d = Distill(
        teachers=(taught_by,),
        temperature=temperature,
        ce_weight=round(1 - weight, 6),
        kd_weight=weight,
        zscore=False,
        teacher_mode="eval",
        switch=switch,
    )
    return _run(s, seed, 0, s.student, s.epochs, d)


# ------------------------------------------------------------------ what a chapter's parameters say

USUAL = {  # networks and training where a parameter is None
    "images": dict(
        teacher="cnn-8",
        student="cnn-8",
        teacher_epochs=40,
        epochs=40,
        batch_size=50,
        learning_rate=0.1,
        method="sgd",
        weight_decay=0.0005,
    ),
    "text": dict(
        teacher="bag-32-64",
        student="bag-32-64",
        teacher_epochs=14,
        epochs=14,
        batch_size=64,
        learning_rate=0.004,
        method="adamw",
        weight_decay=0.0,
    ),
}


class Main(Parameters):
    """What the chapters on Nagarajan et al. (2023) have in common: the main setting, the
    temperature, how many seeds.
    """

    dataset: DatasetName
    seeds: int = Field(ge=1, le=200)
    first_seed: int = Field(ge=0, le=900_000)
    n_train: int | None = Field(ge=20)
    n_test: int | None = Field(ge=20)
    label_noise: float = Field(ge=0, le=0.9)
    teacher: ModelName | None
    student: ModelName | None
    teacher_epochs: Epochs | None
    epochs: Epochs | None
    batch_size: int | None = Field(ge=2)
    learning_rate: float | None = Field(gt=0)
    method: Literal["sgd", "adamw"] | None
    weight_decay: float | None = Field(ge=0)
    temperature: Temperature
    size: Pixels = None

    @property
    def setting(self) -> Setting:
        """The main setting; what is None is as usual for images or text."""
        usual = USUAL["text" if data.is_text(self.dataset) else "images"]
        given = {
            name: value if (value := getattr(self, name)) is not None else usual[name]
            for name in usual
        }
        return Setting(
            name="main",
            dataset=self.dataset,
            n_train=self.n_train,
            n_test=self.n_test,
            label_noise=self.label_noise,
            size=self.size,
            **given,
        )

    @property
    def all_seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @model_validator(mode="after")
    def main_setting_can_run(self):
        size_of_own_pictures(self)
        check(self.setting, self.first_seed)
        return self
