"""Soft semantic relation distillation: a part of GSC (methods/gsc.py), to be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Part
from issbench.methods.shared.form import FormOptions


@dataclass(frozen=True, kw_only=True)
class SROptions(FormOptions):
    """`sr`: the switch; `lambda1`: the weight."""

    sr: bool = True
    lambda1: Weight = 0.3


class SR(Part):
    """Soft semantic relation distillation (eq. 7)."""

    name = "sr"
    title = "SR"
    cite = "cong2024gradient"
    Options = SROptions
    needs_teacher = True

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms = super().terms(batch, targets)
        if self.options.sr:
            student, teacher = batch.student.log_probabilities, batch.teacher.logits
            released = self.options.form == "released"
            relation = fn.soft_relation(student, teacher, batch.labels, released, normalised=True)
            terms["relation"] = self.options.lambda1 * relation.mean()
        return terms
