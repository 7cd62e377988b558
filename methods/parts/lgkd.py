"""LGKD: Yang et al., Label-Guided Knowledge Distillation for Continual Semantic Segmentation on 2D Images and 3D
Point Clouds, ICCV 2023. To be put on top of any method; published on PLOP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import IGNORE, Batch, Part
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.collectives import mean_where


@dataclass(frozen=True, kw_only=True)
class LGKDOptions:
    """`guided_old`, `guided_new`: weights of the distillation at pixels of the background and of new classes."""

    guided_old: Weight = 10.0
    guided_new: Weight = 1.0


class LGKD(Part):
    """Distillation of the old model's probabilities, whose background gives way to the labels of new classes."""

    name = "lgkd"
    title = "LGKD"
    cite = "yang2023label"
    Options = LGKDOptions
    published = {
        "shapes": {"guided_old": 1.0},
        "voc_19-1": {"guided_old": 5.0, "guided_new": 0.5},
        "voc_15-5": {"guided_old": 5.0, "guided_new": 1.0},
        "voc_15-1": {"guided_old": 1.0, "guided_new": 0.0},
        "ade_100-50": {"guided_old": 1.0, "guided_new": 20.0},
        "ade_100-10": {"guided_old": 1.0, "guided_new": 1.0},
        "ade_50-50": {"guided_old": 2.0, "guided_new": 10.0},
    }
    needs_teacher = True

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """In place of a distillation of probabilities in the method below; at the resolution of the logits."""
        terms, options = super().terms(batch, targets), self.options
        terms.pop("distillation", None)
        student, teacher = batch.student.low_logits, batch.teacher.low_logits
        labels = nearest_labels(batch.labels, student)
        weights = torch.where(labels < self.step.num_old, options.guided_old, options.guided_new)
        pixels = weights * fn.label_guided_distillation(student, teacher, labels)
        terms["label-guided"] = mean_where(pixels, labels != IGNORE)
        return terms
