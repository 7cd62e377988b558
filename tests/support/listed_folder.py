"""A data set whose steps read different images, to change one of them and see what that changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = {"a": (1,), "b": (1, 2), "c": (2,), "d": (3,), "e": (1, 2), "f": (3,)}
TEST = {"x": (1, 2, 3), "y": (3,)}
SIDE = 24


def listed_folder(root: Path) -> Path:
    """The layout of `folder` with lists of images; each image has the classes that TRAIN and TEST say."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("background\none\ntwo\nthree\n")
    for split, samples in {"train": TRAIN, "test": TEST}.items():
        for name, classes in samples.items():
            write_image(root, name)
            write_mask(root, name, classes)
        write_list(root, split, samples)
    return root


def write_image(root: Path, name: str, seed: int = 0) -> None:
    """An image of noise, which another seed changes."""
    draw = np.random.default_rng([seed, *name.encode()])
    Image.fromarray(draw.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(root / "images" / f"{name}.png")


def write_mask(root: Path, name: str, classes: tuple[int, ...], width: int = 20, compress_level: int = 6) -> None:
    """A mask with a stripe of each class."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for label in classes:
        mask[4 * label : 4 * label + 3, :width] = label
    Image.fromarray(mask).save(root / "masks" / f"{name}.png", compress_level=compress_level)


def write_list(root: Path, split: str, names: object) -> None:
    """The list of a split's images."""
    (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
