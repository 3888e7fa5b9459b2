"""The statistics of claims about trials: functions of a table of runs that return one value per
seed, in percentage points unless they say otherwise.

A table of runs has a row for each student, with the columns seed, loss, teachers, view ("Sw", "Ss")
and what kdcore.measure.outputs.model measured; several rows with the same four labels are
repetitions, and their mean counts. The same function is asked on every data set.
"""

import pandas as pd

from kdcore import stats
from kdcore.book import trials


def quantities(runs: pd.DataFrame) -> pd.DataFrame:
    """The table with `accuracy`, `gap`, `online gap` and, per metric, "<metric> own | weak | strong
    | clean": on the student's own view of the training images, on weak and on strong views of them,
    and on clean test images. "mean" is that of weak and strong: a ruler that favours neither view.
    """
    runs = runs.assign(accuracy=runs["accuracy test clean"])
    runs["gap"] = runs["accuracy train clean"] - runs["accuracy"]
    runs["online gap"] = runs["accuracy online"] - runs["accuracy"]
    for metric in ("agreement", "kl", "mi", "kappa"):
        runs[f"{metric} own"] = trials.own(runs, f"{metric} train")
        runs[f"{metric} weak"], runs[f"{metric} strong"] = (
            runs[f"{metric} train weak"],
            runs[f"{metric} train strong"],
        )
        runs[f"{metric} mean"] = (runs[f"{metric} weak"] + runs[f"{metric} strong"]) / 2
        runs[f"{metric} clean"] = runs[f"{metric} test clean"]
    for metric in ("ece", "entropy"):
        runs[f"{metric} clean"] = runs[f"{metric} test clean"]
    return runs


def cell(runs: pd.DataFrame, metric: str, loss: str, teachers: str, view: str) -> pd.Series:
    """The value of one kind of student, indexed by seed; metrics in nats (KL, MI, entropy) keep
    their unit, shares become points.
    """
    part = runs[(runs["loss"] == loss) & (runs["teachers"] == teachers) & (runs["view"] == view)]
    return part.groupby("seed")[metric].mean() * (
        1 if metric.split()[0] in ("kl", "mi", "kappa", "entropy") else 100
    )


def _has(runs, loss, teachers):
    return ((runs["loss"] == loss) & (runs["teachers"] == teachers)).any()


def _mean(series):
    return pd.concat(list(series), axis=1).mean(axis=1, skipna=False).dropna()


def view_effect(runs, metric, loss="vanilla", teachers=None):
    """Students on strong views minus students on weak ones, mean over the pairs of teachers: those
    of the table, sw or not, where none are named.
    """
    teachers = teachers or [pair for pair in trials.PAIRS if _has(runs, loss, pair)]
    return _mean(
        cell(runs, metric, loss, t, "Ss") - cell(runs, metric, loss, t, "Sw") for t in teachers
    )


def teacher_effect(runs, metric):
    """Students of two strong teachers minus students of two weak ones, mean over the students'
    views.
    """
    return _mean(
        cell(runs, metric, "vanilla", "ss", view) - cell(runs, metric, "vanilla", "ww", view)
        for view in ("Sw", "Ss")
    )


def loss_effect(runs, metric, loss, against="vanilla", teachers="ws"):
    """Students of one loss minus students of another, of the same teachers, mean over the students'
    views.
    """
    return _mean(
        cell(runs, metric, loss, teachers, view) - cell(runs, metric, against, teachers, view)
        for view in ("Sw", "Ss")
    )


def gain(runs, against, metric="accuracy"):
    """Students of two weak teachers on weak views minus another kind of student, (loss, teachers),
    on weak views.
    """
    return (cell(runs, metric, "vanilla", "ww", "Sw") - cell(runs, metric, *against, "Sw")).dropna()


def divergence(
    maps: pd.DataFrame, kind: str, masks: str = "", pairs=("ws", ("ww", "ss"))
) -> pd.Series:
    """Overlap beyond chance of two teachers' maps, IoU: the first pair minus the mean of the
    others, by seed.

    maps: a row for each seed and pair of teachers, columns of kdcore.measure.attention.attention.
    kind "sum" is the published class-summed map, "label" the class activation map of the label;
    masks "matched": of equal area.
    """
    iou, chance = (
        f"{name} {kind} T clean"
        for name in (("matched", "matched chance") if masks else ("iou", "chance"))
    )
    excess = (maps[iou] - maps[chance]).groupby([maps["seed"], maps["teachers"]]).mean().unstack()
    first, others = pairs
    return (excess[first] - excess[list(others)].mean(axis=1)).dropna()


def exaggeration(tilts: pd.DataFrame, split: str, who: str = "student") -> pd.Series:
    """Slope of log-odds over the teacher's, minus 1, class and quartiles chosen by a third model;
    by seed. tilts: a row for each seed.
    """
    return tilts.set_index("seed")[f"instrument slope {split} {who}"] - 1


def primary(
    runs: pd.DataFrame, maps: pd.DataFrame | None, tilts: dict[int, pd.DataFrame | None]
) -> dict:
    """{name: (statistic, {control: statistic})} of the primary contrasts, each a series by seed;
    what a table does not hold is left out.

    runs: `quantities`; maps: see `divergence`; tilts: {temperature: table, see `exaggeration`}.
    """
    found = {
        "view-fidelity": (
            view_effect(runs, "agreement own"),
            {
                "clean test images": view_effect(runs, "agreement clean"),
                "mean of weak and strong views": view_effect(runs, "agreement mean"),
            },
        ),
        "teacher-fidelity": (
            teacher_effect(runs, "agreement own"),
            {"clean test images": teacher_effect(runs, "agreement clean")},
        ),
        "view-accuracy": (
            view_effect(runs, "accuracy"),
            {
                "minus students without teachers": view_effect(runs, "accuracy")
                - view_effect(runs, "accuracy", "one-hot", ("–",))
            },
        ),
        "view-gap-online": (
            view_effect(runs, "online gap"),
            {"clean gap": view_effect(runs, "gap")},
        ),
        "view-gap-clean": (
            view_effect(runs, "gap"),
            {
                "minus students without teachers": view_effect(runs, "gap")
                - view_effect(runs, "gap", "one-hot", ("–",))
            },
        ),
    }
    if maps is not None:
        for kind in ("sum", "label"):
            found[f"divergence-{kind}"] = (
                divergence(maps, kind),
                {"equal areas": divergence(maps, kind, "matched")},
            )
    for loss in ("z-same", "z-sun"):
        if _has(runs, loss, "ws"):
            for name, metric in (
                ("gap-online", "online gap"),
                ("gap-clean", "gap"),
                ("fidelity", "agreement own"),
            ):
                found[f"{loss}-{name}"] = loss_effect(runs, metric, loss), {}
    for temperature, table in tilts.items():
        for split in ("train", "test") if table is not None else ():
            slope = exaggeration(table, split)
            found[f"slope-{split}-{temperature}"] = (
                slope,
                {"minus the rerun": slope - exaggeration(table, split, "rerun")},
            )
    dealt = [("dealt within the class", "ww"), ("dealt across all", "ww")]
    found["gain-labels"] = (
        gain(runs, ("one-hot", "–")),
        {f"minus {loss}": gain(runs, (loss, t)) for loss, t in dealt if _has(runs, loss, t)},
    )
    if _has(runs, "vanilla", "w"):
        found["gain-second-teacher"] = gain(runs, ("vanilla", "w")), {}
    return found


def correlation(students: pd.DataFrame, x: str, y: str, stratum=None) -> stats.Correlation:
    """Pearson r of two columns over students, each seed's mean taken out and whole seeds resampled
    where there are several; with a column as stratum, the mean of each of its values inside the
    seed.
    """
    several = students["seed"].nunique() > 1
    return stats.correlation(
        students[x],
        students[y],
        stratum=students[stratum] if stratum else None,
        seed_ids=students["seed"] if several else None,
    )
