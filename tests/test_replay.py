"""Steps that an accelerator plays from a recording, as far as a processor can tell: a stand-in for
the recording does the work anew on the same memory. On a CUDA device: tests/test_cuda.py.
"""

import pytest
import torch
from small import STRONG, pair, spec
from torch.utils._python_dispatch import TorchDispatchMode

from kdcore import models, replay
from kdcore import train as tr
from kdcore.spec import Optim, Switch
from kdcore.train import fit

pytestmark = pytest.mark.usefixtures("own_store")


def recorded(function):
    """What a CUDA graph does: nothing now; each play writes to the same outputs."""
    outputs = []

    def play():
        new = function()
        outputs.extend(torch.empty_like(v) for v in new[len(outputs) :])
        for here, v in zip(outputs, new, strict=True):
            here.copy_(v)

    return play, outputs


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(replay, "apart", lambda function: function())
    monkeypatch.setattr(replay, "recording", recorded)


def changed(s, **fields):
    return s.model_copy(update={"optim": Optim(**s.optim.model_dump() | fields)})


RUNS = {
    "two teachers": pair(),
    "z-scores": pair(view=STRONG, zscore=True),
    "teachers beside": pair(teacher_mode="train"),
    "nesterov, clipped": changed(pair(), nesterov=True, weight_decay=5e-4, clip_norm=1.0),
    "adamw": changed(spec(lr=0.01), method="adamw"),
    "without momentum": changed(spec(), momentum=0.0),
    "bf16": pair().model_copy(update={"precision": "bf16"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_played_run_has_the_same_bits(name, monkeypatch, stand_in):
    expected = fit(RUNS[name])
    plays = []
    monkeypatch.setattr(tr, "replays", lambda spec: True)
    monkeypatch.setattr(replay, "recording", lambda f: (plays.append(f), recorded(f))[1])
    state, loss, online = fit(RUNS[name])
    assert len(plays) == 1
    assert (loss == expected[1]).all() and (online == expected[2]).all()
    assert all(torch.equal(state[k], expected[0][k]) for k in state)


def test_a_recording_reads_and_writes_the_same_memory(stand_in):
    seen = []

    def function(x, y):
        seen.append((x.data_ptr(), y.data_ptr()))
        return x + y, x * y

    played, outputs = replay.Replayed(function), []
    for k in range(7):
        x, y = torch.full((3,), float(k)), torch.arange(3.0)
        outputs.append(played(x, y))
        assert torch.equal(outputs[-1][0], x + y) and torch.equal(outputs[-1][1], x * y)
    assert len(seen) == 7 and len(set(seen)) == 1
    late = outputs[replay.WARM :]
    assert len({v.data_ptr() for v, _ in late}) == 1 == len({v.data_ptr() for _, v in late})


def test_inputs_of_another_number_are_refused(stand_in):
    played = replay.Replayed(lambda *tensors: tensors)
    played(torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="shorter|longer"):
        played(torch.ones(2))


def test_what_cannot_be_recorded_is_called_as_it_is(monkeypatch, stand_in):
    def refused(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(replay, "recording", refused)
    total = torch.zeros(())

    def function(x):
        total.add_(x)
        return (total.clone(),)

    played = replay.Replayed(function)
    with pytest.warns(UserWarning, match="steps are not recorded.*not permitted") as warned:
        for k in range(8):
            (now,) = played(torch.tensor(1.0))
            assert now == k + 1
    assert len(warned) == 1


def test_what_is_played(monkeypatch):
    switch = pair(switch=Switch(to="labels", at=0.5, ramp=0.0))
    text = spec().model_copy(update={"model": "bag-8-12"})
    assert not any(map(tr.replays, (spec(), pair(), switch, text)))  # on a processor nothing
    monkeypatch.setattr(tr, "device", lambda: "cuda")
    assert [tr.replays(s) for s in (spec(), pair(), switch, text)] == [True, True, False, False]


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_a_rate_that_lies_on_the_device_is_changed_in_place(method):
    """As a recorded step has to find it; the steps are those of a rate that is a number."""
    o, ends = Optim(**spec().optim.model_dump() | {"method": method}), []
    for on_device in (False, True):
        net = tr.network(spec())
        optimiser = tr.make_optimiser(net, o)
        if on_device:
            place = torch.tensor(o.lr)
            optimiser.param_groups[0]["lr"] = place
        for rate in (0.1, 0.01):
            tr.set_rate(optimiser, rate)
            net(torch.ones(2, 1, 8, 8)).square().sum().backward()
            optimiser.step()
        assert not on_device or (optimiser.param_groups[0]["lr"] is place and place == 0.01)
        ends.append([w.detach() for w in net.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(*ends))


# ------------------------------------------------------------------ nothing waits inside an epoch


class Operations(TorchDispatchMode):
    """The names of all operations, in order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# A number is read back, or one that Python made is sent: on an accelerator both wait.
WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "lift_fresh", "scalar_tensor"}


@pytest.mark.parametrize("name", [*RUNS, "switch"])
def test_no_step_waits_for_a_number(name):
    run = RUNS.get(name) or pair(switch=Switch(to="labels", at=0.3, ramp=0.2))
    fit(run)  # its teachers are there
    marks = []
    with Operations() as operations:
        fit(run, after_step=lambda k, net: marks.append(len(operations.names)))
    batches = run.data.n_train // run.optim.batch_size
    for epoch in range(run.optim.epochs):
        first, last = epoch * batches, (epoch + 1) * batches - 1
        inside = operations.names[marks[first] : marks[last]]
        assert len(inside) > 100 and "convolution" in inside
        assert WAITING.isdisjoint(inside)
    # the first step's loss, and at the end of an epoch its mean loss and accuracy, are read
    assert operations.names.count("_local_scalar_dense") >= 1 + 2 * run.optim.epochs


@pytest.mark.parametrize("name", ["two teachers", "z-scores", "nesterov, clipped"])
def test_a_step_needs_no_numbers_at_all(name):
    """On torch's meta device, which has shapes and no numbers, whatever reads one is an error; the
    branches for accelerators are those that are taken there.
    """
    s = RUNS[name]
    net = models.build(s.model, 1, 10, (8, 8), 0).to("meta").train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)  # none is fused there
    x = torch.zeros(16, 1, 8, 8, dtype=torch.uint8, device="meta")
    y, heard = torch.zeros(16, dtype=torch.int64, device="meta"), torch.zeros(2, 16, 10).to("meta")
    for _ in range(2):
        z, loss = tr.step(net, optimiser, tr.normalise(x, (0.3,), (0.2,)), y, s, heard, 0.1)
    assert z.device.type == loss.device.type == "meta" and z.shape == (16, 10)
