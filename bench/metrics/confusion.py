"""The counts of most metrics: true positives, false positives and false negatives of each class, in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issbench.bench.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor


class Confusion(Metric):
    """A metric that follows from the confusion of classes."""

    counts = "confusion"

    def count(self, prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
        return count_pixels(prediction, target, num_classes)


def count_pixels(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """True positives, false positives and false negatives of each class in each image of a batch: int32
    `[B, 3, num_classes]` (an image has fewer than 2³¹ pixels).

    `prediction` `[B, H, W]` lies in `0 … num_classes-1`; a pixel whose `target` does not is dropped.
    """
    import torch  # late: the values of a metric need none

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
