"""ALIFE without its memory (ALI): Oh et al., ALIFE: Adaptive Logit Regularizer and Feature Replay for Incremental
Semantic Segmentation, NeurIPS 2022."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import IGNORE, Batch, Method
from issbench.methods.shared.collectives import mean_where


@dataclass(frozen=True, kw_only=True)
class ALIOptions:
    """Weights of the regulariser in the background, and of the distillation elsewhere."""

    regulariser: Weight = 1.0
    distillation: Weight = 1.0


class ALI(Method):
    """ALI: the old model's probabilities over all classes in the background, cross-entropy on new classes alone."""

    name = "ali"
    title = "ALI"
    table_order = 95
    colour, marker, dashes = "#8C564B", "3", "-"
    cite = "oh2022alife"
    Options = ALIOptions
    published = {"voc_15-5": {"regulariser": 2.0}, "voc_15-1": {"regulariser": 3.0}}
    new_classifier = "background"

    def targets(self, batch: Batch) -> Tensor:
        labels = super().targets(batch)
        return labels.masked_fill(self._hides(labels), IGNORE)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """Each a mean over its own pixels: the regulariser over the background, where old classes hide, the
        distillation over all others."""
        student, teacher = batch.student.log_probabilities, batch.teacher.log_probabilities
        hidden = self._hides(batch.labels)
        regulariser = fn.logit_regulariser(student, teacher, normalised=True)
        distance = fn.knowledge_distillation(student, teacher, normalised=True)
        return {
            **super().terms(batch, targets),
            "regulariser": self.options.regulariser * mean_where(regulariser, hidden),
            "distillation": self.options.distillation * mean_where(distance, ~hidden),
        }

    def _hides(self, labels: Tensor) -> Tensor:
        """Where the background is, if old classes hide in it."""
        return torch.zeros_like(labels, dtype=torch.bool) if self.step.all_labelled else labels == 0
