"""LwF: Li and Hoiem, Learning without Forgetting, TPAMI 2018, as the code of MiB released it for segmentation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Method


@dataclass(frozen=True, kw_only=True)
class LwFOptions:
    """`distillation`: weight of the distillation term."""

    distillation: Weight = 100.0


class LwF(Method):
    """LwF: cross-entropy, and the old model's probabilities distilled into the old classes."""

    name = "lwf"
    title = "LwF"
    table_order = 60
    colour, marker, dashes = "#56B4E9", "<", "--"
    cite = "li2018learning"
    Options = LwFOptions

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        student, teacher = batch.student.log_probabilities, batch.teacher.log_probabilities
        distance = fn.knowledge_distillation(student, teacher, normalised=True)
        return {**super().terms(batch, targets), "distillation": self.options.distillation * distance.mean()}
