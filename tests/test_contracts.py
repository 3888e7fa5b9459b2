"""What the functions of numbers refuse: shapes that would broadcast, types that would lose a part,
values out of range. ValueError in one sentence.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from kdcore import losses as L
from kdcore import metrics as M
from kdcore import stats as S
from kdcore.metrics import eigen as E
from kdcore.metrics import saliency as A
from kdcore.metrics import tilt as C

NAN, INF = float("nan"), float("inf")
# student (B, C), teachers (K, B, C), labels (B,)
z, t, y = (torch.randn(6, 5), torch.randn(3, 6, 5), torch.arange(6) % 5)
a, b = np.random.default_rng(0).normal(size=(2, 6, 5))
p = np.arange(6) % 5
f, w, c = torch.rand(6, 3, 2, 4), torch.randn(5, 3), torch.randn(5)
m, k = torch.rand(6, 4, 4), torch.rand(6, 4, 4) > 0.5
att = torch.rand(2, 3, 2, 7, 7).softmax(-1)
pairs = E.compare(
    np.cumsum(np.random.default_rng(1).random((9, 3)), axis=0),
    np.cumsum(np.random.default_rng(2).random((9, 3)), axis=0),
)
one = S.Interval(1.0, 0.5, 1.5, 8)
x = np.arange(8.0)
VIT = A.VisionTransformer(
    img_size=8, patch_size=4, in_chans=1, num_classes=5, embed_dim=32, depth=1, num_heads=1
)


def distillation(
    student=z, teachers=t, labels=y, temperature=2.0, ce_weight=0.5, kd_weight=0.5, **more
):
    return L.distillation(student, teachers, labels, temperature, ce_weight, kd_weight, **more)


def mean_squares(student=z, teachers=t, labels=y, ce_weight=0.5, kd_weight=0.5):
    return L.squared_distillation(student, teachers, labels, ce_weight, kd_weight)


LABELS = [
    y[:, None],
    y[:5],
    y.float(),
    y > 2,
    y.to(torch.complex64),
    y.repeat(2, 1),
    torch.nn.functional.one_hot(y, 5).float(),
    y + 1,
    y - 1,
    torch.full_like(y, -100),
]
LOGITS = [z[0], z[None], z[:0], z.long(), z.to(torch.complex64)]
TEACHERS = [
    t[0],
    t[:, :5],
    t[:, :1],
    t[..., :1],
    t[:0],
    t.transpose(0, 1),
    t.to(torch.complex64),
    t.long(),
]
COUNTS = [0, -1, 1.5, NAN, INF, "3", None, True, [1]]
ARRAYS = [
    a[0],
    a[None],
    a[:0],
    a * 1j,
    a.astype(str),
    np.where(a > 1, NAN, a),
    np.where(a > 1, INF, a),
]
CLASSES = [p[:, None], p[:5], p.astype(float), p > 2, p + 1, p - 1, p * 1j, p.astype(str)]

BAD = {
    "losses": [
        *((distillation, dict(labels=v)) for v in LABELS),
        *((mean_squares, dict(labels=v)) for v in LABELS),
        *((of, dict(student=v)) for v in LOGITS for of in (distillation, mean_squares)),
        *((of, dict(teachers=v)) for v in TEACHERS for of in (distillation, mean_squares)),
        *((lambda v: L.kd(z, v, 4.0), dict(v=v)) for v in TEACHERS),
        *((lambda v: L.kd(v, t, 4.0), dict(v=v)) for v in LOGITS),
        *(
            (of, {name: v})
            for name in ("ce_weight", "kd_weight")
            for v in (-0.1, NAN, INF)
            for of in (distillation, mean_squares)
        ),
        *((distillation, dict(temperature=v)) for v in (0.0, -1.0, NAN, INF)),
        *((lambda v: L.kd(z, t, v), dict(v=v)) for v in (0.0, -1.0, NAN, INF)),
        *((L.zscore, dict(logits=v)) for v in (z[:, :1], z[0, 0], z.long(), z.to(torch.complex64))),
        (L.zscore, dict(logits=z, eps=-1.0)),
        *(
            (lambda v: L.squared(z, v), dict(v=v))
            for v in (z[:1], z[:, :1], z[:5], t, y, z.to(torch.complex64))
        ),
        *((lambda v: L.squared(v, z), dict(v=v)) for v in LOGITS),
    ],
    "metrics": [
        *((of, dict(logits=v)) for v in ARRAYS for of in (M.max_probability, M.entropy)),
        *((of, dict(logits=v, y=p)) for v in ARRAYS for of in (M.correct, M.ece)),
        *(
            (of, dict(logits=a, y=v))
            for v in CLASSES
            for of in (M.correct, M.reliability_bins, M.ece, M.official_ece)
        ),
        *(
            (of, dict(v=v))
            for v in (*ARRAYS, a[:5], a[:1], a[:, :1])
            for of in (
                lambda v: M.agreement(a, v),
                lambda v: M.kl(v, a),
                lambda v: M.official_kl(a, v),
            )
        ),
        *((M.log_softmax, dict(logits=v)) for v in (1.0, a[:0], *ARRAYS[3:])),
        *((lambda v: M.kl(a, b, v), dict(v=v)) for v in (0, -1, NAN, INF, [1.0, 2.0])),
        *((lambda v: M.reliability_bins(a, p, v), dict(v=v)) for v in COUNTS),
        *((lambda v: M.kappa(p, p, v), dict(v=v)) for v in COUNTS),
        *(
            (of, dict(pred_a=p, pred_b=v, classes=5))
            for v in CLASSES
            for of in (M.kappa, M.mutual_information, M.official_mutual_information)
        ),
        *((lambda v: M.shuffled_mutual_information(p, v, 5, 0), dict(v=v)) for v in (*CLASSES, 6)),
        *((lambda v: M.shuffled_mutual_information(p, p, 5, 0, v), dict(v=v)) for v in COUNTS),
        (M.shuffled_mutual_information, dict(pred_a=p, pred_b=p, classes=5, seed=None)),
        (M.mutual_information, dict(pred_a=p, pred_b=p, classes=5, estimator="other")),
        *((M.ensemble, dict(teachers=v)) for v in ([], a, [a, b[:5]], [a, b * 1j])),
        *(
            (of, {0: [0.5, 0.6], 1: v})
            for v in ([0.5], [[0.5], [0.6]], [0.5, NAN], [0.5, 1.1], [0.5, 0.5j])
            for of in (M.accuracy_gap, M.affinity)
        ),
        (M.affinity, {0: 0.5, 1: 0.0}),
    ],
    "stats": [
        *(
            (S.mean_interval, dict(values=v))
            for v in (1.0, [], [[1.0, 2.0]], [1.0, NAN], [1.0, INF], [1.0, 1j], ["1", "2"])
        ),
        *((S.mean_interval, dict(values=x, level=v)) for v in (0, 1, 95, -0.5, NAN, [0.9, 0.95])),
        (S.contrast, dict(table=np.ones((3, 2)), weights=[1, -1], level=95)),
        *(
            (S.contrast, dict(table=np.ones((3, 2)), weights=v))
            for v in ([1, -1, 0], [[1, -1]], [1, 1], [0, 0], [1, NAN], [1j, -1j])
        ),
        (S.contrast, dict(table=x, weights=x - 3.5)),
        *((S.noise_floor, dict(a=x, b=v)) for v in (x[:1], x[:, None], x * 1j, [])),
        *((S.correlation, dict(x=x, y=v)) for v in (x[:1], x[:, None], x * 1j, x * NAN, x * 0)),
        *(
            (S.correlation, {"x": x, "y": x**2, of: v})
            for of in ("stratum", "seed_ids")
            for v in ([1, 2], [NAN] * 8)
        ),
        *((S.of_seeds, dict(sums=v)) for v in (x, a, [], np.ones((3, 3)) * NAN, np.ones((3, 2)))),
        *((lambda v: S.verdict(one, 1, v), dict(v=v)) for v in (0, -1, NAN, INF, [1, 2])),
        *((lambda v: S.verdict(one, v, 1), dict(v=v)) for v in (0, 2, NAN, "+")),
        *((S.detectable, dict(interval=one, margin=v)) for v in (0, -1, NAN, INF)),
        *((S.holm, dict(ps=v)) for v in ([-0.1], [1.5], [[0.1]], [INF], 0.1)),
        (S.p_value, dict(interval=S.Interval(0.5, 1.0, -1.0, 5))),
        (S.p_value, dict(interval=S.Interval(0.5, -1.0, 1.0, 5), correlation=True)),
    ],
    "confidence": [
        *((C.log_odds, dict(logits=v, classes=p)) for v in (*ARRAYS, a[:, :1])),
        *((C.log_odds, dict(logits=a, classes=v)) for v in CLASSES),
        *((C.slope, dict(x=x, y=v)) for v in (x[:1], x[:, None], 1.0, x * 1j, x * NAN)),
        *((C.slope, dict(x=v, y=x)) for v in (x[:1], x[:, None], 1.0, [])),
        *(
            (of, dict(v=v))
            for v in (x[:1], x[:, None], x * 1j)
            for of in (lambda v: C.tilt(x, x, v), lambda v: C.instrument_slope(x, x, v))
        ),
        *(
            (C.toy_eigenvalues, {"n": 9, "shared": 1.0, "private": 1.0, of: v})
            for of, v in (("n", 0), ("n", 1.5), ("shared", NAN), ("private", 1j), ("private", INF))
        ),
        *(
            (C.toy_margins, dict(flipped=v, top=1.0, rest=0.5))
            for v in (-0.1, 0.5, NAN, [0.1, 0.2])
        ),
        *((C.toy_margins, dict(flipped=0.1, top=x, rest=v)) for v in (x[:3], x[:, None], x * NAN)),
        *(
            (C.toy_slope, dict(flipped=0.1, teacher=(1.0, 0.5), student=v))
            for v in ((1.0,), (1.0, 0.5, 0.2), (1.0, NAN))
        ),
    ],
    "eigen": [
        *(
            (of, {0: v, 1: 1.0})
            for v in (-1.0, NAN, 1j, "1", [])
            for of in (E.gradient_flow, E.descent_rate, E.rounds, E.effective_time)
        ),
        (E.gradient_flow, {0: x, 1: x[:3]}),
        (E.gradient_descent, {0: 1.0, 1: 3, 2: 2.0}),
        (E.gradient_descent, {0: 1.0, 1: -1, 2: 0.1}),
        (E.ridge, {0: 1.0, 1: 1.0, 2: -1.0}),
        (E.ridge, {0: x, 1: x[:3], 2: 0.0}),
        *((of, {0: 1.0}) for of in (E.rounds, E.effective_time)),
        (E.margin, {0: 2.0, 1: 1.0}),
        (E.margin, {0: 1.0, 1: 2.0, 2: 1.0}),
        *((E.one_hot_time, {0: 1.0, 1: v}) for v in (1.0, -0.1, NAN, 1j)),
        *((E.student, {0: 0.5, 1: 0.5, 2: v}) for v in (-0.1, 1.1, NAN)),
        *((E.student, {0: v, 1: x}) for v in (x[:3], NAN, 1j)),
        *((E.switched, {0: x, 1: v, 2: x}) for v in (x[:3], NAN, 1j)),
        *((E.risk, {0: 0.5, 1: 1.0, 2: v, 3: 1.0}) for v in (NAN, 1j)),
        (E.risk, {0: 0.5, 1: 1.0, 2: 1.0, 3: -1.0}),
        *((E.optimal_filter, {0: 1.0, 1: v, 2: 1.0}) for v in (NAN, 1j)),
        (E.optimal_filter, {0: 1.0, 1: 1.0, 2: 0.0}),
        *((E.directions, {0: v, 1: 1}) for v in (x, a[None], a[:0], a * 1j, a * NAN)),
        *((E.directions, {0: a, 1: v}) for v in (*COUNTS, 6)),
        *(
            (E.projections, {0: v, 1: np.eye(5)})
            for v in (x, np.ones((3, 4)), np.ones((3, 5)) * 1j, np.ones((3, 5)) * NAN)
        ),
        *((E.projections, {0: np.ones((3, 5)), 1: v}) for v in (np.ones(5), np.eye(5) * 1j)),
        *((E.compare, {0: a, 1: v}) for v in (x, a[:, :4], a * NAN, a * 1j)),
        (E.compare, {0: a[:, :1], 1: a[:, :1]}),
        *((E.compare, {0: a, 1: a, 2: v}) for v in (-1.0, NAN, INF)),
        (E.share_below, dict(pairs=pairs._replace(tie=pairs.tie[:1]))),
    ],
    "attention": [
        *(
            (A.cam_sum, dict(f=v, weight=w, bias=c))
            for v in (f[0], f[:, :2], f[:0], f.long(), f.to(torch.complex64))
        ),
        *((A.cam_sum, dict(f=f, weight=v, bias=c)) for v in (w[0], w[:, :1], w.T)),
        *(
            (A.cam_sum, dict(f=f, weight=w, bias=v))
            for v in (c[:1], c[None], c.sum(), torch.cat([c, c]), c.to(torch.complex64))
        ),
        *(
            (of, dict(f=f, weight=w, classes=v))
            for v in (y[:5], y[:, None], y.float(), y > 2, y + 1, y - 1, y.to(torch.complex64))
            for of in (A.cam, A.grad_cam)
        ),
        *((A.cam, dict(f=f, weight=v, classes=y)) for v in (w[0], w[:, :1], w.T)),
        *((A.energy, dict(f=v)) for v in (f[0], f[None], f.long(), f.to(torch.complex64), f[:0])),
        *(
            (of, {0: att, 1: v})
            for v in ((2, 2), (3, 3), (7, 1), (6,), 6, (2.0, 3.0), (2, 3, 1), (-2, -3))
            for of in (A.cls_attention, A.rollout)
        ),
        *(
            (of, {0: v, 1: (2, 3)})
            for v in (att[0], att[..., :6], att[:, :0], att.to(torch.complex64))
            for of in (A.cls_attention, A.rollout)
        ),
        *(
            (of, {0: att, 1: (2, 3), 2: v})
            for v in (0, 2, 1.0, True, None)
            for of in (A.cls_attention, A.rollout)
        ),
        *((A.upsample, dict(maps=m, size=v)) for v in (8, (8,), (8, 0), (8.0, 8), (1, 8, 8), "ab")),
        *(
            (of, dict(maps=v))
            for v in (m[0], m[None], m[:0], m.long(), m * NAN, m.to(torch.complex64))
            for of in (
                A.rescale,
                lambda maps: A.upsample(maps, (8, 8)),
                lambda maps: A.mask_top(maps, 0.4),
            )
        ),
        *((of, {0: m, 1: v}) for v in (-0.1, 1.1, NAN) for of in (A.mask, A.mask_top)),
        *((of, {0: k, 1: v}) for v in (k[:1], k[:, :1], k[0], m) for of in (A.iou, A.pooled_iou)),
        (A.iou, {0: k}),
        (A.area, {0: m}),
        *((lambda v: A.pooled_iou(k, k, batch=v), dict(v=v)) for v in COUNTS),
        *((A.other, {0: v, 1: 0}) for v in COUNTS),
        *((A.other, {0: 6, 1: v}) for v in (-1, None, 1.5)),
        *(
            (A.other, {0: 4, 1: 0, 2: v})
            for v in ([0, 0], [[0, 0, 1, 1]], [0.0, NAN, 0.0, 1.0], [0, 0, 0, 1])
        ),
        *((A.rank_correlation, {0: m, 1: v}) for v in (m[:1], m[:, :1], m[0], m * NAN)),
        *((A.features, {0: torch.nn.Linear(3, 3), 1: v}) for v in (m,)),
        *((A.vit_attention, {0: torch.nn.Linear(3, 3), 1: v}) for v in (m,)),
        *(
            (of, {0: VIT, 1: v})
            for v in (
                m,
                torch.rand(2, 1, 8, 12),
                torch.rand(2, 1, 9, 8),
                torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
            )
            for of in (A.patch_grid, A.vit_attention)
        ),
    ],
}


def call(function, arguments):
    positional = [v for name, v in arguments.items() if isinstance(name, int)]
    return function(
        *positional, **{name: v for name, v in arguments.items() if isinstance(name, str)}
    )


@pytest.mark.parametrize(
    "module, number",
    [(module, number) for module, cases in BAD.items() for number in range(len(cases))],
)
def test_bad_input_is_refused_in_one_sentence(module, number):
    function, arguments = BAD[module][number]
    with pytest.raises(ValueError) as caught:
        call(function, arguments)
    text = str(caught.value)
    assert text and "\n" not in text and len(text) < 400
    raised_in = caught.traceback[-1].path
    assert "kdcore" in str(raised_in), f"{text!r} comes from {raised_in}, by luck"


def test_the_table_names_every_public_function():
    """A new function comes with what it refuses."""
    called = Path(__file__).read_text()
    for letter, module in dict(L=L, M=M, S=S, C=C, E=E, A=A).items():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if (
                function.__module__ == module.__name__
                and not name.startswith("_")
                and name not in ("real", "whole")
            ):
                assert f"{letter}.{name}" in called, (
                    f"{module.__name__}.{name} has no line in the table"
                )
