"""What a run is: plain values, written down before anything is trained.

A run is a pure function of its `Spec`. A distilled student's spec contains its teachers' specs, so
one hash names everything upstream. Every field is required: a field added later must default to "as
before", and defaults are left out of the hash, so that new questions do not rename old runs. This
module imports no torch: a wrong value is refused at once.
"""

import difflib
import hashlib
import importlib.util
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

# raise when the same Spec would train to other numbers (initialisation, views, loss, schedule)
RECIPE = 1

Seed = Annotated[int, Field(ge=0, lt=2**31)]
ViewName = Literal[
    "clean",
    "base",
    "weak",
    "strong",  # at the images' own size; the others at 224 x 224
    "cifar-base",
    "cifar-weak",
    "cifar-strong",
    "resize",
    "imagenet-base",
    "imagenet-weak",
    "imagenet-strong",
    "center-crop",
]
# A recipe's views: without augmentation, cropped or shifted at random, weak, strong.
RECIPES = {
    "small": ("clean", "base", "weak", "strong"),
    "cifar": ("resize", "cifar-base", "cifar-weak", "cifar-strong"),
    "imagenet": ("center-crop", "imagenet-base", "imagenet-weak", "imagenet-strong"),
}
Part = Literal["whole", "left", "right", "random", "left-masked", "right-masked"]

# Networks built here (kdcore.models), for images of 28-32 pixels and for text; any name that timm
# knows is allowed beside them.
MODELS = (
    "resnet-8-16-32",
    "resnet-16-32",
    "resnet-32-64",
    "resnet-16-32-64",
    "resnet-32-64-128",
    "vit-48x3",
    "vit-64x2",
    "vit-64x4",
)
# a width: 1 to 99999, in the digits 0-9 alone, so that a network has one name
N = "[1-9][0-9]{0,4}"
SIZED = {  # of any size
    "linear": r"linear(-raw)?",
    "relu-features-N": rf"relu-features-{N}(-raw)?",
    "mlp-N": rf"mlp-{N}(-{N}){{0,19}}(-centred)?",
    "cnn-N": rf"cnn-{N}(-plain)?",
    "cifar-resnet-20": r"cifar-resnet-(8|14|20|32|44|56|110)",
    "bag-N-N": rf"bag-{N}-{N}",
    "transformer-NxN": rf"transformer-{N}x[1-9][0-9]?",
}


def shorten(text: str, most: int) -> str:
    """The text, or its beginning where it has more than `most` characters: so that a sentence stays
    one.
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def true_as_number(value, annotation) -> bool:
    """Whether True or False stands, in a list too, where the type says a number: Python would take
    it for 1 or 0.
    """
    if isinstance(value, (list, tuple)):
        return any(true_as_number(v, annotation) for v in value)
    if not isinstance(value, bool):
        return False
    kinds = [annotation]
    for kind in kinds:
        kinds += get_args(kind)
    return bool not in kinds and (int in kinds or float in kinds)


@lru_cache(maxsize=1)
def timm_models() -> frozenset[str]:
    """The names that timm registers, and with a name of weights behind a dot ("resnet50.tv_in1k":
    those of torchvision), read from its source: importing timm, and torch with it, would take
    seconds.
    """
    folder = Path(importlib.util.find_spec("timm").submodule_search_locations[0]) / "models"
    source = "\n".join(file.read_text() for file in folder.glob("*.py"))
    names = set(re.findall(r"^@register_model\s*\ndef (\w+)", source, re.M))
    weights = re.findall(r"""^ +["'](\w+)(\.\w+)["'] *:""", source, re.M)
    return frozenset(names | {name + tag for name, tag in weights if name in names})


def check_model(name: str) -> str:
    """Returns the name, or raises ValueError saying which networks there are."""
    if (
        name in MODELS
        or any(re.fullmatch(pattern, name) for pattern in SIZED.values())
        or name in timm_models()
    ):
        if name.startswith("transformer-") and (width := int(name[12:].split("x")[0])) % max(
            1, width // 16
        ):
            raise ValueError(
                f"a transformer of width {width} has {width // 16} heads, which do not divide it; "
                "multiples of 16 are allowed"
            )
        return name
    close = difflib.get_close_matches(name[:100], [*MODELS, *SIZED, *sorted(timm_models())], n=2)
    raise ValueError(
        f"not a known network; allowed are {', '.join([*MODELS, *SIZED])} (N: 1 to 99999; at most "
        "20 layers, or 99 of a transformer) and every "
        "model of timm" + (f"; did you mean {' or '.join(close)}?" if close else "")
    )


def weights_of(name: str) -> str:
    """The weights that a network's name names, "tv_in1k" of "resnet50.tv_in1k", or nothing."""
    return name.partition(".")[2]


def reads_text(name: str) -> bool:
    """Whether the network reads word numbers instead of images."""
    return name.startswith(("bag-", "transformer-"))


def starts_from_zero(name: str) -> bool:
    """Whether the network's first logits are zero for every input (kdcore.models.from_zero)."""
    return name.startswith(("linear", "relu-features-"))


ModelName = Annotated[str, AfterValidator(check_model)]


def _within(low: float, high: float) -> AfterValidator:
    def check(value):
        if not low <= value <= high:
            raise ValueError(f"must be {low:g} to {high:,}")
        return value

    return AfterValidator(check)


Epochs = Annotated[int, Field(ge=1), _within(1, 1_000_000)]
# beyond it the softmax has one class, or float32 tells none from another
Temperature = Annotated[float, Field(gt=0), _within(0.01, 1000)]
CEWeight = Annotated[float, Field(ge=0), _within(0, 1_000_000)]
KDWeight = Annotated[float, Field(gt=0), _within(1e-6, 1_000_000)]


class Plain(BaseModel):
    """A frozen record of plain values; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value, info):
        if true_as_number(value, cls.model_fields[info.field_name].annotation):
            raise ValueError("must be a number")
        return value

    @property
    def canonical(self) -> str:
        """One JSON text per value: sorted keys, no blanks, fields at their default left out."""
        return json.dumps(
            self.model_dump(mode="json", exclude_defaults=True),
            sort_keys=True,
            separators=(",", ":"),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of the recipe version and the canonical text, 64 hexadecimal digits."""
        return hashlib.sha256(
            f"{type(self).__name__}:{RECIPE}:{self.canonical}".encode()
        ).hexdigest()


class Data(Plain):
    """Which examples. `n_train` of them are drawn by `seed` from the training set (None: all); the
    test set is its first `n_test`.
    """

    name: str
    n_train: int | None = Field(ge=1)
    n_test: int | None = Field(ge=1)
    seed: Seed
    # largest class / smallest class, exponential profile
    imbalance: float = Field(default=1.0, ge=1.0)
    # share of the training labels that are replaced by another class, drawn by `label_seed`
    label_noise: float = Field(default=0.0, ge=0.0, le=1.0)
    label_seed: Seed = 0
    # pixels of a side, for class folders of your own
    size: int | None = Field(default=None, ge=8, le=256)
    # of your own data (kdcore.data.own): what lies there when the run is described
    digest: str = ""

    @model_validator(mode="after")
    def _size_of_own_pictures(self) -> "Data":
        if (self.size is not None) != self.name.startswith("folder:"):
            raise ValueError(
                f"size = {self.size}: is for pictures of your own, dataset = 'folder:NAME', and "
                "needed there"
            )
        if self.digest and not self.name.startswith(("folder:", "csv:")):
            raise ValueError(
                f"digest = {shorten(self.digest, 40)!r}: is for data of your own, folder:NAME or "
                "csv:NAME"
            )
        return self


class View(Plain):
    """An augmentation. `strength` in [0, 1] scales the strong ones: the share of images that
    AutoAugment or RandAugment touches.

    `part` is cut out of the augmented image and enlarged to its size (left, right, or a random one
    of the two for each image), or the other half is blacked out (left-masked: the left half stays).
    """

    name: ViewName
    strength: float = Field(ge=0.0, le=1.0)
    part: Part = "whole"


class Optim(Plain):
    """SGD with momentum, or AdamW (beta1 = momentum, beta2 = 0.999; Adam where weight_decay = 0);
    linear warm-up over the first `warmup` share of the steps, then a cosine to zero, or no change
    at all ("constant").

    schedule "steps" changes the rate between epochs only: it grows linearly over the first `warmup`
    share of the epochs, and is a tenth of itself from each of the `milestones` on (epochs counted
    from 0). batch_size = n_train with momentum 0: gradient descent.
    """

    epochs: Epochs
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    method: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    nesterov: bool = False
    clip_norm: float | None = Field(default=None, gt=0)  # the gradient's norm is cut down to this

    @model_validator(mode="after")
    def _milestones_of_steps(self) -> "Optim":
        if self.milestones and self.schedule != "steps":
            raise ValueError(
                f"milestones = {self.milestones} are not allowed with schedule = "
                f"{self.schedule!r}: only with 'steps'"
            )
        return self


class Switch(Plain):
    """Loss switching: from the share `at` of the steps on, the weight moves linearly over the share
    `ramp` from the one loss to the other.

    to "teacher": cross-entropy on the labels first, then the loss of `Distill`; to "labels": the
    other way.
    """

    to: Literal["teacher", "labels"]
    at: float = Field(ge=0, le=1)
    ramp: float = Field(ge=0, le=1)

    def teacher_share(self, progress: float) -> float:
        """Weight of the distillation loss after this share of the steps, 0 to 1."""
        if progress < self.at:
            moved = 0.0
        else:
            moved = 1.0 if self.ramp == 0 else min(1.0, (progress - self.at) / self.ramp)
        return moved if self.to == "teacher" else 1 - moved


class Distill(Plain):
    """How the student listens: `ce_weight` * CE + `kd_weight` * temperature^2 * mean over teachers
    of KL(teacher || student).
    """

    teachers: tuple["Spec", ...] = Field(min_length=1)
    temperature: Temperature
    ce_weight: CEWeight
    kd_weight: KDWeight
    zscore: bool
    # "train" exists only to show a defect of published code: BatchNorm of a "frozen" teacher on
    # batch statistics
    teacher_mode: Literal["eval", "train"]
    parts: tuple[Part, ...] = ()  # what each teacher sees of the student's view; empty: all of it
    switch: Switch | None = None
    # a control of what the student learns from: each image is given the teachers' logits of another
    # one, of its own class or of any, the same in every epoch: as soft a target, without the
    # knowledge of the image, or of the image and its class
    dealt: Literal["own", "within the class", "across all"] = "own"

    @model_validator(mode="after")
    def _one_part_each(self) -> "Distill":
        if self.parts and len(self.parts) != len(self.teachers):
            raise ValueError(
                f"parts = {self.parts}: give one for each of the {len(self.teachers)} teachers, "
                "or none"
            )
        return self


class Spec(Plain):
    """One training run. Three seeds with one purpose each: initial weights, batch order, random
    views.
    """

    data: Data
    view: View
    model: ModelName
    optim: Optim
    distill: Distill | None
    model_seed: Seed
    order_seed: Seed
    aug_seed: Seed
    pretrained: bool = False  # start from timm's ImageNet weights, with a new head
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    # of the layers while they are trained: "bf16" is torch.autocast. Weights, loss, softmax,
    # updates and everything recorded or measured are float32 all the same
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _can_run(self) -> "Spec":
        n, batch = self.data.n_train, self.optim.batch_size
        if n is not None and n < batch:
            raise ValueError(
                f"batch_size = {batch} is larger than n_train = {n}: at least one full batch is "
                "needed"
            )
        if self.loss == "squared" and self.distill and self.distill.zscore:
            raise ValueError(
                "zscore = True is not allowed with loss = 'squared': z-scores are for the softmax"
            )
        if self.distill and self.distill.zscore and starts_from_zero(self.model):
            raise ValueError(
                f"zscore = True is not allowed with model = {self.model!r}, whose first logits "
                "are all zero: the z-score divides by their spread"
            )
        if self.pretrained and self.model not in timm_models():
            raise ValueError(
                f"pretrained = True is not allowed with model = {self.model!r}: only networks of "
                "timm have such weights"
            )
        if weights_of(self.model) and not self.pretrained:
            raise ValueError(f"model = {self.model!r} names weights: that is for pretrained = True")
        return self

    @property
    def teachers(self) -> tuple["Spec", ...]:
        return self.distill.teachers if self.distill else ()

    def seen_by_teachers(self, view: View) -> tuple[View, ...]:
        """What each teacher is shown when the student sees `view`."""
        parts = (self.distill.parts or ("whole",) * len(self.teachers)) if self.distill else ()
        return tuple(view.model_copy(update={"part": part}) for part in parts)


class Inputs(Plain):
    """Images that logits are recorded on: draws `first` ... `first + count - 1` of a view of one
    split.

    During training draw number = epoch, so a teacher's logits on `Inputs(split="train",
    aug_seed=spec.aug_seed, ...)` are its targets for every student that trains on that view.
    """

    data: Data
    split: Literal["train", "test"]
    view: View
    aug_seed: Seed
    first: int = Field(ge=0)
    count: int = Field(ge=1)


# The loss presets found for Guo et al. (2024): section numbers and files in book/notation.md
LOSS_PRESETS = {
    # appendix A, and the code's argument defaults
    "paper-appA": dict(temperature=10.0, ce_weight=0.2, kd_weight=0.8),
    # what every published student script passes
    "scripts": dict(temperature=3.0, ce_weight=0.6, kd_weight=0.4),
    "paper-eq8": dict(temperature=10.0, ce_weight=1.0, kd_weight=1.0),  # equation 8 taken literally
}
