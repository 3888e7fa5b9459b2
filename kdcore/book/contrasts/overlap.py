"""The statistics of claims about where networks look, and whether it pays: functions of a table of
students that return one value per seed, indexed by seed, or a correlation over students.

A table of students has a row for each, with the columns seed, teachers ("ws", or a dose), view
("Sw", "Ss"), what kdcore.measure.attention.attention found of the student and its teachers, and
`quantities`. Overlaps are IoU, from 0 to 1; a statistic of accuracies is in percentage points.
Overlap beyond chance of a single pair against two others is `kdcore.book.contrasts.divergence`.
"""

import numpy as np
import pandas as pd

from kdcore import stats
from kdcore.book import contrasts, trials
from kdcore.book.contrasts import correlation

EXCESS = {
    "excess": ("iou", "chance"),
    "class excess": ("iou", "class chance"),
    "matched excess": ("matched", "matched chance"),
}


def quantities(maps: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Maps and outputs of the same students side by side, a row for each, and these columns:

    iou own, sum own    overlap of the teachers' label CAMs and class sums on the student's own view
    iou beyond chance   overlap of their label CAMs on clean images, chance taken off
    affinity            student's accuracy on its own view of the test images over that on clean
                        ones; "affinity of the code": over that on randomly cropped ones, as
                        published
    and those of `kdcore.book.contrasts.quantities`. Transformers have no class activation map, so
    no overlap among these columns.

    maps, runs: tables of kdcore.measure.attention.attention and kdcore.measure.outputs.model with
    the columns seed, teachers, view and spec, in any order of rows.
    """
    runs = contrasts.quantities(runs)
    runs["affinity"] = trials.own(runs, "accuracy test") / runs["accuracy test clean"]
    runs["affinity of the code"] = trials.own(runs, "accuracy test") / runs["accuracy test base"]
    students = maps.merge(
        runs.drop(columns="provenance", errors="ignore"),
        on=["seed", "teachers", "view", "spec"],
        validate="one_to_one",
    )
    if "iou label T clean" in students:  # a transformer has no such map
        students["iou own"] = trials.own(students, "iou label T")
        students["sum own"] = trials.own(students, "iou sum T")
        students["iou beyond chance"] = _value(students, "excess", "label T clean")
    return students


def _value(students, quantity, where):
    """A quantity of each row; one that is named in EXCESS is a difference of two columns."""
    if quantity not in EXCESS:
        return students[f"{quantity} {where}"]
    value, chance = EXCESS[quantity]
    return students[f"{value} {where}"] - students[f"{chance} {where}"]


def by_pair(students, quantity, kind="label", view="clean") -> pd.DataFrame:
    """A quantity of the teachers' maps: a row for each seed, a column for each kind of pair.

    quantity: a name of kdcore.measure.attention.attention (iou, chance, matched, rank, ...), or
    "excess", IoU minus chance; "class excess", minus that of another image of the same class;
    "matched excess", the same as excess on masks of equal area. view: "clean", "weak", "strong",
    or with a threshold, "clean at 0.5". Students of the same teachers see the same overlap: their
    mean counts.
    """
    value = _value(students, quantity, f"{kind} T {view}")
    return value.groupby([students["seed"], students["teachers"]], sort=False).mean().unstack()


def accuracy(students) -> pd.DataFrame:
    """Accuracy on clean test images, points: a row for each seed, a column for each kind of pair,
    mean over the students' views.
    """
    return students.groupby(["seed", "teachers"])["accuracy"].mean().unstack() * 100


def mixed(table, others=("ww", "ss")) -> pd.Series:
    """Teachers of different views, ws and sw (or the one that is there), minus the mean of others,
    by seed. table: of `by_pair` or `accuracy`.
    """
    different = [pair for pair in ("ws", "sw") if pair in table]
    return table[different].mean(axis=1) - table[list(others)].mean(axis=1)


def strong(table) -> pd.Series:
    """Two teachers of strong views minus two of weak ones, by seed. table: see `mixed`."""
    return table["ss"] - table["ww"]


def over_pairs(table) -> pd.Series:
    """Mean over the kinds of pair, by seed. table: see `mixed`."""
    return table.mean(axis=1)


def slope_on_dose(table, doses) -> pd.Series:
    """Slope on the dose of both teachers' views, least squares inside each seed: units of the table
    from dose 0 to dose 1.

    table: see `mixed`, with a column for each dose; doses: {name of the column: dose}.
    """
    slopes = np.polyfit(list(doses.values()), table[list(doses)].to_numpy().T, 1)[0]
    return pd.Series(slopes, table.index)


def with_teacher(students, k, teachers, view) -> pd.Series:
    """Overlap beyond chance of a student's label CAM with that of its k-th teacher on clean images,
    IoU, for students of these teachers on this view; by seed.
    """
    part = students[(students["teachers"] == teachers) & (students["view"] == view)]
    return _value(part.set_index("seed"), "excess", f"label T{k}-S clean")


def class_sum_moved(heads) -> pd.Series:
    """1 minus the IoU of a network's class sum with itself, before and after one random vector is
    added to all rows of its head; by seed, mean over its networks.

    heads: a row for each network, columns of kdcore.measure.attention.row_sum and seed.
    """
    return 1 - heads.groupby("seed")["iou of the class sum with itself"].mean()


def among_pairs_of_one_kind(students, x, y) -> stats.Correlation:
    """`correlation` inside views of what a student has more or less than the mean over seeds of its
    kind, the same teachers and view: kinds differ in more than x. It needs several seeds.
    """
    kinds = students.groupby(["view", "teachers"])
    left = students[["seed", "view"]].assign(
        **{column: students[column] - kinds[column].transform("mean") for column in (x, y)}
    )
    return correlation(left, x, y, "view")
