"""Confusion counts of single test images, which runs leave beside their steps, and mIoU from sums of them."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from issbench.results.runs import RecordError, Run

COUNTS = ("tp", "fp", "fn")
_FORMAT = 1
_DAMAGED = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error)
_AGAIN = "the same `bench run` makes it, and trains nothing again"


@dataclass(frozen=True)
class ImageCounts:
    """Counts of a run's last step: `counts` is float64 `[images, 3, classes]`, (tp, fp, fn) in pixels.

    Counts of equal `evaluation` are of the same test images in the same order, with the same labels.
    """

    evaluation: str
    counts: np.ndarray


def load_image_counts(run: Run) -> ImageCounts:
    """The counts of a run's last step. RecordError, with the remedy, where they are missing or do not fit."""
    if run.imported:
        raise RecordError(f"{run.name} was imported: counts of single images are unknown")
    evaluation = run.last["evaluation"]
    if evaluation is None:
        raise RecordError(f"{run.name} is of an older version, without counts of single images: {_AGAIN}")
    path = run.store / evaluation["images"]
    try:
        with np.load(path) as stored:
            arrays = dict(stored)
        counts = _unpacked(arrays)
    except FileNotFoundError:
        raise RecordError(f"{path}, the counts of single images, is missing: {_AGAIN}") from None
    except _DAMAGED as error:
        raise RecordError(f"{path} cannot be read ({error}); remove it: {_AGAIN}") from None
    total = counts.sum(axis=0)
    if total.tolist() != [run.last["counts"][name] for name in COUNTS]:
        raise RecordError(f"{path} does not add up to the counts in the record of {run.name}; remove it: {_AGAIN}")
    return ImageCounts(evaluation["name"], counts)


def _unpacked(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The inverse of `pack` in bench/evaluation.py."""
    if arrays["format"] != _FORMAT:
        raise ValueError(f"format {arrays['format']}, this version reads {_FORMAT}")
    images, classes = map(int, arrays["shape"])
    counts = np.zeros((images, len(COUNTS), classes))
    row = np.repeat(np.arange(images), arrays["entries"])
    for place, name in enumerate(COUNTS):
        counts[row, place, arrays["classes"]] = arrays[name]
    return counts


@dataclass(frozen=True)
class Group:
    """A group of classes by its first and last channel; `zero`: classes without a labelled pixel count 0."""

    first: int
    last: int
    zero: bool


def group_of(run: Run, name: str) -> Group:
    """A group of a run, `base`, `new`, `all` or as printed (`0-15`). RecordError for one that it does not have."""
    spans: dict[str, Any] | None = run.record["group_spans"]
    if spans is None:
        raise RecordError(f"{run.name} is of an older version, without the spans of its groups: {_AGAIN}")
    known = spans["named"] | spans["printed"]
    if name not in known:
        raise RecordError(f"{run.name} has no group {name!r}; it has {', '.join(known)}")
    return Group(*known[name], run.experiment["protocol"]["absent"] == "zero")


def mean_iou(counts: np.ndarray, group: Group) -> np.ndarray:
    """mIoU in % of a group from counts `[…, 3, classes]`: `[…]`, NaN where no class of it counts.

    As the records have it: a class without a labelled pixel is left out, or counts 0, as the protocol says.
    """
    tp, fp, fn = np.moveaxis(counts[..., group.first : group.last + 1], -2, 0)
    labelled = tp + fn > 0
    iou = np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=labelled)
    number = np.full(iou.shape[:-1], float(iou.shape[-1])) if group.zero else labelled.sum(axis=-1).astype(float)
    return 100 * np.divide(iou.sum(axis=-1), number, out=np.full_like(number, np.nan), where=number > 0)
