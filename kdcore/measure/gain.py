"""What distillation is worth, measured for any run: a teacher, a model trained on labels alone, a
student. Clean examples, evaluation mode.
"""

import numpy as np

from kdcore import metrics
from kdcore.data import load
from kdcore.measure import clean, measurement, recorded
from kdcore.spec import Spec


@measurement(version=1)
def gain(spec: Spec) -> dict[str, float]:
    """Accuracies, fractions, and losses, nats. The training examples have two labels each, the
    given one and the true one: they differ by label noise.

    accuracy given      on the training examples, by the labels that were learnt from: near 1, the
                        model interpolates
    accuracy true       on the same, by the true labels
    accuracy memorised  share of the mislabelled training examples whose wrong label is predicted;
                        nan (None in a row) without label noise
    accuracy test       on the test set, and on its even and odd examples apart: one half can choose
                        a setting that the other half judges
    loss given, loss test   mean cross-entropy
    """
    data = load(spec.data)
    train, test = (recorded(spec, spec.data, split, clean(spec), 1) for split in ("train", "test"))
    wrong, right = data.train_y != data.train_true, metrics.correct(test, data.test_y)
    given = metrics.correct(train, data.train_y)
    row = {
        "accuracy given": given.mean(),
        "accuracy true": metrics.correct(train, data.train_true).mean(),
        "accuracy memorised": given[wrong].mean() if wrong.any() else float("nan"),
        "accuracy test": right.mean(),
        "accuracy test even": right[::2].mean(),
        "accuracy test odd": right[1::2].mean(),
        "loss given": -metrics.log_softmax(train)[np.arange(len(train)), data.train_y].mean(),
        "loss test": -metrics.log_softmax(test)[np.arange(len(test)), data.test_y].mean(),
    }
    return {k: float(v) for k, v in row.items()}
