"""Data sets of images, and of text, as plain arrays: `load(data)` returns the same arrays for the
same values, on every machine.

    digits              inside scikit-learn: 1,797 grey images of 8 x 8, split once and for all into
                        1,297 train and 500 test
    fashion_mnist       inside this package: the first 10,000 training images and all 10,000 test
                        images, grey, 28 x 28
    fashion_pairs       composed from fashion_mnist: two garments, one above the other, each reduced
                        to 20 x 20; 100 classes, one for each ordered pair of garment classes;
                        50,000 train and 10,000 test images, grey, 40 x 20
    fashion_mnist_full  60,000 + 10,000, read by torchvision from the folder KDCORE_DATA
    cifar10             50,000 + 10,000, colour, 32 x 32, read by torchvision from the folder
                        KDCORE_DATA
    cifar100            50,000 + 10,000, colour, 32 x 32, 100 classes: torchvision's files, or one
                        folder of pictures for each class in KDCORE_DATA/cifar100/train and
                        .../test. The same arrays from both: ordered by class, then by a digest of
                        the pixels.
    imagenet            ILSVRC 2012, 1,281,167 + 50,000, colour, sizes differ: one folder for each
                        class in KDCORE_DATA/imagenet/train and .../val
    imagenet_lt         its long-tailed part, 115,846 + 50,000, as the lists ImageNet_LT_train.txt
                        and ImageNet_LT_test.txt in KDCORE_DATA/imagenet say, lines "path label".
                        Guo et al. (2024) validate both on ImageNet_LT_val.txt instead: 20,000
                        images that lie under train/, seen by a teacher of the whole training set.
                        That list is not read here.
    wordnet_glosses, ag_news, imdb    text as word numbers, the first inside this package: see
                                      kdcore/data/text.py
    folder:NAME, csv:NAME    your own pictures or texts: see kdcore/data/own.py

Nothing is fetched unless the environment says KDCORE_DOWNLOAD=1. CIFAR's own files are Python
pickles, and reading a pickle can run code: they are read by torchvision's reader, which first
compares their md5 with the published ones, and only from a folder that the user named. This module
imports neither torch nor torchvision before an array that torchvision reads is asked for.
"""

import functools
import os
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdcore import chance
from kdcore.data import own
from kdcore.data.sources import SOURCES, complete, stand_in
from kdcore.folders import path_of
from kdcore.spec import shorten

NAMES = tuple(SOURCES)


class Dataset(NamedTuple):
    """Images uint8 (N, C, H, W), C-contiguous; labels int64 (N,). Arrays are read-only, because
    `load` hands the same ones to every caller.

    Of imagenet and imagenet_lt, paths (N,) relative to KDCORE_DATA/imagenet instead of images:
    `picture` opens them one at a time. Of text, word numbers int32 (N, words), 0 = padding; mean
    and std are empty.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, in units of pixel / 255
    std: tuple[float, ...]
    # training labels before label noise: `load` always gives them
    train_true: np.ndarray | None = None


def is_text(name: str) -> bool:
    """Whether the examples are texts, as word numbers."""
    return SOURCES[name].text if name in SOURCES else name.startswith("csv:")


def known(name: str) -> str:
    """The name, or ValueError in one sentence that says which names there are."""
    if name not in NAMES and not own.is_own(name):
        raise ValueError(
            f"Unknown data set {shorten(repr(name), 100)}: known are {', '.join(NAMES)}, and your "
            "own as folder:NAME or csv:NAME."
        )
    return name


def identity(name: str, size: int | None = None) -> dict:
    """The fields of kdcore.spec.Data that say which data these are: of your own also their digest,
    and of pictures the size (None: 32).
    """
    if not own.is_own(name):
        return {"name": name}
    return {
        "name": name,
        "size": (size or 32) if name.startswith("folder:") else None,
        "digest": own.digest(name, path_of("KDCORE_DATA")),
    }


_stand_ins: set[str] | None = None  # data sets that were asked for and not here, while one plans


@contextmanager
def stand_ins():
    """For those who plan: within it a data set that is not here, but has a published size, counts
    as here, and `load` gives random arrays of that size. Yields the names of those for which that
    was so.
    """
    global _stand_ins
    _stand_ins = set()
    try:
        yield _stand_ins
    finally:
        _stand_ins = None
        _load.cache_clear()
        _whole.cache_clear()


def check(name: str) -> None:
    """Raise ValueError in one sentence if `name` is unknown or its files are absent. Looks at file
    names only; imports nothing heavy.
    """
    try:
        look_for(name)
    except ValueError:
        if _stand_ins is None or name not in NAMES or not SOURCES[name].shape:
            raise
        _stand_ins.add(name)


def look_for(name: str) -> None:
    """What `check` does where nobody plans."""
    root = path_of("KDCORE_DATA")
    if own.is_own(known(name)):
        own.parts(name, root)
        return
    row = SOURCES[name]
    if row.folder:
        if missing := [file for file in row.files if not (row.folder / file).is_file()]:
            raise ValueError(
                f"Data set {name!r} is part of this package, but {', '.join(missing)} is missing "
                f"in {row.folder}: install kdcore again."
            )
        return
    if not root:
        places = " or ".join([row.files[0], *row.instead[:1]])
        download = ", or to any folder together with KDCORE_DOWNLOAD=1 to have it downloaded there"
        raise ValueError(
            f"Data set {name!r} is not here: set KDCORE_DATA to the folder that holds "
            f"{places}{download if row.fetched else ''}."
        )
    if row.instead and all((Path(root) / folder).is_dir() for folder in row.instead):
        return
    missing = [file for file in row.files if not (Path(root) / file).exists()]
    if missing and not (row.fetched and os.environ.get("KDCORE_DOWNLOAD") == "1"):
        download = ", or set KDCORE_DOWNLOAD=1 to have them downloaded"
        raise ValueError(
            f"Data set {name!r} is not here: looked in KDCORE_DATA = {root} and did not find "
            f"{', '.join(missing)}; put the files there{download if row.fetched else ''}."
        )


def load(data) -> Dataset:
    """The examples that `data` describes: an object with the attributes of kdcore.spec.Data.

    Training images come in the order of one permutation per (data set, seed). In this order, with
    imbalance r > 1, class c keeps its first n_c images (`long_tail`, applied to the whole training
    set, n_max = its smallest class); then the first n_train of what is left are taken (None: all),
    with imbalance after another permutation. So draws of one imbalance are nested: n_train = 200 is
    the beginning of n_train = 1000. The test set is its first n_test images, in the order of the
    files, whatever the seed (None: all); of ImageNet, AG News and IMDB, whose files may list one
    class after the other, in one fixed order that mixes the classes. Label noise e: round(e n) of
    these n training labels, drawn by label_seed, become one of the other classes, each as likely;
    train_true keeps what they were, and a larger e changes the same labels and more. Test labels
    are never changed. ValueError: unknown or absent data set, or more images asked for than there
    are.
    """
    check(data.name)
    root = path_of("KDCORE_DATA")
    if own.is_own(data.name) and (found := own.digest(data.name, root)) != data.digest:
        raise ValueError(
            f"Data set {data.name!r} in KDCORE_DATA = {root} is not the one that this run was "
            f"described with: its digest is {found[:12]}, "
            f"not {data.digest[:12] or 'given'}. Changed data are another run."
        )
    return _load(
        data.name,
        data.n_train,
        data.n_test,
        data.seed,
        float(data.imbalance),
        float(data.label_noise),
        data.label_seed,
        root,
        data.size,
        data.digest,
    )


def available(data) -> tuple[int, int]:
    """(training, test) examples that `load(data)` gives, with its ValueErrors; where the counts are
    published nothing is read, and may be absent.
    """
    counts = SOURCES[data.name].counts if data.name in SOURCES else None
    if data.imbalance == 1 and (counts or own.is_own(data.name)):
        n_train, n_test = counts[:2] if counts else own.counts(data.name, path_of("KDCORE_DATA"))
        return _count("n_train", data.n_train, n_train, data.name), _count(
            "n_test", data.n_test, n_test, data.name
        )
    found = load(data)
    return len(found.train_y), len(found.test_y)


def long_tail(n_max: int, classes: int, ratio: float) -> np.ndarray:
    """Images per class, n_c = floor(n_max * (1 / r)^(c / (C - 1))) for c = 0 ... C - 1 (Guo et al.
    2024, list files of CIFAR-100 "imb").

    Written as n_max / r^(c / (C - 1)), which is exact in floating point where the quotient is whole
    (49 * (1 / 49) is below 1).
    """
    return np.floor(n_max / ratio ** (np.arange(classes) / (classes - 1))).astype(np.int64)


@functools.lru_cache(maxsize=8)
def _load(name, n_train, n_test, seed, imbalance, label_noise, label_seed, root, size, digest):
    whole = _whole(name, root, size, digest)
    order = chance.permutation(chance.DRAW, seed, len(whole.train_y))
    if not imbalance >= 1:
        raise ValueError(
            f"imbalance = {imbalance} is not allowed: it is the largest class / the smallest "
            "class, 1 or more."
        )
    if imbalance > 1:
        n_max, kept = np.bincount(whole.train_y).min(), np.zeros(len(order), bool)
        if imbalance > n_max:
            raise ValueError(
                f"imbalance = {imbalance:g} leaves a class of {name} without examples: at most "
                f"{n_max} is possible."
            )
        for c, count in enumerate(long_tail(n_max, len(whole.classes), imbalance)):
            kept[order[whole.train_y[order] == c][:count]] = True
        order = order[kept[order]]
        # the head of the old order is still balanced
        order = order[chance.permutation(chance.TAIL, seed, len(order))]
    order = order[: _count("n_train", n_train, len(order), name)]
    n_test = _count("n_test", n_test, len(whole.test_y), name)
    true = whole.train_y[order]
    return _read_only(
        whole._replace(
            train_x=whole.train_x[order],
            train_y=noisy(true, len(whole.classes), label_noise, label_seed),
            test_x=whole.test_x[:n_test],
            test_y=whole.test_y[:n_test],
            train_true=true,
        )
    )


def noisy(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """round(share * n) of the labels replaced by another class, uniform over the other classes - 1;
    a pure function of its arguments.
    """
    if not 0 <= share <= 1:
        raise ValueError(
            f"label_noise = {share} is not allowed: it is a share of the training labels, 0 to 1."
        )
    changed = chance.permutation(chance.NOISE, seed, len(labels))[: round(share * len(labels))]
    step = 1 + chance.stream(chance.NOISE_CLASS, seed, len(labels)) % np.uint64(classes - 1)
    labels = labels.copy()
    labels[changed] = (labels[changed] + step[changed].astype(np.int64)) % classes
    return labels


def dealt(labels: np.ndarray, how: str, seed: int) -> np.ndarray:
    """Whose logits each training image is given: another image, "within the class" of its label or
    "across all", the same ones for a seed.

    The images stand in a circle in one random order (within the class: one circle for each) and
    each takes the next one's, so none takes its own, unless its class has no other. (n,) labels ->
    (n,) numbers of images, each once.
    """
    order = chance.permutation(chance.DEALT, seed, len(labels))
    givers = np.empty(len(labels), np.int64)
    circles = (
        [order] if how == "across all" else [order[labels[order] == c] for c in np.unique(labels)]
    )
    for circle in circles:
        givers[circle] = np.roll(circle, -1)
    return givers


def _count(field, wanted, available, name):
    if wanted is not None and not 1 <= wanted <= available:
        raise ValueError(
            f"{field} = {wanted} is not allowed: {name} has 1 to {available} such examples to "
            "draw from."
        )
    return available if wanted is None else wanted


def _read_only(dataset):
    arrays = {
        name: np.ascontiguousarray(a)
        for name, a in dataset._asdict().items()
        if isinstance(a, np.ndarray)
    }
    for a in arrays.values():
        a.flags.writeable = False
    return dataset._replace(**arrays)


@functools.lru_cache(maxsize=2)
def _whole(name, root, size=None, digest=""):
    """The complete data set in the order of its files; the digest of your own data makes the cache
    notice a new version.
    """
    try:
        absent = _stand_ins is not None and name in _stand_ins
        arrays, classes, scale = stand_in(name) if absent else complete(name, root, size, digest)
    except (OSError, EOFError, LookupError, zlib.error) as error:
        embedded = name in SOURCES and SOURCES[name].folder
        cure = "install kdcore again" if embedded else f"looked in KDCORE_DATA = {root}"
        raise ValueError(
            f"Data set {name!r} cannot be read ({type(error).__name__}: {error}): {cure}."
        ) from error
    return _read_only(Dataset(*arrays, classes, *scale))


def picture(x):
    """One entry of train_x or test_x as a PIL image, grey or RGB: pixels (C, H, W) as they are, a
    path opened under KDCORE_DATA/imagenet.
    """
    from PIL import Image

    if isinstance(x, np.ndarray):
        return Image.fromarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0))
    path = Path(path_of("KDCORE_DATA")) / "imagenet" / x
    # ValueError: absent, truncated, or no picture
    return own.opened(path, "ImageNet").convert("RGB")
