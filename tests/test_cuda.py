"""What only a CUDA device can show; elsewhere skipped, and tests/test_replay.py says what a
processor can.
"""

import numpy as np
import pytest
import torch
from small import pair, spec

from kdcore import replay, store
from kdcore import train as tr
from kdcore.spec import Optim
from kdcore.train import fit, frozen, train

pytestmark = [
    pytest.mark.usefixtures("own_store"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def on(device, monkeypatch):
    """From here on, everything is computed there."""
    frozen.cache_clear()
    monkeypatch.setattr(tr, "device", lambda: device)


def apart(a, b):
    """How far two runs' losses lie apart at most, as a share of the first loss."""
    return np.abs(a[1] - b[1]).max() / a[1][0]


def rounding(s, base):
    """Twice what first weights changed by a thousandth move a run, of bf16 by a hundredth: cuDNN
    may round the factors of convolutions to ten bits (TF32), bf16 keeps seven.
    """
    by = {"fp32": 1e-3, "bf16": 1e-2}[s.precision]
    return 2 * max(apart(base, fit(s, perturb=p)) for p in (by, -by))


def test_a_run_is_the_same_on_both_devices_but_for_rounding(monkeypatch):
    s = pair(epochs=4, n_train=128)
    on("cpu", monkeypatch)
    here = fit(s)
    allowed = rounding(s, here)
    on("cuda", monkeypatch)
    assert apart(here, fit(s)) < allowed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_a_recorded_run_is_the_one_that_is_called_step_by_step(monkeypatch, method, precision):
    s = pair(lr=0.01)
    s = s.model_copy(
        update={
            "optim": Optim(**s.optim.model_dump() | {"method": method, "epochs": 4}),
            "precision": precision,
        }
    )
    on("cuda", monkeypatch)
    made, record = [], replay.recording
    monkeypatch.setattr(replay, "recording", lambda f: (made.append(f), record(f))[1])
    played = fit(s)
    assert made
    monkeypatch.setattr(tr, "replays", lambda spec: False)
    called = fit(s)
    assert apart(called, played) < rounding(s, called)


@pytest.mark.parametrize("there", [("cpu", "cuda"), ("cuda", "cpu")])
@pytest.mark.parametrize("options", [dict(method="adamw"), dict(momentum=0.0), dict()])
def test_a_snapshot_goes_on_on_the_other_device(monkeypatch, there, options):
    s = spec(epochs=5)
    s = s.model_copy(update={"optim": Optim(**s.optim.model_dump() | options | {"lr": 0.01})})
    saved = []
    monkeypatch.setattr(tr, "SAVE_EVERY", 0.0)
    on(there[0], monkeypatch)

    def save(arrays, meta):
        saved.append(store.Entry({k: v.copy() for k, v in arrays.items()}, meta))

    whole = fit(s, save=save)
    on(there[1], monkeypatch)
    assert apart(whole, fit(s, snapshot=saved[1])) < rounding(s, whole)


def test_a_run_says_that_it_was_trained_there():
    assert train(spec(seed=9)).meta["device"] == "cuda"
