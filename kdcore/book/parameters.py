"""A chapter's parameters: types and ranges, checked before anything slow is imported, all problems
at once.

Nothing here imports torch, so that a parameter that does not fit is refused within two seconds.
"""

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from kdcore import spec


class ParameterError(ValueError):
    """Parameters do not fit. One sentence per problem; a notebook shows these and no stack."""

    def _render_traceback_(self):
        return ["ParameterError: these parameters do not fit.", *str(self).splitlines()]


class Parameters(BaseModel):
    """Base of a chapter's parameter model: one field per parameter, whose type and range say what
    is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value, info):
        if spec.true_as_number(value, cls.model_fields[info.field_name].annotation):
            raise ValueError("must be a number")
        return value


def _known_data(name):
    from kdcore import data

    data.check(spec.shorten(name, 100))
    return name


def _images(name):
    from kdcore import data

    if data.is_text(data.known(name)):
        raise ValueError(
            f"{name} is text, and this chapter is about images: "
            f"{', '.join(n for n in data.NAMES if not data.is_text(n))}, folder:NAME"
        )
    return name


def _shown_as_it_is(name):
    """Names stand in Markdown, in figures and in CSV files: what means something there, or reads as
    a missing number, is no name.
    """
    if not re.fullmatch(
        r"[^\W_](?:[^\W_]|(?<=\w)_(?=\w)| (?! )|[,.:()%/+=-]){0,59}(?<! )", name
    ) or re.search(r"(?i)\b(nan|inf)\b", name):
        raise ValueError(
            "a name is 1 to 60 letters, digits, single blanks inside and , . : ( ) % / + = - or a "
            "_ inside a word; it begins with a letter or "
            "digit, and nan and inf are no words of it"
        )
    return name


def _without_weights(name):
    if weights := spec.weights_of(name):
        raise ValueError(
            f"{weights} is a name of weights, which only the parameter teacher of a chapter with "
            "pretrained = True may have"
        )
    return name


Name = Annotated[str, AfterValidator(_shown_as_it_is)]
DatasetName = Annotated[str, AfterValidator(_known_data)]
# which need not be on this machine, where all that is asked of them is published
KnownImages = Annotated[str, AfterValidator(_images)]
ImageDataset = Annotated[str, AfterValidator(_images), AfterValidator(_known_data)]
# a teacher's may be one of timm's with the name of weights: "resnet50.tv_in1k"
TeacherName = spec.ModelName
ModelName = Annotated[TeacherName, AfterValidator(_without_weights)]
Pixels = Annotated[int | None, Field(ge=8, le=256)]  # of a side, for pictures of your own; None: 32


def size_of_own_pictures(p) -> None:
    """ValueError where a size is given and no data set is a folder of one's own."""
    if p.size is not None and not any(
        name.endswith("dataset") and str(value).startswith("folder:") for name, value in p
    ):
        raise ValueError(
            f"size = {p.size}: is for pictures of your own, a dataset folder:NAME; all others "
            "have their size"
        )


def one_batch(
    training_examples: int, batch_size: int, parameter: str, n_train: int | None, dataset: str
) -> None:
    """ValueError in one sentence where the training examples are fewer than a batch; `parameter`
    says how many of them there are.
    """
    if batch_size > training_examples:
        there = (
            f"{parameter} = {n_train}"
            if n_train == training_examples
            else f"the {training_examples} training examples of {dataset}"
        )
        raise ValueError(f"batch_size = {batch_size}: must be at most {there}")


# ----------------------------------------------------------------------------- reading and checking

WORDS = {  # pydantic's kind of error -> how it is said here
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be True or False",
    "bool_parsing": "must be True or False",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be a mapping of fields",
    "extra_forbidden": "is not a field of this entry",
    "value_error": "{error}",
}
MOST = 20  # problems that are named; a set with more of them is another kind of mistake


def _sentences(error):
    """What one of pydantic's errors says; those of a model that a validator has built are said one
    by one.
    """
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):
        return [
            s
            for e in inner.errors(include_url=False)
            for s in _sentences(e | {"loc": (*error["loc"], *e["loc"])})
        ]
    return [_sentence(error)]


def _sentence(error):
    if not error["loc"]:  # about several parameters together
        return spec.shorten(" ".join(str(error["ctx"]["error"]).split()), 1000).rstrip(".") + "."
    name, *inside = error["loc"]
    where = name
    for before, part in zip(
        [name, *inside], inside
    ):  # a text is the field of a list's entry, or else one of the types that it may have
        where += (
            f"[{part}]" if isinstance(part, int) else f".{part}" if isinstance(before, int) else ""
        )
    if error["type"] == "missing":
        return f"{where} has no value: " + (
            "it must be given." if inside else "the parameters cell must assign it."
        )
    words = WORDS.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    given = spec.shorten(repr(error["input"]), 100)
    return f"{where} = {given}: {spec.shorten(' '.join(words.split()), 1000).rstrip('.')}."


def _plain(value):
    if isinstance(value, dict):
        return all(map(_plain, (*value, *value.values())))
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def read(model, namespace):
    """The values in `namespace` (a notebook's globals()) as an instance of `model`, a subclass of
    `Parameters`.

    Numbers are converted as papermill's YAML needs it (10 for a float, "1e-3" for a float). Every
    plain-valued global that is not a field of `model` counts as a mistyped parameter, because
    papermill injects unknown names silently. Raises ParameterError that lists all problems at once.
    """
    fields = model.model_fields
    given = {name: namespace[name] for name in fields if name in namespace}
    # When the cell is run a second time, variables of later cells are about, which are no
    # parameters.
    if not any(isinstance(value, Parameters) for value in namespace.values()):
        given |= {
            name: value
            for name, value in namespace.items()
            if name not in fields
            and name not in ("In", "Out")
            and not name.startswith("_")
            and _plain(value)
        }
    try:
        # where a name is unknown or a value does not fit, nothing slow is checked, such as how many
        # examples there are
        return model.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    unknown = [e["loc"][0] for e in errors if e["type"] == "extra_forbidden" and len(e["loc"]) == 1]
    problems = []
    for name in unknown:
        near = difflib.get_close_matches(name[:100], fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        problems.append(
            f"{spec.shorten(name, 100)} is not a parameter of this chapter{hint}"
            + (f" Allowed: {', '.join(fields)}." if not problems else "")
        )
    problems += [
        s
        for e in errors
        if not (len(e["loc"]) == 1 and e["loc"][0] in unknown)
        for s in _sentences(e)
    ]
    more = [f"There are {len(problems) - MOST} more such problems."] if len(problems) > MOST else []
    raise ParameterError("\n".join([*problems[:MOST], *more]))
