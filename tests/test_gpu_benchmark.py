"""The benchmark of graphics cards, rehearsed: its grid is the notebook's, and it counts right."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from kdcore import models
from kdcore.sweep import upstream
from kdcore.workers import PER_CARD

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gpu():
    at = importlib.util.spec_from_file_location("gpu_benchmark", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(at)
    at.loader.exec_module(module)
    return module


def test_its_grid_is_that_of_the_notebook(gpu):
    """The first three cells of the notebook, with the published preset, make the runs."""
    cells = json.loads((ROOT / "notebooks" / "cifar100.ipynb").read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    scope = {}
    exec(sources[0], scope)
    preset = (ROOT / "presets" / "published" / "cifar100.yaml").read_text()
    scope.update(yaml.safe_load(preset))
    exec(sources[1], scope)
    exec(sources[2], scope)
    runs = upstream([line[-1] for line in scope["plan"] + scope["teachers"] if line[0] == 0])
    taught = [run for run in runs if run.model == gpu.PRESET["student"]]
    heard = [(t.hash, run.view.name) for run in runs for t in run.teachers]
    for name in ("weak", "strong"):
        recorded = sum(view == name for _, view in set(heard))
        assert gpu.GRID[name] == sum(run.view.name == name for run in runs) + recorded
    assert gpu.GRID["student"] == len(taught) and gpu.GRID["teacher"] == len(runs) - len(taught)
    assert gpu.GRID["recorded"] == len(set(heard)) and gpu.GRID["read"] == len(heard)


def test_it_counts_operations_and_bytes(gpu):
    x, w = torch.randn(8, 30), torch.randn(20, 30)
    flops, moved = gpu.work(lambda: torch.nn.functional.linear(x, w).relu(), 8)
    assert flops == 2 * 30 * 20  # a multiplication and an addition for each weight
    assert moved == 4 * (8 * 30 + 30 * 20 + 8 * 20 + 2 * 8 * 20) / 8  # product, then ReLU
    net = models.build("resnet-16-32", 3, 100, (32, 32), 0)
    pictures = torch.randn(2, 3, 32, 32)
    forward, _ = gpu.work(lambda: net(pictures), 2)
    both, _ = gpu.work(lambda: net(pictures).sum().backward(), 2)
    assert 2.7 * forward < both < 3 * forward  # the first layer needs no gradient of its input


def test_the_grid_adds_up(gpu):
    """By hand: every stage at 1,000 images a second."""
    names = ("recorded", "weak", "strong", "kept", "read", "measured")
    rates = dict.fromkeys(names, 1e3) | {
        f"{who} 64 {kind} played": 1e3
        for who in ("teacher", "student")
        for kind in ("fp32", "bf16")
    }
    fp32, bf16, *rest = gpu.grid(rates, "played", (64, 512))
    p = gpu.PRESET
    thousands = p["seeds"] * 50 * p["epochs"]
    looked = p["seeds"] * (3 * 50 + 4 * p["n_test"] / 1e3)
    card = (4 + 21 + 8 + 19 + 14 + 27 + 8) * thousands + 25 * looked
    assert fp32["on the card"] == pytest.approx(card) and fp32["seconds"] == pytest.approx(card)
    assert fp32["measuring, on cores"] == pytest.approx(21 * looked)
    assert fp32["parts"] == bf16["parts"]
    assert all(line["seconds"] != line["seconds"] for line in rest)  # nan: no such stage was timed
    slow = gpu.grid(rates | {"measured": 1.0}, "played", (64,))[0]
    assert slow["seconds"] == pytest.approx((card + 21 * looked * 1e3) / PER_CARD)


def test_a_stage_that_fails_is_said_and_the_others_go_on(gpu, capsys):
    failed = {}
    assert (
        gpu.tried("views", lambda: 1 / 0, failed) is None and gpu.tried("rest", lambda: 3, {}) == 3
    )
    assert failed == {"views": "ZeroDivisionError: division by zero"}
    assert "views: failed: ZeroDivisionError" in capsys.readouterr().out


def test_a_card_that_is_not_there_is_refused(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cuda"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main()
    assert "PyTorch sees no CUDA device here; cpu is allowed" in capsys.readouterr().err
