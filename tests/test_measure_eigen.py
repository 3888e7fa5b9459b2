import numpy as np
import pytest
import torch

from kdcore.measure import trajectories
from kdcore.metrics import eigen
from kdcore.spec import Data, Distill, Optim, Spec, View
from kdcore.train import fit, network

ETA, N = 0.2, 120


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    # shared by the tests of this file
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path_factory.getbasetemp() / "eigen"))


def one_hot(
    model="linear",
    steps=60,
    loss="squared",
    batch_size=N,
    lr=ETA,
    weight_decay=0.0,
    dataset="digits",
):
    optim = Optim(
        epochs=steps * batch_size // N,
        batch_size=batch_size,
        lr=lr,
        momentum=0.0,
        weight_decay=weight_decay,
        warmup=0.0,
        schedule="constant",
    )
    return Spec(
        data=Data(name=dataset, n_train=N, n_test=50, seed=0, label_noise=0.15, label_seed=0),
        view=View(name="clean", strength=0.0),
        model=model,
        optim=optim,
        distill=None,
        model_seed=7,
        order_seed=7,
        aug_seed=0,
        loss=loss,
    )


def student(teacher, longer=3, weight=1.0, temperature=1.0):
    optim = teacher.optim.model_copy(update={"epochs": longer * teacher.optim.epochs})
    listen = Distill(
        teachers=(teacher,),
        temperature=temperature,
        ce_weight=1 - weight,
        kd_weight=weight,
        zscore=False,
        teacher_mode="eval",
    )
    return teacher.model_copy(update={"optim": optim, "distill": listen})


def filters(lam, records, every, decay=0.0):
    """Filter of gradient descent at each record, for the values lam: lam / (lam + c) (1 - (1 - eta
    (lam + c))^m).
    """
    return (
        lam
        / (lam + decay)
        * eigen.gradient_descent(lam + decay, every * np.arange(records)[:, None], ETA)
    )


# --- what is recorded ---


@pytest.mark.parametrize("model", ["linear", "relu-features-80"])
@pytest.mark.parametrize("decay, weight", [(0.0, 1.0), (0.05, 1.0), (0.0, 0.6)])
def test_linear_models_move_along_the_closed_forms(model, decay, weight):
    teacher = one_hot(model, weight_decay=decay)
    run = student(teacher, weight=weight)
    a, b = (trajectories.recorded_paths(s, 5, teacher) for s in (teacher, run))
    lam = a["layer 1 eigenvalues"]
    assert (
        lam[0] == pytest.approx(1, abs=1e-5)
        and (np.diff(lam) < 0).all()
        and a["layer 1"].shape == (13, 8)
    )
    g = filters(lam, 13, 5, decay)
    mixed = eigen.student(filters(lam, 37, 5, decay), g[-1], weight)
    scale = a["layer 1"][-1] / g[-1]  # ||u_k^T Y|| / sigma_k
    assert a["layer 1"] == pytest.approx(scale * g, rel=2e-3, abs=1e-5)
    assert b["layer 1"] == pytest.approx(scale * mixed, rel=2e-3, abs=1e-5)


def test_pairs_of_an_early_stopped_teacher_lie_below_and_reverse_late_with_labels_in_the_target():
    teacher = one_hot("relu-features-80")
    pure = trajectories.trajectories(student(teacher), 5, False, 1)
    assert (
        pure["below student layer 1"],
        pure["points student layer 1"],
        pure["unmatched student layer 1"],
    ) == (1, 1, 0)
    assert (
        pure["decided student layer 1"] + pure["ties student layer 1"] == 28
        and pure["ratio student layer 1"] < 0.9
    )
    mixed = trajectories.trajectories(student(teacher, longer=10, weight=0.5), 5, False, 10)
    assert mixed["below late layer 1"] == 0 and mixed["decided late layer 1"] > 5
    late = trajectories.trajectories(student(teacher, longer=10), 5, False, 10)
    assert late["below late layer 1"] == 1 and late["decided late layer 1"] > 5


def test_the_longer_the_teacher_has_trained_the_nearer_is_its_student_to_the_one_hot_curve():
    teachers = one_hot("relu-features-80"), one_hot("relu-features-80", steps=500, lr=0.9)
    early, late = (
        trajectories.trajectories(student(teacher, longer=1), 5, False, 1) for teacher in teachers
    )
    assert early["ratio student layer 1"] < 0.8 and 0.95 < late["ratio student layer 1"] < 1
    assert early["ties student layer 1"] < late["ties student layer 1"]


@pytest.mark.parametrize("model", ["linear", "relu-features-80"])
def test_with_cross_entropy_most_pairs_of_linear_models_lie_below(model):
    row = trajectories.trajectories(
        student(one_hot(model, steps=100, loss="cross-entropy", lr=0.5)), 5, False, 1
    )
    assert row["below student layer 1"] >= 0.8


def test_most_pairs_of_the_first_layer_of_small_networks_lie_below():
    runs = [
        student(one_hot("mlp-32-centred", 200, "cross-entropy", lr=0.3), longer=1),
        student(one_hot("mlp-32-centred", 200, "squared"), longer=1),
        student(
            one_hot("mlp-32-centred", 300, "cross-entropy", 40, 0.1), longer=1, temperature=4.0
        ),
    ]
    assert (
        np.mean(
            [trajectories.trajectories(run, 5, False, 1)["below student layer 1"] for run in runs]
        )
        >= 0.75
    )


@pytest.mark.parametrize(
    "model, dims", [("mlp-48-16", [64, 48, 16]), ("cnn-4-plain", [25, 36, 72, 16])]
)
def test_directions_are_those_of_the_layers_inputs(model, dims):
    spec = one_hot(model, loss="cross-entropy")
    bases = trajectories.bases(spec)
    assert [v.shape[0] for _, v in bases.values()] == dims
    for name, layer in trajectories.layers(network(spec)).items():
        values, vectors = bases[name]
        assert (
            vectors.T @ vectors == pytest.approx(np.eye(len(values)), abs=1e-9)
            and (np.diff(values) <= 0).all()
        )
        x = torch.randn(3, 1, 8, 8) if name == "layer 1" else None
        if x is not None and layer.weight.ndim == 4:  # filters times patches are the convolution
            rows = trajectories.unfolded(layer, x) @ layer.weight.flatten(1).T
            assert torch.allclose(
                rows.reshape(3, -1, len(layer.weight)).transpose(1, 2),
                (layer(x) - layer.bias[:, None, None]).flatten(2),
                atol=1e-5,
            )


def test_records_are_displacements_along_the_directions():
    spec = one_hot("mlp-16", steps=12, loss="cross-entropy", batch_size=40, lr=0.1)
    got = trajectories.recorded_paths(spec, 4, spec)
    state, _, _ = fit(spec)
    start, end = (trajectories.layers(network(spec, s)) for s in (None, state))
    for name, (_, vectors) in trajectories.bases(spec).items():
        moved = (end[name].weight - start[name].weight).detach().double().numpy()
        assert got[name].shape[0] == 4 and (got[name][0] == 0).all()
        assert got[name][-1] == pytest.approx(
            np.linalg.norm(moved @ vectors, axis=0), rel=1e-3, abs=1e-6
        )


# --- runs that are compared ---


def test_student_and_controls_differ_from_the_teacher_in_what_they_are_about():
    run = student(one_hot("mlp-16", steps=12, loss="cross-entropy", batch_size=40))
    teacher, others = run.teachers[0], trajectories.controls(run)
    assert (run.model_seed, run.order_seed) == (teacher.model_seed, teacher.order_seed)
    assert (
        others["order"].model_seed == teacher.model_seed
        and others["order"].order_seed != teacher.order_seed
    )
    assert others["start"].model_seed != teacher.model_seed and others["start"].distill is None
    assert (
        others["student, start"].teachers == run.teachers
        and others["student, start"].model_seed == others["start"].model_seed
    )
    # full batches have no order
    assert list(trajectories.controls(student(one_hot("mlp-16")))) == ["start", "student, start"]


def test_a_row_holds_each_run_and_layer():
    run = student(
        one_hot("mlp-16", steps=24, loss="cross-entropy", batch_size=40, lr=0.1), longer=1
    )
    row = trajectories.trajectories(run, 3, True, 1)
    for at in (
        "student layer 1",
        "order layer 1",
        "start layer 1",
        "student, start layer 1",
        "late layer 1",
    ):
        assert row[f"decided {at}"] + row[f"ties {at}"] + row[f"unmatched {at}"] == 28
    assert 0 <= row["below student layer 2"] <= 1 and 0 <= row["below order layer 2"] <= 1
    assert "below start layer 2" not in row
    shown = trajectories.paths(run, 3, 1)
    assert set(shown) == {
        f"{name} layer {k}" for name in ("one-hot", "student", "eigenvalues") for k in (1, 2)
    }
    assert (
        len(shown["student layer 1"]) <= trajectories.SHOWN
        and np.shape(shown["student layer 1"])[1] == len(shown["eigenvalues layer 1"]) == 8
    )
    assert shown["student layer 2"][-1] == pytest.approx(
        trajectories.recorded_paths(run, 3, run.teachers[0])["layer 2"][-1], rel=1e-3
    )
