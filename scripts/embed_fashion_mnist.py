"""Make the embedded part of Fashion-MNIST: the first 10,000 training images and all 10,000 test
images, bit for bit.

    python scripts/embed_fashion_mnist.py FOLDER [TARGET]

FOLDER holds the four files of the data set, gzipped or not (train-images-idx3-ubyte[.gz] and so
on). TARGET is by default kdcore/datasets/fashion_mnist. Written there: one PNG per part (28 pixels
wide, the images stacked from top to bottom: smaller than gzip, and every chunk carries a checksum),
one gzipped idx file of labels per part, and sha256.json, the sha256 of each decoded array's bytes.
The licence text beside them is kept by hand.
"""

import argparse
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent.parent / "kdcore" / "datasets" / "fashion_mnist"


def read_idx(folder, name):
    """An idx file as an array: two zero bytes, 8 (uint8), number of axes, each length as big-endian
    int32, then the values.
    """
    plain, packed = Path(folder) / name, Path(folder) / f"{name}.gz"
    if not plain.exists() and not packed.exists():
        raise SystemExit(f"Neither {name} nor {name}.gz is in {folder}.")
    raw = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise SystemExit(
            f"{name} in {folder} is not an idx file of uint8 values: it starts with "
            f"{raw[:4].hex()}, not with 000008."
        )
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def write_part(target, part, images, labels):
    """Store one part, read nothing back (the tests do); returns {array name: sha256}."""
    Image.fromarray(images.reshape(-1, images.shape[2])).save(
        target / f"{part}-images.png", optimize=True
    )
    idx = b"\x00\x00\x08\x01" + np.array(len(labels), ">i4").tobytes() + labels.tobytes()
    (target / f"{part}-labels.gz").write_bytes(gzip.compress(idx, 9, mtime=0))
    return {
        f"{part}_images": hashlib.sha256(images.tobytes()).hexdigest(),
        f"{part}_labels": hashlib.sha256(labels.tobytes()).hexdigest(),
    }


def main(folder, target, n_train=10_000):
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    sums = {}
    for part, prefix, count in (("train", "train", n_train), ("test", "t10k", None)):
        images = read_idx(folder, f"{prefix}-images-idx3-ubyte")
        labels = read_idx(folder, f"{prefix}-labels-idx1-ubyte")
        sums |= write_part(target, part, images[:count], labels[:count])
    (target / "sha256.json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", help="folder with the four original files")
    parser.add_argument(
        "target", nargs="?", default=HERE, help="folder to write to (default: inside the package)"
    )
    arguments = parser.parse_args()
    main(arguments.folder, arguments.target)
