"""Three settings of Nagarajan et al. (2023) side by side, and what is varied in each: the
parameters of the chapter on when a student should disobey.
"""

from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from kdcore import data
from kdcore.book import settings
from kdcore.book.parameters import DatasetName, ImageDataset, ModelName
from kdcore.spec import Epochs, Temperature, reads_text

Share = Annotated[float, Field(ge=0, le=0.9)]
Point = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(gt=0, le=1)]
Length = Epochs  # steps of full batches are epochs, too


class Place(NamedTuple):
    """One setting, and what is varied in it: one thing at a time, the others as usual."""

    setting: settings.Setting
    # the usual length of a teacher, temperature and weight of its loss, noise of the labels
    usual: dict[str, float]
    sweeps: dict[str, list]  # the values of each, ascending, the usual one among them
    points: list[float]  # shares of the steps after which the loss is switched
    judged: float
    switched: list[int]  # lengths of the teachers with which the loss is switched

    @property
    def lengths(self) -> list[int]:
        """Of all teachers, ascending."""
        return self.sweeps["length"]


class Places(settings.Main):
    """The parameters of a main setting, of random features and of texts, and what is varied."""

    ramp: float = Field(ge=0, le=1)
    teacher_epochs_tried: list[Length] = Field(max_length=20)
    temperatures: list[Temperature] = Field(max_length=20)
    noises: list[Share] = Field(max_length=20)
    switch_points: list[Point] = Field(max_length=20)
    judged_point: Point
    switch_teachers: list[Length] = Field(max_length=5)
    features_dataset: ImageDataset
    features_network: ModelName
    features_n_train: int = Field(ge=20)
    features_label_noise: float = Field(ge=0, le=0.9)
    features_learning_rate: float = Field(gt=0)
    features_steps: Length
    features_teacher_steps: list[Length] = Field(max_length=20)
    features_temperatures: list[Temperature] = Field(max_length=20)
    features_weights: list[Weight] = Field(max_length=20)
    features_noises: list[Share] = Field(max_length=20)
    features_switch_points: list[Point] = Field(max_length=20)
    features_judged_point: Point
    features_switch_teachers: list[Length] = Field(max_length=5)
    text_dataset: DatasetName
    text_network: ModelName
    text_n_train: int = Field(ge=20)
    text_n_test: int | None = Field(ge=20)
    text_label_noise: float = Field(ge=0, le=0.9)
    text_epochs: Length
    text_batch_size: int = Field(ge=2)
    text_learning_rate: float = Field(gt=0)
    text_teacher_epochs: list[Length] = Field(max_length=20)
    text_temperatures: list[Temperature] = Field(max_length=20)
    text_noises: list[Share] = Field(max_length=20)
    text_switch_points: list[Point] = Field(max_length=20)
    text_judged_point: Point
    text_switch_teachers: list[Length] = Field(max_length=5)
    margin: float = Field(gt=0)
    synthetic_draws: int = Field(ge=2, le=100)

    def adam(self, kind, steps, batch_size, n_test, **more):
        """The setting of random features or of texts: Adam, the same network for teacher and
        student.
        """
        given = {
            name: getattr(self, f"{kind}_{name}")
            for name in ("dataset", "n_train", "label_noise", "learning_rate")
        }
        network = getattr(self, f"{kind}_network")
        return settings.Setting(
            name=kind,
            teacher=network,
            student=network,
            teacher_epochs=steps,
            epochs=steps,
            batch_size=batch_size,
            n_test=n_test,
            method="adamw",
            weight_decay=0,
            size=self.size,
            **given,
            **more,
        )

    @property
    def places(self) -> dict[str, Place]:
        """The settings of this chapter: the main one, random features and texts."""

        def place(setting, lengths, prefix, weights=()):
            switched = sorted(set(getattr(self, prefix + "switch_teachers")))
            usual = dict(length=setting.teacher_epochs, temperature=self.temperature)
            usual |= dict(weight=1.0, noise=setting.label_noise)
            further = dict(length=[*lengths, *switched], weight=weights)
            further["temperature"] = getattr(self, prefix + "temperatures")
            further["noise"] = getattr(self, prefix + "noises")
            return Place(
                setting,
                usual,
                {name: sorted({value, *further[name]}) for name, value in usual.items()},
                sorted(getattr(self, prefix + "switch_points")),
                getattr(self, prefix + "judged_point"),
                switched,
            )

        features = self.adam(
            "features",
            self.features_steps,
            self.features_n_train,
            self.n_test,
            warmup=0,
            schedule="constant",
        )
        return {
            "main": place(self.setting, self.teacher_epochs_tried, ""),
            "features": place(
                features, self.features_teacher_steps, "features_", self.features_weights
            ),
            "text": place(
                self.adam("text", self.text_epochs, self.text_batch_size, self.text_n_test),
                self.text_teacher_epochs,
                "text_",
            ),
        }

    @model_validator(mode="after")
    def settings_that_can_run(self):
        for name, q in self.places.items():
            if name != "main":
                # says what is wrong with the numbers of examples
                data.available(settings.examples(q.setting, self.first_seed))
                if q.setting.batch_size > q.setting.n_train:
                    raise ValueError(
                        f"{name}_batch_size = {q.setting.batch_size}: must be at most "
                        f"{name}_n_train = {q.setting.n_train}"
                    )
                if reads_text(q.setting.student) != (name == "text"):
                    raise ValueError(
                        f"{name}_network = {q.setting.student!r}: must be one for "
                        f"{'texts' if name == 'text' else 'images'}"
                    )
        return self

    @model_validator(mode="after")
    def judged_where_switched(self):
        for prefix in ("", "features_", "text_"):
            points, judged = (
                getattr(self, prefix + "switch_points"),
                getattr(self, prefix + "judged_point"),
            )
            if points and judged not in points:
                raise ValueError(
                    f"{prefix}judged_point = {judged:g}: must be one of {prefix}switch_points = "
                    f"{points}"
                )
        return self
