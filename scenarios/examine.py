"""What a single sample holds, and what is wrong with its files."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from issbench.files import CannotRead
from issbench.scenarios.datasets.base import IGNORE, Dataset
from issbench.scenarios.datasets.images import Seen
from issbench.scenarios.errors import DataError
from issbench.scenarios.reading import failed

_LONGEST = 100
"""So many times longer than wide may an image be: the test enlarges its shorter side to the crop."""


class Examined(NamedTuple):
    """A sample with fingerprints of its image and its labels; those are empty where there is a fault."""

    classes: np.ndarray
    """bool [N + 1]: the class has at least one pixel."""
    ignored: bool
    """Whether some pixel is to be ignored."""
    image: str
    """A hash of the image file's bytes, or of the pixels of an image that comes from no single file."""
    label: str
    """A hash of the label values."""
    turned: bool
    """Whether EXIF data turn the image."""
    image_fault: str
    label_fault: str


def examine(dataset: Dataset, sample: str, with_image: bool = True) -> Examined:
    """Read a sample. Faults are told and not raised, so that one broken file does not hide the other; but where the
    file system stays away, that is CannotRead."""
    try:
        label, label_fault = dataset.label(sample), ""
    except CannotRead:
        raise
    except (Exception, SystemExit) as error:
        label, label_fault = None, str(failed(f"the label of {sample}", error))
    size = None if label is None else label.shape[::-1]
    image, turned, image_fault = _image(dataset, sample, size) if with_image else ("", False, "")
    if label is None:
        return Examined(
            np.zeros(len(dataset.classes) + 1, bool), False, image, "", turned, image_fault, label_fault
        )
    counts = np.bincount(label.ravel(), minlength=256)
    content = f"{label.shape}\0".encode() + np.ascontiguousarray(label).tobytes()
    classes, ignored = counts[: len(dataset.classes) + 1] > 0, bool(counts[IGNORE])
    return Examined(classes, ignored, image, _digest(content), turned, image_fault, label_fault)


def _image(dataset: Dataset, sample: str, label_size: tuple[int, ...] | None) -> tuple[str, bool, str]:
    """Fingerprint, whether EXIF data turn it, and fault of an image; its label map has a size, if there is one."""
    try:
        content = dataset.image_content(sample)
        seen = dataset.look(sample)
        _check_size(dataset, sample, seen, label_size)
    except CannotRead:
        raise
    except (Exception, SystemExit) as error:
        return "", False, str(failed(f"the image of {sample}", error))
    return _digest(content), seen.turned, ""


def _check_size(dataset: Dataset, sample: str, seen: Seen, label_size: tuple[int, ...] | None) -> None:
    (width, height), turned = seen
    if max(seen.size) > _LONGEST * min(seen.size):
        raise DataError(
            f"{dataset.name}: image {sample} has {width}×{height} pixels; one side may be at most {_LONGEST} times "
            "the other: cut it"
        )
    if label_size is not None and seen.size != label_size:
        raise DataError(
            f"{dataset.name}: image {sample} has {width}×{height} pixels"
            f"{' as its EXIF data turn it' * turned}, but its label map {label_size[0]}×{label_size[1]}; both must "
            f"agree{', turned alike' * turned}: correct one of the two"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
