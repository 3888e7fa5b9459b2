"""The losses against formulas written out in float64, finite differences, and their invariances."""

import numpy as np
import pytest
import torch

from kdcore import losses
from kdcore.spec import LOSS_PRESETS


def probabilities(z, tau=1.0):
    e = np.exp(z / tau - (z / tau).max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(6, 5, generator=g, dtype=torch.float64) * 3,
        torch.randn(3, 6, 5, generator=g, dtype=torch.float64) * 3,
        torch.tensor([0, 4, 2, 2, 1, 3]),
    )


def by_hand(student, teachers, y, tau, ce_weight, kd_weight, standardise):
    """Guo et al. (2024), Eq. 6-8, one example and one teacher at a time."""
    total = 0.0
    z_s, z_t, y = student.numpy(), teachers.numpy(), y.numpy()
    for i in range(len(y)):
        hard = -np.log(probabilities(z_s[i])[y[i]])
        soft = 0.0
        for k in range(len(z_t)):
            s, t = z_s[i], z_t[k, i]
            if standardise:
                s, t = (s - s.mean()) / s.std(ddof=1), (t - t.mean()) / t.std(ddof=1)
            p, q = probabilities(t, tau), probabilities(s, tau)
            soft += sum(p * np.log(p / q)) * tau**2 / len(z_t)
        total += ce_weight * hard + kd_weight * soft
    return total / len(y)


@pytest.mark.parametrize("preset", LOSS_PRESETS)
@pytest.mark.parametrize("standardise", [False, True])
def test_distillation_equals_the_formula(batch, preset, standardise):
    student, teachers, y = batch
    p = LOSS_PRESETS[preset]
    value = losses.distillation(student, teachers, y, standardise=standardise, **p)
    assert value.item() == pytest.approx(
        by_hand(
            student, teachers, y, p["temperature"], p["ce_weight"], p["kd_weight"], standardise
        ),
        rel=1e-7,
    )


@pytest.mark.parametrize("standardise", [False, True])
def test_gradient_against_finite_differences(batch, standardise):
    student, teachers, y = batch
    assert torch.autograd.gradcheck(
        lambda z: losses.distillation(z, teachers, y, 3.0, 0.6, 0.4, standardise),
        student.requires_grad_(),
        rtol=1e-6,
    )


def test_gradient_sums_to_zero_over_classes(batch):
    """Adding a constant to all logits changes no loss, so head rows only move within the zero-sum
    subspace.
    """
    student, teachers, y = batch
    for standardise in (False, True):
        (grad,) = torch.autograd.grad(
            losses.distillation(student.requires_grad_(), teachers, y, 3.0, 0.6, 0.4, standardise),
            student,
        )
        assert grad.abs().max() > 1e-3 and grad.sum(-1).abs().max() < 1e-12


def test_kd_is_zero_only_at_the_teacher(batch):
    student, teachers, _ = batch
    assert losses.kd(teachers[0], teachers[:1], 4.0).item() == pytest.approx(0, abs=1e-12)
    assert losses.kd(student, teachers[:1], 4.0).item() > 0.01


def test_several_teachers_amount_to_the_mean_of_their_probabilities(batch):
    """The gradient for K teachers is the one for a single teacher with the mean probabilities."""
    student, teachers, _ = batch
    mean = torch.log(torch.softmax(teachers / 3.0, -1).mean(0, keepdim=True)) * 3.0
    (several,) = torch.autograd.grad(losses.kd(student.requires_grad_(), teachers, 3.0), student)
    (single,) = torch.autograd.grad(losses.kd(student, mean, 3.0), student)
    assert torch.allclose(several, single, atol=1e-12) and several.abs().max() > 1e-3


def test_zscore_ignores_scale_and_shift(batch):
    student, teachers, _ = batch
    z = losses.zscore(student)
    assert z.mean(-1).abs().max() < 1e-12 and torch.allclose(
        z.std(-1), torch.ones(6, dtype=torch.float64), atol=1e-6
    )
    assert torch.allclose(losses.zscore(2.5 * student + 7), z, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [dict(temperature=4.0), dict(ce_weight=0.5), dict(kd_weight=0.5), dict(standardise=True)],
)
def test_every_option_changes_the_loss(batch, change):
    base = dict(temperature=3.0, ce_weight=0.6, kd_weight=0.4)
    assert (
        abs(losses.distillation(*batch, **base) - losses.distillation(*batch, **base | change))
        > 1e-3
    )


def test_squared_distillation_is_the_squared_distance_to_the_mixed_target(batch):
    """With weights that sum to 1, gradient and minimum are those of one target (1 - w) e_y + w
    mean_k z_k.
    """
    student, teachers, y = batch
    student = student.clone().requires_grad_()
    losses.squared_distillation(student, teachers, y, 0.3, 0.7).backward()
    target = 0.3 * torch.nn.functional.one_hot(y, 5) + 0.7 * teachers.mean(0)
    assert torch.allclose(student.grad, (student.detach() - target) / len(y))
    assert losses.squared(target, target) == 0


@pytest.mark.parametrize("tau, w", [(1.0, 1.0), (4.0, 0.7)])
def test_the_gradient_of_distillation_in_closed_form(batch, tau, w):
    """(1 - w) (p - e_y) + w tau (p_tau - p^te_tau) per example (Nagarajan et al. 2023, as derived
    from Hinton's loss).
    """
    student, teachers, y = batch
    student, teacher = student.clone().requires_grad_(), teachers[:1]
    losses.distillation(student, teacher, y, tau, 1 - w, w).backward()
    z, one = student.detach(), torch.nn.functional.one_hot(y, 5)
    expected = (1 - w) * (z.softmax(1) - one) + w * tau * (
        (z / tau).softmax(1) - (teacher[0] / tau).softmax(1)
    )
    assert torch.allclose(student.grad, expected / len(y), atol=1e-12)


def test_nan_is_never_hidden(batch):
    """Values of logits are not looked at in the training loop: whatever holds NaN has to end in
    NaN, which training reports.
    """
    student, teachers, y = batch
    for which in range(2):
        z, t = student.clone(), teachers.clone()
        (z if which == 0 else t).view(-1)[7] = float("nan")
        for value in (
            losses.distillation(z, t, y, 3.0, 0.6, 0.4),
            losses.distillation(z, t, y, 3.0, 0.6, 0.4, True),
            losses.kd(z, t, 3.0),
            losses.squared_distillation(z, t, y, 0.5, 0.5),
            losses.squared(z, t[0]),
            losses.zscore(z if which == 0 else t).sum(),
        ):
            assert value.isnan()


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_of_every_whole_type_are_the_same_labels(batch, kind):
    student, teachers, y = batch
    assert torch.equal(
        losses.distillation(student, teachers, y.to(kind), 3.0, 0.6, 0.4),
        losses.distillation(*batch, 3.0, 0.6, 0.4),
    )
    assert torch.equal(
        losses.squared_distillation(student, teachers, y.to(kind), 0.6, 0.4),
        losses.squared_distillation(*batch, 0.6, 0.4),
    )


def test_half_precision_is_allowed(batch):
    student, teachers, y = batch
    half = losses.distillation(student.bfloat16(), teachers.bfloat16(), y, 3.0, 0.6, 0.4).item()
    assert half == pytest.approx(losses.distillation(*batch, 3.0, 0.6, 0.4).item(), rel=0.02)
