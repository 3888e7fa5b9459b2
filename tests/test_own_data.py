"""Your own data in one line: what is read, what is refused, and how a run knows which data it was
described with.
"""

import gzip
import os

import numpy as np
import pytest
from PIL import Image

from kdcore import data
from kdcore.book import settings, trials
from kdcore.data import own, sources, text
from kdcore.data.sources import SOURCES
from kdcore.spec import Data


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    # a change is seen at once, and not once a minute
    monkeypatch.setattr(own, "_seen", own._seen.__wrapped__)
    return tmp_path


def colours(n, side=20, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def write_folder(root, name="pets", classes=("cat", "dog"), part="test", grey=False):
    """Five training pictures and two others of each class; returns those for training by class."""
    kept = {}
    for k, c in enumerate(classes):
        for where, n in (("train", 5), (part, 2)):
            folder = root / name / where / c
            folder.mkdir(parents=True)
            x = colours(n, seed=10 * k + n)
            for i, image in enumerate(x):
                Image.fromarray(image[..., 0] if grey else image).save(folder / f"{i}.png")
            if where == "train":
                kept[c] = x
    return kept


def load(name, size=None, n_train=None, n_test=None):
    return data.load(Data(**data.identity(name, size), n_train=n_train, n_test=n_test, seed=0))


def refused(words, call, *arguments):
    with pytest.raises(ValueError) as caught:
        call(*arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


# ---- class folders of pictures ----


@pytest.mark.parametrize("part", ["test", "val"])
def test_class_folders_are_read_resized_and_scaled_by_themselves(root, part):
    write_folder(root, part=part)
    d = load("folder:pets", 8)
    assert (
        d.train_x.shape == (10, 3, 8, 8)
        and d.test_x.shape == (4, 3, 8, 8)
        and d.classes == ("cat", "dog")
    )
    assert d.train_x.flags.c_contiguous and sorted(d.train_y.tolist()) == [0] * 5 + [1] * 5
    whole = d.train_x / 255
    assert np.allclose(d.mean, whole.mean((0, 2, 3)), atol=1e-4) and np.allclose(
        d.std, whole.std((0, 2, 3)), atol=1e-4
    )
    small = np.asarray(
        Image.open(root / "pets" / "train" / "dog" / "3.png").resize(
            (8, 8), Image.Resampling.LANCZOS
        )
    ).transpose(2, 0, 1)
    (at,) = np.flatnonzero((d.train_x == small).all((1, 2, 3)))
    assert d.train_y[at] == 1


def test_grey_pictures_stay_grey_and_one_of_colour_makes_all_colour(root):
    write_folder(root, grey=True)
    assert load("folder:pets", 8).train_x.shape == (10, 1, 8, 8)
    Image.fromarray(colours(1)[0]).save(root / "pets" / "train" / "cat" / "9.png")
    assert load("folder:pets", 8).train_x.shape == (11, 3, 8, 8)


def test_the_order_does_not_depend_on_names_of_files(root):
    write_folder(root)
    before = load("folder:pets", 8, n_train=4)
    for file in (root / "pets" / "train" / "cat").glob("*.png"):
        file.rename(file.with_name(f"z{9 - int(file.stem)}.png"))
    after = load("folder:pets", 8, n_train=4)
    assert (before.train_x == after.train_x).all() and (before.train_y == after.train_y).all()


def test_what_is_no_picture_is_not_read(root):
    write_folder(root)
    before = load("folder:pets", 8)
    cat = root / "pets" / "train" / "cat"
    for name in (".DS_Store", "._0.png", "Thumbs.db", "notes.txt"):
        (cat / name).write_bytes(b"no picture")
    for folder in (".ipynb_checkpoints", ".git"):
        (root / "pets" / "train" / folder).mkdir()
    after = load("folder:pets", 8)
    assert (before.train_x == after.train_x).all() and after.classes == ("cat", "dog")
    assert data.identity("folder:pets") == data.identity("folder:pets", 32)


def test_an_empty_class_other_classes_and_damaged_pictures_are_refused_by_name(root):
    write_folder(root)
    (root / "pets" / "train" / "fox").mkdir()
    refused(["folder:pets", "train/fox", "no picture"], load, "folder:pets", 8)
    Image.fromarray(colours(1)[0]).save(root / "pets" / "train" / "fox" / "0.png")
    refused(["'fox'", "must be the same"], load, "folder:pets", 8)
    (root / "pets" / "test" / "fox").mkdir()
    broken = root / "pets" / "test" / "fox" / "0.png"
    broken.write_bytes((root / "pets" / "train" / "fox" / "0.png").read_bytes()[:60])
    refused([str(broken), "cannot be used"], load, "folder:pets", 8)


def test_pictures_in_odd_places_and_links_to_nowhere_are_refused(root):
    write_folder(root)
    train = root / "pets" / "train"
    stray = train / "stray.png"
    Image.fromarray(colours(1)[0]).save(stray)
    refused(["stray.png", "beside the class folders"], load, "folder:pets", 8)
    stray.unlink()
    (train / "cat" / "deeper").mkdir()
    refused(["train/cat", "deeper", "directly"], load, "folder:pets", 8)
    (train / "cat" / "deeper").rmdir()
    (train / "bird").symlink_to(root / "nowhere")
    refused(["train/bird", "nowhere"], load, "folder:pets", 8)
    (train / "bird").unlink()
    (root / "same" / "train").mkdir(parents=True)
    (root / "same" / "test").symlink_to(root / "same" / "train")
    refused(["same folder"], load, "folder:same", 8)
    (root / "pets" / "val").mkdir()
    refused(["pets/test", "pets/val", "leave one"], load, "folder:pets", 8)


def test_a_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image = Image.new("RGB", (40, 20), "red")
    image.save(tmp_path / "x.jpg", exif=exif)
    assert own.opened(tmp_path / "x.jpg", "").size == (20, 40)


def test_a_set_that_changes_while_it_is_read_is_not_used(root, monkeypatch):
    write_folder(root)
    examples = Data(**data.identity("folder:pets", 8), n_train=4, n_test=2, seed=0)
    pictures = own.pictures

    def meanwhile(*arguments):
        found = pictures(*arguments)
        Image.fromarray(colours(1, seed=77)[0]).save(root / "pets" / "train" / "cat" / "0.png")
        return found

    monkeypatch.setattr(own, "pictures", meanwhile)
    refused(["was changed while it was read"], data.load, examples)


def test_constant_pictures_are_refused_and_a_constant_channel_is_not(root):
    folder = root / "flat"
    for part in ("train", "test"):
        for c, colour in (("a", (9, 200, 0)), ("b", (9, 100, 0))):
            (folder / part / c).mkdir(parents=True)
            Image.new("RGB", (8, 8), colour).save(folder / part / c / "0.png")
    d = load("folder:flat", 8)
    assert d.std[0] == d.std[2] == 1e-4 and d.std[1] > 0.1
    for file in folder.glob("*/*/0.png"):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(file)
    refused(["folder:flat", "nothing to learn"], load, "folder:flat", 8)


def test_sixteen_bits_are_scaled_and_unknown_ranges_refused(root):
    write_folder(root, grey=True)
    deep = root / "pets" / "train" / "cat" / "8.png"
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160).save(deep)
    assert (
        np.abs(
            np.asarray(own.opened(deep, "")).astype(int).ravel()
            - np.arange(400) * 160 * 255 / 65535
        ).max()
        <= 0.5
    )
    assert load("folder:pets", 8).train_x.shape == (11, 1, 8, 8)
    floating = root / "pets" / "train" / "cat" / "8.tif"
    Image.fromarray(np.linspace(0, 1e6, 400, dtype=np.float32).reshape(20, 20)).save(floating)
    refused([str(floating), "floating points"], load, "folder:pets", 8)
    floating.unlink()
    large = root / "pets" / "train" / "cat" / "7.tif"
    Image.fromarray(np.full((20, 20), 200, dtype=np.int32)).save(large)
    refused([str(large), "32 bits", "8 or 16 bits"], load, "folder:pets", 8)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [
        ("1", 1, 255),
        ("P", 0, None),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("LA", (7, 255), 7),
    ],
)
def test_other_modes_become_grey_or_colour(tmp_path, mode, colour, expected):
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new(mode, (4, 4), colour).save(file)
    image = own.opened(file, "")
    assert image.mode == ("L" if mode in ("1", "LA") else "RGB")
    assert expected is None or image.getpixel((1, 1)) == expected


def test_a_picture_of_a_billion_pixels_is_one_sentence(root):
    write_folder(root)
    huge = root / "pets" / "train" / "cat" / "huge.png"
    import struct
    import zlib

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    huge.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b"")
    )
    refused([str(huge)], load, "folder:pets", 8)


@pytest.mark.parametrize(
    "name, words",
    [
        ("folder:absent", ["absent/train"]),
        ("folder:../etc", ["'folder:../etc'", "letters"]),
        ("folder:", ["letters"]),
        ("csv:a b", ["letters"]),
        ("tarball:x", ["Unknown", "folder:NAME"]),
        ("folder:<script>", ["letters"]),
    ],
)
def test_names_and_absent_folders(root, name, words):
    refused(words, data.check, name)
    with pytest.raises(ValueError):
        load(name, 8)


def test_size_is_for_pictures_of_ones_own(root):
    write_folder(root)
    for fields in (
        dict(name="digits", size=16),
        dict(name="folder:pets", size=None),
        dict(name="folder:pets", size=4),
        dict(name="folder:pets", size=1000),
    ):
        with pytest.raises(ValueError):
            Data(**fields, n_train=5, n_test=2, seed=0)
    assert (
        Data(name="digits", n_train=5, n_test=2, seed=0).canonical
        == '{"n_test":2,"n_train":5,"name":"digits","seed":0}'
    )


def test_pictures_beyond_the_memory_are_refused_before_they_are_read(root, monkeypatch):
    write_folder(root)
    monkeypatch.setattr(own, "MOST_BYTES", 1000)
    monkeypatch.setattr(own, "opened", None)
    refused(["14 pictures", "smaller size"], load, "folder:pets", 64)


def test_a_changed_folder_is_another_run_and_an_old_run_says_so(root):
    write_folder(root)
    old = Data(**data.identity("folder:pets", 8), n_train=4, n_test=2, seed=0)
    data.load(old)
    file = root / "pets" / "train" / "cat" / "0.png"
    Image.fromarray(colours(1, seed=99)[0]).save(file)
    os.utime(file, ns=(1, 1))
    new = Data(**data.identity("folder:pets", 8), n_train=4, n_test=2, seed=0)
    assert new.hash != old.hash
    refused(["folder:pets", "another run", old.digest[:12]], data.load, old)
    assert data.load(new).train_x.shape == (4, 3, 8, 8)


# ---- files of texts ----


def write_csv(
    root,
    train="text,label\ngood film,1\nbad film,0\nfine,1\n",
    test="text,label\nvery good,1\n",
    name="mood",
    end="",
    classes=None,
):
    (root / name).mkdir(exist_ok=True)
    for part, content in (("train", train), ("test", test)):
        raw = content.encode() if isinstance(content, str) else content
        (root / name / f"{part}.csv{end}").write_bytes(gzip.compress(raw) if end else raw)
    if classes:
        (root / name / "classes.txt").write_text(classes)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_texts_of_ones_own(root, end):
    write_csv(
        root,
        end=end,
        train='\ufefftext,label\n"good, ""quoted""\nfilm",1\nbad film,0\n\n',
        classes="negative\npositive\n",
    )
    d = load("csv:mood")
    *_, vocabulary = text.as_numbers("csv:mood", str(root), "")
    assert (
        d.classes == ("negative", "positive")
        and sorted(d.train_y.tolist()) == [0, 1]
        and d.test_y.tolist() == [1]
    )
    # the only word that occurs twice
    assert d.train_x.shape == (2, 8) and vocabulary == ("", "?", "film")
    assert data.is_text("csv:mood") and not data.is_text("folder:pets")


def test_labels_are_numbers_names_or_lines_of_the_list(root):
    write_csv(root, train="text,label\na,up\nb,down\n", test="text,label\nc,up\n", name="names")
    assert load("csv:names").classes == ("down", "up") and load("csv:names").test_y.tolist() == [1]
    write_csv(
        root,
        train="text,label\na,up\nb,0\n",
        test="text,label\nc,1\n",
        name="list",
        classes="down\nup\n",
    )
    assert sorted(load("csv:list").train_y.tolist()) == [0, 1]
    write_csv(
        root,
        train="text,label\na,3\nb,1\nc,2\n",
        test="text,label\nc,1\n",
        name="stars",
        classes="1\n2\n3\n",
    )
    assert load("csv:stars").test_y.tolist() == [0] and sorted(
        load("csv:stars").train_y.tolist()
    ) == [0, 1, 2]  # names that are numbers are names


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(train="a,1\nb,0\n"), ["train.csv", "header text,label"]),
        (dict(train="label,text\n1,a\n0,b\n"), ["header text,label"]),
        (dict(train="text,label\na,1\nb\n"), ["line 3", "text and its label"]),
        (dict(train="text,label\na,1\n,0\n"), ["line 3"]),
        (dict(train="text,label\na,1\nb,\n"), ["line 3"]),
        (dict(train='text,label\na,1\n"b,0\n'), ["line 3", "not CSV"]),
        (dict(train="text,label\na,1\nb,1\n"), ["no training text"]),
        (dict(train="text,label\na,0\nb,0\n"), ["1 classes"]),
        (dict(train="text,label\na,0\nb,2\n"), ["no training text", "'1'"]),
        (dict(train="text,label\na,0\nb,9999999999\n"), ["'9999999999'"]),
        (dict(train="text,label\na,0\nb,999999999\n"), ["0 classes"]),
        (dict(test="text,label\nc,2\n"), ["line 2", "label '2'"]),
        (dict(test="text,label\nc,\u00b2\n"), ["line 2", "label '\u00b2'"]),
        (dict(train="text,label\n"), ["holds no text"]),
        (dict(train=b"text,label\n\xff\xfe,1\nb,0\n"), ["not UTF-8"]),
        (dict(classes="down\ndown\n"), ["twice"]),
        (dict(classes="down\n\nup\n"), ["line 2", "classes.txt", "empty"]),
        (dict(train="text,label\na,1\nb,-1\n"), ["'1'", "'-1'", "all as names"]),
        (dict(train="text,label\na,1.0\nb,0\n"), ["'1.0'", "all as names"]),
        (
            dict(train="text,label\n\u043f\u0440\u0438\u0432\u0435\u0442,1\nb,0\n"),
            ["1 of 2", "a to z"],
        ),
        (dict(classes="down\nup\nflat\n"), ["'flat'", "no training text"]),
    ],
)
def test_a_wrong_file_of_texts_is_one_sentence(root, changes, words):
    write_csv(root, **changes)
    refused([*words, "csv:mood"], load, "csv:mood")


def test_a_damaged_packed_file_is_one_sentence(root):
    write_csv(root, end=".gz")
    file = root / "mood" / "train.csv.gz"
    file.write_bytes(file.read_bytes()[:-9])
    refused(["csv:mood"], load, "csv:mood")


def test_a_list_that_is_not_text_and_two_forms_at_once_are_one_sentence(root):
    write_csv(root)
    (root / "mood" / "classes.txt").write_bytes(b"\xff\xfe\x00")
    refused(["classes.txt", "UTF-8"], load, "csv:mood")
    (root / "mood" / "classes.txt").unlink()
    (root / "mood" / "train.csv.gz").write_bytes(gzip.compress(b"text,label\n"))
    refused(["train.csv", "train.csv.gz", "leave one"], load, "csv:mood")


def test_packing_texts_does_not_make_them_other_data(root):
    write_csv(root)
    plain = data.identity("csv:mood")
    for file in (root / "mood").glob("*.csv"):
        (root / "mood" / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert data.identity("csv:mood") == plain


# ---- data under a published name ----


def test_published_names_are_for_published_data(tmp_path, monkeypatch):
    x, y = np.zeros((600, 1, 28, 28), np.uint8), np.arange(600) % 199
    refused(
        ["'fashion_mnist_full'", "600 training", "not 60000", "folder:NAME"],
        sources.as_published,
        "fashion_mnist_full",
        "here",
        [x, y, x, y],
        sources.FASHION,
    )
    row = SOURCES["fashion_mnist_full"]._replace(counts=(600, 600, 10))
    monkeypatch.setitem(SOURCES, "fashion_mnist_full", row)
    refused(
        ["labels go from 0 to 198", "10 classes"],
        sources.as_published,
        "fashion_mnist_full",
        "here",
        [x, y, x, y],
        sources.FASHION,
    )


def test_counts_are_those_of_what_is_read():
    for name in ("digits", "fashion_mnist", "fashion_pairs", "wordnet_glosses"):
        whole = data._whole(name, "")
        assert (len(whole.train_y), len(whole.test_y), len(whole.classes)) == SOURCES[name].counts


def test_damaged_embedded_data_are_one_sentence(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(sources.EMBEDDED, tmp_path / "copy")
    labels = tmp_path / "copy" / "test-labels.gz"
    raw = bytearray(gzip.decompress(labels.read_bytes()))
    raw[20] ^= 1
    labels.write_bytes(gzip.compress(bytes(raw)))
    row = SOURCES["fashion_mnist"]._replace(folder=tmp_path / "copy")
    monkeypatch.setitem(SOURCES, "fashion_mnist", row)
    data._whole.cache_clear()
    refused(["test_labels", "install kdcore again"], data._whole, "fashion_mnist", "")
    labels.write_bytes(labels.read_bytes()[:-20])
    refused(["fashion_mnist", "install kdcore again"], data._whole, "fashion_mnist", "")
    data._whole.cache_clear()


def test_a_digest_is_for_data_of_ones_own():
    with pytest.raises(ValueError, match="digest = 'abc'"):
        Data(name="digits", n_train=5, n_test=2, seed=0, digest="abc")


def test_counting_examples_needs_neither_files_nor_reading(tmp_path, monkeypatch):
    monkeypatch.delenv("KDCORE_DATA", raising=False)
    monkeypatch.setattr(data, "load", None)
    assert data.available(Data(name="cifar100", n_train=5000, n_test=None, seed=0)) == (
        5000,
        10_000,
    )
    monkeypatch.setattr(own, "opened", None)
    write_folder(tmp_path)
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    assert data.available(
        Data(**data.identity("folder:pets", 8), n_train=None, n_test=None, seed=0)
    ) == (10, 4)
    refused(
        ["n_train = 50001", "cifar100"],
        data.available,
        Data(name="cifar100", n_train=50_001, n_test=None, seed=0),
    )


# ---- in the chapters ----


def test_settings_and_trials_carry_size_and_digest(root):
    write_folder(root)
    s = settings.Setting(
        name="x",
        dataset="folder:pets",
        n_train=None,
        n_test=None,
        label_noise=0,
        teacher="cnn-4",
        student="cnn-4",
        teacher_epochs=1,
        epochs=1,
        batch_size=2,
        learning_rate=0.1,
        method="sgd",
        weight_decay=0,
        size=16,
    )
    assert settings.examples(s, 0).size == 16 and len(settings.examples(s, 0).digest) == 32
    # presets without it are the same preset
    assert "size" not in s.model_copy(update={"size": None}).model_dump(mode="json")
    assert settings.teacher(s, 0).data == settings.examples(s, 0)
    assert trials.data is data
