"""A grid small enough for tests: digits, a few epochs."""

from kdcore.spec import Data, Distill, Optim, Spec, View

WEAK, STRONG = View(name="weak", strength=0.0), View(name="strong", strength=1.0)


def spec(
    seed=0,
    epochs=3,
    view=WEAK,
    model="resnet-8-16-32",
    teachers=(),
    n_train=64,
    n_test=50,
    lr=0.05,
    batch_size=16,
    **distill,
) -> Spec:
    options = (
        dict(temperature=3.0, ce_weight=0.6, kd_weight=0.4, zscore=False, teacher_mode="eval")
        | distill
    )
    return Spec(
        data=Data(name="digits", n_train=n_train, n_test=n_test, seed=0),
        view=view,
        model=model,
        optim=Optim(
            epochs=epochs, batch_size=batch_size, lr=lr, momentum=0.9, weight_decay=0.0, warmup=0.1
        ),
        distill=Distill(teachers=teachers, **options) if teachers else None,
        model_seed=seed,
        order_seed=seed,
        aug_seed=seed,
    )


def pair(**options) -> Spec:
    """A student of two teachers."""
    return spec(teachers=(spec(seed=101), spec(seed=102, view=STRONG)), **options)
