"""Live models: a picture that a reader moves. Each function here returns one for the end of a cell.

A model is one container of HTML: controls, the first frame as inline SVG or as a table, a sentence,
and its numbers as JSON. All of it is written here, so that it can be read without scripts; a script
of book/_assets, named by the container and loaded by book/_ext/kd_book.py, shows the controls and
moves what is drawn. tests/test_live.py compares what the scripts compute with kdcore.
"""

import html
import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kdcore import stats
from kdcore.book import chapter, claims, figure_data, figures
from kdcore.book.contrasts import fidelity, gains
from kdcore.book.svg import BOTTOM, LEFT, TOP, Plane, tag
from kdcore.metrics import eigen, tilt

# ---------------------------------------------------------------------------------- the container


@dataclass(frozen=True)
class Live:
    """A finished model: its HTML, what it shows first in a sentence, and its numbers as a table."""

    html: str
    alt: str
    data: pd.DataFrame

    def _repr_mimebundle_(self, include=None, exclude=None):
        table = figure_data.csv(self.data)
        bundle = {"text/html": self.html, "text/plain": self.alt}
        return bundle | ({"text/csv": table} if table else {})


def slider(label: str, name: str, low, high, value, step=1) -> str:
    """A control that the script asks for by `name`; what it says beside it is the script's."""
    field = f'<input type="range" name="{name}" min="{low}" max="{high}" step="{step}" '
    field += f'value="{value}">'
    shown = tag("span", aria_hidden="true", class_="kd-live-shown")
    return tag("label", tag("span", html.escape(label)), field, shown, class_="kd-live-row")


def choice(label: str, name: str, options: dict[str, str]) -> str:
    """Radio buttons, {value: text}; the first is chosen."""
    buttons = (
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" * (i == 0)}> '
        f"{html.escape(text)}</label>"
        for i, (value, text) in enumerate(options.items())
    )
    return tag("fieldset", tag("legend", html.escape(label)), *buttons, class_="kd-live-choice")


def reset(label: str) -> str:
    """A button that puts all controls back where they were."""
    return tag("button", html.escape(label), type="reset")


def tick(label: str, name: str) -> str:
    """A box that is ticked."""
    return tag("label", f'<input type="checkbox" name="{name}" checked> {html.escape(label)}')


def container(model: str, controls: list[str], frame: str, words: str, data: dict, *scripts) -> str:
    """The HTML of a model. `frame`: its first picture; `words`: what it says first, read aloud when
    it changes; `data`: what the script is given; scripts: those that it needs beside its own.
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text = text.replace("</", "<\\/")
    names = " ".join([*scripts, "live.js", f"live_{model}.js"])
    return tag(
        "div",
        tag("form", *controls, class_="kd-live-controls", hidden=True),
        tag(
            "div",
            frame,
            tag("p", html.escape(words), class_="kd-live-words", role="status"),
            class_="kd-live-frame",
        ),
        f'<script type="application/json">{text}</script>',
        class_="kd-live",
        data_model=model,
        data_scripts=names,
    )


def _rounded(values, digits=2):
    return np.round(np.asarray(values, dtype=float), digits).tolist()


# -------------------------------------------------------------------------------- change the ruler

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


def ruler(distilled: pd.DataFrame, rulers: dict[str, str]) -> Live:
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
            "mean": _rounded(values.mean(0), 3),
            "half": _rounded(half(values), 3),
            "seeds": _rounded(values.T),
            "words": said(name),
        }
        for name, values in found.items()
    ]
    data = {"plane": plane.given(), "accuracy": _rounded(up.mean(0), 3), "seeds": _rounded(up.T)}
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
    return Live(written, alt, rows.reindex(columns=columns, fill_value="").map(_cell))


def _cell(value):
    return value if isinstance(value, str) else f"{value:.6g}"


# ------------------------------------------------------------------------------ judge it yourself

JSTAT = "vendor/jstat/dist/jstat.min.js"  # Student's t, for the script
PAPER_COLOUR = {
    "guo2024": ("weak teacher", "Guo et al. 2024"),
    "nagarajan2023": ("strong teacher", "Nagarajan et al. 2023"),
    "audit": ("mixed teachers", "our audit"),
}


def _series(numbers: dict, by_seed: list) -> dict:
    """What the script takes intervals from: values of seeds, or `at`, the interval for each number
    of first seeds; of what has no values the one that is published.
    """
    bounds = [numbers[key] for key in ("estimate", "ci_low", "ci_high")]
    if not by_seed:
        return {"at": [bounds]}
    if isinstance(by_seed[0], list):  # a correlation; its interval resamples seeds
        fewer = [stats.of_seeds(by_seed[: k + 1]) for k in range(1, len(by_seed) - 1)]
        return {"at": [[None] * 3, *([float(v) for v in found] for found in fewer), bounds]}
    return {"values": [float(f"{v:.9g}") for v in by_seed]}


def judging(lines: list[dict], seeds: dict) -> Live:
    """All claims as squares beside their verdicts. The reader changes the margins, whether controls
    count and how many seeds do, and the rule of kdcore.stats.verdict is asked again.

    lines: those of verdicts.json; seeds: seeds.json (kdcore.book.claims). Claims that are proved or
    only demonstrated keep their word.
    """
    given = []
    for line in lines:
        fixed = line["exact"] or line["demonstration"]
        by_seed = seeds.get(line["id"], {"statistic": [], "controls": {}})
        controls = line["controls"].items()
        given.append(
            {"title": line["title"], "word": line["verdict"], "fixed": fixed}
            | {"direction": line["direction"], "margin": line["margin"]}
            | {
                "statistic": _series(line, by_seed["statistic"]),
                "controls": [_series(c, by_seed["controls"].get(name, [])) for name, c in controls],
            }
        )
    words = [line["verdict"] for line in lines]
    rows = []
    for word in claims.WORDS:
        squares = (
            tag("i", title=line["title"], class_=line["paper"], data_claim=i)
            for i, line in enumerate(lines)
            if line["verdict"] == word
        )
        counts = tag("td", str(words.count(word))) * 2
        name = tag("th", word, scope="row")
        rows.append(tag("tr", name, tag("td", *squares), counts, data_word=word))
    head = (tag("th", text, scope="col") for text in ("verdict", "claims", "now", "was"))
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    key = (
        tag("span", tag("i", class_=paper), f" {name}") for paper, (_, name) in PAPER_COLOUR.items()
    )
    colours = "".join(
        f"--kd-{paper}:{figures.COLOUR[colour]};" for paper, (colour, _) in PAPER_COLOUR.items()
    )
    changes = tag("details", tag("summary", "No claim has another word"), tag("ul"))
    frame = tag(
        "div", table, tag("p", *key, class_="kd-live-key"), class_="kd-live-judged", style=colours
    )
    longest = max(len(found["statistic"].get("values", [])) for found in given)
    controls = [
        slider("margins", "margin", -2, 2, 0, 0.25),
        slider("seeds", "seeds", 2, longest, longest),
        tick("the controls count", "controls"),
        reset("as published"),
    ]
    said = f"As published: {claims.counted(lines)}."
    written = container("judge", controls, frame + changes, said, {"claims": given}, JSTAT)
    return Live(written, said, figure_data.empty())


# ----------------------------------------------------------------------------- tilt from choosing

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
        table.reindex(columns=figure_data.COLUMNS, fill_value="").map(_cell),
    )


# --------------------------------------------------------------------------- stop the teacher early

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
    return Live(
        container("stop", controls, frame, words, data),
        words,
        table.reindex(columns=figure_data.COLUMNS, fill_value="").map(_cell),
    )
