"""MiB: Cermelli et al., Modeling the Background for Incremental Learning in Semantic Segmentation, CVPR 2020."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Method, NewClassifier


@dataclass(frozen=True, kw_only=True)
class MiBOptions:
    """`distillation`: weight of the distillation term."""

    distillation: Weight = 10.0


class MiB(Method):
    """MiB: unbiased cross-entropy and distillation, in which the background may hide old or new classes."""

    name = "mib"
    title = "MiB"
    table_order = 90
    colour, marker, dashes = "#E69F00", "s", "-"
    cite = "cermelli2020modeling"
    Options = MiBOptions
    published = {"voc_15-1": {"distillation": 100.0}}
    new_classifier: ClassVar[NewClassifier] = "background"

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        student = batch.student.log_probabilities
        return fn.unbiased_cross_entropy(student, targets, self.num_hidden, normalised=True)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        student, teacher = batch.student.log_probabilities, batch.teacher.log_probabilities
        distance = fn.unbiased_knowledge_distillation(student, teacher, normalised=True)
        return {**super().terms(batch, targets), "distillation": self.options.distillation * distance.mean()}
