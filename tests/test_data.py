"""Data sets: the embedded images bit for bit, draws as pure functions of a seed, readers on tiny
files in the true on-disk format.
"""

import gzip
import hashlib
import importlib.util
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kdcore import chance, data
from kdcore.data import canonical, sources
from kdcore.data.sources import SOURCES
from kdcore.spec import Data

ROOT = Path(__file__).resolve().parent.parent


def load(name, n_train=None, n_test=None, seed=0, imbalance=1.0, label_noise=0.0, label_seed=0):
    return data.load(
        SimpleNamespace(
            name=name,
            n_train=n_train,
            n_test=n_test,
            seed=seed,
            imbalance=imbalance,
            label_noise=label_noise,
            size=None,
            digest="",
            label_seed=label_seed,
        )
    )


def change(monkeypatch, name, **fields):
    """Other fields in a row of the table, as long as a test runs."""
    monkeypatch.setitem(SOURCES, name, SOURCES[name]._replace(**fields))


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def fingerprint(x):
    """sha256 of each image, as a set: which images are there, whatever their order."""
    return {hashlib.sha256(image.tobytes()).hexdigest() for image in x}


# ---- embedded images -----------------------------------------------------------------------------


def test_embedded_fashion_mnist_is_bit_exact_and_quick():
    data._whole.cache_clear()
    start = time.process_time()
    whole = data._whole("fashion_mnist", "")
    assert time.process_time() - start < 1.0  # 0.2 s measured; the margin is for a busy machine
    recorded = json.loads((sources.EMBEDDED / "sha256.json").read_text())
    for part, x, y in (
        ("train", whole.train_x, whole.train_y),
        ("test", whole.test_x, whole.test_y),
    ):
        assert x.shape == (10_000, 1, 28, 28)
        assert hashlib.sha256(x.tobytes()).hexdigest() == recorded[f"{part}_images"]
        assert (
            hashlib.sha256(y.astype(np.uint8).tobytes()).hexdigest() == recorded[f"{part}_labels"]
        )
    assert (
        whole.train_y[:5].tolist() == [9, 0, 0, 3, 0]
        and np.bincount(whole.test_y).tolist() == [1000] * 10
    )
    # no image twice, none in both parts
    assert len(fingerprint(whole.train_x) | fingerprint(whole.test_x)) == 20_000


def test_embedded_files_are_small_and_carry_their_licence():
    assert sum(f.stat().st_size for f in sources.EMBEDDED.iterdir()) < 9e6
    licence = (sources.EMBEDDED / "LICENSE").read_text()
    assert "MIT License" in licence and "Zalando" in licence and "1708.07747" in licence


@pytest.mark.parametrize("packed", [True, False])
def test_embedding_script_round_trip(tmp_path, monkeypatch, packed):
    spec = importlib.util.spec_from_file_location(
        "embed", ROOT / "scripts" / "embed_fashion_mnist.py"
    )
    embed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(embed)
    x, y = write_fashion(tmp_path, packed=packed)
    embed.main(tmp_path, tmp_path / "out", n_train=7)
    for part, n in (("train", 7), ("test", 6)):
        images, labels = sources._strip(tmp_path / "out", part)
        assert (
            (images[:, 0] == x[part][:n]).all()
            and (labels == y[part][:n]).all()
            and len(images) == n
        )


# ---- pairs of garments ---------------------------------------------------------------------------


def test_a_pair_is_two_small_garments_one_above_the_other():
    from PIL import Image

    pairs, whole = data._whole("fashion_pairs", ""), data._whole("fashion_mnist", "")
    # the partners' numbers are Philox words modulo 10,000: these never change
    for x, y, images, labels, (i, lower) in (
        (pairs.train_x, pairs.train_y, whole.train_x, whole.train_y, (0, 2083)),
        (pairs.train_x, pairs.train_y, whole.train_x, whole.train_y, (3, 4797)),
        (pairs.test_x, pairs.test_y, whole.test_x, whole.test_y, (1, 9245)),
    ):
        halves = [
            Image.fromarray(images[k, 0]).resize((20, 20), Image.Resampling.BOX) for k in (i, lower)
        ]
        assert (x[i, 0] == np.concatenate(halves)).all() and y[i] == 10 * labels[i] + labels[lower]
    # 28 -> 20 pixels: a small pixel spans 1.4 x 1.4 large ones and is the mean of those whose
    # centres it covers, one or two in each direction
    covers = [[k for k in range(28) if 1.4 * j <= k + 0.5 < 1.4 * (j + 1)] for j in range(20)]
    by_hand = np.array(
        [
            [whole.train_x[3, 0][np.ix_(rows, columns)].mean() for columns in covers]
            for rows in covers
        ]
    )
    assert np.abs(pairs.train_x[3, 0, :20] - by_hand).max() <= 1 and {len(c) for c in covers} == {
        1,
        2,
    }
    assert pairs.classes[34] == "Dress over Coat" and len(set(pairs.classes)) == 100


def test_pairs_are_nearly_balanced_and_reproducible():
    pairs = data._whole("fashion_pairs", "")
    assert (
        pairs.train_x.shape == (50_000, 1, 40, 20)
        and pairs.test_x.shape == (10_000, 1, 40, 20)
        and pairs.train_x.flags.c_contiguous
    )
    assert [
        (c.min(), c.max()) for c in (np.bincount(pairs.train_y), np.bincount(pairs.test_y))
    ] == [(440, 559), (77, 128)]  # 100 classes each
    assert len(fingerprint(pairs.train_x)) > 49_980  # hardly any pair twice
    again = sources._pairs(sources.EMBEDDED, "test", 10_000)
    assert (again[0] == pairs.test_x).all() and (again[1] == pairs.test_y).all()
    assert (pairs.train_x / 255).mean() == pytest.approx(pairs.mean[0], abs=5e-5) and (
        pairs.train_x / 255
    ).std() == pytest.approx(pairs.std[0], abs=5e-5)


def test_no_garment_is_in_training_and_test_pairs():
    """Each part is made of its own images, none of which is in both parts; small ones of the two
    parts differ as well.
    """
    pairs = data._whole("fashion_pairs", "")
    train, test = (
        {half.tobytes() for x in images[:, 0] for half in (x[:20], x[20:])}
        for images in (pairs.train_x, pairs.test_x)
    )
    assert 9_900 < len(train) <= 10_000 and 9_900 < len(test) <= 10_000 and not train & test


# ---- what load promises --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, n, shape",
    [("digits", (1297, 500), (1, 8, 8)), ("fashion_mnist", (10_000, 10_000), (1, 28, 28))],
)
def test_arrays(name, n, shape):
    d = load(name)
    for x, y, count in ((d.train_x, d.train_y, n[0]), (d.test_x, d.test_y, n[1])):
        assert (
            x.shape == (count, *shape)
            and x.dtype == np.uint8
            and x.flags.c_contiguous
            and x.max() == 255
            and x.min() == 0
        )
        assert (
            y.shape == (count,)
            and y.dtype == np.int64
            and set(y.tolist()) == set(range(len(d.classes)))
        )
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 0
    # the fixed scale is the one of the complete training set: exact for digits, within sampling
    # error for the embedded part
    tolerance = 5e-5 if name == "digits" else 2e-3
    assert (d.train_x / 255).mean() == pytest.approx(d.mean[0], abs=tolerance)
    assert (d.train_x / 255).std() == pytest.approx(d.std[0], abs=tolerance)


def test_digits_keep_all_seventeen_levels_and_the_split_is_fixed():
    from sklearn.datasets import load_digits

    d, original = load("digits"), load_digits()
    everything = np.concatenate([d.train_x, d.test_x])[:, 0]
    assert len(np.unique(everything)) == 17
    back = np.rint(everything.reshape(-1, 64) * (16 / 255))
    pairs = sorted(zip(back.tolist(), np.r_[d.train_y, d.test_y].tolist()))
    assert pairs == sorted(zip(original.data.tolist(), original.target.tolist()))
    assert (load("digits", seed=5).test_x == d.test_x).all()
    assert chance.permutation(chance.DIGITS_SPLIT, 0, 1797)[:4].tolist() == GOLDEN_SPLIT


def test_spec_data_is_accepted_and_results_are_cached():
    plain = load("fashion_mnist", n_train=30, n_test=20, seed=4)
    assert data.load(Data(name="fashion_mnist", n_train=30, n_test=20, seed=4)) is plain


# ---- draws ---------------------------------------------------------------------------------------

GOLDEN_DRAW = [9787, 984, 1278, 7202, 3232]  # a pure function of the seed: these never change
GOLDEN_SPLIT = [1718, 1506, 7, 1217]


def test_draws_are_nested_seeded_and_reproducible():
    small, large, everything = (load("fashion_mnist", n) for n in (200, 1000, None))
    other = load("fashion_mnist", 200, seed=1)
    assert (small.train_x == large.train_x[:200]).all() and (
        large.train_y == everything.train_y[:1000]
    ).all()
    assert len(fingerprint(large.train_x)) == 1000  # without replacement
    # another seed draws others (4 expected by chance)
    assert len(fingerprint(small.train_x) & fingerprint(other.train_x)) < 20
    whole = data._whole("fashion_mnist", "")
    assert chance.permutation(chance.DRAW, 0, 10_000)[:5].tolist() == GOLDEN_DRAW
    assert (small.train_x[:5] == whole.train_x[GOLDEN_DRAW]).all() and (
        small.train_y[:5] == whole.train_y[GOLDEN_DRAW]
    ).all()


def test_permutation_is_one_and_its_streams_are_separate():
    for n in (1, 2, 1000):
        assert sorted(chance.permutation(chance.DRAW, 3, n)) == list(range(n))
    assert (
        chance.permutation(chance.DRAW, 0, 1000) != chance.permutation(chance.DIGITS_SPLIT, 0, 1000)
    ).any()


def test_test_images_are_the_first_ones_whatever_the_seed():
    a = load("fashion_mnist", 10, n_test=100, seed=0)
    b = load("fashion_mnist", 10, n_test=100, seed=9)
    assert (
        (a.test_x == b.test_x).all()
        and (a.test_y == load("fashion_mnist", 10).test_y[:100]).all()
        and len(a.test_y) == 100
    )


@pytest.mark.parametrize("ratio, images", [(10, 19_573), (50, 12_608), (100, 10_847)])
def test_long_tail_gives_the_published_cifar100_sizes(ratio, images):
    counts = data.long_tail(500, 100, ratio)
    assert (
        counts.sum() == images
        and counts[0] == 500
        and counts[-1] == 500 // ratio
        and (np.diff(counts) <= 0).all()
    )
    if ratio == 100:
        assert counts[:5].tolist() == [500, 477, 455, 434, 415] and counts[-5:].tolist() == [
            6,
            5,
            5,
            5,
            5,
        ]


def test_long_tail_ends_are_exact():
    for n in range(1, 500):
        assert data.long_tail(n, 10, n).tolist()[::9] == [n, 1]


@pytest.mark.parametrize("name, n, share", [("digits", 500, 0.2), ("fashion_pairs", 1000, 0.15)])
def test_label_noise(name, n, share):
    clean, noisy = load(name, n, seed=3), load(name, n, seed=3, label_noise=share, label_seed=5)
    changed = noisy.train_y != noisy.train_true
    assert (
        changed.sum() == round(share * n)
        and (noisy.train_true == clean.train_y).all()
        and (noisy.train_x == clean.train_x).all()
    )
    assert (noisy.test_y == clean.test_y).all() and (clean.train_true == clean.train_y).all()
    more = load(name, n, seed=3, label_noise=2 * share, label_seed=5)
    assert (more.train_y[changed] == noisy.train_y[changed]).all()  # the same labels and more
    assert (load(name, n, seed=3, label_noise=share, label_seed=6).train_y != noisy.train_y).any()


def test_label_noise_reaches_every_other_class_alike():
    labels = np.repeat(np.arange(4), 3000)
    counts = np.zeros((4, 4))
    np.add.at(counts, (labels, data.noisy(labels, 4, 1.0, 0)), 1)
    # 4 standard deviations of a binomial
    assert (counts.diagonal() == 0).all() and np.abs(counts[counts > 0] - 1000).max() < 120


def test_imbalanced_training_set():
    full, tail = load("fashion_mnist", seed=2), load("fashion_mnist", seed=2, imbalance=20)
    # 942: the smallest class among the embedded training images
    counts = data.long_tail(942, 10, 20)
    assert np.bincount(tail.train_y).tolist() == counts.tolist()
    for c in (0, 9):  # each class keeps the beginning of its own order, shuffled
        kept = {x.tobytes() for x in full.train_x[full.train_y == c][: counts[c]]}
        assert {x.tobytes() for x in tail.train_x[tail.train_y == c]} == kept
    # n_train draws from the long tail
    assert (load("fashion_mnist", 300, seed=2, imbalance=20).train_x == tail.train_x[:300]).all()
    assert (tail.test_y == full.test_y).all()


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(name="mnist"), ["'mnist'", "digits", "cifar100"]),
        (dict(name="digits", n_train=1298), ["n_train = 1298", "1297"]),
        (dict(name="digits", n_train=0), ["n_train = 0", "1 to 1297"]),
        (dict(name="digits", n_test=501), ["n_test = 501", "500"]),
        (dict(name="digits", imbalance=0.5), ["imbalance = 0.5", "1 or more"]),
        (dict(name="digits", label_noise=1.5), ["label_noise = 1.5", "0 to 1"]),
        (dict(name="digits", imbalance=float("nan")), ["imbalance = nan"]),
        (dict(name="digits", imbalance=900.0), ["imbalance = 900", "at most"]),
        (
            dict(name="fashion_mnist", imbalance=10.0, n_train=5000),
            ["n_train = 5000", str(data.long_tail(942, 10, 10).sum())],
        ),
    ],
)
def test_bad_input_names_the_value_and_what_is_allowed(arguments, words):
    with pytest.raises(ValueError) as caught:
        load(**arguments)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n, row in sources.SOURCES.items() if not row.folder])
def test_absent_files_say_what_where_and_how(name, tmp_path, monkeypatch):
    fetched = SOURCES[name].fetched
    monkeypatch.delenv("KDCORE_DOWNLOAD", raising=False)
    monkeypatch.delenv("KDCORE_DATA", raising=False)
    with pytest.raises(ValueError, match=f"{name}.*set KDCORE_DATA") as caught:
        data.check(name)
    assert ("KDCORE_DOWNLOAD=1" in str(caught.value)) == fetched
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    if not fetched:
        # changes nothing where nothing can be downloaded
        monkeypatch.setenv("KDCORE_DOWNLOAD", "1")
    with pytest.raises(ValueError) as caught:
        load(name)
    assert all(word in str(caught.value) for word in (name, str(tmp_path), *SOURCES[name].files))
    assert ("KDCORE_DOWNLOAD=1" in str(caught.value)) == fetched and "\n" not in str(caught.value)


def test_a_missing_embedded_file_is_named(tmp_path, monkeypatch):
    change(monkeypatch, "fashion_mnist", folder=tmp_path)
    with pytest.raises(ValueError, match="fashion_mnist.*train-images.png.*install"):
        data.check("fashion_mnist")


# ---- torchvision's readers, on tiny files in the true format -------------------------------------


def write_fashion(folder, packed=False):
    """The four idx files with 12 training and 6 test images; returns (images, labels), each a dict
    by part.
    """
    rng, x, y = np.random.default_rng(0), {}, {}
    for part, prefix, n in (("train", "train", 12), ("test", "t10k", 6)):
        x[part] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        y[part] = np.arange(n, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", x[part]), ("labels-idx1", y[part])):
            raw = (
                bytes([0, 0, 8, array.ndim])
                + np.array(array.shape, ">i4").tobytes()
                + array.tobytes()
            )
            path = folder / f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return x, y


def write_cifar(root, name):
    """Batches of 8 training images each and 8 test images: rows of 3,072 bytes, red then green then
    blue. Returns ({file: md5}, rows, labels).
    """
    rng, sums, rows, labels = np.random.default_rng(1), {}, [], []
    fine = name == "cifar100"
    for file in SOURCES[name].files:
        if file.endswith("meta"):
            content = {
                "fine_label_names" if fine else "label_names": [
                    f"class {i}" for i in range(100 if fine else 10)
                ]
            }
        else:
            rows.append(rng.integers(0, 256, (8, 3072), dtype=np.uint8))
            # so that class folders have no empty class
            labels.append(rng.permutation(np.arange(8) % 4).tolist())
            content = {"data": rows[-1], "fine_labels" if fine else "labels": labels[-1]}
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_bytes(pickle.dumps(content, protocol=2))
        sums[Path(file).name] = hashlib.md5((root / file).read_bytes()).hexdigest()
    return sums, rows, labels


def expect_md5(monkeypatch, reader, sums):
    """torchvision compares each file with the md5 of the real one; in these tests, with the md5 of
    the tiny one.
    """
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(
            reader, attribute, [[file, sums[file]] for file, _ in getattr(reader, attribute)]
        )
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": sums[reader.meta["filename"]]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    monkeypatch.delenv("KDCORE_DOWNLOAD", raising=False)
    for name in ("fashion_mnist_full", "cifar10"):
        change(monkeypatch, name, counts=None, sha256=None)  # these are tiny
    return tmp_path


def test_fashion_mnist_full(folder):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    x, y = write_fashion(raw)
    whole = data._whole("fashion_mnist_full", str(folder))
    drawn = load("fashion_mnist_full", n_train=5, seed=1)
    assert (
        (whole.train_x[:, 0] == x["train"]).all()
        and (whole.test_x[:, 0] == x["test"]).all()
        and (whole.train_y == y["train"]).all()
    )
    assert (
        drawn.train_x == whole.train_x[chance.permutation(chance.DRAW, 1, 12)[:5]]
    ).all() and whole.classes == sources.FASHION


def test_a_truncated_file_of_fashion_mnist_is_refused(folder):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    write_fashion(raw)
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(ValueError, match="fashion_mnist_full.*damaged"):
        load("fashion_mnist_full")


def test_cifar10(folder, monkeypatch):
    from kdcore._torchvision import torchvision

    name = "cifar10"
    sums, rows, labels = write_cifar(folder, name)
    with pytest.raises(ValueError, match=f"{name}.*damaged or altered"):  # not the published md5
        load(name)
    expect_md5(monkeypatch, torchvision.datasets.CIFAR10, sums)
    d = data._whole(name, str(folder))
    assert (d.train_x.reshape(-1, 3072) == np.concatenate(rows[:-1])).all() and (
        d.test_x.reshape(-1, 3072) == rows[-1]
    ).all()
    assert (
        d.train_x.shape[1:] == (3, 32, 32)
        and d.train_x.flags.c_contiguous
        and len(d.mean) == len(d.std) == 3
    )
    assert (
        d.train_y.tolist() == sum(labels[:-1], [])
        and d.test_y.tolist() == labels[-1]
        and d.classes[3] == "class 3"
    )
    assert load(name, n_train=4).train_x.flags.c_contiguous


def write_class_folders(root, rows, labels, classes):
    """The images of `write_cifar` as pictures cifar100/<part>/<class>/<number>.png; the numbers say
    nothing of the order in the official files.
    """
    from PIL import Image

    for part, x, y in zip(("train", "test"), rows, labels):
        for name in classes:
            (root / "cifar100" / part / name).mkdir(parents=True)
        for i, (row, label) in enumerate(zip(x, y)):
            picture = Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0))
            picture.save(root / "cifar100" / part / classes[label] / f"{i * 7919 % 1000:03}.png")


def test_cifar100_is_the_same_from_its_files_and_from_class_folders(tmp_path, monkeypatch):
    from kdcore._torchvision import torchvision

    files, folders = tmp_path / "files", tmp_path / "folders"
    change(monkeypatch, "cifar100", counts=None)  # these are tiny
    files.mkdir()
    monkeypatch.delenv("KDCORE_DOWNLOAD", raising=False)
    sums, rows, labels = write_cifar(files, "cifar100")
    write_class_folders(folders, rows, labels, [f"class {i:02}" for i in range(4)])
    for root in (files, folders):
        monkeypatch.setenv("KDCORE_DATA", str(root))
        # neither the published md5 nor the published pixels
        with pytest.raises(ValueError, match="cifar100.*damaged or altered"):
            load("cifar100")
    expect_md5(monkeypatch, torchvision.datasets.CIFAR100, sums)
    monkeypatch.setenv("KDCORE_DATA", str(files))
    with pytest.raises(ValueError, match="not the published ones") as caught:
        load("cifar100")
    by_hand = sorted(
        zip(labels[0], (hashlib.sha256(row.tobytes()).digest() for row in rows[0]), range(8))
    )
    expected = rows[0][[i for *_, i in by_hand]].reshape(-1, 3, 32, 32)
    digests = [
        hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
        for x, y in (
            canonical.ordered(row.reshape(-1, 3, 32, 32), np.array(y))
            for row, y in zip(rows, labels)
        )
    ]
    assert digests[0][:12] in str(caught.value)
    change(monkeypatch, "cifar100", sha256=dict(zip(("train", "test"), digests)))
    read = {root: data._whole("cifar100", str(root)) for root in (files, folders)}
    a, b = read.values()
    assert (a.train_x == expected).all() and a.train_y.tolist() == sorted(labels[0])
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert (getattr(a, name) == getattr(b, name)).all() and getattr(a, name).flags.c_contiguous
    assert (
        sorted(a.test_y) == sorted(labels[1])
        and len(a.classes) == 100
        and len(b.classes) == 4
        and len(a.mean) == 3
    )
    (folders / "cifar100" / "train" / "class 01" / "extra.png").write_bytes(
        next((folders / "cifar100" / "train").glob("*/*.png")).read_bytes()
    )
    data._whole.cache_clear()
    with pytest.raises(ValueError, match="9 train images are not the published ones"):
        data._whole("cifar100", str(folders))


def test_logits_are_dealt_out_once_and_never_to_their_own_image():
    labels = np.random.default_rng(0).integers(0, 5, 200)
    for how in ("within the class", "across all"):
        givers = data.dealt(labels, how, seed=3)
        assert sorted(givers) == list(range(200)) and (givers != np.arange(200)).all()
        assert (givers == data.dealt(labels, how, seed=3)).all() and (
            givers != data.dealt(labels, how, seed=4)
        ).any()
    assert (labels[data.dealt(labels, "within the class", 3)] == labels).all()
    # one in five by chance
    assert 0.05 < (labels[data.dealt(labels, "across all", 3)] == labels).mean() < 0.4


def test_nothing_is_downloaded_unless_asked(folder, monkeypatch):
    from kdcore._torchvision import torchvision

    asked = []

    def fetch(self):
        asked.append(self.root)
        sums, _, _ = write_cifar(folder, "cifar10")
        expect_md5(monkeypatch, torchvision.datasets.CIFAR10, sums)

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fetch)
    with pytest.raises(ValueError, match="is not here"):
        load("cifar10")
    assert asked == []
    monkeypatch.setenv("KDCORE_DOWNLOAD", "1")
    assert len(load("cifar10").train_y) == 40 and asked == [str(folder)]

    def fail(self):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.CIFAR100, "download", fail)
    with pytest.raises(ValueError, match="cifar100.*could not be downloaded.*no route to host"):
        load("cifar100")


# ---- imports -------------------------------------------------------------------------------------


def test_data_loads_without_torch():
    done = run_python(
        "import sys; from types import SimpleNamespace as S; from kdcore import data\n"
        "data.load(S(name='fashion_mnist', n_train=9, n_test=9, seed=0, imbalance=1.0, "
        "label_noise=0.0, label_seed=0, size=None, digest=''))\n"
        "data.check('digits')\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


SHIM_NEEDED = """
try:
    import torchvision  # fails beside a CPU-only torch, and leaves half of itself behind
except RuntimeError:
    pass
from kdcore import _torchvision
from kdcore._torchvision import torchvision
import timm
from torchvision.transforms.v2 import functional as F
# declared exactly where torchvision's own did not load
assert (_torchvision.SHIM is None) == torchvision.extension._has_ops()
assert F.horizontal_flip(torch.arange(3.0)[None, None]).flatten().tolist() == [2, 1, 0]
"""

# Stand-in for a torchvision whose operators load: somebody else has declared them, and a second
# declaration would be an error.
SHIM_NOT_NEEDED = """
if torch.version.cuda is None:
    own = torch.library.Library("torchvision", "DEF")
    own.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    own.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from kdcore import _torchvision
assert _torchvision.SHIM is None and _torchvision.torchvision.datasets.CIFAR10
"""


def test_torchvision_shim_in_fresh_processes():
    done = run_python(  # torch is imported once, then each case has a process of its own
        "import os, sys, traceback, torch\n"
        f"for case in ({SHIM_NEEDED!r}, {SHIM_NOT_NEEDED!r}):\n"
        "    if os.fork() == 0:\n"
        "        try:\n            exec(case)\n            code = 0\n"
        "        except BaseException:\n            traceback.print_exc()\n            code = 1\n"
        "        sys.stderr.flush()\n        os._exit(code)\n"
        "    assert os.wait()[1] == 0, case\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_small_draw_of_a_long_tail_has_the_tail():
    drawn = np.bincount(load("fashion_mnist", 500, imbalance=100).train_y, minlength=10)
    share = data.long_tail(1000, 10, 100) / data.long_tail(1000, 10, 100).sum()
    assert abs(drawn / 500 - share).max() < 0.03 and drawn[0] > 20 * drawn[9]


def test_every_data_set_is_listed_where_a_reader_looks():
    """In the reading order of the module, and on the data card of the book."""
    card = (Path(__file__).parents[1] / "book" / "data.md").read_text()
    for name in data.NAMES:
        assert name in data.__doc__ and f"`{name}`" in card, name
