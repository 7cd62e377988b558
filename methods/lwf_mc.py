"""LwF-MC: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, CVPR 2017 (its baseline
without exemplars), as the code of MiB released it for segmentation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Method


@dataclass(frozen=True, kw_only=True)
class LwFMCOptions:
    """`distillation`: weight of the distillation term."""

    distillation: Weight = 10.0


class LwFMC(Method):
    """LwF-MC: a sigmoid for each class, learned and distilled by binary cross-entropy."""

    name = "lwf-mc"
    title = "LwF-MC"
    table_order = 70
    colour, marker, dashes = "#E69F00", ">", "--"
    cite = "rebuffi2017icarl"
    Options = LwFMCOptions
    own_first_step = True  # sigmoids after a cross-entropy step are no probabilities: they sum to more than 1

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        return fn.sigmoid_cross_entropy(batch.student.logits, targets)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        if self.step.index == 0:
            return super().terms(batch, targets)
        distance = fn.sigmoid_distillation(batch.student.logits, batch.teacher.logits)
        return {**super().terms(batch, targets), "distillation": self.options.distillation * distance}
