"""Measurements: pure functions of recorded runs, spec -> scalars. `version` is raised when a definition changes.

Every model is measured on the same fixed draws of the same views, whole split, eval mode. Column names read
"<metric> <split> <view>", e.g. "agreement train strong".
"""

import numpy as np

from kdcore import metrics
from kdcore.data import load
from kdcore.spec import Inputs, Spec, View
from kdcore.train import logits, train

EVALUATION_SEED = 2_000_000_000  # views used for measuring are drawn apart from every training view
BASE = View(name="base", strength=0.0)
CLEAN = View(name="clean", strength=0.0)


def recorded(spec: Spec, data, split: str, view: View, draws: int) -> np.ndarray:
    """Logits (draws * n, classes) on the fixed draws of a view; a clean view has one draw."""
    at = Inputs(data=data, split=split, view=view, aug_seed=EVALUATION_SEED, first=0, count=1 if view.name == "clean" else draws)
    z = logits(spec, at)
    return z.reshape(-1, z.shape[-1])


def model(spec: Spec, weak: View, strong: View, draws: int) -> dict[str, float]:
    """One model by itself, and against its teachers' mean logits where it has teachers.

    weak, strong: the fixed views beside the clean one; `draws` of each on the training images, one on the test images.
    """
    data, run, row = load(spec.data), train(spec), {}
    row["accuracy online"] = float(run.online_accuracy[-1])
    row["loss online"] = float(run.loss[-1])
    for split in ("train", "test"):
        views = {"clean": CLEAN, "weak": weak, "strong": strong} | ({"base": BASE} if split == "test" else {})
        for name, view in views.items():
            k = 1 if split == "test" or name == "clean" else draws
            at, labels = f"{split} {name}", np.tile(getattr(data, f"{split}_y"), k)
            z = recorded(spec, spec.data, split, view, k)
            row[f"accuracy {at}"] = metrics.correct(z, labels).mean()
            if name != "base":
                row |= alone(z, labels, at) | (against(spec, z, labels, split, view, k, at) if spec.teachers else {})
    return {k: float(f"{v:.8g}") for k, v in row.items()}


def alone(z: np.ndarray, labels: np.ndarray, at: str) -> dict[str, float]:
    return {
        f"entropy {at}": metrics.entropy(z).mean(),
        f"nll {at}": -metrics.log_softmax(z)[np.arange(len(z)), labels].mean(),
        f"ece {at}": metrics.ece(z, labels),
        f"official ece {at}": metrics.official_ece(z, labels),
    }


def against(spec: Spec, z: np.ndarray, labels: np.ndarray, split: str, view: View, draws: int, at: str) -> dict[str, float]:
    """The student's logits z against those of its teachers on the same images."""
    each = np.stack([recorded(t, spec.data, split, view, draws) for t in spec.teachers])
    mean = metrics.ensemble(each)
    t, s, classes = mean.argmax(1), z.argmax(1), z.shape[1]
    row = {
        f"teacher accuracy {at}": metrics.correct(mean, labels).mean(),
        f"teacher entropy {at}": metrics.entropy(mean).mean(),
        f"agreement {at}": metrics.agreement(mean, z).mean(),
        f"agreement where the teacher errs {at}": metrics.agreement(mean, z)[~metrics.correct(mean, labels).astype(bool)].mean(),
        f"kl {at}": metrics.kl(mean, z).mean(),
        f"kl reverse {at}": metrics.kl(z, mean).mean(),
        f"official kl {at}": metrics.official_kl(mean, z).mean(),
        f"kappa {at}": metrics.kappa(t, s, classes),
        f"mi {at}": metrics.mutual_information(t, s, classes, "plug-in"),
        f"mi miller-madow {at}": metrics.mutual_information(t, s, classes, "miller-madow"),
        f"mi shuffled {at}": metrics.shuffled_mutual_information(t, s, classes, seed=0, draws=5).mean(),
        f"official mi {at}": metrics.official_mutual_information(t, s, classes),
    }
    if len(each) > 1:
        row[f"agreement of teachers {at}"] = metrics.agreement(each[0], each[1]).mean()
        row[f"kl of teachers {at}"] = metrics.kl(each[0], each[1]).mean()
    return row


model.version = 1
