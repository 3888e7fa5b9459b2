"""Tilt from choosing: a line through log-odds is tilted where the class is chosen by one of the two
models, without any distillation.
"""

import math

import numpy as np
import pandas as pd

from kdcore.book.live import Live, as_text, choice, container, slider
from kdcore.book.svg import Plane, tag
from kdcore.metrics import tilt

EXAMPLES, CLASSES, LUCKIEST = 300, 10, 1.5


def _lucks() -> dict[str, np.ndarray]:
    """True logits, and the lucks of a teacher, a student and a third model, (300, 10) each, whole
    hundredths: what the script is given. It computes in the same order, so that a tie of two
    classes is one in both.
    """
    chance = np.random.default_rng(0)
    scales = {"truth": 2.0, "teacher": 1.0, "student": 1.0, "third": 1.0}
    return {
        name: (100 * scale * chance.normal(size=(EXAMPLES, CLASSES))).round()
        for name, scale in scales.items()
    }


def lucky(luck: float, shared: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (600, 10) of a teacher, a student and a third model that are the truth plus `luck` of
    their own; the student's is `shared` of its teacher's and sqrt(1 - shared^2) of its own.

    Every example stands there twice, the two lucks exchanged, so that a student that shares nothing
    and its teacher are alike in the sample as they are in the mean.
    """
    draw = _lucks()
    truth, third = (np.tile(draw[name], (2, 1)) for name in ("truth", "third"))
    one, other = draw["teacher"], draw["student"]
    own, mixed = np.vstack([one, other]), np.vstack([other, one])
    mixed = shared * own + math.sqrt(1 - shared**2) * mixed
    return tuple((truth + luck * kind) / 100 for kind in (own, mixed, third))


def chosen_by(chooser: str, luck: float, shared: float) -> dict:
    """The logit-logit plot of these models when the "teacher" or the "third" model chooses class
    and quartiles: `x` and `y` (600,), which examples are in the bottom quartile, `low`, the slope,
    and of that quartile the share `below` the diagonal and the mean `shift` y - x, log-odds.
    """
    teacher, student, third = lucky(luck, shared)
    by = teacher if chooser == "teacher" else third
    x, y, z = (tilt.log_odds(logits, by.argmax(1)) for logits in (teacher, student, by))
    found = tilt.tilt(x, y, z)
    slope = tilt.instrument_slope(x, y, z)  # least squares where the teacher chooses: z is x
    low = z <= np.quantile(z, 0.25)
    return {"x": x, "y": y, "low": low, "slope": slope} | {
        "below": found.below_low,
        "shift": found.shift_low,
    }


def choosing() -> Live:
    """The logit-logit plot of a teacher and a student of which nothing is distilled: how far it
    tilts because the teacher chooses, and that it does not where a third model does.
    """
    widest = [chosen_by(chooser, LUCKIEST, 0.0) for chooser in ("teacher", "third")]
    ends = {
        axis: (
            math.floor(min(case[axis].min() for case in widest)),
            math.ceil(max(case[axis].max() for case in widest)),
        )
        for axis in "xy"
    }
    plane = Plane(**ends)
    found = chosen_by("teacher", 1.0, 0.0)
    dots = [
        tag("circle", r=2, class_="kd-live-low" * bool(low), style=plane.move(x, y))
        for x, y, low in zip(found["x"], found["y"], found["low"])
    ]
    line = [
        (x, found["y"].mean() + found["slope"] * (x - found["x"].mean()))
        for x in (found["x"].min(), found["x"].max())
    ]
    both = max(ends["x"][0], ends["y"][0]), min(ends["x"][1], ends["y"][1])
    frame = plane.picture(
        "Log-odds of the student over those of its teacher, 600 examples; the numbers are in the "
        "sentence below.",
        "teacher’s log-odds",
        "student’s log-odds",
        tag("g", *dots, class_="kd-live-cloud"),
        tag("path", d=plane.line([(both[0],) * 2, (both[1],) * 2]), class_="kd-live-diagonal"),
        tag("path", d=plane.line(line), class_="kd-live-fit"),
    )
    frame += tag(
        "p",
        tag("span", '<b class="kd-live-low">●</b> bottom quartile of the one who chooses'),
        tag("span", "<b>●</b> other examples"),
        tag("span", tag("b", class_="kd-live-swatch"), " fitted line"),
        tag("span", tag("b", class_="kd-live-swatch kd-live-alone"), " a perfect copy"),
        class_="kd-live-key kd-live-cloud",
    )
    shift = f"{found['shift']:+.2f}".replace("-", "−")
    words = (
        f"The teacher chooses. Slope {found['slope']:.2f}; of the bottom quartile "
        f"{100 * found['below']:.0f} % lie below the diagonal, mean shift {shift} log-odds. "
        "Nothing is distilled: teacher and student are the truth plus luck of their own."
    )
    controls = [
        choice("who chooses", "chooser", {"teacher": "the teacher", "third": "a third model"}),
        slider("luck of each model", "luck", 0, LUCKIEST, 1, 0.1),
        slider("shared luck", "shared", 0, 1, 0, 0.1),
    ]
    hundredths = {name: v.astype(int).tolist() for name, v in _lucks().items()}
    series = np.where(found["low"], "bottom quartile", "other examples")
    table = pd.DataFrame({"series": series, "mark": "point", "x": found["x"], "y": found["y"]})
    table = table.assign(**{"x axis": "teacher's log-odds", "y axis": "student's log-odds"})
    return Live(
        container("tilt", controls, frame, words, {"plane": plane.given(), **hundredths}),
        words,
        as_text(table),
    )
