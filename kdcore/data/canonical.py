"""One order for the same examples, whatever files they came in, and the proof that they are the
published ones.
"""

import hashlib
import json
from pathlib import Path

from kdcore import chance


def ordered(x, y):
    """Examples by class, then by the SHA-256 of their pixels (C, H, W): one order, whatever files
    they were in. Equal images of a class keep any order.
    """
    digests = [hashlib.sha256(image.tobytes()).digest() for image in x]
    order = sorted(range(len(y)), key=lambda i: (y[i], digests[i]))
    return x[order], y[order]


def shuffled(x, y):
    """Examples in one fixed order of their own, in which classes do not follow one another."""
    order = chance.permutation(chance.TEST_ORDER, 0, len(y))
    return x[order], y[order]


def genuine(name: str, root: str, arrays, digests: dict[str, str]) -> None:
    """ValueError unless images and labels, train_x, train_y, test_x, test_y, have these SHA-256:
    of the images, then their labels as int64.
    """
    for k, (part, digest) in enumerate(digests.items()):
        x, y = arrays[2 * k : 2 * k + 2]
        found = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
        if found != digest:
            raise ValueError(
                f"Data set {name!r} in KDCORE_DATA = {root} is damaged or altered: its {len(y)} "
                f"{part} images are not the published ones "
                f"(SHA-256 {found[:12]}, not {digest[:12]}); put the original files there."
            )


def undamaged(folder: Path, contents: dict[str, bytes]) -> None:
    """ValueError unless embedded contents have the SHA-256 that sha256.json beside them says."""
    recorded = json.loads((folder / "sha256.json").read_text())
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != recorded[name]:
            raise ValueError(
                f"Data that are part of this package are damaged: {name} in {folder}; install "
                "kdcore again."
            )
