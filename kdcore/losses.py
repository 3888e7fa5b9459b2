"""Losses: one function each, on raw logits. B examples, C classes, K teachers."""

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot, softmax


def zscore(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """(z - mean) / (std + eps) over the classes of each example, std unbiased (Sun et al. 2024, logit standardization).

    Gradients flow through mean and standard deviation. Under a softmax the mean cancels: z-scoring is a temperature
    per example. Shape (..., C) -> (..., C).
    """
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + eps)


def kd(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """tau^2 / K * sum_k KL(softmax(z_k / tau) || softmax(z_s / tau)), mean over the batch (Guo et al. 2024, Eq. 7).

    student (B, C), teachers (K, B, C) -> scalar, nats. The paper writes the soft cross-entropy, which differs by the
    teachers' entropy, a constant for the student. Since sum_k KL(p_k || q) / K = KL(p_mean || q) + constant, the
    students' target is the mean of the teachers' probabilities.
    """
    log_q = log_softmax(student / temperature, -1)
    p = softmax(teachers / temperature, -1)
    return temperature**2 * kl_div(log_q.expand_as(p), p, reduction="sum") / (p.shape[0] * p.shape[1])


def distillation(student: Tensor, teachers: Tensor, labels: Tensor, temperature: float, ce_weight: float, kd_weight: float,
                 standardise: bool = False) -> Tensor:
    """ce_weight * CE(z_s, y) + kd_weight * kd(z_s, z_1..K) (Guo et al. 2024, Eq. 6-8 with the weights of their code).

    student (B, C), teachers (K, B, C), labels (B,) -> scalar. With `standardise` the KD term sees z-scored logits of
    both sides; the cross-entropy always sees the raw ones (Sun et al. 2024).
    """
    hard = cross_entropy(student, labels)
    if standardise:
        student, teachers = zscore(student), zscore(teachers)
    return ce_weight * hard + kd_weight * kd(student, teachers, temperature)


def squared(logits: Tensor, target: Tensor) -> Tensor:
    """1/2 ||z - t||^2 summed over outputs, mean over the batch; t (B, C): one-hot labels, or a teacher's outputs. (B, C) twice -> scalar."""
    return (logits - target).square().sum(1).mean() / 2


def squared_distillation(student: Tensor, teachers: Tensor, labels: Tensor, ce_weight: float, kd_weight: float) -> Tensor:
    """ce_weight * 1/2 ||z_s - e_y||^2 + kd_weight * 1/2 ||z_s - mean_k z_k||^2, mean over the batch; shapes as in `distillation`.

    The gradient is that of the target ce_weight e_y + kd_weight mean_k z_k where the weights sum to 1.
    """
    truth = one_hot(labels, student.shape[1]).to(student.dtype)
    return ce_weight * squared(student, truth) + kd_weight * squared(student, teachers.mean(0))
