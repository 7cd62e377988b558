"""Counts of predictions, and what is derived from them. Only tests use these: they are the definitions with which
the evaluation, which counts image by image and without a matrix, is compared."""

import torch
from torch import Tensor

from issbench.methods.equations.common import IGNORE_INDEX


def confusion_matrix(
    prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Counts of (true class, predicted class) pairs.

    Args:
        prediction: any shape, integers in `0 … num_classes-1`.
        target: same shape, integers; `ignore_index` and whatever is not in `0 … num_classes-1` is dropped.

    Returns: `[num_classes, num_classes]` int64, rows are the ground truth.
    """
    prediction, target = prediction.flatten().long(), target.flatten().long()
    dropped = (target == ignore_index) | (target < 0) | (target >= num_classes)
    cells = num_classes * num_classes
    index = (target * num_classes + prediction).masked_fill(dropped, cells)
    counts = index.new_zeros(cells + 1).index_add(0, index, torch.ones_like(index))
    return counts[:-1].reshape(num_classes, num_classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union of each class.

    Args:
        confusion: `[C, C]`, rows are the ground truth.

    Returns: `[C]` float64 in `[0, 1]`: tp / (tp + fp + fn), NaN for a class neither present nor predicted.
    """
    confusion = confusion.double()
    intersection = confusion.diagonal()
    return intersection / (confusion.sum(0) + confusion.sum(1) - intersection)
