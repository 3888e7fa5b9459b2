"""The statistics of claims about eigendirections: how many pairs of directions lie below the
one-hot curve, against one half and against a rerun.

A row of a table is one student: the columns place (which images), setting and seed, and what
kdcore.measure.trajectories.trajectories measured, "<quantity> <run> <layer>". The pairs of a row
share its weights, its data and its luck: a row has one share of pairs, and a seed is one unit.
"""

import numpy as np
import pandas as pd

from kdcore.book import contrasts
from kdcore.metrics import eigen, tilt
from kdcore.stats import Correlation, Interval


def below(rows: pd.DataFrame, run: str = "student", layer: str = "layer 1") -> pd.Series:
    """Share of the decided pairs that lie below the one-hot curve, 0 to 1, of each row; one half
    where no pair is decided, nan where the run was not measured.
    """
    at = f"{run} {layer}"
    if f"below {at}" not in rows:
        return pd.Series(np.nan, index=rows.index)
    return rows[f"below {at}"].astype(float).mask(rows[f"decided {at}"] == 0, 0.5)


def by_setting(rows: pd.DataFrame, run: str = "student", layer: str = "layer 1") -> pd.Series:
    """Mean of `below` over seeds in per cent, of each (place, setting) where it was measured, in
    the order of the table.
    """
    settings = [rows["place"], rows["setting"]]
    return (100 * below(rows, run, layer)).groupby(settings, sort=False).mean().dropna()


def over_half(rows: pd.DataFrame, run: str = "student", layer: str = "layer 1") -> pd.Series:
    """Share of the decided pairs below minus one half, points: 100 (share - 1/2), mean over the
    settings of the table, by seed.

    A run that was not measured has one half, as a rerun in another order of batches where there is
    one batch. Seeds count that have all the settings: another mix of settings is no repetition.
    """
    seeds = rows["seed"]
    whole = seeds.groupby(seeds).transform("size") == rows.groupby(["place", "setting"]).ngroups
    share = below(rows, run, layer).fillna(0.5)
    return (100 * (share - 0.5))[whole].groupby(seeds[whole]).mean()


def over_control(
    rows: pd.DataFrame, layer: str = "layer 1", run: str = "student", control: str = "order"
) -> pd.Series:
    """`over_half` of a run minus that of its control, points, by seed. The control "order" is the
    rerun on labels alone, from the same initial weights in another order of batches; where there is
    no other order, one half is subtracted.
    """
    return over_half(rows, run, layer) - over_half(rows, control, layer)


def late_effect(mixed: pd.DataFrame, alone: pd.DataFrame) -> pd.Series:
    """Share of the decided pairs below in the last quarter of training, students with labels in
    their target minus students of the teacher alone, points, by seed. Each a table of one setting.
    """
    with_labels, without = (below(rows, "late").set_axis(rows["seed"]) for rows in (mixed, alone))
    return 100 * (with_labels - without).dropna()


def together(students: pd.DataFrame) -> tuple[Correlation, dict[str, Correlation]]:
    """Whether one intervention moves three things together: correlations inside seeds of `lag` with
    `slope`, and of each with `accuracy`. A row is one student, the rows of a seed differ in the
    intervention alone.

    lag: 1 minus the median ratio to one-hot training; slope: of log-odds over the teacher's.
    """
    pairs = {"lag and accuracy": "lag", "slope and accuracy": "slope"}
    controls = {name: contrasts.correlation(students, x, "accuracy") for name, x in pairs.items()}
    return contrasts.correlation(students, "lag", "slope"), controls


def closed_form(rows: pd.DataFrame, specs: dict, every: int, continued: int = 1) -> pd.Series:
    """The median ratio of student to one-hot training over the pairs of the first layer that the
    filters alone predict, of each row: gradient descent, squared loss, centred inputs.

    With eigenvalues lam, decay c and step eta, m steps have the filter
    lam / (lam + c) (1 - (1 - eta (lam + c))^m); a student has kdcore.metrics.eigen.student of its
    own and its teacher's. specs: {(place, setting, seed): student}; every and continued as they
    were measured. The paths are compared in float32, as weights are recorded.
    """

    def ratio(row):
        spec = specs[row["place"], row["setting"], row["seed"]]
        named = [c for c in rows if c.startswith("eigenvalue ") and c.endswith(" layer 1")]
        lam = row[named].dropna().to_numpy(dtype=float)
        teacher, decay = spec.teachers[0].optim, spec.optim.weight_decay

        def filtered(steps):
            descent = eigen.gradient_descent(lam + decay, np.atleast_1d(steps)[:, None], teacher.lr)
            return lam / (lam + decay) * descent

        one_hot = filtered(np.arange(0, continued * teacher.epochs + 1, every))
        own = filtered(np.arange(0, spec.optim.epochs + 1, every))
        student = eigen.student(own, filtered(teacher.epochs), spec.distill.kd_weight)
        pairs = eigen.compare(one_hot.astype(np.float32), student.astype(np.float32))
        return float(np.nanmedian(pairs.ratio))

    return pd.Series([ratio(row) for _, row in rows.iterrows()], index=rows.index, dtype=float)


def cases(values: np.ndarray, nothing: float = 0.0) -> Interval:
    """What is proved for every case, over the cases tried: median, smallest, largest, how many;
    minus the value that stands for no effect.
    """
    middle, low, high = (f(values) - nothing for f in (np.median, np.min, np.max))
    return Interval(float(middle), float(low), float(high), len(values))


def margins(chance: np.random.Generator, n: int = 2000) -> np.ndarray:
    """How far one-hot training is ahead along the smaller of two directions when it is level with a
    student along the larger one, as a filter value (n,): kdcore.metrics.eigen.margin at random
    eigenvalues, ratios of the two, and times of student and teacher.
    """
    larger, ratio = chance.uniform(0.1, 3, n), chance.uniform(0.05, 0.9, n)
    return eigen.margin(larger, larger * ratio, *chance.uniform(0.1, 3, (2, n)))


def toy_slopes(
    flipped=(0.1, 0.2, 0.3, 0.4), teacher=(1.0, 2.0, 4.0), student=(0.25, 0.5, 1.0, 2.0, 4.0)
) -> np.ndarray:
    """Slope of the student's margins over the teacher's in the toy model of kdcore.metrics.tilt, 1
    for a copy. Both have converged on the shared direction; their times on the private ones and the
    shares of flipped labels are those given. Cases whose teacher has not learnt the flipped labels
    are left out.
    """
    shared = 1 - np.exp(-40.0)
    found = []
    for share in flipped:
        for T in teacher:
            learnt = 1 - np.exp(-T)
            if learnt <= (1 - 2 * share) / (2 * (1 - share)):
                continue
            for t in student:
                taught = (shared**2, learnt * (1 - np.exp(-t)))
                found.append(float(tilt.toy_slope(share, (shared, learnt), taught)))
    return np.array(found)
