"""Judge it yourself: all claims are judged again from the published values of their seeds, with
other margins, without controls, or with fewer seeds.
"""

from kdcore import stats
from kdcore.book import claims, figure_data, figures
from kdcore.book.live import Live, container, reset, slider, tick
from kdcore.book.svg import tag

JSTAT = "vendor/jstat/dist/jstat.min.js"  # Student's t, for the script
COLOUR = {
    "guo2024": "weak teacher",
    "nagarajan2023": "strong teacher",
    "photographs": "strong view",
    "audit": "mixed teachers",
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
            tag("i", title=line["title"], class_=claims.group(line), data_claim=i)
            for i, line in enumerate(lines)
            if line["verdict"] == word
        )
        counts = tag("td", str(words.count(word))) * 2
        name = tag("th", word, scope="row")
        rows.append(tag("tr", name, tag("td", *squares), counts, data_word=word))
    head = (tag("th", text, scope="col") for text in ("verdict", "claims", "now", "was"))
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    there = [name for name in COLOUR if any(claims.group(line) == name for line in lines)]
    key = (tag("span", tag("i", class_=name), f" {claims.GROUPS[name]}") for name in there)
    colours = "".join(f"--kd-{name}:{figures.COLOUR[COLOUR[name]]};" for name in there)
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
