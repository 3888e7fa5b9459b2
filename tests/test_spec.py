"""Specs: plain, frozen, refused when wrong, one stable hash each."""

import subprocess
import sys

import pytest
from pydantic import ValidationError
from small import pair, spec

from kdcore.spec import Data, Optim, Spec, Switch, View

# what the committed results are filed under: it may change only together with RECIPE
GOLDEN = "68707b570ee8df9c0e863a28ff0eeb1deb1d6a5dac83276546110ba354de34f7"


def test_the_hash_is_stable_across_processes_and_versions():
    assert pair().hash == GOLDEN
    code = "import sys; sys.path.insert(0, 'tests'); from small import pair; print(pair().hash)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == GOLDEN
    )


def test_a_spec_survives_json():
    assert Spec.model_validate_json(pair().model_dump_json()) == pair()


@pytest.mark.parametrize(
    "other",
    [
        dict(seed=1),
        dict(epochs=4),
        dict(lr=0.06),
        dict(temperature=4.0),
        dict(ce_weight=0.5),
        dict(kd_weight=0.5),
        dict(zscore=True),
        dict(teacher_mode="train"),
        dict(view=View(name="strong", strength=0.5)),
        dict(n_train=63),
        dict(model="resnet-16-32"),
    ],
)
def test_every_field_changes_the_hash(other):
    assert pair(**other).hash != pair().hash


def test_a_teacher_changes_its_students_hash():
    assert spec(teachers=(spec(seed=1),)).hash != spec(teachers=(spec(seed=2),)).hash


def test_precision_is_part_of_the_hash_where_it_is_not_fp32():
    fp32, bf16 = (pair().model_copy(update={"precision": p}) for p in ("fp32", "bf16"))
    assert fp32.hash == GOLDEN != bf16.hash
    assert spec(teachers=(bf16,)).hash != spec(teachers=(fp32,)).hash


def test_a_field_with_a_default_does_not_rename_old_specs():
    assert "imbalance" not in Data(name="digits", n_train=None, n_test=None, seed=0).canonical
    assert (
        "imbalance"
        in Data(name="digits", n_train=None, n_test=None, seed=0, imbalance=10).canonical
    )


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: View(name="strng", strength=1.0), "'clean', 'base', 'weak', 'strong'"),
        (lambda: View(name="strong", strength=1.5), "less than or equal to 1"),
        (
            lambda: Optim(epochs=0, batch_size=16, lr=0.1, momentum=0.9, weight_decay=0, warmup=0),
            "greater than or equal to 1",
        ),
        (lambda: pair(temperature=0.0), "greater than 0"),
        (
            lambda: spec(model="resnet-16-23"),
            "allowed are .*resnet-16-32.* and every model of timm; did you mean resnet-16-32",
        ),
        (lambda: spec(n_train=8), "batch_size = 16 is larger than n_train = 8"),
        (lambda: spec(model="mlp-0"), "allowed are .*mlp-N"),
        (lambda: Switch(to="teacher", at=1.2, ramp=0.1), "less than or equal to 1"),
        (
            lambda: Data(name="digits", n_train=None, n_test=None, seed=0, label_noise=-0.1),
            "greater than or equal to 0",
        ),
        (lambda: pair(temperature=1e-300), "temperature\n.*must be 0.01 to 1,000"),
        (lambda: pair(temperature=1e300), "must be 0.01 to 1,000"),
        (lambda: pair(kd_weight=1e300), "must be 1e-06 to 1,000,000"),
        (lambda: pair(ce_weight=float("inf")), "finite number"),
        (lambda: spec(epochs=10**12), "epochs\n.*must be 1 to 1,000,000"),
        (lambda: spec(lr=float("inf")), "finite number"),
        (lambda: spec(lr=True), "lr\n.*must be a number"),
        (lambda: spec(epochs=True), "must be a number"),
        (
            lambda: Optim(
                epochs=3,
                batch_size=16,
                lr=0.1,
                momentum=0.9,
                weight_decay=0,
                warmup=0,
                schedule="steps",
                milestones=(True,),
            ),
            "must be a number",
        ),
        (lambda: spec(model="mlp-1\u0662"), "not a known network"),
        (lambda: spec(model="cnn-\uff11\uff16"), "not a known network"),
        (lambda: spec(model="transformer-1\u0966x1"), "not a known network"),
        (
            lambda: spec(model="mlp-100000"),
            r"allowed are .*mlp-N.* .N: 1 to 99999; at most 20 layers",
        ),
        (lambda: spec(model="mlp-" + "9" * 5000), "mlp-N"),
        (lambda: spec(model="mlp" + "-8" * 21), "at most 20 layers"),
        (lambda: spec(model="transformer-16x100"), "or 99 of a transformer"),
        (
            lambda: spec(model="transformer-33x1"),
            "a transformer of width 33 has 2 heads, which do not divide it",
        ),
        (
            lambda: pair(model="linear", zscore=True),
            "zscore = True is not allowed with model = 'linear', whose first logits are all zero",
        ),
        (
            lambda: pair(model="relu-features-40-raw", zscore=True),
            "zscore = True is not allowed with model = 'relu-features-40-raw'",
        ),
        (
            lambda: Spec(**spec().model_dump() | {"pretrained": True}),
            "pretrained = True is not allowed with model = 'resnet-8-16-32'",
        ),
        (
            lambda: Spec(**spec().model_dump() | {"precision": "fp16"}),
            "precision\n.*should be 'fp32' or 'bf16'",
        ),
        (
            lambda: Spec(**spec().model_dump() | {"model": "resnet50.tv_in1k"}),
            "model = 'resnet50.tv_in1k' names weights: that is for pretrained = True",
        ),
        (lambda: View(name="strong", strength=1.0, power=2), "Extra inputs are not permitted"),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(make, says):
    with pytest.raises(ValidationError, match=says):
        make()


def test_timm_knows_the_names_read_from_its_source():
    from kdcore import models
    from kdcore.spec import timm_models

    listed = models.timm.list_models
    names = set(listed(module="", include_tags=False))
    assert {name for name in timm_models() if "." not in name} == names and "resnet18" in names
    # names of weights that timm puts together in a loop are not seen
    weights = {name for name in listed(module="", include_tags=True) if "." in name}
    seen = timm_models() - names
    assert seen <= weights and len(seen) > 0.95 * len(weights)
    # torchvision's first ResNet-50
    assert models.timm.get_pretrained_cfg("resnet50.tv_in1k").url.endswith("resnet50-0676ba61.pth")
    assert "resnet50.tv_in1k" in seen


def test_switching_moves_the_weight_once():
    to_teacher, to_labels = (Switch(to=to, at=0.5, ramp=0.2) for to in ("teacher", "labels"))
    assert [to_teacher.teacher_share(x) for x in (0, 0.49, 0.5, 0.6, 0.7, 1)] == pytest.approx(
        [0, 0, 0, 0.5, 1, 1]
    )
    assert [to_labels.teacher_share(x) for x in (0, 0.49, 0.5, 0.6, 0.7, 1)] == pytest.approx(
        [1, 1, 1, 0.5, 0, 0]
    )
    assert Switch(to="teacher", at=0, ramp=0).teacher_share(0) == 1


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        spec().model = "resnet-16-32"


def test_specs_load_without_torch():
    code = "import sys, kdcore.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_networks_that_start_from_zero_are_those_that_the_spec_knows():
    from kdcore import models
    from kdcore.spec import MODELS, starts_from_zero

    for name in (
        *MODELS,
        "linear",
        "linear-raw",
        "relu-features-40",
        "relu-features-40-raw",
        "mlp-8",
        "mlp-8-centred",
        "cnn-4",
        "cnn-4-plain",
        "cifar-resnet-8",
    ):
        net = models.build(name, 1, 10, (16, 16), 0)
        zero = any(isinstance(m, models.nn.Linear) and not m.weight.any() for m in net.modules())
        assert zero == starts_from_zero(name), name
