"""The photographs that travel with the package, and what networks make of them."""

import numpy as np
import pytest
import torch
from small import pair

from kdcore.data import photographs
from kdcore.data.views import normalise
from kdcore.measure import attention
from kdcore.metrics import saliency
from kdcore.train import frozen, train


def test_photographs_are_small_and_each_has_its_credit():
    credits = (photographs.FOLDER / "CREDITS.txt").read_text()
    files = sorted(file.name for file in photographs.FOLDER.glob("*.jpg"))
    assert files == sorted(f"{name}.jpg" for name in photographs.NAMES)
    for name in files:
        line = next(line for line in credits.splitlines() if line.startswith(name))
        assert any(licence in line for licence in ("public domain", "CC0", "CC BY 2.0"))
    assert sum(file.stat().st_size for file in photographs.FOLDER.iterdir()) < 120_000


def test_a_small_pixel_is_the_mean_of_what_it_covers():
    large = np.asarray(photographs.picture("cup"), dtype=float)
    small = photographs.reduced(3, 32, 32)
    assert small.shape == (5, 3, 32, 32) and small.dtype == np.uint8
    by_hand = large.reshape(32, 8, 32, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(small[photographs.NAMES.index("cup")] - by_hand).max() <= 1
    assert photographs.reduced(1, 8, 8).shape == (5, 1, 8, 8)


def test_portraits_are_the_maps_of_the_predicted_class_and_the_shifted_head_predicts_the_same(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    frozen.cache_clear()
    spec = pair()
    train(spec)
    row = attention.portraits(spec)
    assert all(all(row[f"kept {name}"]) for name in ("T1", "T2", "S"))
    data, net = attention.load(spec.data), frozen(spec)
    x = normalise(torch.from_numpy(photographs.reduced(1, 8, 8)), data.mean, data.std)
    f, weight, bias, z = saliency.features(net, x)
    assert row["predicted S"] == [data.classes[c] for c in z.argmax(1)]
    assert row["probability S"] == pytest.approx(z.softmax(1).max(1).values.tolist(), abs=1e-4)
    assert np.array(row["label S"]) == pytest.approx(
        saliency.rescale(saliency.cam(f, weight, z.argmax(1))).numpy(), rel=1e-3, abs=1e-3
    )
    ends = [np.array(row[f"{kind} S"]) for kind in ("sum", "sum of the shifted head")]
    shift = (
        torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(spec.model_seed))
        * weight.std()
    )
    halfway = saliency.cam_sum(f, weight + shift / 2, bias).numpy()
    assert (ends[0] + ends[1]) / 2 == pytest.approx(halfway, rel=2e-3, abs=2e-2)
    assert np.abs(ends[0] - ends[1]).max() > 0.1 * np.abs(ends[0]).max()
