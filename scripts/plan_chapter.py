"""What a chapter would cost, before anything is trained.

    make plan NAME=low_fidelity PRESET=paper
    python scripts/plan_chapter.py low_fidelity --preset paper -p seeds 3

The chapter's own code is run, statement by statement, with a collector in place of training: rows
that are there are handed over, those that are missing have values that are nan. A statement that
cannot go on without a value is passed over; where it would have asked for rows, the plan says that
it is incomplete. Nothing is trained, stored or published; some seconds go into timing each network.
"""

import ast
import contextlib
import io
import sys
import traceback
import warnings
from unittest.mock import patch

import nbformat
from execute_chapter import ROOT, asked, check, command

from kdcore import budget, data
from kdcore.book.parameters import ParameterError
from kdcore.workers import workers

PEAK = 67e12  # operations in a second: an H100 SXM in float32, without tensor cores, data sheet
REACHED = (0.1, 0.6)  # shares of it that training reaches: small networks, large ones
# seconds that a pass takes however small it is: kernel by kernel, and replayed as one CUDA graph
LEAST = (3e-3, 4e-4)


# ------------------------------------------------------------------------ what the chapter asks for


def names(tree):
    """Every name and attribute that a piece of code takes from elsewhere: what a function's own
    variables are called says nothing.
    """
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    if isinstance(tree, ast.FunctionDef):
        read -= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        read -= {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
    return read | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def asking(statements):
    """The names by which these statements ask for rows: `collect`, and functions that call it."""
    functions = {f.name: names(f) for f in statements if isinstance(f, ast.FunctionDef)}
    found = {"collect"}
    while more := {name for name, inside in functions.items() if inside & found} - found:
        found |= more
    return found


def line_of(error, number):
    """The line of a cell at which a statement of it stopped."""
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == f"<code cell {number}>"
        and frame.f_code.co_name == "<module>"
    ]
    return lines[-1] if lines else 0


def left_out(statement, asks, line):
    """Whether a statement that stopped at this line may have left something unasked: it asks there,
    or after it, or goes round in a loop that does.
    """
    if isinstance(statement, ast.FunctionDef) or not names(statement) & asks:
        return False
    lines = [
        n.lineno
        for n in ast.walk(statement)
        if isinstance(n, ast.Name | ast.Attribute) and names(n) & asks
    ]
    loops = [n for n in ast.walk(statement) if isinstance(n, ast.For | ast.While)]
    return line <= max(lines) or any(
        loop.lineno <= line <= loop.end_lineno for loop in loops if names(loop) & asks
    )


def run(cells, parameters, rows):
    """Runs the cells [(source, whether it declares the parameters), ...] as far as they ask for
    rows, which are noted in `rows`; returns what could not be asked, a sentence for each statement.
    """
    trees = [ast.parse(source) for source, _ in cells]
    asks = asking([statement for tree in trees for statement in tree.body])
    last = max((i for i, tree in enumerate(trees) if names(tree) & asks), default=-1)
    scope, unasked = {"__name__": "__main__"}, []
    for number, (tree, (_, declares)) in enumerate(zip(trees[: last + 1], cells), 1):
        for statement in tree.body:
            try:
                exec(compile(ast.Module([statement], []), f"<code cell {number}>", "exec"), scope)
            except Exception as error:
                if all(row.there for row in rows):
                    raise  # it is not for want of a result
                if left_out(statement, asks, line_of(error, number)):
                    why = f"{type(error).__name__}: {error}".splitlines()[0][:100]
                    unasked.append(f"code cell {number}, line {statement.lineno} ({why})")
        scope |= parameters if declares else {}
    return unasked


def noted(name, parameters):
    """(rows that the chapter asks for, what it could not ask for). ParameterError."""
    from matplotlib import pyplot as plt

    from kdcore import results
    from kdcore.book import figures

    def undrawn(fig, alt):
        """In place of a picture: drawing takes a minute."""
        plt.close(fig)
        return figures.Picture("<svg></svg>", alt)

    cells = [
        (cell.source, "parameters" in cell.metadata.get("tags", []))
        for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    with (
        results.planning() as rows,
        patch.object(figures, "show", undrawn),
        patch.object(figures, "Frames"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.chdir(ROOT / "notebooks"),
        warnings.catch_warnings(action="ignore"),
    ):
        return rows, run(cells, parameters, rows)


# ------------------------------------------------------------------------------------- what is said


def many(value):
    """A number with three digits that count."""
    for least, unit in ((1e9, " billion"), (1e6, " million")):
        if value >= least:
            return f"{value / least:.3g}{unit}"
    return f"{value:,.0f}"


def size(value):
    return f"{value / 1e9:.2g} GB" if value < 1e10 else f"{value / 1e9:,.0f} GB"


def duration(low, high):
    """A range of seconds in a unit in which it is read easily."""
    least = {"days": 259_200, "hours": 5400, "minutes": 90, "seconds": 0}
    one = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
    unit = next(unit for unit in least if high >= least[unit])
    low, high = (
        f"{v:,.0f}" if v >= 10 else f"{v:.1f}" for v in (low / one[unit], high / one[unit])
    )
    return f"{low} to {high} {unit}"


def on_this_machine(work, paces, parts):
    """Lines about what was timed here."""
    from plan_paces import waiting

    from kdcore.train import device

    low, usual, high = (sum(pace[k] for pace in parts.values()) for k in range(3))
    shares = {name: pace.usual / usual for name, pace in parts.items()}
    said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    if device() == "cuda":
        yield "this machine", f"{duration(low, high)} of its graphics card, as timed just now"
    else:
        here = workers()
        beside = "with every core at work, " if here > 1 else ""
        yield "this machine", f"{duration(low, high)} of one core, {beside}as timed just now"
        low, high = low / here + paces.first, high / here + paces.first + waiting(work, paces, here)
        side = f"{here} worker{'s' * (here > 1)} that have a core each"
        yield "", f"{duration(low, high)} with {side}"
    yield "", f"{said}; the page's own figures and tables come on top"


def report(work, paces):
    """The plan as lines (what, text)."""
    import plan_sizes
    from plan_paces import seconds

    from kdcore.data.views import OWN_SIZE

    shared = [count for count in work.students.values() if count > 1]
    yield (
        "rows",
        f"{work.rows.total():,}: {work.rows['there']:,} there, {work.rows['missing']:,} missing",
    )
    there = len(work.wanted) - len(work.missing)
    yield "runs", f"{len(work.wanted):,} wanted: {len(work.missing):,} to train, {there:,} not"
    if shared:
        yield (
            "shared",
            f"{len(shared):,} teachers by {sum(shared):,} pairs of a student and a teacher",
        )
    if not work.rows["missing"]:
        return
    yield "training", f"{many(work.updates.total())} examples forward and backward"
    yield (
        "teachers",
        f"{many(work.heard)} examples forward with shared logits, {many(work.heard_alone)} without",
    )
    yield "measuring", f"{many(work.measured)} examples forward"
    operations, batches = plan_sizes.flops(work), plan_sizes.passes(work)
    yield "operations", f"{operations:.2g} (a multiply-add counts two)"
    parts = seconds(work, paces)
    yield from on_this_machine(work, paces, parts)
    slow, fast = (
        operations / (share * PEAK) + least * batches for share, least in zip(REACHED, LEAST)
    )
    yield "one H100", f"{duration(fast, slow)}: arithmetic, not measured"
    peak = f"{100 * REACHED[0]:.0f} to {100 * REACHED[1]:.0f} % of {PEAK / 1e12:.0f} TFLOP/s"
    each = f"{1e3 * LEAST[1]:g} to {1e3 * LEAST[0]:g} ms"
    yield ("", f"the operations at {peak}, and {each} for each of {many(batches)} batches")
    if any(kind.view.name not in OWN_SIZE for kind in work.images):
        drawn = parts["views"]
        yield "", f"and {duration(drawn.low, drawn.high)} of one core for views of 224 pixels"
    limit = budget.budget()
    yield "disk", f"logits {size(work.logits)}, runs {size(plan_sizes.runs_bytes(work))}"
    over = "more than" if work.logits > limit else "within"
    kept = "; a running sweep keeps what it needs" if work.logits > limit else ""
    yield "", f"the logits are {over} the budget of {size(limit)} (KDCORE_LOGITS_GB){kept}"
    yield "memory", f"about {size(plan_sizes.memory(work, paces.base))} for each worker"


def kinds(work, paces):
    """What was timed, a line for each kind of pass."""
    from plan_sizes import size_of

    def input_of(net):
        return f"{net.size[0]} words" if len(net.size) == 1 else " x ".join(map(str, net.size))

    yield "timed", "examples", "input", "GFLOP each", "ms each"
    for kind, count in work.updates.items():
        each = size_of(kind.net).both
        yield f"train {kind.net.model}", count, input_of(kind.net), each, paces.updates[kind]
    for net, count in work.looks.items():
        yield f"ask {net.model}", count, input_of(net), size_of(net).forward, paces.looks[net]
    for kind, count in work.images.items():
        yield f"view {kind.view.name} of {kind.data.name}", count, "", None, paces.images[kind]


def main(arguments=None):
    options, others = command(__doc__.split("\n\n")[0]).parse_known_args(arguments)
    name, parameters = asked(options, others)
    with data.stand_ins() as absent:
        try:
            budget.budget(), workers()
            check(name, parameters)
        except ParameterError as error:
            sys.exit(f"{name}: these parameters do not fit.\n{error}")
        except ValueError as error:
            sys.exit(str(error))
        print("reading the chapter", file=sys.stderr, flush=True)
        rows, unasked = noted(name, parameters)
        from plan_paces import measured_paces
        from plan_work import work_left

        work, paces = work_left(rows), None
        if work.rows["missing"]:
            paces = measured_paces(work, lambda what: print(what, file=sys.stderr, flush=True))
        lines = list(report(work, paces))
        timed = list(kinds(work, paces)) if paces else []
    print(f"{name}, {options.preset}: the plan; nothing was trained or stored\n")
    for what, text in lines:
        print(f"{what:14s}{text}")
    for what, count, shape, each, pace in timed:
        if isinstance(pace, str):
            print(f"\n{what:44s}{count:>14s}{shape:>12s}{each:>12s}   {pace}")
            continue
        low, high = 1e3 * pace.low, 1e3 * pace.high
        operations = "" if each is None else f"{each / 1e9:.3g}"
        print(
            f"{what:44s}{many(count):>14s}{shape:>12s}{operations:>12s}   {low:.3g} to {high:.3g}"
        )
    for line in unasked:
        print(f"\nincomplete: {line} needs results that are not there before it asks for more")
    if absent:
        print(f"\nnot here, and stood in for by random data of their size: {', '.join(absent)}")


if __name__ == "__main__":
    main()
