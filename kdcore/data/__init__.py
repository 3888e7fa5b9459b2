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
import gzip
import hashlib
import importlib.util
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdcore import chance
from kdcore.data import own
from kdcore.folders import named
from kdcore.spec import shorten

TEXT = ("wordnet_glosses", "ag_news", "imdb")
NAMES = (
    "digits",
    "fashion_mnist",
    "fashion_pairs",
    "fashion_mnist_full",
    "cifar10",
    "cifar100",
    "imagenet",
    "imagenet_lt",
    *TEXT,
)
EMBEDDED = Path(__file__).parents[1] / "datasets" / "fashion_mnist"
GLOSSES = Path(__file__).parents[1] / "datasets" / "wordnet_glosses"

# Files and folders that must be there: in the package, or else under KDCORE_DATA.
FILES = {
    "digits": (),
    "fashion_mnist": ("train-images.png", "train-labels.gz", "test-images.png", "test-labels.gz"),
    "fashion_pairs": ("train-images.png", "train-labels.gz", "test-images.png", "test-labels.gz"),
    "fashion_mnist_full": tuple(
        f"FashionMNIST/raw/{part}-{kind}-ubyte"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ),
    "cifar10": tuple(
        f"cifar-10-batches-py/{f}"
        for f in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
    ),
    "cifar100": tuple(f"cifar-100-python/{f}" for f in ("train", "test", "meta")),
    "imagenet": ("imagenet/train", "imagenet/val"),
    "imagenet_lt": ("imagenet/ImageNet_LT_train.txt", "imagenet/ImageNet_LT_test.txt"),
    "wordnet_glosses": ("train.tsv.gz", "test.tsv.gz"),
    "ag_news": ("ag_news/train.csv", "ag_news/test.csv"),
    "imdb": ("imdb/train.csv", "imdb/test.csv"),
}
# Training and test examples and classes as published. What is read under one of these names has
# these counts.
COUNTS = {
    "digits": (1_297, 500, 10),
    "fashion_mnist": (10_000, 10_000, 10),
    "fashion_pairs": (50_000, 10_000, 100),
    "fashion_mnist_full": (60_000, 10_000, 10),
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "wordnet_glosses": (20_000, 5_000, 12),
    "ag_news": (120_000, 7_600, 4),
    "imdb": (25_000, 25_000, 2),
    "imagenet": (1_281_167, 50_000, 1_000),
    "imagenet_lt": (115_846, 50_000, 1_000),
}
EMBEDDED_SETS = ("digits", "fashion_mnist", "fashion_pairs", "wordnet_glosses")
DOWNLOADED = ("fashion_mnist_full", "cifar10", "cifar100")  # what torchvision can fetch
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Mean and s.d. per channel, pixel / 255. Constants, so that a draw of images does not change the
# scale of the inputs. Grey sets: over all training images. Colour: the numbers that Guo et al.
# (2024) use; those for CIFAR-100 are CIFAR-10's, see the data card for their quirk.
SCALE = {
    "digits": ((0.3059,), (0.3762,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "fashion_pairs": ((0.2812,), (0.3435,)),
    "fashion_mnist_full": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "imagenet_lt": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# SHA-256 of the published images, then their labels as int64: of CIFAR-100 in the order of
# `ordered`, of Fashion-MNIST in that of its files.
CIFAR100 = {
    "train": "58ae9faa7dc3e26dece2ced2f9f52142f2c87e16c2fffdb46bffe0986ada47fc",
    "test": "a995c5c01feedaec47988825019795a1e9c8cc7990538a89fd918f92afd78eb5",
}
FASHION_MNIST = {
    "train": "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a",
    "test": "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e",
}

PAIRED = 20  # side of each garment in a pair, pixels
DIGITS_TEST = 500


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
    train_true: np.ndarray | None = (
        None  # training labels before label noise: `load` always gives them
    )


def is_text(name: str) -> bool:
    """Whether the examples are texts, as word numbers."""
    return name in TEXT or name.startswith("csv:")


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
        "digest": own.digest(name, named("KDCORE_DATA")),
    }


def check(name: str) -> None:
    """Raise ValueError in one sentence if `name` is unknown or its files are absent. Looks at file
    names only; imports nothing heavy.
    """
    if own.is_own(known(name)):
        own.parts(name, named("KDCORE_DATA"))
        return
    if name in EMBEDDED_SETS:
        folder = GLOSSES if name == "wordnet_glosses" else EMBEDDED
        missing = [f for f in FILES[name] if not (folder / f).is_file()]
        if missing:
            raise ValueError(
                f"Data set {name!r} is part of this package, but {', '.join(missing)} is missing "
                f"in {folder}: install kdcore again."
            )
        return
    root, fetched = named("KDCORE_DATA"), name in DOWNLOADED
    if not root:
        raise ValueError(
            f"Data set {name!r} is not here: set KDCORE_DATA to the folder that holds "
            f"{FILES[name][0]}{' or cifar100/train' * (name == 'cifar100')}"
            + (
                ", or to any folder together with KDCORE_DOWNLOAD=1 to have it downloaded there."
                if fetched
                else "."
            )
        )
    missing = [f for f in FILES[name] if not (Path(root) / f).exists()]
    if name == "cifar100" and all(
        (Path(root) / name / part).is_dir() for part in ("train", "test")
    ):
        return
    if missing and not (fetched and os.environ.get("KDCORE_DOWNLOAD") == "1"):
        raise ValueError(
            f"Data set {name!r} is not here: looked in KDCORE_DATA = {root} and did not find "
            f"{', '.join(missing)}; "
            + (
                "put the files there, or set KDCORE_DOWNLOAD=1 to have them downloaded."
                if fetched
                else "put the files there."
            )
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
    root = named("KDCORE_DATA")
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
    if data.imbalance == 1 and (data.name in COUNTS or own.is_own(data.name)):
        n_train, n_test = (
            COUNTS[data.name][:2]
            if data.name in COUNTS
            else own.counts(data.name, named("KDCORE_DATA"))
        )
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
        return _read(name, root, size, digest)
    except (OSError, EOFError, LookupError, zlib.error) as error:
        cure = (
            f"looked in KDCORE_DATA = {root}"
            if name in FILES and name not in EMBEDDED_SETS
            else "install kdcore again"
        )
        raise ValueError(
            f"Data set {name!r} cannot be read ({type(error).__name__}: {error}): {cure}."
        ) from error


def _read(name, root, size, digest):
    scale = SCALE.get(name, ((), ()))  # numbers of words have no scale
    if name == "digits":
        arrays, classes = _digits(), tuple("0123456789")
    elif name == "fashion_mnist":
        arrays, classes = (*_embedded("train"), *_embedded("test")), FASHION
    elif name == "fashion_pairs":
        arrays, classes = (
            (*_pairs("train", 50_000), *_pairs("test", 10_000)),
            tuple(f"{a} over {b}" for a in FASHION for b in FASHION),
        )
    elif name in ("imagenet", "imagenet_lt"):
        arrays, classes = (_folders if name == "imagenet" else _lists)(Path(root) / "imagenet")
        arrays = (*arrays[:2], *mixed(*arrays[2:]))
    elif name == "cifar100":
        arrays, classes = _cifar100(root)
    elif name.startswith("folder:"):
        arrays, classes = own.pictures(name, root, size)
        arrays = (*ordered(*arrays[:2]), *mixed(*ordered(*arrays[2:])))
        scale = _scale(arrays[0], name)
    elif is_text(name):
        from kdcore.data import text

        *arrays, classes, _ = text.read(name, root, digest)
    else:
        arrays, classes = _torchvision(name, root)
    _as_published(name, root, arrays, classes)
    if name == "fashion_mnist_full":
        genuine(name, root, arrays, FASHION_MNIST)
    if digest and own.digest(name, root) != digest:
        raise ValueError(
            f"Data set {name!r} in KDCORE_DATA = {root} was changed while it was read: start again."
        )
    return _read_only(Dataset(*arrays, classes, *scale))


def _as_published(name, root, arrays, classes):
    """ValueError unless data under a published name have its numbers of examples and classes, and
    labels that are classes.
    """
    found = len(arrays[1]), len(arrays[3]), len(classes)
    if name in COUNTS and found != COUNTS[name]:
        raise ValueError(
            f"Data set {name!r} in KDCORE_DATA = {root} is not the published one: {found[0]} "
            f"training and {found[1]} test examples of "
            f"{found[2]} classes, not {COUNTS[name][0]}, {COUNTS[name][1]} and {COUNTS[name][2]}; "
            "your own data are folder:NAME or csv:NAME."
        )
    for part, y in (("training", arrays[1]), ("test", arrays[3])):
        if y.min() < 0 or y.max() >= len(classes):
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged: {part} labels go from "
                f"{y.min()} to {y.max()}, and there are "
                f"{len(classes)} classes."
            )


def _scale(x, name):
    """Mean and standard deviation per channel of pixel / 255 over all training images, to four
    digits; whole numbers are added, so the same everywhere.
    """
    means, deviations, values = [], [], np.arange(256)
    for channel in range(x.shape[1]):
        count = np.bincount(x[:, channel].ravel(), minlength=256)
        n, total, squares = int(count.sum()), int(count @ values), int(count @ values**2)
        means.append(round(total / n / 255, 4))
        deviations.append(round((n * squares - total**2) ** 0.5 / n / 255, 4))
    if not any(deviations):
        raise ValueError(
            f"Data set {name!r}: all training pictures have one and the same colour; there is "
            "nothing to learn from."
        )
    return tuple(means), tuple(max(d, 1e-4) for d in deviations)


def ordered(x, y):
    """Examples by class, then by the SHA-256 of their pixels (C, H, W): one order, whatever files
    they were in. Equal images of a class keep any order.
    """
    digests = [hashlib.sha256(image.tobytes()).digest() for image in x]
    order = sorted(range(len(y)), key=lambda i: (y[i], digests[i]))
    return x[order], y[order]


def genuine(name: str, root: str, arrays, digests: dict[str, str]) -> None:
    """ValueError unless images and labels, train_x, train_y, test_x, test_y, have these SHA-256."""
    for k, (part, digest) in enumerate(digests.items()):
        x, y = arrays[2 * k : 2 * k + 2]
        found = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
        if found != digest:
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged or altered: its {len(y)} "
                f"{part} images are not the published ones "
                f"(SHA-256 {found[:12]}, not {digest[:12]}); put the original files there."
            )


def _cifar100(root):
    """Torchvision's files, or class folders where those are absent; only the published images,
    which their digest in canonical order tells.
    """
    official = (
        all((Path(root) / f).exists() for f in FILES["cifar100"])
        or os.environ.get("KDCORE_DOWNLOAD") == "1"
    )
    arrays, classes = (
        _torchvision("cifar100", root) if official else _class_folders(Path(root) / "cifar100")
    )
    arrays = [*ordered(*arrays[:2]), *ordered(*arrays[2:])]
    genuine("cifar100", root, arrays, CIFAR100)
    return (*arrays[:2], *mixed(*arrays[2:])), classes


def _class_folders(root):
    """Pictures in root/train/<class>/ and root/test/<class>/, uint8 (n, 3, 32, 32); classes are
    numbered in the order of their names.
    """
    said = f"Data set 'cifar100' in {root}"
    files, arrays = {part: own.picture_files(root / part, said) for part in ("train", "test")}, []
    own.same_classes(files["train"], files["test"], said)
    for part in files.values():
        images = [own.opened(f, said) for c in part for f in part[c]]
        if wrong := next((i.size for i in images if i.size != (32, 32)), None):
            raise ValueError(
                f"{said}: a picture has {wrong[0]} x {wrong[1]} pixels; all have 32 x 32."
            )
        arrays += [
            np.stack([np.asarray(i.convert("RGB")) for i in images]).transpose(0, 3, 1, 2),
            np.repeat(np.arange(len(part)), [len(f) for f in part.values()]),
        ]
    return arrays, tuple(files["train"])


def mixed(x, y):
    """Examples in one fixed order of their own."""
    order = chance.permutation(chance.TEST_ORDER, 0, len(y))
    return x[order], y[order]


def _digits():
    # scikit-learn's own file, as its load_digits reads it: importing scikit-learn takes seconds,
    # and parameters are to be refused before that.
    folder = (
        Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
        / "datasets"
        / "data"
    )
    with gzip.open(folder / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",")
    x, y = table[:, :-1], table[:, -1]
    # 17 grey levels, 0 ... 16, spread over 0 ... 255
    x = np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    y = y.astype(np.int64)
    order = chance.permutation(chance.DIGITS_SPLIT, 0, len(y))
    test, train = np.sort(order[:DIGITS_TEST]), np.sort(order[DIGITS_TEST:])
    return x[train], y[train], x[test], y[test]


def _embedded(part):
    """One part of the embedded Fashion-MNIST: a PNG, 28 wide, images stacked from top to bottom;
    labels as gzipped idx (8 bytes of header).
    """
    from PIL import Image

    with Image.open(EMBEDDED / f"{part}-images.png") as strip:
        x = np.asarray(strip).reshape(-1, 1, 28, 28)
    y = np.frombuffer(
        gzip.decompress((EMBEDDED / f"{part}-labels.gz").read_bytes()), np.uint8, offset=8
    )
    intact(EMBEDDED, {f"{part}_images": x.tobytes(), f"{part}_labels": y.tobytes()})
    return x, y.astype(np.int64)


def intact(folder: Path, contents: dict[str, bytes]) -> None:
    """ValueError unless the embedded contents have the SHA-256 that sha256.json beside them says."""
    recorded = json.loads((folder / "sha256.json").read_text())
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != recorded[name]:
            raise ValueError(
                f"Data that are part of this package are damaged: {name} in {folder}; install "
                "kdcore again."
            )


def _pairs(part, count):
    """`count` ordered pairs of one part's images, each image in turn on top, with one drawn by
    Philox words below; class = 10 * upper + lower.
    """
    from PIL import Image

    x, y = _embedded(part)
    small = np.stack(
        [
            np.asarray(Image.fromarray(image[0]).resize((PAIRED, PAIRED), Image.Resampling.BOX))
            for image in x
        ]
    )
    upper = np.arange(count) % len(y)
    drawn = chance.stream(chance.PAIRS, int(part == "test"), count) % np.uint64(len(y))
    lower = drawn.astype(np.int64)
    return np.concatenate([small[upper], small[lower]], axis=1)[:, None], 10 * y[upper] + y[lower]


def _folders(root):
    """Paths and labels of the pictures in the class folders of train/ and val/; classes are
    numbered in the order of their folders' names.
    """
    said = f"Data set 'imagenet' in {root}"
    files, arrays = {part: own.picture_files(root / part, said) for part in ("train", "val")}, []
    own.same_classes(files["train"], files["val"], said)
    for part in files.values():
        paths = [f"{f.parent.parent.name}/{c}/{f.name}" for c in part for f in part[c]]
        arrays += [
            np.array(paths, dtype=str),
            np.repeat(np.arange(len(part)), [len(f) for f in part.values()]),
        ]
    return arrays, tuple(files["train"])


def _lists(root):
    """Paths and labels as the two lists say, lines "path label"; a class is called like the folder
    of its first training image.
    """
    arrays = []
    for file in ("ImageNet_LT_train.txt", "ImageNet_LT_test.txt"):
        lines = [
            line.rsplit(maxsplit=1) for line in own.lines(root / file, "Data set 'imagenet_lt'")
        ]
        wrong = next(
            (
                i
                for i, line in enumerate(lines)
                if len(line) != 2 or not own.WHOLE_NUMBER.fullmatch(line[1])
            ),
            None,
        )
        if wrong is not None or not lines:
            raise ValueError(
                f"Data set 'imagenet_lt': line {1 + (wrong or 0)} of {root / file} is not of the "
                'form "path label".'
            )
        arrays += [
            np.array([path for path, _ in lines]),
            np.array([label for _, label in lines], dtype=np.int64),
        ]
    labels, first = np.unique(arrays[1], return_index=True)
    if labels[-1] != len(labels) - 1 or arrays[3].max() > labels[-1]:
        raise ValueError(
            f"Data set 'imagenet_lt' in {root} is damaged: the training list names {len(labels)} "
            "classes, but labels go up to "
            f"{max(labels[-1], arrays[3].max())}."
        )
    return arrays, tuple(Path(path).parent.name for path in arrays[0][first])


def picture(x):
    """One entry of train_x or test_x as a PIL image, grey or RGB: pixels (C, H, W) as they are, a
    path opened under KDCORE_DATA/imagenet.
    """
    from PIL import Image

    if isinstance(x, np.ndarray):
        return Image.fromarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0))
    path = Path(named("KDCORE_DATA")) / "imagenet" / x
    # ValueError: absent, truncated, or no picture
    return own.opened(path, "ImageNet").convert("RGB")


def _torchvision(name, root):
    """Train and test arrays and class names from torchvision's own readers (see the top of this
    file for what they read and when they fetch).
    """
    from kdcore._torchvision import torchvision

    from filelock import FileLock

    reader = {"fashion_mnist_full": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}[
        name
    ]
    reader, arrays = getattr(torchvision.datasets, reader), []
    if (
        os.environ.get("KDCORE_DOWNLOAD") == "1"
    ):  # one process fetches, the others wait; complete files are not fetched again
        Path(root).mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(Path(root) / f".{name}.lock"):
                reader(root, train=True, download=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"Data set {name!r} could not be downloaded to KDCORE_DATA = {root} ({error})."
            ) from error
    for train in (True, False):
        try:
            with (
                warnings.catch_warnings()
            ):  # CIFAR's pickles hold dtypes in the form of 2009, which newer numpy remarks upon
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                part = reader(root, train=train)
        except (
            Exception
        ) as error:  # what the readers raise on a truncated or altered file is of many kinds
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged or altered ({error}): put "
                "the original files there."
            ) from error
        x, y = np.asarray(part.data), np.asarray(part.targets, dtype=np.int64)
        if len(x) != len(y):
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged: {len(x)} images but "
                f"{len(y)} labels."
            )
        arrays += [x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2), y]
    return arrays, tuple(part.classes)
