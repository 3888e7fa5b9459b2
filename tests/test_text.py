"""Text data sets: embedded glosses bit for bit, words and their numbers by hand, CSV files in the
true on-disk format, draws as for images.
"""

import csv
import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdcore import chance, data
from kdcore.data import text
from kdcore.data.sources import SOURCES
from kdcore.spec import Data

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"wordnet_glosses": (20_000, 5_000), "ag_news": (5, 2), "imdb": (4, 3)}


def sha(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def spell(x, known):
    """A row of numbers as words, without the padding."""
    return [known[i] for i in x if i]


# ---- words and their numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, length, expected",
    [
        ("The CAT sat", 24, ["the", "cat", "sat"]),
        ("built 1914-1918, 2nd ed.", 24, ["built", "1914", "1918", "2", "nd", "ed"]),
        (
            "(someone's) well-being; e.g. joy!",
            24,
            ["someone", "s", "well", "being", "e", "g", "joy"],
        ),
        # letters beyond a-z separate
        ("café\tnaïve\nÉtude x2y", 24, ["caf", "na", "ve", "tude", "x", "2", "y"]),
        ("", 24, []),
        (" ?! ", 24, []),
        (" ".join(["word"] * 23 + ["last", "beyond"]), 24, ["word"] * 23 + ["last"]),
        ("a b c", None, ["a", "b", "c"]),
        ("a b c", 2, ["a", "b"]),
    ],
)
def test_words_by_hand(raw, length, expected):
    assert text.words(raw, length) == expected


@given(st.text(max_size=300), st.integers(1, 30))
def test_words_are_lower_case_runs_and_stable(raw, length):
    found = text.words(raw, length)
    assert len(found) <= length and all(
        w.isascii() and (w.isdigit() or w.isalpha() and w == w.lower()) for w in found
    )
    assert text.words(" ".join(found), length) == found  # words of words are the same words
    assert text.words(raw, None)[:length] == found


def test_vocabulary_by_hand(monkeypatch):
    texts = [["b", "a", "c"], ["b", "a", "once"], ["b", "z", "z"], []]
    # by frequency, then by the alphabet; what occurs once is unknown
    assert text.vocabulary(texts) == ("", "?", "b", "a", "z")
    monkeypatch.setattr(text, "MOST_WORDS", 2)
    assert text.vocabulary(texts) == ("", "?", "b", "a")


def test_encode_by_hand():
    x = text.encode([["b", "a"], ["new", "a", "b"], []], ("", "?", "b", "a"), 4)
    # no row is padding alone
    assert x.tolist() == [[2, 3, 0, 0], [1, 3, 2, 0], [1, 0, 0, 0]] and x.dtype == np.int32


@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6), min_size=1, max_size=12))
def test_numbers_can_be_read_back(texts):
    known = text.vocabulary(texts)
    counts = Counter(word for words in texts for word in words)
    assert sorted(known[2:]) == sorted(word for word, count in counts.items() if count > 1)
    assert [counts[w] for w in known[2:]] == sorted((counts[w] for w in known[2:]), reverse=True)
    for row, words in zip(text.encode(texts, known, 6), texts):
        assert spell(row, known) == ([w if counts[w] > 1 else "?" for w in words] or ["?"])


# ---- embedded glosses ----------------------------------------------------------------------------


def lines(part):
    return [
        line.split("\t")
        for line in gzip.decompress((text.GLOSSES / f"{part}.tsv.gz").read_bytes())
        .decode()
        .splitlines()
    ]


def test_embedded_glosses_are_as_recorded():
    recorded = json.loads((text.GLOSSES / "sha256.json").read_text())
    for part in ("train", "test"):
        assert (
            hashlib.sha256(
                gzip.decompress((text.GLOSSES / f"{part}.tsv.gz").read_bytes())
            ).hexdigest()
            == recorded[part]
        )
    assert sum(f.stat().st_size for f in text.GLOSSES.iterdir()) < 1e6
    licence = (text.GLOSSES / "LICENSE").read_text()
    assert (
        "WordNet 3.0 Copyright 2006 by Princeton University." in licence
        and "Permission to use, copy, modify and distribute" in licence
    )


def test_arrays_of_the_glosses_never_change():
    train_x, train_y, test_x, test_y, classes, known = text.as_numbers(
        "wordnet_glosses", str(text.GLOSSES)
    )
    assert (
        train_x.shape == (20_000, 24)
        and test_x.shape == (5_000, 24)
        and train_x.dtype == test_x.dtype == np.int32
    )
    assert train_y.dtype == test_y.dtype == np.int64 and len(known) == 8_002 == train_x.max() + 1
    assert [sha(a)[:16] for a in (train_x, train_y, test_x, test_y)] == GOLDEN
    assert hashlib.sha256("\n".join(known).encode()).hexdigest()[:16] == GOLDEN_WORDS and known[
        :6
    ] == ("", "?", "a", "of", "the", "and")
    assert (
        spell(train_x[4], known) == "a musician who plays percussion instruments".split()
        and classes[train_y[4]] == "person"
    )
    assert (
        len(text.words(lines("train")[1][1], None)) < 24
        and (
            (train_x > 0).sum(1) == [min(len(text.words(g, None)), 24) for _, g in lines("train")]
        ).all()
    )
    with pytest.raises(ValueError, match="read-only"):
        train_x[0] = 0


def test_no_gloss_is_in_both_parts_or_twice():
    every = [
        tuple(text.words(gloss, None)) for part in ("train", "test") for _, gloss in lines(part)
    ]
    assert len(set(every)) == len(every) == 25_000 and min(map(len, every)) >= 1


def test_classes_keep_their_natural_shares():
    _, train_y, _, test_y, classes, _ = text.as_numbers("wordnet_glosses", str(text.GLOSSES))
    # glosses of each category in WordNet 3.0, after removal of duplicates: 68,222 in all
    natural = np.array(NATURAL) / sum(NATURAL)
    for y in (train_y, test_y):
        share = np.bincount(y, minlength=12) / len(y)
        assert (np.abs(share - natural) < 4 * np.sqrt(natural * (1 - natural) / len(y))).all()
    assert classes == tuple(sorted(classes)) and np.bincount(train_y).tolist() == [
        1884,
        2115,
        3503,
        883,
        841,
        1644,
        775,
        912,
        3203,
        2378,
        1001,
        861,
    ]


def test_a_linear_model_of_word_counts_learns_the_glosses():
    """95 % on the training and 79 % on the test glosses, tf-idf weighted: enough to learn, and a
    gap of overfitting to study.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.svm import LinearSVC

    train_x, train_y, test_x, test_y, _, known = text.as_numbers(
        "wordnet_glosses", str(text.GLOSSES)
    )
    bags = [
        csr_matrix(
            (np.ones(x.size), (np.repeat(np.arange(len(x)), 24), x.ravel())),
            shape=(len(x), len(known)),
        )[:, 1:]
        for x in (train_x, test_x)
    ]
    scale = TfidfTransformer().fit(bags[0])
    model = LinearSVC(C=0.5).fit(scale.transform(bags[0]), train_y)
    assert 0.92 < model.score(scale.transform(bags[0]), train_y) < 0.98
    # the most frequent class: 0.17
    assert 0.76 < model.score(scale.transform(bags[1]), test_y) < 0.83


# ---- the script that embeds them -----------------------------------------------------------------


def script():
    spec = importlib.util.spec_from_file_location(
        "embed", ROOT / "scripts" / "embed_wordnet_glosses.py"
    )
    embed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(embed)
    return embed


NOUN = """  1 This software and database is being provided to you, the LICENSEE, by
  2 Princeton University under the following license.
00000001 06 n 01 thing 0 001 ~ 00001930 n 0000 | a made thing; used by hand; "he took a thing"
00000002 05 n 02 beast 0 fauna 1 000 | A living thing
00000003 05 n 01 fish 0 000 | a thing | that swims;"fish swim"
00000004 06 n 01 gizmo 0 000 | a made thing -- used by hand
00000005 05 n 01 x 0 000 | one species
00000006 06 n 01 y 0 000 | one (species)
00000007 26 n 01 z 0 000 | a state
"""


def test_script_reads_both_forms(tmp_path):
    (tmp_path / "data.noun").write_text(NOUN)
    rows = script().read_glosses(tmp_path / "data.noun")
    assert rows == [
        ("artifact", "a made thing; used by hand"),
        ("animal", "A living thing"),
        ("animal", "a thing | that swims"),
        ("artifact", "a made thing -- used by hand"),
        ("animal", "one species"),
        ("artifact", "one (species)"),
        ("state", "a state"),
    ]
    table = "".join(
        f"0000000{i}\tnoun.{category}\t{gloss}\n" for i, (category, gloss) in enumerate(rows)
    )
    (tmp_path / "glosses.tsv.gz").write_bytes(gzip.compress(table.encode()))
    assert script().read_glosses(tmp_path / "glosses.tsv.gz") == rows


def test_script_leaves_out_what_is_double_ambiguous_or_of_a_small_category(tmp_path, monkeypatch):
    (tmp_path / "data.noun").write_text(NOUN)
    rows = script().read_glosses(tmp_path / "data.noun")
    train, test = script().draw(rows, 2, 1, classes=2)
    assert sorted(train + test) == [
        ("animal", "A living thing"),
        ("animal", "a thing | that swims"),
        ("artifact", "a made thing; used by hand"),
    ]
    with pytest.raises(SystemExit, match="only 3 different"):
        script().draw(rows, 3, 1, classes=2)
    script().main(tmp_path / "data.noun", tmp_path / "a", n_train=3, n_test=1)
    script().main(tmp_path / "data.noun", tmp_path / "b", n_train=3, n_test=1)
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes()
        for f in ("train.tsv.gz", "test.tsv.gz", "sha256.json")
    )
    texts, labels = text._glosses(tmp_path / "a", "train")
    assert len(texts) == 3 and {text.CLASSES["wordnet_glosses"][y] for y in labels} <= {
        "animal",
        "artifact",
        "state",
    }


# ---- CSV files in the true format ----------------------------------------------------------------

AG_TRAIN = '''"3","Oil, gold ""up""","Prices rose 5%, says the bank."
"4","Chip news","A chip\\that is fast
and small"
"1","Vote","The bank, the vote"
"2","Final","Chip beats ""Oil"" 5-0"
"1","Vote again","The café"
'''
AG_TEST = '"2","Cup final","The final"\n"1","","Oil vote"\n'
IMDB_TRAIN = (
    'text,label\nA good film,0\n"Good, but ""long"".\n<br />Long!",1\nfilm,1\n"a ""film""",0\n'
)
IMDB_TEST = "text,label\nbad,0\na,0\ngood,1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    for name in ("ag_news", "imdb"):
        monkeypatch.setitem(SOURCES, name, SOURCES[name]._replace(counts=None))  # these are tiny
    for name, contents in (("ag_news", (AG_TRAIN, AG_TEST)), ("imdb", (IMDB_TRAIN, IMDB_TEST))):
        (tmp_path / name).mkdir()
        for part, content in zip(("train", "test"), contents):
            (tmp_path / name / f"{part}.csv").write_text(content, encoding="utf-8")
    return tmp_path


def test_ag_news(folder):
    train_x, train_y, test_x, test_y, classes, known = text.as_numbers("ag_news", str(folder))
    assert (
        train_x.shape == (5, 64)
        and classes == ("World", "Sports", "Business", "Sci/Tech")
        and train_y.tolist() == [2, 3, 0, 1, 0]
    )
    assert known == ("", "?", "the", "chip", "vote", "5", "bank", "oil")  # 4, 3, 3, 2, 2, 2 times
    # title, then description
    assert spell(train_x[0], known) == ["oil", "?", "?", "?", "?", "5", "?", "the", "bank"]
    assert spell(train_x[1], known) == ["chip", *"??", "chip", *"?????"]
    assert test_y.tolist() == [1, 0]
    assert [spell(x, known) for x in test_x] == [["?", "?", "the", "?"], ["oil", "vote"]]


def test_imdb(folder):
    train_x, train_y, test_x, test_y, classes, known = text.as_numbers("imdb", str(folder))
    assert (
        train_x.shape == (4, 200)
        and classes == ("negative", "positive")
        and train_y.tolist() == [0, 1, 1, 0]
    )
    assert known == ("", "?", "film", "a", "good", "long")
    assert [spell(x, known) for x in train_x] == [
        ["a", "good", "film"],
        ["good", "?", "long", "?", "long"],
        ["film"],
        ["a", "film"],
    ]
    assert sorted(zip([spell(x, known) for x in test_x], test_y.tolist())) == [
        (["?"], 0),
        (["a"], 0),
        (["good"], 1),
    ]


def test_written_by_pandas_or_by_the_csv_module(folder):
    """Whoever wrote the table, and whatever stands in its fields, the same texts come back."""
    import pandas as pd

    reviews = [
        "plain",
        "with, comma",
        'with "quotes"',
        "two\nlines",
        "two\r\nlines",
        "",
        " blank ",
        "it's; \\ é",
    ]
    pd.DataFrame({"text": reviews, "label": [0, 1] * 4}).to_csv(
        folder / "imdb" / "train.csv", index=False
    )
    assert text._table("imdb", folder / "imdb" / "train.csv") == (reviews, [0, 1] * 4)
    with open(folder / "ag_news" / "train.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
            [i % 4 + 1, review, "end"] for i, review in enumerate(reviews)
        )
    assert text._table("ag_news", folder / "ag_news" / "train.csv") == (
        [f"{review} end" for review in reviews],
        [0, 1, 2, 3] * 2,
    )


def test_first_test_reviews_are_of_both_classes(folder):
    """The file lists one class after the other, and a run takes the first texts: so they are put
    into a fixed random order.
    """
    (folder / "imdb" / "test.csv").write_text("text,label\n" + "bad,0\n" * 100 + "good,1\n" * 100)
    drawn = data.load(Data(name="imdb", n_train=4, n_test=50, seed=0))
    # text and label stay together; "good" is 4
    assert 10 < drawn.test_y.sum() < 40 and ((drawn.test_x[:, 0] == 4) == (drawn.test_y == 1)).all()


@pytest.mark.parametrize(
    "name, content, line",
    [
        # no such class; the second row holds a line end
        ("ag_news", AG_TRAIN + '"5","a","b"\n', 7),
        ("ag_news", AG_TRAIN + '"0","a","b"\n', 7),
        ("ag_news", AG_TRAIN + '"World","a","b"\n', 7),
        ("ag_news", AG_TRAIN + '"1","a"\n', 7),
        ("ag_news", '"1","a","b"\n"1","a","b","c"\n', 2),
        ("ag_news", '"1","a","b"\n"2","a","never ends\n"3","b","c', 2),
        ("ag_news", AG_TRAIN + '"1","a","cut off in the midd', 7),
        # a copy with a header, which the published files have not
        ("ag_news", "Class Index,Title,Description\n1,a,b\n", 1),
        ("ag_news", "", 1),
        ("imdb", "review,sentiment\ngood,1\n", 1),
        ("imdb", "text,label,id\ngood,1,7\n", 1),
        ("imdb", "", 1),
        ("imdb", "text,label\n", 2),
        ("imdb", IMDB_TRAIN + "good,pos\n", 7),
        ("imdb", IMDB_TRAIN + "good,2\n", 7),
        ("imdb", IMDB_TRAIN + "good, bad,1\n", 7),
        ("imdb", IMDB_TRAIN + '"cut off in the midd', 7),
    ],
)
def test_damaged_lines_are_named(folder, name, content, line):
    path = folder / name / "train.csv"
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        data.load(Data(name=name, n_train=None, n_test=None, seed=0))
    message = str(caught.value)
    assert (
        f"{name!r}: line {line} of {path} " in message
        and text.FORM[name] in message
        and "\n" not in message
    )


# ---- what load promises --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_load_and_check(name, folder):
    data.check(name)
    d = data.load(Data(name=name, n_train=None, n_test=None, seed=3))
    whole = text.as_numbers(name, str(SOURCES[name].folder or folder))
    length = text.LENGTH[name]
    assert (
        d.train_x.shape == (SIZES[name][0], length)
        and d.test_x.shape == (SIZES[name][1], length)
        and d.train_x.dtype == np.int32
    )
    assert (
        d.train_x.flags.c_contiguous
        and d.train_y.dtype == np.int64
        and d.classes == text.CLASSES[name]
        and d.mean == d.std == ()
    )
    order = chance.permutation(chance.DRAW, 3, SIZES[name][0])
    assert (d.train_x == whole[0][order]).all() and (d.train_y == whole[1][order]).all()
    mixed = chance.permutation(chance.TEST_ORDER, 0, SIZES[name][1])
    fixed = mixed if SOURCES[name].mixed else slice(None)
    assert (d.test_x == whole[2][fixed]).all() and (d.test_y == whole[3][fixed]).all()


def test_missing_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_DATA", str(tmp_path))
    for name in ("ag_news", "imdb"):
        with pytest.raises(ValueError) as caught:
            data.check(name)
        assert all(
            word in str(caught.value)
            for word in (name, str(tmp_path), f"{name}/train.csv", f"{name}/test.csv")
        )
    row = SOURCES["wordnet_glosses"]._replace(folder=tmp_path)
    monkeypatch.setitem(SOURCES, "wordnet_glosses", row)
    with pytest.raises(ValueError, match="wordnet_glosses.*train.tsv.gz.*install"):
        data.check("wordnet_glosses")


def test_draws_are_nested_and_the_test_part_is_fixed():
    small, large = (
        data.load(Data(name="wordnet_glosses", n_train=n, n_test=100, seed=1)) for n in (200, 1000)
    )
    other = data.load(Data(name="wordnet_glosses", n_train=200, n_test=100, seed=2))
    assert (small.train_x == large.train_x[:200]).all() and (
        small.train_y == large.train_y[:200]
    ).all()
    assert (
        (small.train_x != other.train_x).any()
        and (small.test_x == other.test_x).all()
        and (small.test_y == other.test_y).all()
    )
    with pytest.raises(ValueError, match="n_train = 20001.*20000"):
        data.load(Data(name="wordnet_glosses", n_train=20_001, n_test=None, seed=0))


def test_long_tail_and_label_noise_as_for_images():
    tail = data.load(Data(name="wordnet_glosses", n_train=None, n_test=None, seed=0, imbalance=20))
    # 775: the smallest class of the training part
    assert np.bincount(tail.train_y).tolist() == data.long_tail(775, 12, 20).tolist()
    noisy = data.load(
        Data(
            name="wordnet_glosses", n_train=1000, n_test=None, seed=0, label_noise=0.2, label_seed=5
        )
    )
    clean = data.load(Data(name="wordnet_glosses", n_train=1000, n_test=None, seed=0))
    assert (
        (noisy.train_x == clean.train_x).all()
        and (noisy.train_true == clean.train_y).all()
        and (noisy.train_y != clean.train_y).sum() == 200
    )
    assert (noisy.test_y == clean.test_y).all()


def test_text_loads_without_torch():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from kdcore import data; from kdcore.spec import Data\n"
            "assert data.load(Data(name='wordnet_glosses', n_train=9, n_test=9, "
            "seed=0)).train_x.shape == (9, 24)\n"
            "assert 'torch' not in sys.modules and 'pandas' not in sys.modules",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


# A pure function of the embedded files: these never change. Glosses of each class in WordNet 3.0,
# each sequence of words once.
GOLDEN = ["d4deddb43758f618", "9b72397302f547ea", "c5741913df9b8340", "ccac9f1a0369d58e"]
GOLDEN_WORDS = "f7193358f2a33784"
NATURAL = [6640, 7269, 11569, 3030, 2963, 5522, 2620, 3154, 11046, 7911, 3541, 2957]
