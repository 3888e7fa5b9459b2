"""What every chapter needs around its experiment: its parameters as a table, the numbers its prose
uses, where its page came from.

A chapter notebook has one cell tagged `parameters` with one line per parameter,
`name: type = value  # meaning`. The comment is the only place where the meaning is written:
`papermill --help-notebook` and `table` both take it from there. Nothing slow is imported here: the
parameters are read (kdcore.book.parameters) before torch is loaded.
"""

import ast
import html
import importlib.metadata
import io
import json
import platform
import re
import shlex
import tokenize
from pathlib import Path

import yaml

from kdcore.book.parameters import ImageDataset, ModelName, ParameterError, Parameters, read
from kdcore.provenance import commit, version

__all__ = [
    "ImageDataset",
    "ModelName",
    "ParameterError",
    "Parameters",
    "commit",
    "declared",
    "glue",
    "home",
    "markdown",
    "origin",
    "plain",
    "preset",
    "provenance",
    "read",
    "reading",
    "say",
    "table",
    "tidy",
]

# ----------------------------------------------------------------------- what the notebook declares


def declared(notebook):
    """{name: (default, meaning)} from the parameters cell of a notebook file, in its order."""
    cells = json.loads(Path(notebook).read_text())["cells"]
    source = "".join(
        next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", []))
    )
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    meaning = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    return {
        line.target.id: (ast.literal_eval(line.value), meaning.get(line.lineno, ""))
        for line in ast.parse(source).body
        if isinstance(line, ast.AnnAssign)
    }


def home(chapter):
    """The folder that holds notebooks/<chapter>.ipynb: above the working folder, else the checkout
    of this module.
    """
    places = (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2])
    for place in places:
        if (place / "notebooks" / f"{chapter}.ipynb").is_file():
            return place
    raise FileNotFoundError(
        f"notebooks/{chapter}.ipynb is neither above {places[0]} nor beside kdcore."
    )


def _presets(home, chapter):
    """{preset: {parameter: value}}; quick is the notebook's defaults, the others are laid over
    them.
    """
    quick = {
        name: default
        for name, (default, _) in declared(home / "notebooks" / f"{chapter}.ipynb").items()
    }
    presets = {"quick": quick}
    for file in sorted((home / "presets").glob(f"*/{chapter}.yaml")):
        # this is asked after all training: a file that is no preset cannot be where the parameters
        # came from, and is passed over
        try:
            given = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(given, dict):
            presets[file.parent.name] = quick | given
    return presets


def preset(chapter, name):
    """{parameter: value} of one chapter's preset, the defaults for what it leaves out."""
    return _presets(home(chapter), chapter)[name]


def _allowed(field):
    """What the JSON schema of a field says about its values, in words."""
    kinds = field.get("anyOf", [field])
    words = []
    for kind in kinds:
        if "enum" in kind or "const" in kind:
            words += map(str, kind.get("enum", [kind.get("const")]))
            continue
        names = {
            "integer": "whole number",
            "number": "number",
            "boolean": "True or False",
            "string": "name",
            "array": "list",
        }
        words.append(names.get(kind.get("type"), kind.get("type", "")))
        signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
        words[-1] += " and".join(
            f" {sign} {kind[key]}" for key, sign in signs.items() if key in kind
        )
    return ", ".join("None" if word == "null" else word for word in words)


# ------------------------------------------------------------------------------------- for the page


def glue(name, value):
    """Keeps `value` under `name` for the prose ({glue:text}`name:.2f`). NumPy and torch scalars
    become Python numbers, texts as in `tidy`.
    """
    from myst_nb import glue

    glue(
        name,
        value.item()
        if hasattr(value, "item")
        else tidy(value)
        if isinstance(value, str)
        else value,
        display=False,
    )


ZERO = re.compile(r"(?<![\w.])[-+−](0(?:\.0+)?)(?!\w|\.\d)")
MISSING = re.compile(r"(?<!\w)[-+−]?nan(?!\w)")


def tidy(text):
    """Numbers in a text as they are written in prose: a zero has no sign, also one that is only
    rounded to zero, and a missing one is a dash.
    """
    return ZERO.sub(r"\1", MISSING.sub("–", text))


def plain(text):
    """A text that is shown in Markdown as it is, whatever it holds: what is not written here, such
    as the name of a class or a folder.
    """
    return re.sub(r"([\\`*_{}\[\]<>|&$~#])", r"\\\1", " ".join(str(text).split()))


def plural(number, what):
    """ "1 seed", "5 seeds": a number of things, as it is said in prose and under figures."""
    return f"{number} {what}{'s' * (number != 1)}"


def say(interval, digits=2, unit=" points"):
    """An interval of kdcore.stats as text: "+0.30 points [+0.13, +0.48]", with a minus sign and no
    line break inside the brackets; numbers as in `tidy`.
    """
    estimate, low, high = (
        tidy(f"{v:+.{digits}f}".replace("-", "−"))
        for v in (interval.estimate, interval.low, interval.high)
    )
    if interval.estimate != interval.estimate:
        return estimate
    bounds = f"[{low},\N{NO-BREAK SPACE}{high}]" if interval.low == interval.low else "(one seed)"
    return f"{estimate}{unit} {bounds}"


def reading(interval, up, down, flat):
    """`up` or `down` where the interval lies above or below zero, `flat` where it holds zero or has
    no bounds (one seed).
    """
    if interval.low > 0:
        return up
    return down if interval.high < 0 else flat


METRIC = re.compile(
    r"(kl|mi)(?=( (own|clean|mean|weak|strong|train|test|shuffled|\((nats|points)\)))*$)"
)
NUMBERS = re.compile(r"(?:nan|[\W\d])+")  # a cell without letters


def _cell(match):
    """A cell of a Markdown table, as wide as before."""
    cell = match[0]
    if NUMBERS.fullmatch(cell):
        return ZERO.sub(
            lambda zero: zero[1].rjust(len(zero[0])),
            MISSING.sub(lambda missing: "–".rjust(len(missing[0])), cell),
        )
    name = cell.strip()
    return cell.replace(name, METRIC.sub(lambda metric: metric[1].upper(), name), 1)


def markdown(frame, **options):
    """A pandas table as Markdown text: KL and MI as in prose where a cell is the name of such a
    metric; cells of numbers as in `tidy`. Options: to_markdown's.
    """
    return re.sub(r"(?<=\|)[^|\n]+(?=\|)", _cell, frame.to_markdown(**options))


def _html(text):
    from IPython.display import HTML

    return HTML(text)


def _shown(value):
    text = html.escape(value if isinstance(value, str) else repr(value))
    if isinstance(value, list) and len(text) > 200:
        return f"<details><summary>{len(value)} entries</summary>{text}</details>"
    return text


def table(p, chapter):
    """The effective parameters as an HTML table: value, default (quick), allowed, meaning."""
    lines = declared(home(chapter) / "notebooks" / f"{chapter}.ipynb")
    fields = type(p).model_json_schema()["properties"]
    rows = ""
    for name, value in p.model_dump(mode="json").items():
        default, meaning = lines[name]
        cells = (
            _shown(value),
            _shown(default),
            html.escape(_allowed(fields[name])),
            html.escape(meaning),
        )
        rows += (
            f'<tr><th scope="row"><code>{name}</code></th>'
            + "".join(f"<td>{c}</td>" for c in cells)
            + "</tr>\n"
        )
    head = "".join(
        f'<th scope="col">{h}</th>' for h in ("parameter", "value", "quick", "allowed", "meaning")
    )
    return _html(
        "<table "
        f'class="kd-parameters"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>'
    )


def _flag(name, value):
    """One papermill option that sets `name` to exactly `value`."""
    if isinstance(value, str):
        return ["-r", name, value]  # raw: "10" stays text
    if isinstance(value, (list, dict)):
        return ["-y", json.dumps({name: value})]
    return ["-p", name, repr(value)]


def origin(p, chapter):
    """(preset, command): the nearest preset's name, with what differs from it, and the command that
    makes the page.
    """
    values = p.model_dump(mode="json")
    presets = _presets(home(chapter), chapter)
    differing = {
        preset: {name: v for name, v in values.items() if name not in given or given[name] != v}
        for preset, given in presets.items()
    }
    # where quick and another are the same, the other
    preset = min(differing, key=lambda name: (len(differing[name]), name == "quick"))
    changed = differing[preset]
    command = ["papermill", f"notebooks/{chapter}.ipynb", f"book/chapters/{chapter}.ipynb"]
    command += [] if preset == "quick" else ["-f", f"presets/{preset}/{chapter}.yaml"]
    for name, value in changed.items():
        command += _flag(name, value)
    label = (
        f"custom: {preset} with " + ", ".join(f"{n} = {v}" for n, v in changed.items())
        if changed
        else preset
    )
    return label, shlex.join(command)


def _version(package):
    """A page is not lost, after all training, where a package is used from its folder without being
    installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def provenance(p, rows, chapter):
    """Where this page came from, as HTML: preset, rebuild command, code and versions now, and the
    runs it rests on.

    `rows`: a table from results.collect, or several joined with pandas.concat; its columns `spec`
    and `provenance` (date, commit, torch, python, cpu, threads, seconds, and precision, which older
    rows do not say: fp32) are used. Empty for a page that trains nothing.
    """
    label, command = origin(p, chapter)
    runs = list(zip(rows["spec"], rows["provenance"])) if len(rows) else []
    hashes = sorted({spec_hash for spec_hash, _ in runs})

    def seen(key, shorten=str, **default):
        return ", ".join(sorted({shorten((default | record)[key]) for _, record in runs}))

    now = [f"Python {platform.python_version()}", f"kdcore {version() or 'of unknown version'}"]
    now += [f"{name} {_version(name)}" for name in ("torch", "timm", "numpy")]
    facts = {"Preset": label}
    if hasattr(p, "seeds"):
        facts["Seeds"] = (
            f"{p.first_seed} to {p.first_seed + p.seeds - 1}"
            if hasattr(p, "first_seed")
            else repr(p.seeds)
        )
    facts |= {"This page": f"commit {commit(home(chapter))}; " + ", ".join(now)}
    if runs:
        # Two measurements of one run both count its training: the longer stands for the run.
        hours = (
            sum(max(r["seconds"] for h, r in runs if h == spec_hash) for spec_hash in hashes) / 3600
        )
        facts["Measured"] = f"{len(hashes)} runs, {seen('date', lambda d: str(d)[:10])}"
        facts["By"] = f"commit {seen('commit')}; Python {seen('python')}, torch {seen('torch')}"
        facts["On"] = (
            f"{seen('cpu')}; threads: {seen('threads')}; "
            f"precision: {seen('precision', precision='fp32')}"
        )
        facts["Compute"] = f"{hours:.2f} h" if hours >= 0.1 else f"{hours * 3600:.0f} s"
    items = "".join(f"<dt>{k}</dt><dd>{html.escape(v)}</dd>\n" for k, v in facts.items())
    listed = html.escape("\n".join(hashes))
    specs = (
        f"<details><summary>{len(hashes)} spec hashes</summary><pre>{listed}</pre></details>\n"
        if runs
        else ""
    )
    command = html.escape("mkdir -p book/chapters && " + command)
    rebuild = (
        f'<dt>Rebuild</dt><dd><pre style="white-space:pre-wrap"><code>{command}</code></pre></dd>\n'
    )
    return _html(f'<section class="kd-provenance"><dl>\n{items}{rebuild}</dl>\n{specs}</section>')
