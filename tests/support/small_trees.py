"""The paper's datasets in their own layouts, as a few small images: its scenarios then take seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from issbench.scenarios.datasets import dataset_class

RECIPE = {
    "first_epochs": 4, "epochs": 1, "lr": 0.05, "first_lr": 0.1, "batch": 8, "crop": 32, "aspp_channels": 16,
    "backbone": "tiny", "weights": "none", "output_stride": 8,
}  # fmt: skip
SIDE = 40
_VOC_TRAIN = [(c,) for c in range(1, 21)] + [(c, c % 20 + 1) for c in range(1, 21)]
_VOC_TEST = [range(first, first + 5) for first in (1, 6, 11, 16)]
_CITYSCAPES_LABELS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def small_voc(root: Path) -> Path:
    """20 training images of one class, 20 of two, and four test images of five, so that every split and order has
    images in all its steps, disjoint ones too."""
    home = root / "VOC2012"
    lists: dict[str, Sequence[Iterable[int]]] = {"train_aug": _VOC_TRAIN, "val": _VOC_TEST}
    for split, images in lists.items():
        names = [f"{split}{number:02}" for number in range(len(images))]
        for name, classes in zip(names, images, strict=True):
            _write(
                home / "JPEGImages" / f"{name}.jpg", home / "SegmentationClassAug" / f"{name}.png", (0, *classes)
            )
        listed = home / "ImageSets" / "Segmentation" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in names))
    return root


def small_ade(root: Path) -> Path:
    """Ten images for training and as many for the test, with fifteen of the 150 classes each."""
    for split in ("training", "validation"):
        for number in range(10):
            place = f"{split}/{number:02}"
            labels = range(number, 151, 10)
            _write(root / "images" / f"{place}.jpg", root / "annotations" / f"{place}.png", labels)
    return root


def small_cityscapes(root: Path) -> Path:
    """An image of all classes from each of the 21 cities; the last three are those of the test."""
    for number, city in enumerate(dataset_class("cityscapes").domains):
        place = f"{'train' if number < 18 else 'val'}/{city}/{city}"
        image, label = f"{place}_leftImg8bit.png", f"{place}_gtFine_labelIds.png"
        _write(root / "leftImg8bit" / image, root / "gtFine" / label, _CITYSCAPES_LABELS)
    return root


def _write(image: Path, label: Path, values: Sequence[int]) -> None:
    """An image, no other's copy, with a block for each value in a colour of its own, and its label map."""
    blocks = int(np.ceil(len(values) ** 0.5))
    places = (np.arange(SIDE) * blocks) // SIDE
    mask = np.resize(np.array(values, np.uint8), blocks**2)[places[:, None] * blocks + places]
    colours = np.random.default_rng(0).integers(40, 215, (256, 3))
    seed = [*f"{image.parent.name}/{image.name}".encode()]
    noise = np.random.default_rng(seed).integers(-20, 20, (SIDE, SIDE, 3))
    pixels = colours[mask] + noise
    for path, array in ((image, pixels.astype(np.uint8)), (label, mask)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
