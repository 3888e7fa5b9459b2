"""The tables of `contrasts.primary` of data whose rows this book publishes; nothing is trained."""

import pandas as pd

from kdcore import results
from kdcore.book import chapter, contrasts, settings, trials
from kdcore.measure import attention, confidence, outputs

LABELS = ["seed", "loss", "teachers", "view"]


def rows_of(measurement, plan, **arguments):
    """The published rows of a plan, lines (*LABELS, spec); None unless every one is there."""
    found = results.stored(measurement, [line[-1] for line in plan], **arguments)
    if found is None:
        return None
    return pd.concat([pd.DataFrame([line[:-1] for line in plan], columns=LABELS), found], axis=1)


def garments_plan(q, seed, sun_learning_rate):
    """(*LABELS, spec) of the students of one seed on garments, as the chapters train them."""
    sun = dict(temperature=2.0, ce_weight=0.1, kd_weight=9.0, zscore=True)
    for kind, view in (("Sw", trials.views(q)["w"]), ("Ss", trials.views(q)["s"])):

        def taught(pair, view=view, **changes):
            return trials.student(q, seed, view, trials.named(q, seed, pair), **changes)

        yield seed, "one-hot", "–", kind, taught("")
        for pair in trials.PAIRS:
            yield seed, "vanilla", pair, kind, taught(pair)
        yield seed, "z-same", "ws", kind, taught("ws", zscore=True)
        yield seed, "z-sun", "ws", kind, taught("ws", learning_rate=sun_learning_rate, **sun)
        if seed < 5:
            yield seed, "vanilla", "w", kind, taught("w")


def garments():
    """(runs, maps, {temperature: tilts}) from the published rows of the chapters on garments; None
    where the runs are not there, and in place of what else is not.
    """
    preset = chapter.preset("zscore_kd", "published")
    q = trials.Regime(**{name: preset[name] for name in trials.Regime.model_fields})
    weak, strong = trials.views(q).values()
    sun = preset["sun_learning_rate"]
    plan = [line for seed in q.all_seeds for line in garments_plan(q, seed, sun)]
    looked = [x for x in plan if x[1] == "vanilla" and len(x[2]) == 2 and x[3] == "Ss"]
    runs = rows_of(outputs.model, plan, weak=weak, strong=strong, draws=q.draws)
    if runs is None:
        return None
    shown = chapter.preset("attention_divergence", "published")
    where = dict(images=shown["images"], threshold=shown["threshold"])
    maps = rows_of(attention.attention, looked, weak=weak, strong=strong, **where)
    preset = chapter.preset("confidence_exaggeration", "published")
    main = settings.Main(**{name: preset[name] for name in settings.Main.model_fields})
    tilts = {}
    for tau in (4, 1):
        students = [settings.student(main.setting, seed, float(tau)) for seed in main.all_seeds]
        found = results.stored(confidence.confidence, students)
        tilts[tau] = None if found is None else found.assign(seed=list(main.all_seeds))
    return contrasts.quantities(runs), maps, tilts
