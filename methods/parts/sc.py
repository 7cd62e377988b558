"""Sharp confidence: a part of GSC (methods/gsc.py), to be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Part


@dataclass(frozen=True, kw_only=True)
class SCOptions:
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
            confidence = fn.sharp_confidence(batch.student.log_probabilities, normalised=True)
            terms["confidence"] = self.options.lambda2 * confidence.mean()
        return terms
