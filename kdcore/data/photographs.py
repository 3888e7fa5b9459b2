"""Five colour photographs that may travel, to look at and to show networks that learnt CIFAR-100:
kdcore/datasets/photographs, with credits.
"""

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parents[1] / "datasets" / "photographs"
NAMES = ("rocket", "cup", "woman", "palace", "flower")


def picture(name: str) -> Image.Image:
    """The photograph, RGB, 256 x 256 pixels."""
    with Image.open(FOLDER / f"{name}.jpg") as image:
        return image.convert("RGB")


def reduced(channels: int, height: int, width: int) -> np.ndarray:
    """All photographs as a network sees them, uint8 (5, channels, height, width): each small pixel
    is the mean of what it covers; 1 channel: grey.
    """
    small = [
        picture(name)
        .convert("RGB" if channels == 3 else "L")
        .resize((width, height), Image.Resampling.BOX)
        for name in NAMES
    ]
    return (
        np.stack([np.atleast_3d(np.asarray(image)) for image in small]).transpose(0, 3, 1, 2).copy()
    )
