"""Step-aware gradient compensation: a part of GSC (methods/gsc.py), to be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.method import IGNORE, Batch, Part, Step
from issbench.methods.shared.collectives import total
from issbench.methods.shared.form import FormOptions


@dataclass(frozen=True, kw_only=True)
class SGOptions(FormOptions):
    """`sg`: the switch; `new_weight`: the weight of the current step's classes, 1 or learned."""

    sg: bool = True
    new_weight: Literal["one", "learned"] = "one"


class SG(Part):
    """Step-aware gradient compensation (eq. 2-6): pixels weighted by how much their step is forgotten."""

    name = "sg"
    title = "SG"
    cite = "cong2024gradient"
    Options = SGOptions

    def __init__(self, options: SGOptions, step: Step):
        super().__init__(options, step)
        if self._learns:
            self.log_weight = nn.Parameter(torch.zeros(()))

    @property
    def _learns(self) -> bool:
        return self.options.sg and self.options.new_weight == "learned" and not self.step.domain

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Eq. 5 on top of any weights below (PLOP's adaptive factor), or in their place: eq. 6 lacks the factor."""
        if not self.options.sg:
            return super().pixel_weights(batch, targets)
        weights = step_aware_weights(batch.student.logits.detach(), targets, self.step)
        if self._learns:
            weights = torch.where(self._is_new(targets), self.log_weight.exp(), weights)
        below = super().pixel_weights(batch, targets) if self.options.form == "released" else None
        return weights if below is None else below * weights

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """A weight w that is learned costs −log w a pixel (Kendall et al., CVPR 2018), else it would become 0;
        where the loss of the new pixels, with the weights below, is ℓ, w is best at 1/ℓ."""
        terms = super().terms(batch, targets)
        if self._learns:
            terms["new weight"] = -self.log_weight * self._is_new(targets).float().mean()
        return terms

    def _is_new(self, targets: Tensor) -> Tensor:
        return (targets >= self.step.num_old) & (targets != IGNORE)


def step_aware_weights(logits: Tensor, targets: Tensor, step: Step) -> Tensor:
    """Eq. 5. In a domain-incremental scenario all labelled pixels form one old group: an empty channel in
    front takes the place of the background, so that class 0 counts like the others."""
    if not step.domain:
        return fn.step_aware_weights(logits, targets, step.classes_per_step, total=total)
    shifted = torch.where(targets == IGNORE, targets, targets + 1)
    padded = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
    return fn.step_aware_weights(padded, shifted, (step.num_classes, 0), total=total)
