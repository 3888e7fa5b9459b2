"""Where each data set comes from: a row of SOURCES for each, below the functions that read them.

To add a data set, add a row, and a reader unless one of these will do, and describe it in
kdcore/data/__init__.py. A reader is called with the name and with the folder where the files lie,
and returns ([train_x, train_y, test_x, test_y], classes): images uint8 (n, C, H, W), paths (n,) or
word numbers int32 (n, words), labels int64 (n,), classes a tuple of names; all in one order that
depends on the published data alone. It raises ValueError in one sentence where a file is not what
it should be; OSError and the like are put into a sentence by kdcore.data.

Your own data, folder:NAME and csv:NAME, have no row: kdcore.data.own reads them.
"""

import gzip
import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdcore import chance
from kdcore.data import own, text
from kdcore.data.canonical import genuine, ordered, shuffled, undamaged

EMBEDDED = Path(__file__).parents[1] / "datasets" / "fashion_mnist"
DIGITS_TEST = 500
PAIRED = 20  # side of each garment in a pair, pixels
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


class Source(NamedTuple):
    """What is known of a data set before it is read."""

    read: Callable  # (name, folder) -> ([train_x, train_y, test_x, test_y], classes)
    # training and test examples and classes as published: what is read has these
    counts: tuple[int, int, int] | None
    # files and folders that must be there, in `folder` or else under KDCORE_DATA
    files: tuple[str, ...]
    # mean and s.d. per channel, pixel / 255; text has none. Constants, so that a draw of images
    # does not change the scale of the inputs.
    scale: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    folder: Path | None = None  # of what is part of this package; None: KDCORE_DATA
    instead: tuple[str, ...] = ()  # class folders of pictures that do instead of the files
    fetched: bool = False  # torchvision can fetch the files
    text: bool = False  # examples are word numbers
    mixed: bool = False  # the test examples are put into one order that mixes the classes
    sha256: dict[str, str] | None = None  # of the images and labels, see `genuine`
    # of every example, for those who plan without the data; None: they differ, or are always here
    shape: tuple[int, ...] | None = None


# ------------------------------------------------------------------ inside the package, or composed


def _digits(name, folder):
    # scikit-learn's own file, as its load_digits reads it: importing scikit-learn takes seconds,
    # and parameters are to be refused before that.
    place = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
    with gzip.open(place / "datasets" / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",")
    x, y = table[:, :-1], table[:, -1]
    # 17 grey levels, 0 ... 16, spread over 0 ... 255
    x = np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    y = y.astype(np.int64)
    order = chance.permutation(chance.DIGITS_SPLIT, 0, len(y))
    test, train = np.sort(order[:DIGITS_TEST]), np.sort(order[DIGITS_TEST:])
    return [x[train], y[train], x[test], y[test]], tuple("0123456789")


def _strip(folder, part):
    """One part of the embedded Fashion-MNIST: a PNG, 28 wide, images stacked from top to bottom;
    labels as gzipped idx (8 bytes of header).
    """
    from PIL import Image

    with Image.open(folder / f"{part}-images.png") as strip:
        x = np.asarray(strip).reshape(-1, 1, 28, 28)
    y = np.frombuffer(
        gzip.decompress((folder / f"{part}-labels.gz").read_bytes()), np.uint8, offset=8
    )
    undamaged(folder, {f"{part}_images": x.tobytes(), f"{part}_labels": y.tobytes()})
    return x, y.astype(np.int64)


def _embedded(name, folder):
    return [*_strip(folder, "train"), *_strip(folder, "test")], FASHION


def _pairs(folder, part, count):
    """`count` ordered pairs of one part's images, each image in turn on top, with one drawn by
    Philox words below; class = 10 * upper + lower.
    """
    from PIL import Image

    x, y = _strip(folder, part)
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


def _composed(name, folder):
    train, test, _ = SOURCES[name].counts
    arrays = [*_pairs(folder, "train", train), *_pairs(folder, "test", test)]
    return arrays, tuple(f"{a} over {b}" for a in FASHION for b in FASHION)


# -------------------------------------------------------------------------------- under KDCORE_DATA


def _torchvision(reader, name, root):
    """Arrays and class names from one of torchvision's own readers, which first compares the md5 of
    what is a pickle. Fetched only where the environment says so.
    """
    from kdcore._torchvision import torchvision

    from filelock import FileLock

    reader, where, arrays = getattr(torchvision.datasets, reader), str(root), []
    # one process fetches, the others wait; complete files are not fetched again
    if os.environ.get("KDCORE_DOWNLOAD") == "1":
        root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(root / f".{name}.lock"):
                reader(where, train=True, download=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"Data set {name!r} could not be downloaded to KDCORE_DATA = {root} ({error})."
            ) from error
    for train in (True, False):
        try:
            # CIFAR's pickles hold dtypes in the form of 2009, which newer numpy remarks upon
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                part = reader(where, train=train)
        # what the readers raise on a truncated or altered file is of many kinds
        except Exception as error:
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


def _cifar100(name, root):
    """Torchvision's files, or class folders where those are absent; in canonical order, which their
    digest is taken in.
    """
    official = (
        all((root / file).exists() for file in SOURCES[name].files)
        or os.environ.get("KDCORE_DOWNLOAD") == "1"
    )
    if official:
        arrays, classes = _torchvision("CIFAR100", name, root)
    else:
        arrays, classes = _class_folders(root / "cifar100")
    return [*ordered(*arrays[:2]), *ordered(*arrays[2:])], classes


def _folders(name, root):
    """Paths and labels of the pictures in the class folders of imagenet/train and imagenet/val;
    classes are numbered in the order of their folders' names.
    """
    root = root / "imagenet"
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


def _lists(name, root):
    """Paths and labels as the two lists in imagenet/ say, lines "path label"; a class is called
    like the folder of its first training image.
    """
    root, arrays = root / "imagenet", []
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
            f"classes, but labels go up to {max(labels[-1], arrays[3].max())}."
        )
    return arrays, tuple(Path(path).parent.name for path in arrays[0][first])


def _texts(name, root):
    *arrays, classes, _ = text.as_numbers(name, str(root))
    return arrays, classes


# ---------------------------------------------------------------------------------------- the table

GREY = ((0.2860,), (0.3530,))  # Fashion-MNIST, over all 60,000 training images
# The numbers that Guo et al. (2024) use; those for CIFAR-100 are CIFAR-10's, see the data card for
# their quirk.
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STRIPS = ("train-images.png", "train-labels.gz", "test-images.png", "test-labels.gz")

SOURCES = {
    "digits": Source(
        read=_digits,
        counts=(1_297, DIGITS_TEST, 10),
        files=(),  # scikit-learn's, which came with this package
        folder=EMBEDDED.parent,
        scale=((0.3059,), (0.3762,)),
    ),
    "fashion_mnist": Source(
        read=_embedded, counts=(10_000, 10_000, 10), files=STRIPS, folder=EMBEDDED, scale=GREY
    ),
    "fashion_pairs": Source(
        read=_composed,
        counts=(50_000, 10_000, 100),
        files=STRIPS,
        folder=EMBEDDED,
        scale=((0.2812,), (0.3435,)),
    ),
    "fashion_mnist_full": Source(
        read=partial(_torchvision, "FashionMNIST"),
        counts=(60_000, 10_000, 10),
        files=tuple(
            f"FashionMNIST/raw/{part}-{kind}-ubyte"
            for part in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        ),
        scale=GREY,
        shape=(1, 28, 28),
        fetched=True,
        sha256={
            "train": "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a",
            "test": "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e",
        },
    ),
    "cifar10": Source(
        read=partial(_torchvision, "CIFAR10"),
        counts=(50_000, 10_000, 10),
        files=tuple(
            f"cifar-10-batches-py/{file}"
            for file in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
        ),
        scale=CIFAR,
        shape=(3, 32, 32),
        fetched=True,
    ),
    "cifar100": Source(
        read=_cifar100,
        counts=(50_000, 10_000, 100),
        files=tuple(f"cifar-100-python/{file}" for file in ("train", "test", "meta")),
        instead=("cifar100/train", "cifar100/test"),
        scale=CIFAR,
        shape=(3, 32, 32),
        fetched=True,
        mixed=True,
        sha256={
            "train": "58ae9faa7dc3e26dece2ced2f9f52142f2c87e16c2fffdb46bffe0986ada47fc",
            "test": "a995c5c01feedaec47988825019795a1e9c8cc7990538a89fd918f92afd78eb5",
        },
    ),
    "imagenet": Source(
        read=_folders,
        counts=(1_281_167, 50_000, 1_000),
        files=("imagenet/train", "imagenet/val"),
        scale=IMAGENET,
        mixed=True,
    ),
    "imagenet_lt": Source(
        read=_lists,
        counts=(115_846, 50_000, 1_000),
        files=("imagenet/ImageNet_LT_train.txt", "imagenet/ImageNet_LT_test.txt"),
        scale=IMAGENET,
        mixed=True,
    ),
    "wordnet_glosses": Source(
        read=_texts,
        counts=(20_000, 5_000, 12),
        files=("train.tsv.gz", "test.tsv.gz"),
        folder=text.GLOSSES,
        text=True,
    ),
    "ag_news": Source(
        read=_texts,
        counts=(120_000, 7_600, 4),
        files=("ag_news/train.csv", "ag_news/test.csv"),
        shape=(text.LENGTH["ag_news"],),
        text=True,
        mixed=True,
    ),
    "imdb": Source(
        read=_texts,
        counts=(25_000, 25_000, 2),
        files=("imdb/train.csv", "imdb/test.csv"),
        shape=(text.LENGTH["imdb"],),
        text=True,
        mixed=True,
    ),
}


# -------------------------------------------------------------------------- any of them, as a whole


def stand_in(name: str):
    """What `complete` would give of a data set that is not here: random arrays of its published
    size, for those who plan.
    """
    row, random = SOURCES[name], np.random.default_rng(0)
    *counts, classes = row.counts
    arrays = []
    for count in counts:
        if row.text:
            x = random.integers(1, text.MOST_WORDS, (count, *row.shape), dtype=np.int32)
        else:
            x = random.integers(0, 256, (count, *row.shape), dtype=np.uint8)
        arrays += [x, np.arange(count, dtype=np.int64) % classes]
    return arrays, tuple(f"class {c}" for c in range(classes)), row.scale


def complete(name: str, root: str, size: int | None, digest: str):
    """([train_x, train_y, test_x, test_y], classes, (mean, std)) of a data set, root = KDCORE_DATA,
    in the order that draws are made from; size and digest are those of your own.

    ValueError: not the published data, damaged, or your own changed while they were read.
    """
    row = SOURCES.get(name)
    if row:
        (arrays, classes), scale = row.read(name, row.folder or Path(root)), row.scale
    elif name.startswith("folder:"):
        arrays, classes = own.pictures(name, root, size)
        arrays = [*ordered(*arrays[:2]), *ordered(*arrays[2:])]
        scale = _scale(arrays[0], name)
    else:
        *arrays, classes, _ = text.as_numbers(name, root, digest)
        scale = ((), ())  # numbers of words have none
    as_published(name, root, arrays, classes)
    if row and row.sha256:
        genuine(name, root, arrays, row.sha256)
    if digest and own.digest(name, root) != digest:
        raise ValueError(
            f"Data set {name!r} in KDCORE_DATA = {root} was changed while it was read: start again."
        )
    if not row or row.mixed:
        arrays = [*arrays[:2], *shuffled(*arrays[2:])]
    return arrays, classes, scale


def as_published(name: str, root: str, arrays, classes) -> None:
    """ValueError unless data under a published name have its numbers of examples and classes, and
    labels that are classes.
    """
    found = len(arrays[1]), len(arrays[3]), len(classes)
    counts = SOURCES[name].counts if name in SOURCES else None
    if counts and found != counts:
        raise ValueError(
            f"Data set {name!r} in KDCORE_DATA = {root} is not the published one: {found[0]} "
            f"training and {found[1]} test examples of {found[2]} classes, not {counts[0]}, "
            f"{counts[1]} and {counts[2]}; your own data are folder:NAME or csv:NAME."
        )
    for part, y in (("training", arrays[1]), ("test", arrays[3])):
        if y.min() < 0 or y.max() >= len(classes):
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged: {part} labels go from "
                f"{y.min()} to {y.max()}, and there are {len(classes)} classes."
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
