"""Measurements of how a student's weights move along the eigendirections of its layers' inputs,
against its teacher's.
"""

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from kdcore import store
from kdcore.data import load
from kdcore.data.views import epoch_view, normalise
from kdcore.design import APART, teacher_continued
from kdcore.measure import Passes, measurement
from kdcore.metrics import eigen
from kdcore.spec import Spec
from kdcore.train import device, fit, network, train

# directions that are followed, 28 pairs; of a layer with fewer than 46, as many spread in
# proportion
PLACES = (0, 2, 5, 10, 16, 24, 32, 45)
ROWS = 20_000  # patches that a convolution's directions are computed from, at most
SHOWN = 60  # points of a trajectory in `paths`


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolutional layers in order: "layer 1", "layer 2", ..."""
    found = [module for module in net.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return {f"layer {number}": layer for number, layer in enumerate(found, 1)}


def unfolded(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A layer's inputs as rows: x itself of a linear layer, the patches under its kernel of a
    convolution (rows, channels * k * k).
    """
    if isinstance(layer, nn.Linear):
        return x
    return (
        nn.functional.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)
        .transpose(1, 2)
        .flatten(0, 1)
    )


@lru_cache(maxsize=4)
@torch.no_grad()
def bases(spec: Spec) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Eigenvalues (k,) and eigenvectors (d, k) at PLACES of the second moment of each layer's
    input, on the training images and at the initial weights of this spec.
    """
    data, net, seen, found = load(spec.data), network(spec).eval(), {}, {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
        for name, layer in layers(net).items()
    ]
    net(
        normalise(
            epoch_view(spec.data, "train", spec.view, spec.aug_seed, 0, device()),
            data.mean,
            data.std,
        )
    )
    for hook in hooks:
        hook.remove()
    for name, layer in layers(net).items():
        rows = unfolded(layer, seen[name]).double()
        rows = rows[:: -(-len(rows) // ROWS)].cpu().numpy()
        rank = int(np.linalg.matrix_rank(rows.T @ rows, hermitian=True))
        places = sorted({place * min(rank - 1, PLACES[-1]) // PLACES[-1] for place in PLACES})
        values, vectors = eigen.directions(rows, places[-1] + 1)
        found[name] = values[places], vectors[:, places]
    return found


def recorded_paths(spec: Spec, every: int, basis_of: Spec) -> dict[str, np.ndarray]:
    """||v_k^T (W(t) - W(0))|| of each layer after every so many steps, and the eigenvalues, on the
    directions of `basis_of`: "layer 1" (records, k), "layer 1 eigenvalues" (k,). Trained with a
    recorder, once, and stored.
    """

    def make():
        directions, start, paths = bases(basis_of), {}, {}
        for name, layer in layers(network(spec)).items():
            start[name] = layer.weight.detach().clone()
            paths[name] = [np.zeros(len(directions[name][0]))]
        vectors = {
            name: torch.from_numpy(v).to(device(), torch.float32)
            for name, (_, v) in directions.items()
        }

        @torch.no_grad()
        def record(step, net):
            if (step + 1) % every == 0:
                for name, layer in layers(net).items():
                    moved = (layer.weight - start[name]).flatten(1)  # (outputs, d)
                    paths[name].append((moved @ vectors[name]).norm(dim=0).cpu().numpy())

        fit(spec, after_step=record)
        arrays = {name: np.stack(path).astype(np.float64) for name, path in paths.items()}
        return arrays | {
            f"{name} eigenvalues": values for name, (values, _) in directions.items()
        }, {"spec": spec.hash}

    key = hashlib.sha256(f"trajectories:1:{spec.hash}:{every}:{basis_of.hash}".encode()).hexdigest()
    return store.once("trajectories", key, make).arrays


def controls(spec: Spec) -> dict[str, Spec]:
    """What is compared with the one-hot run beside the student, which shares that run's initial
    weights and batch order.

    order     the one-hot run again in another batch order; absent for full batches, where the order
              changes nothing
    start     the one-hot run with other initial weights and another order
    student, start    the student with those
    """
    apart = spec.model_seed + APART
    again = (
        {}
        if spec.optim.batch_size == spec.data.n_train
        else {"order": spec.teachers[0].model_copy(update={"order_seed": apart})}
    )
    other = {"model_seed": apart, "order_seed": apart}
    return again | {
        "start": spec.teachers[0].model_copy(update=other),
        "student, start": spec.model_copy(update=other),
    }


def followed(spec: Spec, continued: int, control: bool = False, **_) -> Passes:
    """The runs whose paths are recorded, each in a training of its own."""
    others = controls(spec).values() if control else ()
    return Passes((spec,), again=(teacher_continued(spec, continued), spec, *others))


@measurement(version=1, passes=followed)
def trajectories(spec: Spec, every: int, control: bool, continued: int) -> dict[str, float]:
    """A student against one-hot training, layer by layer, over the pairs of directions of
    `eigen.compare`: "<quantity> <run> <layer>".

    run       student, late (the last quarter of the student's records) and with `control` those of
              `controls`; with other initial weights the first layer only, because further ones then
              have other inputs. Directions are those of the teacher's initial network.
    continued    the one-hot run is the teacher's training continued to so many times its steps; 1:
                 the teacher's own
    below     share of the decided pairs whose median ratio is below 1; points: mean share of points
              below the one-hot curve
    decided, ties, unmatched    numbers of pairs; ratio: median over the matched pairs of their
                                median ratio, with quartiles low and high
    "accuracy teacher", "accuracy student": on the given training labels, in the last epoch;
    "eigenvalue 1 layer 1", ...: of the directions, in order
    """
    teacher = spec.teachers[0]
    row = {
        f"accuracy {name}": float(train(s).online_accuracy[-1])
        for name, s in (("teacher", teacher), ("student", spec))
    }
    reference = recorded_paths(teacher_continued(spec, continued), every, teacher)
    student = recorded_paths(spec, every, teacher)
    runs = {
        "student": student,
        "late": {name: path[3 * len(path) // 4 :] for name, path in student.items()},
    }
    runs |= {
        name: recorded_paths(other, every, teacher)
        for name, other in (controls(spec) if control else {}).items()
    }
    names = [name for name in reference if "eigenvalues" not in name]
    row |= {
        f"eigenvalue {k} {layer}": value
        for layer in names
        for k, value in enumerate(reference[f"{layer} eigenvalues"], 1)
    }
    for run, path in runs.items():
        for layer in names:
            if "start" in run and layer != "layer 1":
                continue
            pairs = eigen.compare(reference[layer], path[layer])
            share = eigen.share_below(pairs)
            matched = pairs.ratio[~np.isnan(pairs.ratio)]
            at = f"{run} {layer}"
            low, middle, high = (
                np.quantile(matched, (0.25, 0.5, 0.75)) if len(matched) else (np.nan,) * 3
            )
            row |= {
                f"below {at}": share.pairs,
                f"points {at}": share.points,
                f"ratio {at}": middle,
                f"low {at}": low,
                f"high {at}": high,
            }
            row |= {
                f"decided {at}": share.decided,
                f"ties {at}": share.ties,
                f"unmatched {at}": share.unmatched,
            }
    return {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in row.items()}


@measurement(version=1, passes=followed)
def paths(spec: Spec, every: int, continued: int) -> dict[str, list]:
    """What `trajectories` compares in the first two layers, for plotting: "one-hot layer 1" and
    "student layer 1" (points, k), thinned to SHOWN records that become rarer in proportion to the
    time, and "eigenvalues layer 1" (k,); likewise layer 2 where there is one. Four digits.
    """
    teacher, found = spec.teachers[0], {}
    runs = {
        "one-hot": recorded_paths(teacher_continued(spec, continued), every, teacher),
        "student": recorded_paths(spec, every, teacher),
    }
    for layer in ("layer 1", "layer 2"):
        if layer in runs["student"]:
            found[f"eigenvalues {layer}"] = runs["student"][f"{layer} eigenvalues"]
            for name, run in runs.items():
                found[f"{name} {layer}"] = run[layer][
                    np.unique(np.geomspace(1, len(run[layer]), SHOWN).round().astype(int)) - 1
                ]
    return {
        name: np.vectorize(lambda v: float(f"{v:.4g}"))(values).tolist()
        for name, values in found.items()
    }
