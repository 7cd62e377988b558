"""Intersection over union of each class, and its mean over groups of classes (mIoU)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from issbench.bench.metrics.confusion import Confusion
from issbench.bench.metrics.metric import Context, Groups
from issbench.results.counts import COUNTS, ClassGroup, mean_iou


class IoU(Confusion):
    """IoU of each class in %, and mIoU of the groups in % over the classes known so far.

    A class without a labelled pixel is absent, predicted or not: it has no IoU (None), and the protocol leaves it
    out of the means or counts it as 0. A group of which no class counts has no mIoU (None).
    """

    name = "iou"

    def values(self, counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
        return iou_values(counts, context)


def iou_values(counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
    """`iou` of each class, and its means over the groups: `miou` (named) and `groups` (printed)."""
    stacked = np.array([counts[name] for name in COUNTS], np.int64)
    hits, wrong, missed = stacked.tolist()
    return {
        "iou": [
            tp / (tp + fp + fn) * 100 if tp + fn else None for tp, fp, fn in zip(hits, wrong, missed, strict=True)
        ],
        "miou": _means(stacked, context.groups["named"], context),
        "groups": _means(stacked, context.groups["printed"], context),
    }


def _means(counts: np.ndarray, groups: Groups, context: Context) -> dict[str, float | None]:
    found = {
        name: float(mean_iou(counts, ClassGroup(first, last, context.absent_is_zero)))
        for name, (first, last) in groups.items()
    }
    return {name: None if np.isnan(value) else value for name, value in found.items()}
