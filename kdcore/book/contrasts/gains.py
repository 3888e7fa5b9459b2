"""What distillation is worth, against the teacher and against the labels: the statistics of claims
on when a student should disobey, and the linear model that predicts their signs.

A table of runs is that of one setting. A row is one run, with what kdcore.measure.gain measured and
    seed           one repetition of everything
    loss           "teacher", "one-hot", "rerun", "KD", or a switch: "OH→KD", "KD→OH"
    varied, value  the sweep that the run stands in, and where: "length" of the teacher,
                   "temperature", "weight" of the distillation loss, "noise" of the labels (a share)
    at             share of the steps after which the loss is switched; 0 without a switch
What a sweep does not vary is as usual in the setting. At each value of a sweep there are a teacher,
a one-hot student and a student of the teacher; a run that several sweeps share stands in each.

Statistics are differences of test accuracies in percentage points, one value per seed.
"""

import numpy as np
import pandas as pd

from kdcore.metrics import eigen

TEST = "accuracy test"


def percent(runs: pd.DataFrame, loss: str, column: str = TEST, at=0, **where) -> pd.Series:
    """A share that one kind of run measured, in percent by seed, at one value of one sweep:
    percent(runs, "KD", length=25). ValueError where there is no such run.
    """
    ((varied, value),) = where.items()
    here = (runs["varied"] == varied) & (runs["value"] == value) & (runs["at"] == at)
    found = runs[here & (runs["loss"] == loss)]
    if found.empty:
        raise ValueError(f"there is no run {loss} at {varied} = {value:g}, switched at {at:g}")
    return 100 * found.set_index("seed")[column].astype(float)


def values(runs: pd.DataFrame, varied: str, losses=("KD",)) -> list:
    """The values of a sweep at which there are runs of these losses, ascending."""
    return sorted(set(runs["value"][(runs["varied"] == varied) & runs["loss"].isin(losses)]))


# ------------------------------------------------------------------------------ without a switch


def over_teacher(runs: pd.DataFrame, **where) -> pd.Series:
    """The student minus its own teacher."""
    return percent(runs, "KD", **where) - percent(runs, "teacher", **where)


def over_labels(runs: pd.DataFrame, **where) -> pd.Series:
    """The student minus the one-hot student: same network, initial weights and order of batches."""
    return percent(runs, "KD", **where) - percent(runs, "one-hot", **where)


def growth(runs: pd.DataFrame, gain, varied: str) -> pd.Series:
    """A gain, `over_teacher` or `over_labels`, at the largest value of a sweep minus at the
    smallest.
    """
    found = values(runs, varied)
    return gain(runs, **{varied: found[-1]}) - gain(runs, **{varied: found[0]})


def early_stopped(runs: pd.DataFrame) -> pd.DataFrame:
    """By seed: `teacher` and `student`, the test accuracies of the early-stopped teacher and of its
    student, percent, and its length `by even` and `by odd`.

    One half of the test examples, even or odd, chooses the length at which the teacher is best, of
    equals the shortest; the other half judges both models. Twice, averaged.
    """
    lengths = values(runs, "length")

    def table(loss, half):  # (seeds, lengths)
        return pd.DataFrame({e: percent(runs, loss, f"{TEST} {half}", length=e) for e in lengths})

    found = {"teacher": 0.0, "student": 0.0}
    for chooses, judges in (("even", "odd"), ("odd", "even")):
        chosen = found[f"by {chooses}"] = table("teacher", chooses).idxmax(axis=1)
        for who, loss in (("teacher", "teacher"), ("student", "KD")):
            judged = table(loss, judges)
            found[who] += pd.Series({s: judged.at[s, e] for s, e in chosen.items()}) / 2
    return pd.DataFrame(found)


def without_student(runs: pd.DataFrame) -> pd.Series:
    """The early-stopped teacher minus the one-hot student: the gain that needs no student."""
    alone = percent(runs, "one-hot", length=values(runs, "length")[0])  # the same at each length
    return early_stopped(runs)["teacher"] - alone


def earlier_teacher(runs: pd.DataFrame) -> pd.Series:
    """The student of the early-stopped teacher minus the student of the longest."""
    return early_stopped(runs)["student"] - percent(runs, "KD", length=values(runs, "length")[-1])


def over_stopping(runs: pd.DataFrame) -> pd.Series:
    """The student of the longest teacher minus the early-stopped teacher itself."""
    return percent(runs, "KD", length=values(runs, "length")[-1]) - early_stopped(runs)["teacher"]


def passed_on(runs: pd.DataFrame) -> pd.Series:
    """The student of the early-stopped teacher minus that teacher."""
    found = early_stopped(runs)
    return found["student"] - found["teacher"]


def over_lowest(runs: pd.DataFrame, temperature: float) -> pd.Series:
    """The student at this temperature minus the student at the lowest."""
    lowest = values(runs, "temperature")[0]
    return percent(runs, "KD", temperature=temperature) - percent(runs, "KD", temperature=lowest)


# -------------------------------------------------------------------------------- with a switch


def switched(runs: pd.DataFrame, direction: str, length, at: float, column: str = TEST):
    """A share measured after a switch, percent by seed; at 0 and 1 the runs of one loss alone."""
    if at in (0, 1):
        alone = "KD" if (direction == "OH→KD") == (at == 0) else "one-hot"
        return percent(runs, alone, column, length=length)
    return percent(runs, direction, column, at, length=length)


def turn(runs: pd.DataFrame, direction: str, length, at: float) -> pd.Series:
    """The student that switches minus the one that stays with its first loss: OH→KD minus one-hot,
    KD→OH minus KD.
    """
    return switched(runs, direction, length, at) - switched(runs, direction, length, 1)


def interaction(runs: pd.DataFrame, at: float) -> pd.Series:
    """What a return to the labels is worth with the shortest teacher of those that are switched
    with, minus with the longest.
    """
    lengths = values(runs, "length", ("KD→OH",))
    return turn(runs, "KD→OH", lengths[0], at) - turn(runs, "KD→OH", lengths[-1], at)


# --------------------------------------------------------------------------------- the whole list


def statistics(runs: pd.DataFrame, at: float, temperature: float) -> dict[str, pd.Series]:
    """{name: one value per seed} of the differences that the chapter asks about; what the table has
    no runs for is left out.

    at: the switch point that is judged; temperature: the usual one.
    """
    lengths, noises = values(runs, "length"), values(runs, "noise")
    turned = values(runs, "length", ("OH→KD", "KD→OH"))
    found = {}
    if len(lengths) > 1:
        found |= {
            "over_teacher": growth(runs, over_teacher, "length"),
            "long_teacher": over_teacher(runs, length=lengths[-1]),
            "long": over_labels(runs, length=lengths[-1]),
            "short": over_labels(runs, length=lengths[0]),
            "well": earlier_teacher(runs),
            "stop": over_stopping(runs),
            "both": passed_on(runs),
        }
    if turned:
        found["late_turn"] = turn(runs, "OH→KD", turned[-1], at)
        found["late_return"] = turn(runs, "KD→OH", turned[-1], at)
    if len(turned) > 1:
        found["weak_turn"] = turn(runs, "OH→KD", turned[0], at)
        found["weak_return"] = turn(runs, "KD→OH", turned[0], at)
        found["interaction"] = interaction(runs, at)
    if len(noises) > 1:
        found["noise"] = growth(runs, over_labels, "noise")
        if noises[0] == 0:
            found["clean"] = over_labels(runs, noise=0)
    if temperature > min(values(runs, "temperature"), default=temperature):
        found["temperature"] = over_lowest(runs, temperature)
    return found


# ------------------------------------------------------------------------------- the linear model

EIGENVALUES, BUDGET = np.arange(1, 201) ** -1.5, 1000  # BUDGET: time for which a student trains
LEADING = np.where(EIGENVALUES > 11**-1.5, 1.0, 0.0)
NOISY = "signal in leading directions, noisy labels"
QUIET = "signal in all directions, little noise"
TRUE = "signal in leading directions, true labels"
# signal along each direction, variance of the labels' noise
WORLDS = {NOISY: (LEADING, 0.003), QUIET: (np.ones(200), 1e-4), TRUE: (LEADING, 0.0)}
SHORT, WELL, LONG = 1, 30, 1000  # times of teachers that stand for the shortest, best and longest


def flow(time: float) -> np.ndarray:
    """The share of each direction that one-hot training has learnt after a time, (200,)."""
    return eigen.gradient_flow(EIGENVALUES, time)


def clock(share: float) -> float:
    """Share of the student's time that has passed after a share of its steps, with a learning rate
    that falls along a cosine.
    """
    return share + np.sin(np.pi * share) / np.pi


def mixed(direction: str, time: float, at: float) -> np.ndarray:
    """The shares learnt, (200,), by a student that switches its loss after a share of its steps;
    time: its teacher's.
    """
    before, after = flow(BUDGET * clock(at)), flow(BUDGET * (1 - clock(at)))
    if direction == "OH→KD":
        return eigen.switched(before, after, flow(time))
    return eigen.switched(eigen.student(before, flow(time)), after, 1)


def risk(world: str, g: np.ndarray) -> float:
    """The expected error of the shares g in one of WORLDS, summed over directions."""
    return float(eigen.risk(g, EIGENVALUES, *WORLDS[world]).sum())


def linear_runs(at: float = 0.5) -> pd.DataFrame:
    """The linear model's table of runs, of one seed: risks of the noisy world, and for the sweep of
    noise of the same world with true labels. An accuracy is minus the risk in percent, so that the
    statistics are differences of risks, positive where the first model is better.
    """
    rows = []

    def add(loss, varied, value, g, world=NOISY, at=0):
        measured = dict.fromkeys((TEST, f"{TEST} even", f"{TEST} odd"), -risk(world, g) / 100)
        rows.append(dict(seed=0, loss=loss, varied=varied, value=value, at=at) | measured)

    sweep = [("length", time, time, NOISY) for time in (SHORT, WELL, LONG)]
    sweep += [("noise", WORLDS[world][1], LONG, world) for world in (TRUE, NOISY)]
    for varied, value, time, world in sweep:
        add("teacher", varied, value, flow(time), world)
        add("one-hot", varied, value, flow(BUDGET), world)
        add("KD", varied, value, eigen.student(flow(BUDGET), flow(time)), world)
    for time in (SHORT, LONG):
        for direction in ("OH→KD", "KD→OH"):
            add(direction, "length", time, mixed(direction, time, at), at=at)
    return pd.DataFrame(rows)
