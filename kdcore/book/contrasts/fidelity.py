"""The statistics of the chapter on low fidelity, beside those of `kdcore.book.contrasts`.

A table of students has a row for each, with the columns seed, teachers, view and the quantities of
`contrasts.quantities`. Differences are in percentage points, information in nats, one value per
seed unless a function says otherwise.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ttest_1samp

from kdcore import metrics, stats
from kdcore.book import contrasts, trials

TRIALS = [(pair, view) for view in ("Sw", "Ss") for pair in trials.PAIRS]
# weights of the eight trials, in their order
VIEW = np.array([-1, -1, -1, -1, 1, 1, 1, 1]) / 4
STRONG = np.array([-1, 0, 0, 1, -1, 0, 0, 1]) / 2
MIXED = np.array([-1, 1, 1, -1, -1, 1, 1, -1]) / 4
MIXED_NOT_STRONG = np.array([0, 1, 1, -2, 0, 1, 1, -2]) / 4
EFFECTS = {"student's view": VIEW, "strong teachers": STRONG, "mixed teachers": MIXED}
INFORMATION = ("kl", "mi", "entropy")  # in nats; what begins otherwise is a share


def unit(metric: str) -> str:
    """The unit in which a column is reported, nats or points, by the first word of its name."""
    return "nats" if metric.split()[0] in INFORMATION else "points"


def scale(metric: str) -> int:
    """What a column is multiplied by to be in its `unit`."""
    return 1 if unit(metric) == "nats" else 100


def by_trial(distilled: pd.DataFrame, values) -> np.ndarray:
    """(seeds, 8 trials) of a column, in its `unit`, or of a series that lines up with the table, as
    it is.
    """
    named = isinstance(values, str)
    column = distilled[values] if named else values
    wide = distilled.assign(value=column).pivot(
        index="seed", columns=["teachers", "view"], values="value"
    )
    return wide[TRIALS].to_numpy() * (scale(values) if named else 1)


def effect(distilled: pd.DataFrame, metric: str, weights=VIEW) -> stats.Interval:
    """A contrast of the eight trials, by default strong minus weak views of the student."""
    return stats.contrast(by_trial(distilled, metric), weights)


def on_same(distilled: pd.DataFrame, metric: str) -> dict[str, stats.Interval]:
    """The effect of the student's view where all students are measured on the same images. Weak
    views favour students of weak views and strong ones the others: their mean favours neither.
    """
    rulers = {"mean of weak and strong views": "mean", "clean test images": "clean"}
    return {what: effect(distilled, f"{metric} {where}") for what, where in rulers.items()}


def within_seed(values: np.ndarray) -> np.ndarray:
    """Takes each seed's mean over its m trials out of (seeds, m), because trials are compared
    inside a seed; sqrt(m / (m - 1)) gives back the spread that this removes. The trials' means stay
    as they are.
    """
    m, centred = values.shape[1], values - values.mean(1, keepdims=True) + values.mean()
    return values.mean(0) + (centred - values.mean(0)) * np.sqrt(m / (m - 1))


def group_intervals(table: pd.DataFrame, metric: str, groups: list[str]) -> dict:
    """{value of the column in `groups`, a tuple of several: interval of the mean of its trials, in
    points}, the spread over seeds taken `within_seed`.
    """
    wide = table.pivot_table(index="seed", columns=groups, values=metric) * 100
    columns = within_seed(wide.to_numpy()).T
    return {group: stats.mean_interval(column) for group, column in zip(wide, columns)}


def noise_floor(distilled: pd.DataFrame, metric: str, view: str) -> stats.NoiseFloor:
    """How far ws and sw lie apart, which differ in nothing but the teachers' names."""
    pairs = (by_trial(distilled, metric)[:, TRIALS.index((t, view))] for t in ("ws", "sw"))
    return stats.noise_floor(*pairs)


def correlate(runs: pd.DataFrame, metric: str, stratum=None, upward="accuracy"):
    """`contrasts.correlation` of a metric with accuracy, or another column."""
    return contrasts.correlation(runs, metric, upward, stratum)


def per_seed(runs: pd.DataFrame, metric: str) -> pd.Series:
    """Mean over a seed's rows."""
    return runs.groupby("seed")[metric].mean() * scale(metric)


def alone(students: pd.DataFrame, metric: str) -> pd.Series:
    """Strong minus weak views for students without teachers."""
    part = students[students["teachers"] == "one-hot"]
    wide = part.pivot(index="seed", columns="view", values=metric)
    return scale(metric) * (wide["Ss"] - wide["Sw"])


def beyond_alone(students: pd.DataFrame, metric: str) -> stats.Interval:
    """What strong views do for distilled students, minus what they do for students without
    teachers.
    """
    distilled = students[students["teachers"] != "one-hot"]
    return stats.mean_interval(by_trial(distilled, metric) @ VIEW - alone(students, metric))


def of_pairs(distilled: pd.DataFrame, metric: str) -> np.ndarray:
    """(seeds, 4 pairs) of what is said of the two teachers, for any student of theirs."""
    part = distilled[distilled["view"] == "Sw"]
    return part.pivot(index="seed", columns="teachers", values=metric)[
        list(trials.PAIRS)
    ].to_numpy()


def teachers_gain(runs: pd.DataFrame, metric: str, number: int) -> pd.Series:
    """Students of this many teachers that were trained alike minus students of one, mean over weak
    and strong teachers and both views. runs has `number` and `trained on` (weak, strong, mixed, –).
    """
    alike = runs[runs["trained on"].isin(["weak", "strong"])]
    more, one = (per_seed(alike[alike["number"] == n], metric) for n in (number, 1))
    return more - one


def teachers_step(runs: pd.DataFrame, more: str, less: str) -> pd.Series:
    """Accuracy of students on strong views, of some teachers minus of others."""
    strong = runs[runs["view"] == "Ss"]
    wide = 100 * strong.pivot(index="seed", columns="teachers", values="accuracy")
    return wide[more] - wide[less]


def price(table: np.ndarray) -> float:
    """What choosing the best trial promises too much, (seeds, trials): the value of each seed's
    best trial there minus its mean over the other seeds, after each seed's mean is taken out; mean
    over seeds, nan for one.
    """
    from_mean = table - table.mean(1, keepdims=True)
    best, n = from_mean.argmax(1), len(table)
    elsewhere = (from_mean.sum(0)[best] - from_mean.max(1)) / max(n - 1, 1)
    return float((from_mean.max(1) - elsewhere).mean()) if n > 1 else float("nan")


def pooled_reliability(table: pd.DataFrame, bins: int):
    """Count, confidence and accuracy (bins,) of rows of `outputs.reliability`, images of all seeds
    taken together.
    """
    count, confidence, accuracy = (
        table[[f"{name} {b}" for b in range(bins)]].fillna(0).to_numpy(float)
        for name in ("count", "confidence", "accuracy")
    )
    total = count.sum(0)
    shares = count / np.maximum(total, 1)
    return total, (shares * confidence).sum(0), (shares * accuracy).sum(0)


def arm_minus(halved: pd.DataFrame, metric: str, other: str) -> pd.Series:
    """Students of teachers on two halves minus another arm, mean over the student's views."""
    by_arm = halved.pivot_table(index="seed", columns="teachers", values=metric) * scale(metric)
    return by_arm["halves"] - by_arm[other]


def different_halves(halved: pd.DataFrame, metric: str, same=("LL", "RR")) -> pd.Series:
    """(LR + RL)/2 - (LL + RR)/2 by seed, mean over the student's views: teachers of different
    halves minus teachers of the same one, where over each two arms a teacher sees each side once;
    or minus one arm of the `same` half alone.

    halved: `teachers` names the halves that the first and the second teacher see.
    """
    by_arm = halved.pivot_table(index="seed", columns="teachers", values=metric) * scale(metric)
    return by_arm[["LR", "RL"]].mean(axis=1) - by_arm[list(same)].mean(axis=1)


def tested(differences, fixed=True) -> dict:
    """Is a paired difference below zero? Its interval, how often it rose, and where that question
    was `fixed` the one-sided p of a sign test and of a paired t; d = mean / s.d. of the
    differences.
    """
    differences = np.asarray(differences, dtype=float)
    n, fell, rose = len(differences), int((differences < 0).sum()), int((differences > 0).sum())
    several = n > 1 and np.std(differences) > 0
    found = {"n": f"{n}", "points": stats.mean_interval(differences)}
    found |= {"rose (Eq. 9)": f"{rose} of {n}", "sign test": "–", "paired t": "–", "d": "–"}
    if fixed and fell + rose:
        p = binomtest(fell, fell + rose, alternative="greater").pvalue
        found["sign test"] = f"p = {p:.2g}"
    if fixed and several:
        found["paired t"] = f"p = {ttest_1samp(differences, 0, alternative='less').pvalue:.2g}"
    if several:
        d = np.mean(differences) / np.std(differences, ddof=1)
        found["d"] = f"{d:+.1f}".replace("-", "−")
    return found


def tail_effect(tail, imbalance, column, minuend, subtrahend, teachers, metric) -> pd.Series:
    """minuend - subtrahend, two values of a column, at one imbalance, for students of `teachers`,
    a list; tail has `imbalance`, a text.
    """
    part = tail[(tail["imbalance"] == imbalance) & (tail["teachers"].isin(teachers))]
    level = part.groupby(["seed", column])[metric].mean().unstack()
    return scale(metric) * (level[minuend] - level[subtrahend])


def tail_view(tail: pd.DataFrame, teachers: str) -> pd.Series:
    """Strong minus weak views at imbalance 100."""
    return tail_effect(tail, "100", "view", "Ss", "Sw", [teachers], "accuracy")


def invented_information(draws=20, images=10_000, classes=100) -> list[float]:
    """Mutual information, nats, that batches of 128 report of predictions that are independent."""
    drawn = np.random.default_rng(1).integers(classes, size=(draws, 2, images))
    return [metrics.official_mutual_information(*pair, classes) for pair in drawn]


def unlike_itself(moving: pd.DataFrame) -> pd.Series:
    """Percent of images on which a teacher in training mode disagrees with itself in evaluation
    mode, mean over a seed's teachers and both views; rows of `outputs.batch_statistics`.
    """
    views = ["agreement weak", "agreement strong"]
    agreement = {seed: part[views].to_numpy().mean() for seed, part in moving.groupby("seed")}
    return 100 * (1 - pd.Series(agreement))


def official_calibration(distilled: pd.DataFrame) -> stats.Interval:
    """The effect of the student's view on the calibration error as the published code computes it:
    10 bins without weights, on the student's own view of the training images.
    """
    official = trials.own(distilled, "official ece train")
    return stats.contrast(100 * by_trial(distilled, official), VIEW)


def best_epoch_promise(epochs: pd.DataFrame) -> pd.Series:
    """Accuracy of the best epoch on the images that chose it, minus that on others; rows of
    `outputs.best_epoch`, one for each seed.
    """
    epochs = epochs.set_index("seed")
    return 100 * epochs["chosen, as reported"] - 100 * epochs["chosen, on other images"]
