"""Executes a chapter with papermill and writes a page source that is the same, byte for byte, on every run.

    python scripts/execute_chapter.py low_fidelity                                  # quick, into book/chapters/
    python scripts/execute_chapter.py low_fidelity --preset published -p temperature 5
    python scripts/execute_chapter.py low_fidelity --in-place                       # refresh what nbval compares with

An existing output is replaced only when every cell ran.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError

from kdcore.folders import named

ROOT = Path(__file__).resolve().parents[1]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def parameters_of(name, preset, file, pairs):
    """The parameters to inject: the preset's, then the file's, then the single ones; later ones win."""
    given = {}
    files = []
    if preset != "quick":  # quick is what the notebook itself says
        path = ROOT / "presets" / preset / f"{name}.yaml"
        if not path.is_file():
            known = ["quick", *sorted(f.parent.name for f in ROOT.glob(f"presets/*/{name}.yaml"))]
            sys.exit(f"{name} has no preset {preset}. Presets: {', '.join(known)}.")
        files.append(path)
    for path in [*files, *([file] if file else [])]:
        given |= yaml.safe_load(Path(path).read_text()) or {}
    given |= {key: yaml.safe_load(value) for key, value in pairs}
    allowed = list(papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb"))
    unknown = [key for key in given if key not in allowed]
    if unknown:
        sys.exit(f"{name} has no parameter {', '.join(unknown)}. Parameters: {', '.join(allowed)}.")
    return given


def normalise(nb):
    """The notebook's JSON text without what differs between two equal runs: times, random ids, progress bars."""
    nb.metadata.pop("papermill", None)
    nb.metadata.get("language_info", {}).pop("version", None)
    for cell in nb.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.id = "injected-parameters"
        if {"parameters", "injected-parameters"} & set(tags) and "remove-cell" not in tags:
            tags.append("remove-cell")  # on the page the defaults above the real values would mislead
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
    widgets = nb.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for number, model in enumerate(widgets):  # in the order of creation
        text = text.replace(model, f"{number:032x}")
    return nbformat.writes(nbformat.reads(text, as_version=4)) + "\n"  # again: keys are sorted, also by their new ids


def execute(name, parameters):
    """Runs the notebook in its folder; the kernel's stderr (training progress) goes to this terminal as it comes."""
    for variable, value in {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0"}.items():
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


def main(arguments=None):
    known = sorted(f.stem for f in (ROOT / "notebooks").glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="chapter: " + ", ".join(known))
    parser.add_argument("--preset", default="quick", help="quick (default) or a folder of presets/")
    parser.add_argument("-f", dest="file", help="YAML file of parameters, laid over the preset")
    parser.add_argument("-p", dest="pairs", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, help="default: book/chapters/NAME.ipynb")
    where.add_argument("--in-place", action="store_true", help="refresh the outputs in notebooks/, with the defaults")
    options = parser.parse_args(arguments)
    name = Path(options.name).stem
    if name not in known:
        sys.exit(f"There is no chapter {name}. Chapters: {', '.join(known)}.")
    parameters = parameters_of(name, options.preset, options.file, options.pairs)
    if options.in_place and parameters:
        sys.exit("--in-place keeps the outputs of the defaults: no preset, no parameters.")
    try:
        named("KDCORE_STORE")  # relative folders begin here, not where the notebook lies
    except ValueError as error:
        sys.exit(str(error))
    source = ROOT / "notebooks" / f"{name}.ipynb"
    output = source if options.in_place else options.output or ROOT / "book" / "chapters" / f"{name}.ipynb"
    try:
        nb = execute(name, parameters)
    except papermill.PapermillExecutionError as error:
        stack = COLOURS.sub("", "\n".join(error.traceback)).splitlines()[-12:]
        sys.exit(f"\n{name}: cell [{error.exec_count}] failed; {output.name} is left as it was.\n" + "\n".join(stack))
    except DeadKernelError:
        sys.exit(f"\n{name}: the kernel died (out of memory?); {output.name} is left as it was.")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial")
    partial.write_text(normalise(nb))
    os.replace(partial, output)
    print(output)


if __name__ == "__main__":
    main()
