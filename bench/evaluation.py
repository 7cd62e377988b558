"""Evaluation of a network: counts over the test images, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from methods.functional import confusion_matrix
from scenarios.protocol import Protocol


@torch.no_grad()
def count(network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], num_classes: int) -> dict[str, Any]:
    """True positives, false positives and false negatives of each class over the test images.

    The confusion matrix stays on the device until the last batch is through.
    """
    total: Tensor | None = None
    for images, labels in batches:
        prediction = network(images).logits.argmax(dim=1)
        confusion = confusion_matrix(prediction, labels, num_classes)
        total = confusion if total is None else total + confusion
    if total is None:
        total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    hits = total.diagonal()
    return {
        "tp": hits.tolist(),
        "fp": (total.sum(dim=0) - hits).tolist(),
        "fn": (total.sum(dim=1) - hits).tolist(),
    }


def metrics(
    counts: dict[str, Any], groups: dict[str, dict[str, tuple[int, int]]], protocol: Protocol
) -> dict[str, Any]:
    """IoU of each class in %, mIoU of the groups in % over the classes known so far, pixel accuracy in %.

    A class in neither the labels nor the predictions has no IoU (None). One without a labelled pixel is
    absent, predicted or not: the protocol leaves it out of the means or counts it as 0. A group of which no
    class counts has no mIoU (None).
    """
    tp, fp, fn = (np.asarray(counts[name], dtype=np.float64) for name in ("tp", "fp", "fn"))
    union = tp + fp + fn
    iou = np.divide(tp, union, out=np.full_like(tp, np.nan), where=union > 0) * 100
    counted = np.where(tp + fn > 0, iou, 0.0 if protocol.absent == "zero" else np.nan)
    labelled = (tp + fn).sum()

    def mean(span: tuple[int, int]) -> float | None:
        values = counted[span[0] : span[1] + 1]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else None

    return {
        "iou": [None if np.isnan(value) else float(value) for value in iou],
        "miou": {name: mean(span) for name, span in groups["named"].items()},
        "groups": {name: mean(span) for name, span in groups["printed"].items()},
        "pixel_accuracy": float(tp.sum() / labelled * 100) if labelled else None,
    }


def forgetting(first_learned: list[int], ious: list[list[float | None]]) -> list[float | None]:
    """IoU of each class when it was first learned minus after the last step, in points.

    `first_learned[c]` is the position in `ious` of the first evaluation after class c was learned; None
    for a class without an IoU at either end.
    """
    result: list[float | None] = []
    for channel, start in enumerate(first_learned):
        before, after = ious[start][channel], ious[-1][channel]
        result.append(None if before is None or after is None else before - after)
    return result
