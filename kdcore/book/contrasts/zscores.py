"""The statistics of claims about z-score distillation: students of one loss minus students of
another of the same seed, teachers and view.

A table of runs has a row for each student, as kdcore.book.contrasts wants them: the columns seed,
loss, teachers ("–" for one-hot students, which have none), view ("Sw", "Ss"), and what
kdcore.measure.outputs.model measured. A trial is a pair of teachers and a student's view.
Statistics are series by seed, in percentage points, KL and entropy in nats.
"""

import pandas as pd

from kdcore.book import contrasts, trials


def quantities(runs: pd.DataFrame) -> pd.DataFrame:
    """The table of `contrasts.quantities` with `training accuracy` on clean images (a share), and
    the `entropy` of the students' and the `entropy of the teachers`' outputs on clean test images
    at temperature 1 (nats).
    """
    runs = contrasts.quantities(runs)
    return runs.assign(
        **{
            "training accuracy": runs["accuracy train clean"],
            "entropy": runs["entropy test clean"],
            "entropy of the teachers": runs["teacher entropy test clean"],
        }
    )


def common_trials(runs: pd.DataFrame, loss: str, against: str) -> list[tuple[str, str]]:
    """The trials (teachers, view) that students of both losses have; one-hot students stand for
    every pair of teachers.
    """
    found = {
        name: set(part[["teachers", "view"]].itertuples(index=False, name=None))
        for name, part in runs.groupby("loss")
    }

    def has(name, pair, view):
        return ("–" if name == "one-hot" else pair, view) in found.get(name, ())

    every = [(pair, view) for view in ("Sw", "Ss") for pair in trials.PAIRS]
    return [trial for trial in every if has(loss, *trial) and has(against, *trial)]


def paired(
    runs: pd.DataFrame, metric: str, loss: str, against: str, trial: tuple[str, str]
) -> pd.DataFrame:
    """One trial under both losses: a row for each seed that has both, a column for each loss, in
    per cent or nats.
    """
    teachers, view = trial
    values = {
        name: contrasts.cell(runs, metric, name, "–" if name == "one-hot" else teachers, view)
        for name in (loss, against)
    }
    return pd.DataFrame(values).dropna()


def effect(
    runs: pd.DataFrame, metric: str, loss: str, against: str, on: list | None = None
) -> pd.Series:
    """loss minus against, mean over the trials that both have, or over the trials `on`, inside each
    seed. Seeds count that have them all: another mix of trials is no repetition.
    """
    on = on or common_trials(runs, loss, against)
    both = (paired(runs, metric, loss, against, trial) for trial in on)
    each = pd.concat([pair[loss] - pair[against] for pair in both], axis=1)
    return each.mean(axis=1, skipna=False).dropna()


def _standardised(runs, metric, ruler):
    """(z-same minus vanilla, {control: statistic}); ruler: {control: metric} of the same contrast
    by another measure.
    """
    return effect(runs, metric, "z-same", "vanilla"), {
        **{name: effect(runs, other, "z-same", "vanilla") for name, other in ruler.items()},
        "equally soft and light": effect(runs, metric, "z-same", "softer vanilla"),
        "z-sun minus sun without z": effect(runs, metric, "z-sun", "sun, no z"),
    }


def gap(runs: pd.DataFrame) -> tuple[pd.Series, dict[str, pd.Series]]:
    """Online gap, z-same minus vanilla, points. Controls: the gap on clean training images, against
    a vanilla term that is as soft and as light, and in the recipe of Sun et al.
    """
    return _standardised(runs, "online gap", {"clean gap": "gap"})


def fidelity(runs: pd.DataFrame) -> tuple[pd.Series, dict[str, pd.Series]]:
    """Agreement with the teachers on the student's own view of the training images, z-same minus
    vanilla, points. Controls: clean test images, and as for `gap`.
    """
    return _standardised(runs, "agreement own", {"clean test images": "agreement clean"})


def accuracy(runs: pd.DataFrame) -> tuple[pd.Series, dict[str, pd.Series]]:
    """Test accuracy, z-same minus vanilla, points; without a control."""
    return effect(runs, "accuracy", "z-same", "vanilla"), {}


def chosen_elsewhere(table: pd.DataFrame) -> pd.DataFrame:
    """Each seed's value under the setting with the largest mean over the other seeds: columns
    `setting` and `value`, by seed. A single seed has no others, and chooses for itself.

    table: a row for each seed, a column for each setting, in the order in which a tie is decided.
    """
    choice = {
        seed: (table.drop(index=seed) if len(table) > 1 else table).mean().idxmax()
        for seed in table.index
    }
    lines = [(setting, table.loc[seed, setting]) for seed, setting in choice.items()]
    return pd.DataFrame(lines, index=table.index, columns=["setting", "value"])
