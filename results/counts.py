"""The counts of test images behind every IoU: their format in the store, in both directions, and mIoU from them.

Counts are `[images, 3, classes]`: for each image and class the true positives, false positives and false negatives,
in pixels. Their sums over images are what IoU follows from. This file knows arrays alone; the engine writes with it
what statistics read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

COUNTS = ("tp", "fp", "fn")
"""What is counted for each class: true positives, false positives and false negatives, in pixels."""

FORMAT = 1
"""Format of the packed counts; `unpack` refuses what it does not know."""


def pack(images: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of images `[images, 3, classes]` as sparse arrays: an image holds few of the classes.

    `entries[i]` is the number of classes that occur in image i, labelled or predicted; `classes`, `tp`, `fp` and
    `fn` have an entry for each of these, image after image. `shape` is (images, classes), `format` FORMAT.
    """
    row, channel = np.nonzero(images.any(axis=1))
    size = (len(images), images.shape[2])
    return {
        "format": np.array(FORMAT, np.uint16),
        "shape": np.array(size, np.uint32),
        "entries": np.bincount(row, minlength=size[0]).astype(np.uint16),
        "classes": channel.astype(np.uint16),
        **{name: images[row, place, channel].astype(np.uint32) for place, name in enumerate(COUNTS)},
    }


def unpack(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The counts int64 `[images, 3, classes]` that `pack` was given.

    Raises ValueError for another format; KeyError, ValueError or IndexError for arrays that do not fit together.
    """
    if arrays["format"] != FORMAT:
        raise ValueError(f"format {arrays['format']}, this version reads {FORMAT}")
    images, classes = map(int, arrays["shape"])
    counts = np.zeros((images, len(COUNTS), classes), np.int64)
    row = np.repeat(np.arange(images), arrays["entries"])
    for place, name in enumerate(COUNTS):
        counts[row, place, arrays["classes"]] = arrays[name]
    return counts


@dataclass(frozen=True)
class ClassGroup:
    """A group of classes by its first and last channel (both belong to it).

    `absent_is_zero`: a class without a labelled pixel counts 0 in the mean; else it is left out.
    """

    first: int
    last: int
    absent_is_zero: bool


def mean_iou(counts: np.ndarray, group: ClassGroup) -> np.ndarray:
    """mIoU in % of a group from counts `[…, 3, classes]`: `[…]`, NaN where no class of it counts."""
    tp, fp, fn = np.moveaxis(counts[..., group.first : group.last + 1].astype(float), -2, 0)
    labelled = tp + fn > 0
    iou = np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=labelled)
    if group.absent_is_zero:
        number = np.full(iou.shape[:-1], float(iou.shape[-1]))
    else:
        number = labelled.sum(axis=-1).astype(float)
    return 100 * np.divide(iou.sum(axis=-1), number, out=np.full_like(number, np.nan), where=number > 0)


def mean_of_group(iou: Sequence[float | None], group: ClassGroup) -> float | None:
    """mIoU in % of a group from the IoU (%) of each channel so far, None for a class without a labelled pixel.

    None where no class of the group counts, or none is learned yet.
    """
    values = iou[group.first : group.last + 1]
    counted = [0.0 if value is None and group.absent_is_zero else value for value in values]
    known = [value for value in counted if value is not None]
    return math.fsum(known) / len(known) if known else None


def harmonic_mean(base: float | None, new: float | None) -> float | None:
    """Of the mIoU (%) of base and new classes: hIoU in %; None where one of them is unknown."""
    if base is None or new is None:
        return None
    return 2 * base * new / (base + new) if base and new else 0.0
