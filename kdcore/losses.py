"""Losses: one function each, on raw logits. B examples, C classes, K teachers.

Shapes are checked and never broadcast; bad input raises ValueError. The values of logits are not
looked at, which would make an accelerator wait at every step: where one is NaN the loss is NaN, and
training reports it. Labels are looked at on a CPU only; on an accelerator one that is out of range
ends in an error of the device.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot, softmax


def _student(z: Tensor) -> None:
    if z.ndim != 2 or 0 in z.shape or not z.is_floating_point():
        raise ValueError(
            f"logits have shape {tuple(z.shape)} and type {z.dtype}; expected real numbers "
            "(examples, classes), neither 0."
        )


def _both(student: Tensor, teachers: Tensor) -> None:
    _student(student)
    shape = student.shape
    if (
        teachers.ndim != 3
        or teachers.shape[1:] != shape
        or len(teachers) == 0
        or not teachers.is_floating_point()
    ):
        raise ValueError(
            f"teachers' logits have shape {tuple(teachers.shape)} and type {teachers.dtype}; "
            "expected real numbers "
            f"(teachers, {shape[0]}, {shape[1]}), with the student's examples and classes."
        )


def _labels(labels: Tensor, student: Tensor) -> Tensor:
    if (
        labels.shape != student.shape[:1]
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; expected "
            f"{len(student)} integers, one for each example."
        )
    if labels.device.type == "cpu":
        values = labels.tolist()
        low, high = min(values), max(values)
        # PyTorch leaves out examples labelled -100 without a word
        if low < 0 or high >= student.shape[1]:
            raise ValueError(
                f"labels run from {low} to {high}; allowed are 0 to {student.shape[1] - 1}."
            )
    return labels.long()


def _number(name: str, value: float, above: bool = False) -> None:
    if not (value > 0 if above else value >= 0) or value == math.inf:
        raise ValueError(
            f"{name} is {value}; it must be {'above 0' if above else '0 or more'} and finite."
        )


def zscore(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """(z - mean) / (std + eps) over the classes of each example, std unbiased (Sun et al. 2024,
    logit standardization).

    Gradients flow through mean and standard deviation; where an example's logits are all alike they
    are 1 / eps. Under a softmax the mean cancels: z-scoring is a temperature per example. Shape
    (..., C) -> (..., C), C 2 or more.
    """
    if logits.ndim == 0 or logits.shape[-1] < 2 or not logits.is_floating_point():
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and type {logits.dtype}; expected real "
            "numbers (..., classes), 2 classes or more."
        )
    _number("eps", eps)
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + eps)


def kd(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """tau^2 / K * sum_k KL(softmax(z_k / tau) || softmax(z_s / tau)), mean over the batch (Guo et
    al. 2024, Eq. 7).

    student (B, C), teachers (K, B, C) -> scalar, nats. The paper writes the soft cross-entropy,
    which differs by the teachers' entropy, a constant for the student. Since sum_k KL(p_k || q) / K
    = KL(p_mean || q) + constant, the students' target is the mean of the teachers' probabilities.
    """
    _both(student, teachers), _number("temperature", temperature, above=True)
    return _kd(student, teachers, temperature)


def _kd(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    log_q = log_softmax(student / temperature, -1)
    p = softmax(teachers / temperature, -1)
    return (
        temperature**2 * kl_div(log_q.expand_as(p), p, reduction="sum") / (p.shape[0] * p.shape[1])
    )


def distillation(
    student: Tensor,
    teachers: Tensor,
    labels: Tensor,
    temperature: float,
    ce_weight: float,
    kd_weight: float,
    standardise: bool = False,
) -> Tensor:
    """ce_weight * CE(z_s, y) + kd_weight * kd(z_s, z_1..K) (Guo et al. 2024, Eq. 6-8 with the
    weights of their code).

    student (B, C), teachers (K, B, C), labels (B,) integers 0 .. C-1 -> scalar. With `standardise`
    the KD term sees z-scored logits of both sides; the cross-entropy always sees the raw ones (Sun
    et al. 2024).
    """
    (
        _both(student, teachers),
        _number("temperature", temperature, above=True),
        _number("ce_weight", ce_weight),
        _number("kd_weight", kd_weight),
    )
    hard = cross_entropy(student, _labels(labels, student))
    if standardise:
        student, teachers = zscore(student), zscore(teachers)
    return ce_weight * hard + kd_weight * _kd(student, teachers, temperature)


def squared(logits: Tensor, target: Tensor) -> Tensor:
    """1/2 ||z - t||^2 summed over outputs, mean over the batch; t (B, C): one-hot labels, or a
    teacher's outputs. (B, C) twice -> scalar.
    """
    _student(logits)
    if target.shape != logits.shape or not target.is_floating_point():
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and the target {tuple(target.shape)} and "
            f"type {target.dtype}; expected real numbers of "
            "equal shapes."
        )
    return (logits - target).square().sum(1).mean() / 2


def squared_distillation(
    student: Tensor, teachers: Tensor, labels: Tensor, ce_weight: float, kd_weight: float
) -> Tensor:
    """ce_weight * 1/2 ||z_s - e_y||^2 + kd_weight * 1/2 ||z_s - mean_k z_k||^2, mean over the
    batch; shapes as in `distillation`.

    The gradient is that of the target ce_weight e_y + kd_weight mean_k z_k where the weights sum to
    1.
    """
    _both(student, teachers), _number("ce_weight", ce_weight), _number("kd_weight", kd_weight)
    truth = one_hot(_labels(labels, student), student.shape[1]).to(student.dtype)
    return ce_weight * squared(student, truth) + kd_weight * squared(student, teachers.mean(0))
