"""Evaluation of a network: counts over the test images, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from issbench.bench.engine import distributed
from issbench.bench.engine.loading import Share as Part
from issbench.scenarios.protocol import Protocol

COUNTS = ("tp", "fp", "fn")
"""What is counted for each class: true positives, false positives and false negatives, in pixels."""

STORED = 1
"""Format of the counts of single images in the store; readers refuse what they do not know."""


@torch.no_grad()
def count(network: nn.Module, parts: Iterator[Part], num_classes: int) -> np.ndarray:
    """COUNTS of each class in each test image: int64 `[images, 3, num_classes]`, in the order of the batches.

    The counts stay on the device until the last batch is through. Several processes count a part of each batch, and
    all of them get the counts of all images.
    """
    found = []
    for part in parts:
        prediction = network(part.images).logits.argmax(dim=1)
        found.append(count_batch(prediction, part.labels, num_classes))
    own = [batch.numpy().astype(np.int64) for batch in _to_cpu(found)]
    batches = zip(*processes.gathered(own), strict=True)
    images = [image for parts_of_batch in batches for image in parts_of_batch]
    return np.concatenate(images) if images else np.zeros((0, len(COUNTS), num_classes), np.int64)


def _to_cpu(tensors: list[Tensor]) -> Sequence[Tensor]:
    """In one transfer."""
    return torch.cat(tensors).cpu().split([len(tensor) for tensor in tensors]) if tensors else ()


def count_batch(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """COUNTS of each image of a batch: `[B, 3, num_classes]`, int32 (an image has fewer than 2³¹ pixels).

    `prediction` `[B, H, W]` lies in `0 … num_classes-1`; a pixel whose `target` does not is dropped.
    """
    batch = len(target)
    prediction, target = prediction.flatten(1).long(), target.flatten(1).long()
    kept = (target >= 0) & (target < num_classes)
    # A confusion matrix for each image; dropped pixels are counted in one cell more, which is cut off.
    cells = batch * num_classes**2
    row = torch.arange(batch, device=target.device)[:, None] * num_classes
    index = ((row + target) * num_classes + prediction).masked_fill(~kept, cells).flatten()
    ones = torch.ones_like(index, dtype=torch.int32)
    confusion = ones.new_zeros(cells + 1).index_add(0, index, ones)[:-1]
    confusion = confusion.reshape(batch, num_classes, num_classes)
    hits = confusion.diagonal(dim1=1, dim2=2)
    missed = confusion.sum(dim=2, dtype=torch.int32) - hits
    return torch.stack([hits, confusion.sum(dim=1, dtype=torch.int32) - hits, missed], dim=1)


def totals(images: np.ndarray) -> dict[str, list[int]]:
    """COUNTS over all images `[images, 3, classes]`, as plain values."""
    return dict(zip(COUNTS, images.sum(axis=0, dtype=np.int64).tolist(), strict=True))


def pack(images: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of images `[images, 3, classes]` as sparse arrays: an image holds few of the classes.

    `entries[i]` is the number of classes that occur in image i, labelled or predicted; `classes`, `tp`, `fp` and
    `fn` have an entry for each of these, image after image. `shape` is (images, classes), `format` STORED.
    """
    row, channel = images.any(axis=1).nonzero()
    size = (len(images), images.shape[2])
    return {
        "format": np.array(STORED, np.uint16),
        "shape": np.array(size, np.uint32),
        "entries": np.bincount(row, minlength=size[0]).astype(np.uint16),
        "classes": channel.astype(np.uint16),
        **{name: images[row, place, channel].astype(np.uint32) for place, name in enumerate(COUNTS)},
    }


def metrics(
    counts: dict[str, Any], groups: dict[str, dict[str, tuple[int, int]]], protocol: Protocol
) -> dict[str, Any]:
    """IoU of each class in %, mIoU of the groups in % over the classes known so far, pixel accuracy in %.

    A class in neither the labels nor the predictions has no IoU (None). One without a labelled pixel is
    absent, predicted or not: the protocol leaves it out of the means or counts it as 0. A group of which no
    class counts has no mIoU (None).
    """
    tp, fp, fn = (np.asarray(counts[name], dtype=np.float64) for name in COUNTS)
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


def count_images(network, parts, metrics, num_classes):
    found = []
    for part in parts:
        prediction = network(part.images).logits.argmax(dim=1)
        found.append(count_batch(prediction, part.labels, num_classes))
    with torch.no_grad():
        own = [batch.numpy().astype(np.int64) for batch in _to_cpu(found)]
    batches = zip(*distributed.all_gather(own), strict=True)
    images = [image for parts_of_batch in batches for image in parts_of_batch]
    return {"confusion": np.concatenate(images)}
