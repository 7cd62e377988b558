"""Sharp confidence: a part of GSC (methods/gsc.py), to be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Part
from issbench.methods.shared.form import FormOptions


@dataclass(frozen=True, kw_only=True)
class SCOptions(FormOptions):
    """`sc`: the switch; `lambda2`: the weight."""

    sc: bool = True
    lambda2: Weight = 0.1


class SC(Part):
    """Sharp confidence (eq. 8)."""

    name = "sc"
    title = "SC"
    cite = "cong2024gradient"
    Options = SCOptions

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms = super().terms(batch, targets)
        if self.options.sc:
            student = batch.student.log_probabilities
            confidence = fn.sharp_confidence(student, normalised=True)
            if self.options.form == "released":
                confidence = confidence / student.shape[1]  # the mean over the channels, not the sum
            terms["confidence"] = self.options.lambda2 * confidence.mean()
        return terms
