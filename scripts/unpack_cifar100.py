"""Turns sheets of CIFAR-100 (lossless WebP, one column for each class) into class folders,
KDCORE_DATA/cifar100/<part>/<class>/<number>.png.

    python scripts/unpack_cifar100.py SHEETS DATA

SHEETS holds train_0.webp ... train_9.webp (columns: 10 classes each; rows: 500 images) and
test_0.webp, test_1.webp (50 classes, 100 images), and classes.txt, the names in the order of the
labels. The pixels are compared with the SHA-256 below before anything is written. 60,000 files,
about a minute.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

# images of a class, classes of a sheet, SHA-256 of all pixels, uint8 (images, 32, 32, RGB) by class
PARTS = {
    "train": (500, 10, "2aa2e92a742ec0fbd361b0b1386394899dfac5a05c448330d3371fd9b63b3e87"),
    "test": (100, 50, "2716d826d85ee9ca7f948fb4dc3b3d7515225d1a436d1c4b7e6975855da3d9ee"),
}


def read(folder: Path, part: str, images: int, classes: int, digest: str) -> np.ndarray:
    """All images of a part, uint8 (100, images of a class, 32, 32, 3); ValueError where they are
    not the published ones.
    """
    sheets = [
        np.asarray(Image.open(folder / f"{part}_{i}.webp").convert("RGB"))
        for i in range(100 // classes)
    ]
    x = np.concatenate(
        [s.reshape(images, 32, classes, 32, 3).transpose(2, 0, 1, 3, 4) for s in sheets]
    )
    if (found := hashlib.sha256(x.tobytes()).hexdigest()) != digest:
        raise ValueError(
            f"the {part} sheets in {folder} do not decode to the published images: SHA-256 "
            f"{found}, not {digest}"
        )
    return x


def main(sheets: Path, data: Path) -> None:
    names = (sheets / "classes.txt").read_text().split()
    for part, about in PARTS.items():
        for name, images in zip(
            names, tqdm(read(sheets, part, *about), desc=part, unit="class"), strict=True
        ):
            folder = data / "cifar100" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(images):
                Image.fromarray(image).save(folder / f"{i:03}.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
