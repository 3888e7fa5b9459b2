"""Would nbval notice? The chapter's own cells are run with a fault built in and compared as
conftest.py compares.

The tolerances have to let another kind of CPU pass, which is imitated by changing all initial
weights by one part in a million (training amplifies it), and must not let a wrong loss or a wrong
teacher pass.
"""

import ast
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
import torch

from conftest import Tolerant
from kdcore import losses, store, sweep
from kdcore import train as tr

ROOT = Path(__file__).parents[1]


def trained_tables() -> list[str]:
    """What the cells tagged nbval-trained show, with one seed. Later cells are not run."""
    notebook = nbformat.read(ROOT / "notebooks" / "low_fidelity.ipynb", as_version=4)
    cells = [
        (c.source, c.metadata.get("tags", [])) for c in notebook.cells if c.cell_type == "code"
    ]
    last = max(i for i, (_, tags) in enumerate(cells) if "nbval-trained" in tags)
    namespace, shown = {"__name__": "chapter"}, []
    for source, tags in cells[: last + 1]:
        body = ast.parse(source + "\nseeds = 1" * ("parameters" in tags)).body
        value = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
        if value is not None:
            result = eval(compile(ast.Expression(value.value), "cell", "eval"), namespace)
            if "nbval-trained" in tags:
                shown.append(result.data)
    return shown


def only_teachers(folder: Path) -> None:
    """Leaves the teachers' runs in a store and forgets everything that depends on a student."""
    import json

    shutil.rmtree(folder / "rows")
    students = set()
    for meta in list((folder / "runs").rglob("meta.json")):
        spec = json.loads(meta.read_text())["spec"]
        if spec["distill"]:
            students.add(meta.parent.name)
            shutil.rmtree(meta.parent)
    for meta in list((folder / "logits").rglob("meta.json")):
        if json.loads(meta.read_text())["model"] in students:
            shutil.rmtree(meta.parent)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """(store, tables) of a run without fault."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("sound") / "store"
        prepare(patch, folder)
        yield folder, trained_tables()


def prepare(patch, folder):
    patch.setenv("KDCORE_STORE", str(folder))
    patch.setenv("KDCORE_RESULTS", "")
    # in this process, where the faults are
    patch.setattr(sweep, "local_pool", lambda: ThreadPoolExecutor(1))
    patch.chdir(ROOT / "notebooks")
    tr.frozen.cache_clear()
    torch.set_num_threads(1)


def same(tables, others):
    return all(Tolerant(a, trained=True) == b for a, b in zip(tables, others, strict=True))


def test_another_kind_of_cpu_passes(sound, tmp_path, monkeypatch):
    prepare(monkeypatch, tmp_path / "store")
    fit = tr.fit
    monkeypatch.setattr(tr, "fit", lambda spec, **options: fit(spec, perturb=1e-6, **options))
    tables = trained_tables()
    assert tables != sound[1], "the change was too small to try anything"
    assert same(tables, sound[1]), f"{tables}\n{sound[1]}"


def loss_without_temperature_squared(patch):
    original = losses._kd
    patch.setattr(
        losses,
        "_kd",
        lambda student, teachers, temperature: (
            original(student, teachers, temperature) / temperature**2
        ),
    )


def teachers_in_train_mode(patch):
    fit = tr.fit

    def with_moving_teachers(spec, **options):
        if spec.distill:
            spec = spec.model_copy(
                update={"distill": spec.distill.model_copy(update={"teacher_mode": "train"})}
            )
        return fit(spec, **options)

    patch.setattr(tr, "fit", with_moving_teachers)


@pytest.mark.parametrize("fault", [loss_without_temperature_squared, teachers_in_train_mode])
def test_a_real_fault_goes_red(sound, tmp_path, monkeypatch, fault):
    shutil.copytree(sound[0], tmp_path / "store")
    only_teachers(tmp_path / "store")
    prepare(monkeypatch, tmp_path / "store")
    assert store.root() == tmp_path / "store"
    fault(monkeypatch)
    assert not same(trained_tables(), sound[1])
