"""Measurements: pure functions of recorded runs, spec -> named numbers. This file has what all of
them share; each other file is one subject.

    outputs        accuracy, gap, fidelity, calibration: what students and teachers say of images
    attention      where they look
    confidence     log-odds of a student against its teacher's
    trajectories   how fast they learn each eigendirection of the data
    gain           what a teacher is worth, example by example

Every model is measured on the same fixed draws of the same views, whole split, eval mode. Names of
numbers read "<metric> <split> <view>", e.g. "agreement train strong".

A published measurement is never changed: rows that were measured before would stand under its name
beside rows that were measured otherwise. Add another function, or another name; or raise `version`,
which makes every published row be measured again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kdcore.spec import RECIPES, Data, Inputs, Spec, View
from kdcore.train import logits

EVALUATION_SEED = 2_000_000_000  # views used for measuring are drawn apart from every training view
MEASUREMENTS = {}  # name -> function: what a name means in a row's key


class Passes(NamedTuple):
    """What a measurement does with networks, for those who plan (scripts/plan_work.py): it asks
    each of `models` for its logits on these draws of these views, (split, view, draws), shows it
    so many images beside, and trains each of `again` once more.
    """

    models: tuple[Spec, ...]
    views: tuple[tuple[str, View, int], ...] = ()
    images: int = 0
    again: tuple[Spec, ...] = ()


def on_clean(spec: Spec, *models: Spec, splits: Sequence[str] = ("train", "test")) -> Passes:
    """The logits of the spec, or of these models, on clean images."""
    return Passes(models or (spec,), tuple((split, clean(spec), 1) for split in splits))


def measurement(
    version: int,
    needs: Callable[[Spec], Sequence[Spec]] = lambda spec: (),
    passes: Callable[..., Passes] = lambda spec, **arguments: on_clean(spec),
):
    """Makes a function `f(spec, **arguments) -> {name: number, text, None or a list of these}` one
    that kdcore.results.collect can ask for.

    Its rows are kept under its name, this version, the spec and the arguments. `needs` names
    further runs that it looks at beside the spec and its teachers; they are trained before it.
    `passes`, of the same arguments, says what it costs, about: numbers do not depend on it.
    TypeError where another module has a measurement of this name: their rows could not be told
    apart.
    """

    def named(function):
        other = MEASUREMENTS.setdefault(function.__name__, function)
        if (other.__module__, other.__qualname__) != (function.__module__, function.__qualname__):
            raise TypeError(
                f"there are two measurements {function.__name__}, in {other.__module__} and in "
                f"{function.__module__}: give one of them another name"
            )
        MEASUREMENTS[function.__name__] = function
        function.version, function.needs, function.passes = version, needs, passes
        return function

    return named


def recipe(spec: Spec) -> tuple[str, str, str, str]:
    """The views of the recipe that the spec's own view belongs to."""
    return next(names for names in RECIPES.values() if spec.view.name in names)


def clean(spec: Spec) -> View:
    """Images without augmentation, in the size that the spec's own view has."""
    return View(name=recipe(spec)[0], strength=0.0)


def base(spec: Spec) -> View:
    """Cropped or shifted at random and nothing else: the denominator of the published Affinity."""
    return View(name=recipe(spec)[1], strength=0.0)


def fixed(spec: Spec, data: Data, split: str, view: View, draws: int) -> Inputs:
    """The fixed draws of a view that a model is measured on; a clean view has one draw."""
    return Inputs(
        data=data,
        split=split,
        view=view,
        aug_seed=EVALUATION_SEED,
        first=0,
        count=1 if view == clean(spec) else draws,
    )


def recorded(spec: Spec, data: Data, split: str, view: View, draws: int) -> np.ndarray:
    """Logits (draws * n, classes) on the fixed draws of a view."""
    z = logits(spec, fixed(spec, data, split, view, draws))
    return z.reshape(-1, z.shape[-1])


def of_teachers(spec: Spec, split: str, views, draws: int) -> np.ndarray:
    """The teachers' logits (K, draws * n, classes), each on its own one of K views."""
    return np.stack([recorded(t, spec.data, split, v, draws) for t, v in zip(spec.teachers, views)])
