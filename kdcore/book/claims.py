"""The claims of book/claims.yml, and the record of them that each chapter leaves on its page for
the page of verdicts.

A chapter ends with `record`: it judges the claims that name the chapter, shows them, and glues what
it found. `read` collects these records from executed chapters; `verdicts` makes of them the lines
of book/results/verdicts.json.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import yaml
from pydantic import Field

from kdcore import results, stats, store
from kdcore.book import chapter
from kdcore.spec import Plain
from kdcore.stats import Interval

# this checkout; or, where kdcore is installed without it, the notebook's
PLACES = (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents)
FILE = next(
    (file for place in PLACES if (file := place / "book" / "claims.yml").is_file()),
    PLACES[0] / "book" / "claims.yml",
)
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # that of C is eight times as quick
PUBLISHED = FILE.parent / "results" / "verdicts.json"
SEEDS = PUBLISHED.with_name("seeds.json")
WORDS = (*get_args(stats.Verdict), "demonstration")
GROUPS = {
    "guo2024": "Guo et al. 2024",
    "nagarajan2023": "Nagarajan et al. 2023",
    "photographs": "Both papers, on photographs",
    "audit": "Our own audit",
}
DIGITS = {"points": 2, "r": 2, "IoU": 3, "nats": 3, "slope": 2, "log-odds": 2, "filter value": 3}


class Claim(Plain):
    """One entry of book/claims.yml, where the fields are explained."""

    id: str
    title: str
    paper: Literal["guo2024", "nagarajan2023", "audit"]
    source: str
    statement: str
    evidence: str
    statistic: str
    unit: Literal[*DIGITS]
    direction: Literal[1, -1]
    margin: float = Field(gt=0)
    control: str
    controls: tuple[str, ...]
    fixed: bool
    chapter: str
    figure: str | None = None
    exact: bool = False
    demonstration: bool = False
    seeds: int | None = Field(default=None, ge=2)
    garments: str | None = None


def load(file: Path = FILE) -> list[Claim]:
    """ValueError where an entry has a field too many, too few or of the wrong kind, or an id is
    given twice.
    """
    claims = [Claim(**entry) for entry in yaml.load(Path(file).read_text(), SAFE)]
    if twice := {c.id for c in claims if [d.id for d in claims].count(c.id) > 1}:
        raise ValueError(f"{Path(file).name}: {', '.join(sorted(twice))} is given twice")
    return claims


def judge(claim: Claim, effect: Interval, controls: dict[str, Interval]) -> str:
    """stats.verdict; a proved statement is reproduced where its smallest value has the claimed
    sign, and what no seed could contradict is a demonstration, whose size is what it says.
    """
    if claim.demonstration:
        return "demonstration"
    if claim.exact:
        return (
            "reproduced"
            if min(claim.direction * effect.low, claim.direction * effect.high) > 0
            else "contradicted"
        )
    return stats.verdict(effect, claim.direction, claim.margin, *controls.values())


def _numbers(found) -> dict:
    n = getattr(found, "seeds", found.n)  # a correlation's n are rows
    estimate, low, high = (
        float(v) if math.isfinite(v) else None for v in (found.estimate, found.low, found.high)
    )
    return {"estimate": estimate, "ci_low": low, "ci_high": high, "n": int(n)}


def _by_seed(found) -> list:
    """One number for each seed, of a correlation three; [] of what no mean over seeds is."""
    return list(found.sums if hasattr(found, "sums") else found.values)


def interval(numbers: dict) -> Interval:
    """The Interval of an entry of a record or of verdicts.json; nan where it had no bounds or no
    estimate.
    """
    estimate, low, high = (
        float("nan") if numbers[k] is None else numbers[k]
        for k in ("estimate", "ci_low", "ci_high")
    )
    return Interval(estimate, low, high, numbers["n"])


def say(claim: Claim, found: Interval) -> str:
    """An estimate of a claim with its unit and interval; of a proved statement, the smallest and
    the largest value.
    """
    if claim.exact:
        return chapter.tidy(f"{found.low:.2g} to {found.high:.2g}")
    text = chapter.say(
        found, DIGITS[claim.unit], {"r": "", "slope": " in slope"}.get(claim.unit, f" {claim.unit}")
    )
    return f"r = {text}" if claim.unit == "r" else text


def group(line: dict) -> str:
    """Under which of GROUPS a claim, a line of verdicts.json, is listed and counted: what is asked
    again on photographs stands by itself, beside the same question in the other settings.
    """
    return "photographs" if line["chapter"] == "cifar100" else line["paper"]


def counted(lines: list[dict]) -> str:
    """How many lines of verdicts.json have each verdict: "2 reproduced, 1 no effect"."""
    found = [line["verdict"] for line in lines]
    return ", ".join(
        f"{k} {word.replace('holds', 'hold') if k > 1 else word}"
        for word in WORDS
        if (k := found.count(word))
    )


class Json:
    """A value that a page keeps as JSON text: whoever reads it needs no Python."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return json.dumps(self.value, ensure_ascii=False, allow_nan=False)


def record(p, name: str, rows, found: dict):
    """Judges the claims of the chapter `name`, glues them as claims_<name> and how many have which
    verdict as verdicts_<name>, and returns them as a Markdown table.

    p: the chapter's parameters; rows: the table of its measurements (columns spec, provenance);
    found: {claim id: (effect, {control: effect})} with Intervals or Correlations, or None where
    these parameters do not measure it; a third entry of the tuple is a sentence on other settings.
    ValueError where the ids or the controls are not those of book/claims.yml.
    """
    from IPython.display import Markdown

    claims = [c for c in load() if c.chapter == name]
    if {c.id for c in claims} != set(found):
        raise ValueError(
            f"claims of {name} and measured ones differ: "
            f"{', '.join(sorted({c.id for c in claims} ^ set(found)))}"
        )
    label, command = chapter.origin(p, name)
    entries, seeds, lines = {}, {}, []
    for claim in claims:
        line = {
            "claim": claim.title,
            "n": "–",
            "estimate [95 %]": "not measured with these parameters",
            "controls": "–",
            "verdict": "–",
        }
        if found[claim.id] is not None:
            effect, controls, *elsewhere = found[claim.id]
            if set(controls) != set(claim.controls):
                raise ValueError(
                    f"{claim.id} has the controls {', '.join(claim.controls)}; measured were "
                    f"{', '.join(controls)}"
                )
            entry = _numbers(effect) | {
                "controls": {what: _numbers(controls[what]) for what in claim.controls},
                "elsewhere": "".join(elsewhere),
            }
            line |= shown(claim, entry)
            if claim.seeds is not None and entry["n"] < claim.seeds:
                line["verdict"] = f"not judged before {claim.seeds} seeds"
            else:
                entries[claim.id] = entry
                seeds[claim.id] = {
                    "statistic": _by_seed(effect),
                    "controls": {what: _by_seed(controls[what]) for what in claim.controls},
                }
        lines.append(line)
    specs = sorted(set(rows["spec"])) if len(rows) else []
    left = {
        "preset": label,
        "command": command,
        "commit": chapter.commit(chapter.home(name)),
        "specs": specs,
        "claims": entries,
        "seeds": seeds,
    }
    chapter.glue(f"claims_{name}", Json(left))
    chapter.glue(f"verdicts_{name}", counted(lines))
    return Markdown(chapter.markdown(pd.DataFrame(lines), index=False, disable_numparse=True))


def _intervals(entry: dict):
    return interval(entry), {what: interval(found) for what, found in entry["controls"].items()}


def shown(claim: Claim, entry: dict) -> dict:
    """The cells of a table that say what was found."""
    effect, controls = _intervals(entry)
    return {
        "n": f"exact, {entry['n']:,} cases" if claim.exact else str(entry["n"]),
        "estimate [95 %]": say(claim, effect),
        "controls": "; ".join(f"{what} {say(claim, found)}" for what, found in controls.items())
        or claim.control,
        "verdict": judge(claim, effect, controls),
    }


def read(folder: Path) -> dict[str, dict]:
    """{chapter: its record} of the executed chapters in `folder`; a chapter without one is left
    out.
    """
    found = {}
    for path in sorted(Path(folder).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
                if name == f"claims_{path.stem}":
                    text = next(
                        content
                        for kind, content in output["data"].items()
                        if kind.endswith("text/plain")
                    )
                    try:
                        found[path.stem] = json.loads("".join(text))
                    except json.JSONDecodeError as error:
                        raise ValueError(
                            f"{path} does not hold its claims as JSON: execute the chapter again "
                            f"(make chapter NAME={path.stem} PRESET=published)"
                        ) from error
    return found


def verdicts(records: dict[str, dict]) -> dict:
    """What is kept as verdicts.json: {"claims": one line per claim that a record holds, "chapters":
    where each line's numbers are from}.

    `specs` of a claim points at the list of its chapter, by JSON pointer: a chapter's claims rest
    on the same runs.
    """
    lines = []
    for claim in load():
        entry = records.get(claim.chapter, {}).get("claims", {}).get(claim.id)
        if entry is None:
            continue
        detectable = stats.detectable(interval(entry), claim.margin)
        lines.append(
            {
                "id": claim.id,
                "paper": claim.paper,
                "title": claim.title,
                "statement": claim.statement,
                "source": claim.source,
                "evidence": claim.evidence,
                "statistic": claim.statistic,
                "fixed": claim.fixed,
                "unit": claim.unit,
                "direction": claim.direction,
                "margin": claim.margin,
                "exact": claim.exact,
                "demonstration": claim.demonstration,
                **entry,
                "control": claim.control,
                "detectable": None if claim.exact or math.isnan(detectable) else detectable,
                "verdict": judge(claim, *_intervals(entry)),
                "half margin": judged_at(claim, entry, 0.5),
                "twice the margin": judged_at(claim, entry, 2.0),
                "garments": claim.garments,
                "chapter": claim.chapter,
                "figure": claim.figure,
                "preset": records[claim.chapter]["preset"],
                "command": records[claim.chapter]["command"],
                "specs": f"#/chapters/{claim.chapter}/specs",
            }
        )
    for line, survives in zip(lines, surviving(lines)):
        line["holm"] = survives
    lines = [{**line, "sha256": results.line_digest(line)} for line in lines]
    return {
        "claims": lines,
        "chapters": {
            name: {key: record[key] for key in ("preset", "commit", "specs")}
            for name, record in records.items()
        },
    }


def per_seed(records: dict[str, dict]) -> dict:
    """What is kept as seeds.json: {claim id: {"statistic": one number for each seed, "controls":
    {control: the same}}}, of a correlation the three sums of stats.of_seeds. ValueError where a
    chapter was executed before these were recorded.
    """
    if old := [name for name, record in records.items() if "seeds" not in record]:
        raise ValueError(
            f"{', '.join(old)} holds no numbers of its seeds: execute it again (make chapter "
            f"NAME={old[0]} PRESET=published)"
        )
    found = {i: seeds for record in records.values() for i, seeds in record["seeds"].items()}
    return {claim.id: found[claim.id] for claim in load() if claim.id in found}


def judged_at(claim: Claim, entry: dict, times: float) -> str | None:
    """The verdict if the smallest effect that would matter were so many times as large; None of
    what is proved or only shown.
    """
    if claim.exact or claim.demonstration:
        return None
    other = claim.model_copy(update={"margin": times * claim.margin})
    return judge(other, *_intervals(entry))


def surviving(lines: list[dict]) -> list[bool | None]:
    """Whether the effect of each line differs from zero also by Holm's procedure at 5 % over all
    claims of the papers that are judged by an interval, those on photographs by themselves, as they
    were fixed; None of the others.
    """
    asked = [line for line in lines if line["paper"] != "audit" and not line["exact"]]
    found = {}
    for apart in (False, True):
        family = [line for line in asked if (group(line) == "photographs") == apart]
        ps = [stats.p_value(interval(line), line["unit"] == "r") for line in family]
        found |= zip((line["id"] for line in family), stats.holm(ps))
    return [found.get(line["id"]) for line in lines]


def publish(records: dict[str, dict], folder: Path) -> None:
    """Writes verdicts.json and seeds.json. ValueError unless the chapters of all claims were
    executed with exactly their published parameters.
    """
    for name in dict.fromkeys(
        c.chapter for c in load() if c.seeds is None
    ):  # the others await their seeds
        label = records[name]["preset"] if name in records else "not executed"
        if label != "published":
            raise ValueError(f"verdicts are published from published chapters: {name} is {label}")
    text = json.dumps(verdicts(records), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    store.replace(Path(folder) / PUBLISHED.name, text.encode())
    lines = (f"{json.dumps(i)}: {json.dumps(seeds)}" for i, seeds in per_seed(records).items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    store.replace(Path(folder) / SEEDS.name, text.encode())


def published(file: Path = PUBLISHED) -> dict:
    """What verdicts.json says; a claim in it that is damaged is left out with a warning.
    ValueError, with the line, where it cannot be read.
    """
    found, line = Path(file).read_bytes(), 1
    try:
        found = json.loads(found.decode("utf-8"))
        if isinstance(found["claims"], list) and isinstance(found["chapters"], dict):
            intact = [
                isinstance(c, dict)
                and "id" in c
                and c.get("sha256", results.line_digest(c)) == results.line_digest(c)
                for c in found["claims"]
            ]
            for number in (i for i, whole in enumerate(intact, 1) if not whole):
                warnings.warn(
                    f"{Path(file).name}, claim {number} is damaged and left out", stacklevel=2
                )
            return found | {"claims": [c for c, whole in zip(found["claims"], intact) if whole]}
    except UnicodeDecodeError as error:
        line += error.object[: error.start].count(b"\n")
    except json.JSONDecodeError as error:
        line = error.lineno
    except (KeyError, TypeError, RecursionError):
        pass
    raise ValueError(
        f"{file}, line {line} is damaged: restore it from the repository, or publish it again "
        "(make publish NAME=verdicts)"
    )


def agree(ours: Interval, yours: Interval, margin: float) -> tuple[Interval, str]:
    """yours - ours with a 95 % interval for two independent repetitions, and whether they agree:
    "yes" where it holds zero or is below the margin.

    Half-width sqrt(h1^2 + h2^2) of the two half-widths: a little wide where both have many seeds of
    unlike spread. Runs with the same seeds are not independent; they should differ by far less.
    """
    half = math.hypot((ours.high - ours.low) / 2, (yours.high - yours.low) / 2)
    d = yours.estimate - ours.estimate
    difference = Interval(d, d - half, d + half, min(ours.n, yours.n))
    if math.isnan(half):
        return difference, "one seed: no interval"
    return difference, "yes" if difference.low <= 0 <= difference.high or abs(d) <= margin else "no"
