"""Stop the teacher early: the linear model of kdcore.book.contrasts.gains by hand."""

import math

import numpy as np
import pandas as pd

from kdcore.book.contrasts import gains
from kdcore.book.live import Live, as_text, choice, container, slider
from kdcore.book.svg import BOTTOM, TOP, Plane, tag
from kdcore.metrics import eigen

RISKS = Plane((0.3, 30_000), (0.01, 3), "xy")
SHARES = Plane((1, 200), (0, 1.1), "x")
POWERS = {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100", 3: "1,000", 4: "10,000"}
LINES = {  # class of a path: what it says
    "teacher": "teacher",
    "student": "its student",
    "alone": "one-hot student",
    "best": "shares of least risk",
    "better": "where the student beats the one-hot student",
}
STRIP = 1.06  # where the shares' picture says along which directions the student is better


def stopped(world: str, T: float, t: float) -> dict:
    """The linear model of kdcore.book.contrasts.gains: shares learnt `g` by a teacher stopped at T,
    by its student and by a one-hot student, both stopped at t, their `risk`, and along which
    directions the student's risk is below the one-hot student's, `better`.
    """
    teacher, alone = gains.flow(T), gains.flow(t)
    g = {"teacher": teacher, "student": eigen.student(alone, teacher), "alone": alone}
    each = {
        who: eigen.risk(share, gains.EIGENVALUES, *gains.WORLDS[world]) for who, share in g.items()
    }
    risk = {who: float(values.sum()) for who, values in each.items()}
    return {"g": g, "risk": risk, "better": each["student"] < each["alone"]}


def _strip(better) -> str:
    """The `d` of a line over the directions that are better."""
    ends = [(SHARES.at(k, STRIP), SHARES.at(k + 1, STRIP)) for k in range(1, len(better))]
    return "".join(f"M{a[0]} {a[1]}H{b[0]}" for (a, b), is_ in zip(ends, better) if is_)


def stopping() -> Live:
    """Risks of teacher, student and one-hot student over the teacher's training time, and the share
    of each direction that they have learnt; the reader moves both times and changes the world.
    """
    world, T, t = gains.NOISY, 10**1.5, float(gains.BUDGET)
    times = np.logspace(math.log10(RISKS.x[0]), math.log10(RISKS.x[1]), 61)
    now, over = stopped(world, T, t), [stopped(world, time, t)["risk"] for time in times]
    best = eigen.optimal_filter(gains.EIGENVALUES, *gains.WORLDS[world])
    directions = range(1, len(best) + 1)

    def drawn(plane, xs, values, who):
        return tag("path", d=plane.line(zip(xs, values)), class_=f"kd-live-{who}")

    risks = [drawn(RISKS, times, [r[who] for r in over], who) for who in now["risk"]]
    x, _ = RISKS.at(T, 1)
    risks.append(tag("path", d=f"M{x} {TOP}V{BOTTOM}", class_="kd-live-now"))
    for who in ("teacher", "student"):
        at = RISKS.move(T, now["risk"][who])
        risks.append(tag("circle", r=5, class_=f"kd-live-{who}", style=at))
    shares = [drawn(SHARES, directions, best, "best")]
    shares += [drawn(SHARES, directions, values, who) for who, values in now["g"].items()]
    shares.append(tag("path", d=_strip(now["better"]), class_="kd-live-better"))

    def powers(low, high):
        return {10.0**k: text for k, text in POWERS.items() if low <= 10.0**k <= high}

    pictures = [
        RISKS.picture(
            "Risk over the teacher's training time; the numbers are in the sentence below.",
            "teacher’s training time T",
            "risk",
            *risks,
            xticks=powers(*RISKS.x),
            yticks=powers(*RISKS.y),
        ),
        SHARES.picture(
            "Share of each direction that is learnt; the numbers are in the sentence below.",
            "direction, the largest first",
            "share learnt",
            *shares,
            xticks={1: "1", 10: "10", 100: "100"},
            yticks={0: "0", 0.5: "0.5", 1: "1"},
        ),
    ]
    key = (
        tag("span", tag("b", class_=f"kd-live-swatch kd-live-{name}"), f" {text}")
        for name, text in LINES.items()
    )
    frame = tag("div", *pictures, class_="kd-live-panels")
    frame += tag("p", *key, class_="kd-live-key")
    one, two, three = (now["risk"][who] for who in ("teacher", "student", "alone"))
    words = (
        f"Teacher stopped at T = {T:.3g}, student at t = {t:.4g}. Risks: teacher {one:.3f}, its "
        f"student {two:.3f}, one-hot student {three:.3f}. The student is better than the one-hot "
        f"student along {now['better'].sum()} of {len(best)} directions, and in all."
    )
    controls = [
        choice("world", "world", {"0": gains.NOISY, "1": gains.QUIET}),
        slider("teacher’s time T", "T", -0.5, 4.4, 1.5, 0.1),
        slider("student’s time t", "t", 0, 4.4, 3, 0.1),
    ]
    worlds = [gains.WORLDS[name] for name in (gains.NOISY, gains.QUIET)]
    data = {
        "risks": RISKS.given(),
        "shares": SHARES.given(),
        "times": times.tolist(),
        "lam": gains.EIGENVALUES.tolist(),
        "worlds": [{"beta": beta.tolist(), "noise": noise} for beta, noise in worlds],
    }
    rows = [
        {"series": who, "mark": "line", "x": time, "y": risk[who], "panel": world}
        for who in now["risk"]
        for time, risk in zip(times, over)
    ]
    axes = {"x axis": "teacher's training time T", "y axis": "risk"}
    table = pd.DataFrame(rows).assign(**axes)
    return Live(container("stop", controls, frame, words, data), words, as_text(table))
