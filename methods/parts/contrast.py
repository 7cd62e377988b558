"""UCD: Yang et al., Uncertainty-aware Contrastive Distillation for Incremental Semantic Segmentation, TPAMI 2022;
with the class means of CoinSeg (Zhang et al., ICCV 2023) as an option. To be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.equations.common import full_precision
from issbench.methods.interface.numbers import Count, Positive, Weight
from issbench.methods.method import IGNORE, Batch, Part
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.class_means import class_means
from issbench.methods.shared.collectives import mean_where, others


@dataclass(frozen=True, kw_only=True)
class ContrastOptions:
    """`contrast`: the weight; `anchors`: single pixels (UCD) or the mean of each class (CoinSeg);
    `contrast_pixels`: how many of each image's feature map are drawn; `contrast_temperature`: of the cosines."""

    contrast: Weight = 0.01
    anchors: Literal["pixels", "means"] = "pixels"
    contrast_pixels: Count = 64
    contrast_temperature: Positive = 0.07


class Contrast(Part):
    """Contrast of the student's features with its own and the old model's: near in a class, far between classes."""

    name = "contrast"
    title = "UCD"
    cite = "yang2022uncertainty"
    Options = ContrastOptions
    needs_teacher = True

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms, of_means = super().terms(batch, targets), self.options.anchors == "means"
        costs, labels = self._of_means(batch) if of_means else self._of_pixels(batch)
        terms["contrast"] = self.options.contrast * mean_where(costs, labels != IGNORE)
        return terms

    def _compared_classes(self, batch: Batch) -> Tensor:
        """The class of each feature, int64 [B, h, w]: its label, or what the old model sees in the background; 255
        where that is the background, too."""
        labels = nearest_labels(batch.labels, batch.student.features)
        if not self.step.all_labelled:
            labels = torch.where(labels == 0, batch.teacher.low_logits.argmax(dim=1), labels)
        return labels if self.step.domain else labels.masked_fill(labels == 0, IGNORE)

    def _of_pixels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cost and the label of each pixel that is drawn. It is compared with all that are drawn from the batch
        of all processes: the student's features, and the old model's where the class is old."""
        classes, old = self._compared_classes(batch), self.step.num_old
        cells = drawn(classes, self.options.contrast_pixels)
        anchors, known = taken(batch.student.features, cells), taken(batch.teacher.features, cells)
        sure = taken(batch.teacher.low_logits, cells).softmax(dim=2)
        own = torch.cat([anchors, known, sure, taken(classes[:, None], cells)], dim=2).detach()
        rows = torch.cat([own, others(own, batch.share, IGNORE)]).flatten(0, 1)
        students, teachers, sure, column = rows.split([anchors.shape[2], known.shape[2], old, 1], dim=1)
        labels, count = column[:, 0].long(), classes.shape[0] * cells.shape[1]
        with full_precision(rows.device.type):
            agree = sure[:count] @ sure.T  # how likely the old model finds the same class in both
        new = labels >= old
        agree = torch.where(new[:count, None] & new, 1, agree)
        costs = fn.pixel_contrast(
            anchors.flatten(0, 1),
            torch.cat([students, teachers]),
            labels[:count],
            torch.cat([labels, labels.masked_fill(new, IGNORE)]),
            torch.cat([agree, agree], dim=1),
            self.options.contrast_temperature,
        )
        return costs, labels[:count]

    def _of_means(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cost and the label of each class's mean direction: 255 for a class that is not there."""
        classes, count = self._compared_classes(batch), self.step.num_classes
        directions = [nnf.normalize(one.features.float(), dim=1) for one in (batch.student, batch.teacher)]
        (means, counts), (known, _) = (class_means(each, classes, count) for each in directions)
        labels = torch.arange(count, device=means.device).masked_fill(counts == 0, IGNORE)
        contrast, both = torch.cat([means.detach(), known]), torch.cat([labels, labels])
        weights = means.new_ones(count, 2 * count)
        costs = fn.pixel_contrast(means, contrast, labels, both, weights, self.options.contrast_temperature)
        return costs, labels


def drawn(classes: Tensor, count: int) -> Tensor:
    """Random cells of each map [B, h, w] as indices int64 [B, min(count, h·w)], ascending; those without a class
    only where there are not enough others. All images, and all processes, draw from one order of the cells."""
    cells = classes.flatten(1)
    order = torch.rand(cells.shape[1], device=cells.device).expand(cells.shape)
    chosen = order.masked_fill(cells == IGNORE, -1).topk(min(count, cells.shape[1]), dim=1)
    return chosen.indices.sort(dim=1).values


def taken(maps: Tensor, cells: Tensor) -> Tensor:
    """What maps [B, D, h, w] hold in cells [B, n]: float32 [B, n, D]."""
    index = cells[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).float().gather(2, index).movedim(1, 2)
