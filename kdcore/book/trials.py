"""The trials of Guo et al. (2024) as specs. T1w T2s Ss: a weakly and a strongly trained teacher, a
student on strong views.

Within a seed all models share training images; all students share initial weights, batch order and
views. So trials differ in what they are about and in nothing else, and are compared inside a seed.
Nothing here imports torch.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kdcore import data
from kdcore.book.parameters import (
    ImageDataset,
    ModelName,
    Parameters,
    Pixels,
    TeacherName,
    one_batch,
    size_of_own_pictures,
)
from kdcore.design import APART
from kdcore.spec import (
    RECIPES,
    CEWeight,
    Data,
    Distill,
    Epochs,
    KDWeight,
    Optim,
    Spec,
    Temperature,
    View,
    reads_text,
    timm_models,
    weights_of,
)

Milestone = Annotated[int, Field(ge=1)]
PAIRS = ("ww", "ws", "sw", "ss")


class Regime(Parameters):
    """What the chapters on Guo et al. (2024) have in common: the images, the two networks, how they
    are trained, how many seeds.
    """

    dataset: ImageDataset
    size: Pixels = None
    seeds: int = Field(ge=1, le=200)
    first_seed: int = Field(ge=0, le=900_000)
    n_train: int | None = Field(ge=20)
    n_test: int | None = Field(ge=20)
    student: ModelName
    teacher: TeacherName
    strength: float = Field(ge=0, le=1)
    epochs: Epochs
    teacher_epochs: Epochs
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    teacher_learning_rate: float = Field(gt=0)
    temperature: Temperature
    ce_weight: CEWeight
    kd_weight: KDWeight
    draws: int = Field(ge=1, le=20)
    imbalance: float = Field(ge=1)
    recipe: Literal["small", "cifar", "imagenet"]
    milestones: list[Milestone]
    teacher_milestones: list[Milestone]
    pretrained: bool

    @model_validator(mode="after")
    def enough_images(self):
        size_of_own_pictures(self)
        # says what is wrong with n_train or n_test
        n_train, _ = data.available(images(self, self.first_seed))
        one_batch(n_train, self.batch_size, "n_train", self.n_train, self.dataset)
        return self

    @model_validator(mode="after")
    def networks_for_images(self):
        for name in ("student", "teacher"):
            if reads_text(getattr(self, name)):
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} reads text, and this chapter is about images"
                )
        if self.pretrained and self.teacher not in timm_models():
            raise ValueError(
                f"pretrained = True: must be False with teacher = {self.teacher!r}; only networks "
                "of timm have such weights"
            )
        if weights_of(self.teacher) and not self.pretrained:
            raise ValueError(
                f"teacher = {self.teacher!r} names weights: that is for pretrained = True"
            )
        return self

    @property
    def all_seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def sgd(self) -> dict:
        """Fields of Optim that all runs of the regime share."""
        return {"momentum": 0.9, "weight_decay": 0.0}


class ManyClasses(Regime):
    """A regime with a second data set, of many classes, on which the same networks are trained for
    another number of epochs.
    """

    many_dataset: ImageDataset
    many_seeds: int = Field(ge=1, le=200)
    many_n_train: int | None = Field(ge=20)
    many_epochs: Epochs

    @property
    def many(self):
        """The regime on the many classes. Milestones that lie beyond its epochs are left out; none
        left: a cosine.
        """
        return self.model_copy(
            update={
                "dataset": self.many_dataset,
                "seeds": self.many_seeds,
                "n_train": self.many_n_train,
                "epochs": self.many_epochs,
                "teacher_epochs": self.many_epochs,
                "milestones": [epoch for epoch in self.milestones if epoch < self.many_epochs],
            }
        )

    @model_validator(mode="after")
    def enough_images_of_many_classes(self):
        try:
            found, _ = data.available(images(self.many, self.first_seed))
        except ValueError as error:
            raise ValueError(f"many_n_train or n_test: {error}") from error
        one_batch(found, self.batch_size, "many_n_train", self.many_n_train, self.many_dataset)
        return self


def views(p: Regime, strength: float | None = None) -> dict[str, View]:
    """The weak and the strong view of the recipe, at the regime's strength or another."""
    _, _, weak, strong = RECIPES[p.recipe]
    return {
        "w": View(name=weak, strength=0.0),
        "s": View(name=strong, strength=p.strength if strength is None else strength),
    }


def images(p: Regime, seed: int, imbalance: float | None = None) -> Data:
    """The examples of a regime; students and teachers of one seed share the training images."""
    return Data(
        **data.identity(p.dataset, p.size),
        n_train=p.n_train,
        n_test=p.n_test,
        seed=seed,
        imbalance=p.imbalance if imbalance is None else imbalance,
    )


def optim(p: Regime, epochs: int, rate: float, milestones=(), **changes) -> Optim:
    """A cosine after 10 % of warm-up; with milestones the paper's steps (appendix A): 8 epochs of
    warm-up, then a tenth at each.
    """
    schedule = (
        {
            "warmup": min(8, epochs // 2) / epochs,
            "schedule": "steps",
            "milestones": tuple(milestones),
        }
        if milestones
        else {"warmup": 0.1}
    )
    return Optim(
        **{"epochs": epochs, "batch_size": p.batch_size, "lr": rate} | p.sgd | schedule | changes
    )


def teacher(p: Regime, seed: int, k: int, view: View) -> Spec:
    """The k-th teacher of a seed (k = 1, 2, 3): its own initial weights, batch order and views."""
    run = seed + k * APART
    return Spec(
        data=images(p, seed),
        view=view,
        model=p.teacher,
        distill=None,
        optim=optim(p, p.teacher_epochs, p.teacher_learning_rate, p.teacher_milestones),
        pretrained=p.pretrained,
        model_seed=run,
        order_seed=run,
        aug_seed=run,
    )


def student(
    p: Regime,
    seed: int,
    view: View,
    teachers=(),
    imbalance: float | None = None,
    learning_rate: float | None = None,
    **changes,
) -> Spec:
    """A student of the given teachers (one-hot without any); `changes` are fields of Distill, e.g.
    zscore=True.
    """
    listen = (
        dict(
            temperature=p.temperature,
            ce_weight=p.ce_weight,
            kd_weight=p.kd_weight,
            zscore=False,
            teacher_mode="eval",
        )
        | changes
    )
    return Spec(
        data=images(p, seed, imbalance),
        view=view,
        model=p.student,
        optim=optim(p, p.epochs, learning_rate or p.learning_rate, p.milestones),
        distill=Distill(teachers=tuple(teachers), **listen) if teachers else None,
        model_seed=seed,
        order_seed=seed,
        aug_seed=seed,
    )


def named(p: Regime, seed: int, pair: str) -> list[Spec]:
    """The teachers that a trial's name stands for: "ws" is T1w T2s, "s" is T1s, "wws" is T1w T2w
    T3s.
    """
    return [teacher(p, seed, k, views(p)[kind]) for k, kind in enumerate(pair, 1)]


def own(runs, column: str):
    """A column of a table of students, on the kind of view that each was trained on: "<column>
    strong" where `view` is Ss, else "<column> weak".
    """
    return runs[f"{column} strong"].where(runs["view"] == "Ss", runs[f"{column} weak"])
