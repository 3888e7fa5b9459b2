"""Turns strips of Imagenette at 64 px (a JPEG for each class, its images one below the other) into
class folders, KDCORE_DATA/imagenette64/<part>/<class>/<number>.png.

    python scripts/unpack_imagenette.py STRIPS DATA

STRIPS holds train_0.jpg ... train_9.jpg, val_0.jpg ... val_9.jpg and classes.txt, the names in the
order of the labels. Saved without further loss.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm


def main(strips: Path, data: Path) -> None:
    names = [line.replace(" ", "_") for line in (strips / "classes.txt").read_text().splitlines()]
    for part in ("train", "val"):
        for k, name in enumerate(tqdm(names, desc=part, unit="class")):
            folder = data / "imagenette64" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(
                np.asarray(Image.open(strips / f"{part}_{k}.jpg")).reshape(-1, 64, 64, 3)
            ):
                Image.fromarray(image).save(folder / f"{i:04}.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
