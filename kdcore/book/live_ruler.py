"""Change the ruler: two clouds of students slide as the images change on which their fidelity is
measured.
"""

import math

import pandas as pd

from kdcore import stats
from kdcore.book import chapter, claims, figure_data, figures
from kdcore.book.contrasts import fidelity
from kdcore.book.live import Live, as_text, container, rounded, slider
from kdcore.book.svg import BOTTOM, LEFT, Plane, tag

VIEW_COLOUR = {"Sw": "weak view", "Ss": "strong view"}
SHAPE = {  # of a mark of 5 units around 0
    "ww": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "ws": "M4-5.5V5.5L-6 0z",
    "sw": "M-4-5.5V5.5L6 0z",
    "ss": "M-5.5 4H5.5L0-6z",
}
SIGN = {"ww": "●", "ws": "◀", "sw": "▶", "ss": "▲"}
KEY = [
    f'<b style="color:{figures.COLOUR[VIEW_COLOUR[view]]}">■</b> student on {words}'
    for view, words in (("Sw", "weak views"), ("Ss", "strong views"))
] + [f"{sign} teachers {pair}" for pair, sign in SIGN.items()]


def changing(distilled: pd.DataFrame, rulers: dict[str, str]) -> Live:
    """Test accuracy over agreement with the teachers, one mark for each of the eight trials and a
    dot for each of their seeds; a slider changes the images on which agreement is measured.

    distilled: a row for each student (kdcore.book.contrasts.fidelity); rulers: {images: column}.
    Spread over seeds as in `within_seed`; the sentence has the effect of the student's view, and
    what would matter is the margin of the claim guo-fidelity.
    """

    def percent(metric):
        return fidelity.within_seed(fidelity.by_trial(distilled, metric))  # (seeds, 8 trials)

    up = percent("accuracy")
    found = {name: percent(metric) for name, metric in rulers.items()}
    n, margin = len(up), next(c.margin for c in claims.load() if c.id == "guo-fidelity")
    lowest = min(values.min() for values in found.values())
    plane = Plane((math.floor(lowest), 100), (math.floor(up.min()), math.ceil(up.max())))

    def said(name):
        effect = fidelity.effect(distilled, rulers[name])
        more = chapter.reading(effect, "agree more", "agree less", "do not distinguishably differ")
        if stats.verdict(effect, -1, margin) == "no effect":
            more = (
                f"do not differ by as much as would matter ({margin:g} point{'s' * (margin != 1)})"
            )
        return (
            f"Measured on {name}: students on strong views {more}. "
            f"Strong minus weak views: {chapter.say(effect)}, n = {n} seeds."
        )

    def half(values):
        each = [stats.mean_interval(column) for column in values.T]
        return [i.high - i.estimate if n > 2 else 0.0 for i in each]

    steps = [
        {
            "name": name,
            "mean": rounded(values.mean(0), 3),
            "half": rounded(half(values), 3),
            "seeds": rounded(values.T),
            "words": said(name),
        }
        for name, values in found.items()
    ]
    data = {"plane": plane.given(), "accuracy": rounded(up.mean(0), 3), "seeds": rounded(up.T)}
    first, marks, dots, table = steps[0], [], [], []
    ups = half(up)
    for i, (pair, view) in enumerate(fidelity.TRIALS):
        colour = figures.COLOUR[VIEW_COLOUR[view]]
        for x, y in zip(first["seeds"][i], data["seeds"][i]):
            dots.append(f'<circle r="1.7" fill="{colour}" style="{plane.move(x, y)}"/>')
        right, top = plane.at(plane.x[0] + first["half"][i], plane.y[0] + ups[i])
        reach, rise = round(right - LEFT, 1), round(BOTTOM - top, 1)
        shape = tag("path", d=SHAPE[pair], fill=colour, stroke="var(--pst-color-background)")
        lines = tag("path", d=f"M0 {rise}V{-rise}", stroke=colour)
        lines += tag("path", d=f"M-{reach} 0H{reach}", stroke=colour, class_="kd-live-across")
        at = plane.move(first["mean"][i], data["accuracy"][i])
        marks.append(tag("g", lines, shape, data_trial=f"{pair} {view}", style=at))
        table += [
            {
                "measured on": step["name"],
                "series": f"student on {VIEW_COLOUR[view]}s, teachers {pair}",
                "mark": "point",
                "x": step["mean"][i],
                "x low": step["mean"][i] - step["half"][i],
                "x high": step["mean"][i] + step["half"][i],
                "y": data["accuracy"][i],
                "y low": data["accuracy"][i] - ups[i],
                "y high": data["accuracy"][i] + ups[i],
            }
            for step in steps
        ]
    alt = "Test accuracy over agreement with the teachers, eight trials. " + first["words"]
    frame = plane.picture(
        alt,
        "agreement with the teachers (%)",
        "test accuracy (%)",
        tag("g", *dots, class_="kd-live-dots"),
        *marks,
    ) + tag("p", *(tag("span", part) for part in KEY), class_="kd-live-key")
    controls = [slider("measured on", "ruler", 0, len(steps) - 1, 0)]
    written = container("ruler", controls, frame, first["words"], data | {"rulers": steps})
    axes = {"x axis": "agreement with the teachers (%)", "y axis": "test accuracy (%)"}
    rows = pd.DataFrame([axes | row for row in table])
    columns = ["measured on", *figure_data.COLUMNS]
    return Live(written, alt, as_text(rows, columns))
