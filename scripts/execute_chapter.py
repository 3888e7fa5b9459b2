"""Executes a chapter with papermill and writes a page source that is the same, byte for byte, on
every run.

    python scripts/execute_chapter.py low_fidelity      # quick, into book/chapters/
    python scripts/execute_chapter.py low_fidelity --preset published -p temperature 5
    python scripts/execute_chapter.py low_fidelity --in-place    # refresh what nbval compares with

Parameters are given as to papermill (-p, -r, -y, -b, -f) and read by papermill itself. They are
checked before a kernel starts. An existing output is replaced only when every cell ran.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import sys
import tempfile
import warnings
from pathlib import Path

import click
import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.cli import papermill as command_line

from kdcore.book.chapter import ParameterError
from kdcore.folders import path_of

ROOT = Path(__file__).resolve().parents[1]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def preset_options(name, preset):
    """What papermill is told about a preset."""
    if preset == "quick":  # what the notebook itself says
        return []
    path = ROOT / "presets" / preset / f"{name}.yaml"
    if not path.is_file():
        known = ["quick", *sorted(f.parent.name for f in ROOT.glob(f"presets/*/{name}.yaml"))]
        sys.exit(f"{name} has no preset {preset}. Presets: {', '.join(known)}.")
    return ["-f", str(path)]


def parameters_of(name, options):
    """The parameters that papermill reads from its options: it writes them into a copy of the
    notebook, and runs nothing.
    """
    source = ROOT / "notebooks" / f"{name}.ipynb"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / source.name
        try:
            with warnings.catch_warnings(action="ignore"):  # about a file without an ending
                command_line.main(
                    [
                        str(source),
                        str(copy),
                        "--prepare-only",
                        "--no-progress-bar",
                        "--log-level=ERROR",
                        *options,
                    ],
                    standalone_mode=False,
                )
            given = json.loads(copy.read_text(encoding="utf-8"))["metadata"]["papermill"][
                "parameters"
            ]
        except click.ClickException as error:
            sys.exit(
                f"papermill does not understand {shlex.join(options)}: "
                f"{error.format_message().rstrip('.')}."
            )
        except (
            OSError,
            ValueError,
            TypeError,
            RecursionError,
            yaml.YAMLError,
            papermill.exceptions.PapermillException,
        ) as error:
            reason = " ".join(str(error).split())[:300]
            sys.exit(
                f"papermill cannot read {shlex.join(options)[:300]}: "
                f"{reason or type(error).__name__}. Parameters are a YAML mapping of names to "
                "values."
            )
    allowed = list(papermill.inspect_notebook(source))
    unknown = [str(key) for key in given if key not in allowed]
    if unknown:
        sys.exit(
            f"{name} has no parameter {', '.join(unknown)[:300]}. Parameters: {', '.join(allowed)}."
        )
    return given


def check(name, parameters):
    """ParameterError, or nothing: the cells up to the one that reads the parameters, which are
    light, are run here, before a kernel is waited for.
    """
    scope = {"__name__": "__main__"}
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, name, "exec"), scope)
            if "parameters" in cell.metadata.get("tags", []):
                scope |= parameters
            elif "p" in scope:
                return


def notebook_of(name):
    """SHA-256 of a chapter's notebook as it is, with prose and captions."""
    return hashlib.sha256((ROOT / "notebooks" / f"{name}.ipynb").read_bytes()).hexdigest()


def inputs_said_by(page):
    """What an executed page says that it follows from; a page that does not say so, whole."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text)["metadata"].get("kdcore", {}).get("inputs", text)


def inputs(name, parameters):
    """SHA-256 of what an executed page follows from: the notebook's code, its parameters, presets,
    published rows, claims, kdcore, the versions of packages; of a page that reads the others
    (parameter `chapters`), what these follow from. Prose and captions are not in it.
    """
    from kdcore.results import committed_folder  # after a refusal nobody waits for torch

    source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    code = [cell.source for cell in source.cells if cell.cell_type == "code"]
    files = [Path(__file__), *ROOT.glob("kdcore/**/*.py"), *ROOT.glob(f"presets/*/{name}.yaml")]
    files += [*ROOT.glob("book/published/*"), ROOT / "book/claims.yml", ROOT / "constraints.txt"]
    rows = committed_folder() or ROOT / "none"
    files += rows.glob("*.jsonl")
    if any("chapters: str" in cell for cell in code):
        files += rows.glob("*.json")
        pages = ROOT / parameters.get("chapters", "book/chapters")
        others = [page for page in sorted(pages.glob("*.ipynb")) if page.stem != name]
        code += [[page.stem, inputs_said_by(page)] for page in others]
    digest = hashlib.sha256(json.dumps([code, parameters], sort_keys=True).encode())
    for file in sorted(filter(Path.is_file, files)):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def normalise(nb):
    """The notebook's JSON text without what differs between two equal runs: times, random ids,
    progress bars.
    """
    nb.metadata.pop("papermill", None)
    nb.metadata.get("language_info", {}).pop("version", None)
    for cell in nb.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.id = "injected-parameters"
        if {"parameters", "injected-parameters"} & set(tags) and "remove-cell" not in tags:
            # on the page the defaults above the real values would mislead
            tags.append("remove-cell")
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                continue
            # How a text is cut into stream messages depends on timing.
            if output.output_type == "stream" and outputs and outputs[-1].output_type == "stream":
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        cell.outputs = outputs
    text = nbformat.writes(nb)
    widgets = (
        nb.metadata.get("widgets", {})
        .get("application/vnd.jupyter.widget-state+json", {})
        .get("state", {})
    )
    for number, model in enumerate(widgets):  # in the order of creation
        text = text.replace(model, f"{number:032x}")
    # again: keys are sorted, also by their new ids
    return nbformat.writes(nbformat.reads(text, as_version=4)) + "\n"


def write(text, output):
    """Replaces a file, or leaves it whole."""
    partial = output.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, output)


def execute(name, parameters):
    """Runs the notebook in its folder; the kernel's stderr (training progress) goes to this
    terminal as it comes.
    """
    for variable, value in {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "0",
    }.items():
        os.environ.setdefault(variable, value)
    terminal = sys.stderr.isatty()
    if not terminal:
        os.environ.setdefault("TQDM_MININTERVAL", "30")  # a log wants few lines
    return papermill.execute_notebook(
        ROOT / "notebooks" / f"{name}.ipynb",
        None,
        parameters,
        cwd=ROOT / "notebooks",
        progress_bar={"desc": name} if terminal else False,
        stderr_file=sys.stderr,
        extra_arguments=["--log-level=CRITICAL"],  # the kernel calls its own shutdown an ERROR
    )


def known():
    """The names of all chapters."""
    return sorted(f.stem for f in (ROOT / "notebooks").glob("*.ipynb"))


def command(description):
    """A command line that names a chapter and its parameters."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("name", help="chapter: " + ", ".join(known()))
    parser.add_argument("--preset", default="quick", help="quick (default) or a folder of presets/")
    parser.add_argument(
        "--words",
        default="",
        help="papermill's options as one text, in which quotes are those of the shell",
    )
    return parser


def asked(options, others):
    """(chapter, parameters) of such a command line; `others` are papermill's own options. Ends in
    one sentence where they cannot be read.
    """
    name = Path(options.name).stem
    if name not in known():
        sys.exit(
            f"There is no chapter {options.name or 'without a name: give NAME=...'}. Chapters: "
            f"{', '.join(known())}."
        )
    try:
        others += shlex.split(options.words)
    except ValueError as error:
        sys.exit(f"{options.words} cannot be taken apart: {error}.")
    parameters = parameters_of(name, [*preset_options(name, options.preset), *others])
    try:
        path_of("KDCORE_STORE")  # relative folders begin here, not where the notebook lies
    except ValueError as error:
        sys.exit(str(error))
    return name, parameters


def main(arguments=None):
    parser = command(__doc__.split("\n\n")[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, help="default: book/chapters/NAME.ipynb")
    where.add_argument(
        "--in-place",
        action="store_true",
        help="refresh the outputs in notebooks/, with the defaults",
    )
    options, others = parser.parse_known_args(arguments)
    name, parameters = asked(options, others)
    if options.in_place and parameters:
        sys.exit("--in-place keeps the outputs of the defaults: no preset, no parameters.")
    source = ROOT / "notebooks" / f"{name}.ipynb"
    output = (
        source
        if options.in_place
        else options.output or ROOT / "book" / "chapters" / f"{name}.ipynb"
    )
    try:
        check(name, parameters)
        output.parent.mkdir(parents=True, exist_ok=True)
        # now: after training a page that cannot be written would be lost
        tempfile.TemporaryFile(dir=output.parent).close()
    except ParameterError as error:
        sys.exit(f"{name}: these parameters do not fit.\n{error}")
    except OSError as error:
        sys.exit(f"{output} cannot be written: {error.strerror or error}.")
    followed = inputs(name, parameters)
    try:
        nb = execute(name, parameters)
    except papermill.PapermillExecutionError as error:
        stack = COLOURS.sub("", "\n".join(error.traceback)).splitlines()[-12:]
        sys.exit(
            f"\n{name}: cell [{error.exec_count}] failed; {output.name} is left as it was.\n"
            + "\n".join(stack)
        )
    except DeadKernelError:
        sys.exit(f"\n{name}: the kernel died (out of memory?); {output.name} is left as it was.")
    if not options.in_place:
        nb.metadata["kdcore"] = {"inputs": followed, "notebook": notebook_of(name)}
    write(normalise(nb), output)
    print(output)


if __name__ == "__main__":
    main()
