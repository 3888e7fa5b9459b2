"""What distillation is worth, over the teacher and over the labels: the statistics of the chapter
on when a student should disobey, and the linear model that predicts their signs.

Statistics are differences of test accuracies in percentage points, one value per seed.
"""

import numpy as np
import pandas as pd

from kdcore import stats
from kdcore.book.places import Place
from kdcore.metrics import eigen

COLUMNS = ["place", "seed", "loss", "length", "temperature", "weight", "noise", "at"]


class Runs:
    """The runs of a page, asked by what was varied in them.

    rows: a table with COLUMNS and what kdcore.measure.gain measured, one row per run; 0 in a column
    that means nothing for the run. places: the settings by their names. What a question does not
    say is as usual in the setting: its teacher's length and label noise, `temperature`, weight 1.
    """

    def __init__(self, rows: pd.DataFrame, places: dict[str, Place], temperature: float):
        keys = rows[COLUMNS].itertuples(index=False, name=None)
        self.table = dict(zip(keys, rows.to_dict("records")))
        self.places, self.temperature = places, temperature
        self.seeds = list(dict.fromkeys(rows["seed"]))

    def taken(self, place, loss, column="accuracy test", **where) -> np.ndarray:
        """A column of one kind of run, in percent, by seed. loss: teacher, one-hot, rerun, KD, or
        a switch, OH→KD or KD→OH, `at` a share of the steps.
        """
        s = self.places[place].setting
        x = dict(length=s.teacher_epochs, temperature=self.temperature, weight=1.0)
        x |= dict(noise=s.label_noise, at=0) | where
        if loss in ("teacher", "one-hot", "rerun"):
            x |= dict(temperature=0, weight=0, at=0)
        if loss in ("one-hot", "rerun"):
            x["length"] = 0
        keys = [(place, seed, loss, *x.values()) for seed in self.seeds]
        return np.array([self.table[key][column] for key in keys], dtype=float) * 100

    def switched(self, place, direction, length, at, column="accuracy test") -> np.ndarray:
        """The same after a switch; its ends, 0 and 1, are the runs without one."""
        if at in (0, 1):
            pure = "KD" if (direction == "OH→KD") == (at == 0) else "one-hot"
            return self.taken(place, pure, column, length=length)
        return self.taken(place, direction, column, length=length, at=at)

    def gains(self, place, **where) -> tuple[np.ndarray, np.ndarray]:
        """A student's gain over its teacher, and over the same network trained on the labels."""
        kd = self.taken(place, "KD", **where)
        return kd - self.taken(place, "teacher", **where), kd - self.taken(
            place, "one-hot", **where
        )

    def stopped(self, place) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """By seed: the early-stopped teacher and its student; and the lengths chosen. One half of
        the test examples chooses, the other judges; twice, averaged.
        """
        lengths, found, chosen = self.places[place].lengths, [], []
        for chooses, judges in (("even", "odd"), ("odd", "even")):

            def by_length(loss, half):
                column = f"accuracy test {half}"
                return np.stack([self.taken(place, loss, column, length=e) for e in lengths])

            best = by_length("teacher", chooses).argmax(0)
            tables = by_length("teacher", judges), by_length("KD", judges)
            found.append([table[best, np.arange(len(best))] for table in tables])
            chosen += [lengths[i] for i in best]
        return *np.mean(found, axis=0), chosen

    def ends(self, place) -> tuple[int, int]:
        """The shortest and the longest teacher."""
        return self.places[place].lengths[0], self.places[place].lengths[-1]

    def levels(self, place) -> set[float]:
        """The shares of replaced labels that were tried."""
        return {self.places[place].setting.label_noise, *self.places[place].noises}

    def lowest(self, place) -> float:
        """The lowest temperature that was tried."""
        return min([self.temperature, *self.places[place].temperatures])

    def given(self, place, length) -> float:
        """Training accuracy of a teacher by the given labels, percent, mean over seeds."""
        return self.taken(place, "teacher", "accuracy given", length=length).mean()


# ----------------------------------------------------------------------------- one value per seed


def against(runs: Runs, place, which, other):
    """The student of the longest (which = -1) or shortest (0) teacher minus `other`, a loss."""
    length = runs.places[place].lengths[which]
    return runs.taken(place, "KD", length=length) - runs.taken(place, other, length=length)


def over_teacher(runs, place):
    """Gain over the teacher, longest teacher minus shortest."""
    return against(runs, place, -1, "teacher") - against(runs, place, 0, "teacher")


def over_labels(runs, place):
    """Gain over the same network trained on the labels, longest teacher minus shortest."""
    return against(runs, place, -1, "one-hot") - against(runs, place, 0, "one-hot")


def well(runs, place):
    """Student of the early-stopped teacher minus student of the longest."""
    return runs.stopped(place)[1] - runs.taken(place, "KD", length=runs.ends(place)[1])


def stop(runs, place):
    """Student of the longest teacher minus the early-stopped teacher itself."""
    return runs.taken(place, "KD", length=runs.ends(place)[1]) - runs.stopped(place)[0]


def both(runs, place):
    """Student of the early-stopped teacher minus that teacher."""
    teacher, student, _ = runs.stopped(place)
    return student - teacher


def turned(runs, place, direction, which, minus):
    """A student whose loss is switched at the judged point, with the longest (which = -1) or the
    weakest (0) of the teachers that it is switched with, minus a loss without a switch.
    """
    q = runs.places[place]
    length = q.switched[which]
    after = runs.switched(place, direction, length, q.judged)
    return after - runs.taken(place, minus, length=length)


def interaction(runs, place):
    """What returning to the labels changes, with the weak teacher minus with the longest."""
    return turned(runs, place, "KD→OH", 0, "KD") - turned(runs, place, "KD→OH", -1, "KD")


def noise(runs, place):
    """Gain over the labels with the most label noise minus with the least."""
    levels = runs.levels(place)
    most, least = (runs.gains(place, noise=v)[1] for v in (max(levels), min(levels)))
    return most - least


def clean(runs, place):
    """Gain over the labels with the least label noise."""
    return runs.gains(place, noise=min(runs.levels(place)))[1]


def temperature(runs, place):
    """The student at the usual temperature minus at the lowest."""
    return runs.taken(place, "KD") - runs.taken(place, "KD", temperature=runs.lowest(place))


# ------------------------------------------------------------------------------- the linear model

EIGENVALUES, BUDGET = np.arange(1, 201) ** -1.5, 1000
NOISY = "signal in leading directions, noisy labels"
QUIET = "signal in all directions, little noise"
NOISELESS = "signal in leading directions, true labels"
LEADING = np.where(EIGENVALUES > 11**-1.5, 1.0, 0.0)
# signal along each direction, variance of the labels' noise
WORLDS = {NOISY: (LEADING, 0.003), QUIET: (np.ones(200), 1e-4), NOISELESS: (LEADING, 0.0)}
SHORT, WELL, LONG = 1, 30, 1000  # times of a teacher that is under-, well and over-trained


def flow(time):
    """The share of each direction that one-hot training has learnt after a time."""
    return eigen.gradient_flow(EIGENVALUES, time)


def clock(share):
    """Share of the student's time that has passed after a share of its steps, with a learning rate
    that falls along a cosine.
    """
    return share + np.sin(np.pi * share) / np.pi


def mixed(direction, T, share):
    """The filter of a student that switches after this share of its steps; teacher's time T."""
    before, after = flow(BUDGET * clock(share)), flow(BUDGET * (1 - clock(share)))
    if direction == "OH→KD":
        return eigen.switched(before, after, flow(T))
    return eigen.switched(eigen.student(before, flow(T)), after, 1)


def risk(world, g) -> float:
    """The risk of a filter in one of WORLDS, summed over the directions."""
    return float(eigen.risk(g, EIGENVALUES, *WORLDS[world]).sum())


def linear(loss, T=LONG, world=NOISY, at=0.5) -> float:
    """Minus the risk of a model in the linear world: larger is better, like accuracy. loss:
    one-hot, teacher, KD, or a switch half-way; T: the teacher's time.
    """
    if loss in ("OH→KD", "KD→OH"):
        return -risk(world, mixed(loss, T, at))
    taught = {"one-hot": flow(BUDGET), "teacher": flow(T)}
    return -risk(world, taught[loss] if loss in taught else eigen.student(flow(BUDGET), flow(T)))


def gain_over_labels(world=NOISY, T=LONG):
    return linear("KD", T, world) - linear("one-hot", T, world)


def returned(T):
    """What returning to the labels changes."""
    return linear("KD→OH", T) - linear("KD", T)


def predictions() -> dict[str, float]:
    """{statistic: what the linear model predicts}; only the sign is meant, and 0 is none."""
    over_own = {T: linear("KD", T) - linear("teacher", T) for T in (SHORT, LONG)}
    return {
        "over_teacher": over_own[LONG] - over_own[SHORT],
        "long_teacher": over_own[LONG],
        "long": gain_over_labels(),
        "short": gain_over_labels(T=SHORT),
        "well": linear("KD", WELL) - linear("KD"),
        "stop": linear("KD") - linear("teacher", WELL),
        "both": 0.0,
        "late_turn": linear("OH→KD") - linear("one-hot"),
        "weak_turn": linear("OH→KD", SHORT) - linear("one-hot"),
        "late_return": returned(LONG),
        "weak_return": returned(SHORT),
        "interaction": returned(SHORT) - returned(LONG),
        "noise": gain_over_labels() - gain_over_labels(NOISELESS),
        "clean": gain_over_labels(NOISELESS),
        "temperature": 0.0,
    }


STATISTICS = {  # name: function of (runs, place)
    "over_teacher": over_teacher,
    "long_teacher": lambda runs, place: against(runs, place, -1, "teacher"),
    "long": lambda runs, place: against(runs, place, -1, "one-hot"),
    "short": lambda runs, place: against(runs, place, 0, "one-hot"),
    "well": well,
    "stop": stop,
    "both": both,
    "late_turn": lambda runs, place: turned(runs, place, "OH→KD", -1, "one-hot"),
    "weak_turn": lambda runs, place: turned(runs, place, "OH→KD", 0, "one-hot"),
    "late_return": lambda runs, place: turned(runs, place, "KD→OH", -1, "KD"),
    "weak_return": lambda runs, place: turned(runs, place, "KD→OH", 0, "KD"),
    "interaction": interaction,
    "noise": noise,
    "clean": clean,
    "temperature": temperature,
}


def asked(runs: Runs, name: str, place: str) -> bool:
    """Whether there are runs for a statistic in a setting."""
    q = runs.places[place]
    if name in ("late_turn", "late_return"):
        return bool(q.points and q.switched)
    if name in ("weak_return", "weak_turn", "interaction"):
        return bool(q.points) and len(q.switched) > 1
    if name in ("noise", "clean"):
        return bool(q.noises) and (name == "noise" or min(runs.levels(place)) == 0)
    if name == "temperature":
        return runs.lowest(place) < runs.temperature
    return len(q.lengths) > 1


def measured(runs: Runs) -> dict[tuple[str, str], stats.Interval]:
    """{(statistic, place): its interval over seeds} of all that the page has runs for."""
    return {
        (name, place): stats.mean_interval(of(runs, place))
        for name, of in STATISTICS.items()
        for place in runs.places
        if asked(runs, name, place)
    }
