"""Make the embedded part of WordNet's noun glosses: 20,000 for training and 5,000 for testing, of
the 12 largest categories.

    python scripts/embed_wordnet_glosses.py FILE [TARGET]

FILE is `data.noun` of WordNet 3.0, or a gzipped table with its 82,115 lines as "offset, category,
gloss", tab between (`glosses.tsv.gz`): both give the same files. A gloss is what stands before the
first example sentence; its category is the lexicographer file of its synset. TARGET is by default
kdcore/datasets/wordnet_glosses. Written there: train.tsv.gz and test.tsv.gz with lines "category,
gloss", tab between, and sha256.json, the sha256 of each unpacked file. The licence text beside them
is kept by hand.

Of the categories with the most glosses, every sequence of words (kdcore.data.text.words, without a
limit) is taken once, at its first place; one that occurs in two of these categories is left out.
What remains is put into an order drawn by Philox words: first the training part, then the test
part. So classes keep their natural shares up to chance, and no two of the 25,000 glosses have the
same words.
"""

import argparse
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

from kdcore import chance
from kdcore.data.text import words

HERE = Path(__file__).resolve().parent.parent / "kdcore" / "datasets" / "wordnet_glosses"

# Lexicographer files of nouns, numbered from 3 on (WordNet's manual, lexnames(5)).
NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group "
    "location motive object person phenomenon "
    "plant possession process quantity relation shape state substance time"
).split()


def read_glosses(path):
    """[(category, gloss)] in the order of the file."""
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        rows = [line.split("\t") for line in gzip.decompress(raw).decode("ascii").splitlines()]
        return [(category.removeprefix("noun."), gloss) for _, category, gloss in rows]
    # the licence is indented
    rows = [
        line.split(" | ", 1)
        for line in raw.decode("ascii").splitlines()
        if not line.startswith(" ")
    ]
    return [
        (NOUNS[int(head.split()[1]) - 3], text.replace('; "', ';"').split(';"')[0].strip())
        for head, text in rows
    ]


def draw(rows, n_train, n_test, classes=12):
    """The rows of both parts, in the order drawn."""
    largest = {
        category for category, _ in Counter(category for category, _ in rows).most_common(classes)
    }
    first, categories = {}, {}
    for category, gloss in rows:
        if category in largest:
            key = tuple(words(gloss, None))
            first.setdefault(key, (category, gloss))
            categories.setdefault(key, set()).add(category)
    single = [row for key, row in first.items() if len(categories[key]) == 1]
    if len(single) < n_train + n_test:
        raise SystemExit(
            f"{n_train} + {n_test} glosses were asked for, but there are only {len(single)} "
            "different ones."
        )
    order = chance.permutation(chance.GLOSSES, 0, len(single))
    return [single[i] for i in order[:n_train]], [
        single[i] for i in order[n_train : n_train + n_test]
    ]


def main(path, target, n_train=20_000, n_test=5_000):
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    sums = {}
    for part, rows in zip(("train", "test"), draw(read_glosses(path), n_train, n_test)):
        text = "".join(f"{category}\t{gloss}\n" for category, gloss in rows).encode("ascii")
        (target / f"{part}.tsv.gz").write_bytes(gzip.compress(text, 9, mtime=0))
        sums[part] = hashlib.sha256(text).hexdigest()
    (target / "sha256.json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", help="data.noun of WordNet 3.0, or glosses.tsv.gz")
    parser.add_argument(
        "target", nargs="?", default=HERE, help="folder to write to (default: inside the package)"
    )
    arguments = parser.parse_args()
    main(arguments.file, arguments.target)
