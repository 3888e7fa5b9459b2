"""The statistics of claims about exaggerated confidence: functions of the rows of one setting at
one temperature that return one value per seed, indexed by seed, or an Interval over seeds.

The rows are those of `of_setting`: one for each seed, with what
kdcore.measure.confidence.confidence found of a teacher, its student, the student's rerun (trained
on the labels alone) and an independent third model. x and y are the log-odds of the teacher and of
the other model. Statistics are named as there, without split ("train", "test") and model
("student", "rerun"): "slope", of y over x, and "shift low", the mean of y - x in the bottom
quartile, have class and examples chosen by the teacher; "instrument slope" and "third shift low"
by the third model. Slopes have no unit, shifts are in log-odds.
"""

import numpy as np
import pandas as pd

from kdcore import stats
from kdcore.stats import Interval

MODELS = ("teacher", "student", "rerun", "third")
SLOPES = ("slope", "instrument slope")
# what is claimed of a student: (value of a perfect copy, side of it on which the student's lies)
CLAIMED = {
    "slope": (1.0, 1),
    "instrument slope": (1.0, 1),
    "shift low": (0.0, -1),
    "third shift low": (0.0, -1),
}


def failed(runs: pd.DataFrame) -> pd.Series:
    """Which rows have a model that collapsed, whichever of the four."""
    return runs[[f"collapsed {model}" for model in MODELS]].any(axis=1)


def of_setting(runs: pd.DataFrame, setting: str, tau: float) -> pd.DataFrame:
    """The rows of one setting at one temperature, indexed by seed; seeds with a collapsed model are
    left out. runs: a row for each student, with the columns setting, tau and seed.
    """
    chosen = (runs["setting"] == setting) & (runs["tau"] == tau) & ~failed(runs)
    return runs[chosen].set_index("seed")


def values(rows, statistic, split, who="student") -> pd.Series:
    """A statistic of one model, by seed."""
    return rows[f"{statistic} {split} {who}"].astype(float)


def interval(by_seed) -> Interval:
    """Mean over seeds with its interval; n = 0 where no seed is left or one has no value."""
    by_seed = np.asarray(by_seed, dtype=float)
    if len(by_seed) and np.isfinite(by_seed).all():
        return stats.mean_interval(by_seed)
    return Interval(np.nan, np.nan, np.nan, 0)


def minus(found: Interval, value: float) -> Interval:
    """How far an interval, and each of its seeds, lies above a value."""
    bounds = (bound - value for bound in found[:3])
    return Interval(*bounds, found.n, tuple(v - value for v in found.values))


def beyond_copy(rows, statistic, split) -> Interval:
    """A student's statistic minus that of a perfect copy of its teacher: 1 for slopes, 0 for
    shifts. Of "instrument slope" it is the mean of `kdcore.book.contrasts.exaggeration`.
    """
    copy, _ = CLAIMED[statistic]
    return minus(interval(values(rows, statistic, split)), copy)


def beyond_rerun(rows, statistic, split) -> pd.Series:
    """A student's statistic minus its rerun's, by seed."""
    return values(rows, statistic, split) - values(rows, statistic, split, "rerun")


def drop(rows, who="student") -> pd.Series:
    """How much further mislabelled training examples lie below the diagonal than the others: mean
    of y - x on the third model's class, mislabelled minus the others, log-odds, by seed.
    """
    return values(rows, "third shift mislabelled", "train", who) - values(
        rows, "third shift clean", "train", who
    )


def bottom_minus_top(rows, split, who="student") -> pd.Series:
    """The tilt as a shift: mean of y - x in the third model's bottom quartile minus that in its top
    one, log-odds, by seed. Below 0 where confidence is exaggerated.
    """
    return values(rows, "third shift low", split, who) - values(
        rows, "third shift high", split, who
    )


def selection(rows, split="test") -> pd.Series:
    """A rerun's slope where the teacher chooses class and scale minus that where the third model
    does, by seed: a tilt that no distillation makes.
    """
    return values(rows, "slope", split, "rerun") - values(rows, "instrument slope", split, "rerun")


def mean_slope(settings, who="student") -> pd.Series:
    """Instrument slope on training examples, mean over several settings inside each seed that has
    them all. settings: the rows of each.
    """
    each = [values(rows, "instrument slope", "train", who) for rows in settings]
    return pd.concat(each, axis=1).dropna().mean(axis=1)


# ----------------------------------------------------------------- the rule of the chapter, counted


def holds(beyond_a_copy: Interval, beyond_the_rerun: Interval, direction: int = 1) -> bool:
    """Whether both intervals lie on the claimed side of 0; never for one seed."""
    both = (beyond_a_copy, beyond_the_rerun)
    return all(iv.low > 0 if direction > 0 else iv.high < 0 for iv in both)


def established(rows, statistic, split) -> bool:
    """`holds` for a statistic of `CLAIMED`."""
    _, direction = CLAIMED[statistic]
    versus = interval(beyond_rerun(rows, statistic, split))
    return holds(beyond_copy(rows, statistic, split), versus, direction)


def mislabelled_drop_more(rows) -> bool:
    """`holds` for the `drop` of mislabelled examples: below 0, and below the rerun's."""
    own = drop(rows)
    return holds(interval(own), interval(own - drop(rows, "rerun")), -1)


def tilt(rows, split) -> str:
    """exaggerated: both slopes, the teacher choosing and the third model choosing, lie beyond a
    copy's and beyond the rerun's; flatter: both lie below a copy's; else undecided. open: fewer
    than two seeds.
    """
    own = [beyond_copy(rows, statistic, split) for statistic in SLOPES]
    if any(iv.n < 2 for iv in own):
        return "open"
    if all(established(rows, statistic, split) for statistic in SLOPES):
        return "exaggerated"
    return "flatter" if all(iv.high < 0 for iv in own) else "undecided"


# ------------------------------------------------------------ what kdcore.book.claims.record judges


def claim(effect: Interval, controls=None):
    """(effect, {control: effect}); None where no seed has a value."""
    return (effect, controls or {}) if effect.n else None


def _both_choosers(rows, split, statistic, other, chooser):
    """A student beyond a copy. Controls: minus the rerun, and both with the other chooser."""
    return claim(
        beyond_copy(rows, statistic, split),
        {
            "minus the rerun": interval(beyond_rerun(rows, statistic, split)),
            chooser: beyond_copy(rows, other, split),
            f"{chooser} minus the rerun": interval(beyond_rerun(rows, other, split)),
        },
    )


def slope(rows, split):
    """Slope minus 1, class and scale chosen by the third model, and its controls."""
    return _both_choosers(rows, split, "instrument slope", "slope", "the teacher chooses")


def underfitting(rows, split):
    """Mean of y - x in the teacher's bottom quartile, log-odds, and its controls."""
    return _both_choosers(rows, split, "shift low", "third shift low", "third model")


def slope_of_several(settings):
    """`mean_slope` minus 1; control: minus that of the reruns. None without settings."""
    if not settings:
        return None
    own = mean_slope(settings)
    versus = interval(own - mean_slope(settings, "rerun"))
    return claim(minus(interval(own), 1), {"minus the rerun": versus})


def mislabelled(rows):
    """`drop` of the student; control: minus the rerun's."""
    own = drop(rows)
    return claim(interval(own), {"minus the rerun": interval(own - drop(rows, "rerun"))})
