"""Text data sets as arrays of word numbers: `as_numbers(name, root)` returns the same arrays on
every machine.

    wordnet_glosses  inside this package: definitions of nouns, 20,000 train and 5,000 test; 12
                     classes, the kind of thing that is defined
    ag_news          120,000 + 7,600 news in brief, 4 classes, from KDCORE_DATA/ag_news/train.csv
                     and test.csv: no header, each row "class","title","description" with classes 1
                     to 4, as published with Zhang, Zhao and LeCun (2015, arXiv 1509.01626)
    csv:NAME         your own texts, see kdcore/data/own.py; words kept: see `length`
    imdb             25,000 + 25,000 film reviews, 2 classes (Maas et al. 2011), from
                     KDCORE_DATA/imdb/train.csv and test.csv: header text,label and then rows of
                     these two, label 0 (negative) or 1 (positive)

CSV is read as Python's csv module does: fields in double quotes may hold commas, line ends and
doubled quotes. A text is lower-cased and cut into words, runs of the letters a-z or of digits; the
first `LENGTH[name]` count. Number 0 is padding, 1 a word that is not in the vocabulary.
"""

import csv
import functools
import gzip
import re
from collections import Counter
from pathlib import Path

import numpy as np

from kdcore.data import own
from kdcore.data.canonical import undamaged

GLOSSES = Path(__file__).parents[1] / "datasets" / "wordnet_glosses"
# words kept of each text, from its beginning
LENGTH = {"wordnet_glosses": 24, "ag_news": 64, "imdb": 200}
CLASSES = {
    "wordnet_glosses": (
        "act",
        "animal",
        "artifact",
        "attribute",
        "cognition",
        "communication",
        "group",
        "location",
        "person",
        "plant",
        "state",
        "substance",
    ),
    "ag_news": ("World", "Sports", "Business", "Sci/Tech"),
    "imdb": ("negative", "positive"),
}
FORM = {
    "ag_news": '"class","title","description" with a class from 1 to 4',
    "imdb": "text,label with a label 0 or 1, below the header text,label",
}
MOST_WORDS, PADDING, UNKNOWN = 8_000, "", "?"  # neither of the two signs can be a word


def words(text: str, length: int | None) -> list[str]:
    """The first `length` words (None: all) of the lower-cased text, runs of a-z or of 0-9;
    everything else separates.
    """
    return re.findall("[a-z]+|[0-9]+", text.lower())[:length]


def vocabulary(texts: list[list[str]]) -> tuple[str, ...]:
    """The word of each number: padding, unknown, then the 8,000 most frequent words that occur at
    least twice in `texts`, ties by the alphabet.
    """
    counts = Counter(word for text in texts for word in text)
    often = sorted((-count, word) for word, count in counts.items() if count > 1)
    return PADDING, UNKNOWN, *(word for _, word in often[:MOST_WORDS])


def encode(texts: list[list[str]], known: tuple[str, ...], length: int) -> np.ndarray:
    """Word numbers int32 (n, length), padded with 0. A text without any word becomes one unknown
    word, so that no row is padding alone.
    """
    number = {word: i for i, word in enumerate(known)}
    x = np.zeros((len(texts), length), np.int32)
    for row, text in zip(x, texts):
        numbers = [number.get(word, 1) for word in text] or [1]
        row[: len(numbers)] = numbers
    return x


def length(texts: list[list[str]]) -> int:
    """How many words of your own texts count: as many as 95 % of the training texts have at most,
    but 8 at least and 200 at most.
    """
    return int(np.clip(np.quantile([len(text) for text in texts], 0.95, method="higher"), 8, 200))


@functools.lru_cache(maxsize=2)
def as_numbers(name: str, root: str, digest: str = ""):
    """(train_x, train_y, test_x, test_y, classes, vocabulary): x int32 (n, words kept), y int64
    (n,), read-only, in the order of the files; vocabulary[i] is word number i.

    The vocabulary is that of the complete training part, whatever is drawn from it later. `root` is
    the folder KDCORE_DATA, or GLOSSES of wordnet_glosses; which files are absent says
    kdcore.data.check. ValueError: a line that is not of the form above, with its number.
    """
    if name.startswith("csv:"):
        found, classes = own.texts(name, root)
    else:
        found = {
            part: _glosses(Path(root), part)
            if name == "wordnet_glosses"
            else _table(name, Path(root) / name / f"{part}.csv")
            for part in ("train", "test")
        }
        classes = CLASSES[name]
    parts = {
        part: ([words(text, LENGTH.get(name, 200)) for text in texts], np.array(y, dtype=np.int64))
        for part, (texts, y) in found.items()
    }
    if (
        name.startswith("csv:")
        and (mute := sum(not text for text in parts["train"][0])) > len(parts["train"][0]) / 10
    ):
        raise ValueError(
            f"Data set {name!r}: {mute} of {len(parts['train'][0])} training texts have no word "
            "of the letters a to z or of digits, all that is read here."
        )
    kept = LENGTH.get(name) or length(parts["train"][0])
    known = vocabulary([text[:kept] for text in parts["train"][0]])
    arrays = []
    for texts, y in parts.values():
        x = encode([text[:kept] for text in texts], known, kept)
        x.flags.writeable = y.flags.writeable = False
        arrays += [x, y]
    return *arrays, classes, known


def _glosses(folder, part):
    """Texts and labels of one embedded part: gzipped lines "category, gloss", tab between, in the
    order drawn.
    """
    content = gzip.decompress((folder / f"{part}.tsv.gz").read_bytes())
    undamaged(folder, {part: content})
    lines = [line.split("\t") for line in content.decode("ascii").splitlines()]
    return [gloss for _, gloss in lines], [
        CLASSES["wordnet_glosses"].index(category) for category, _ in lines
    ]


def _table(name, path):
    """Texts and labels of a CSV file, in its order; a title and a description are joined by a
    blank.
    """
    texts, labels, line = [], [], 1  # line: where the row begins, which may be several lines long
    # Bytes that are not UTF-8 separate words, as all letters beyond a-z do, so it does not matter
    # what they are read as.
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.reader(file, strict=True)
        try:
            if name == "imdb":
                text, label = next(rows, ("", ""))
                if (text, label) != ("text", "label"):
                    raise ValueError
                line = rows.line_num + 1
            for row in rows:
                if name == "ag_news":
                    label, title, description = row
                    texts.append(f"{title} {description}")
                    labels.append(("1", "2", "3", "4").index(label))
                else:
                    text, label = row
                    texts.append(text)
                    labels.append(("0", "1").index(label))
                line = rows.line_num + 1
            if not texts:
                raise ValueError
        # a quote that never ends; another number of fields, or another label
        except (csv.Error, ValueError) as error:
            raise ValueError(
                f"Data set {name!r}: line {line} of {path} is not of the form {FORM[name]}."
            ) from error
    return texts, labels
