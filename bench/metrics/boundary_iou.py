"""Boundary IoU: B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov, "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", CVPR 2021."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from issbench.bench.metrics.confusion import count_pixels
from issbench.bench.metrics.iou import iou_values
from issbench.bench.metrics.metric import Context, Metric

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 0.02
"""Width of the boundary region, relative to the diagonal of the image (the paper's)."""


class BoundaryIoU(Metric):
    """IoU of the pixels of a class that lie within d of the boundary of its mask: |G_d ∩ P_d| / |G_d ∪ P_d|.

    d is 2 % of the diagonal. A mask ends where the image ends, and where pixels are ignored: these belong to no
    mask, of the truth or of the prediction, so that what is predicted there changes nothing.
    """

    name = "boundary-iou"
    counts = "boundary"
    opt_in = True

    def count(self, prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
        ignored = (target < 0) | (target >= num_classes)

        def boundaries(classes: Tensor) -> Tensor:
            # What is ignored, and what is not near a boundary, becomes one class more, which is cut off.
            known = classes.masked_fill(ignored, num_classes)
            return known.masked_fill(~near_boundary(known), num_classes)

        return count_pixels(boundaries(prediction), boundaries(target), num_classes + 1)[..., :num_classes]

    def values(self, counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
        return {"boundary_iou": iou_values(counts, context)}


def near_boundary(classes: Tensor) -> Tensor:
    """Which pixels of class maps `[B, H, W]` lie within d of the boundary of their class's mask: bool `[B, H, W]`.

    As in the authors' code, distance is that of d erosions by 3 × 3 pixels: the other pixels are those around which
    (2d + 1) × (2d + 1) pixels are all of their class and inside the image. The minimum and the maximum over these
    tell, for all classes at once.
    """
    from torch.nn import functional as nnf

    height, width = classes.shape[-2:]
    d = max(1, round(WIDTH * math.hypot(height, width)))
    padded = nnf.pad(classes[:, None].float(), (d, d, d, d), value=-1)  # of no class

    def largest(values: Tensor) -> Tensor:
        rows = nnf.max_pool2d(values, (2 * d + 1, 1), stride=1)
        return nnf.max_pool2d(rows, (1, 2 * d + 1), stride=1)

    return (largest(padded) != -largest(-padded))[:, 0]
