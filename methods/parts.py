"""The four parts of GSC (methods/gsc.py), each with its switch, to be put on top of any method: `METHOD+sc`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from methods import functional as fn
from methods.background import EntropyMedians, old_prototypes
from methods.method import IGNORE, Batch, Batches, Part, Step, upsample


@dataclass(frozen=True, kw_only=True)
class PROptions:
    """`pr`: the switch; `temperature`: T of eq. 10."""

    pr: bool = True
    temperature: float = 1.0


class PR(Part, EntropyMedians):
    """Prototypical pseudo re-labelling (eq. 10-12): labels for old classes in the background."""

    name = "pr"
    title = "PR"
    Options = PROptions
    needs_teacher = True

    def __init__(self, options: PROptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("old_prototypes", torch.zeros(step.num_old, step.feature_channels))

    @property
    def _relabels(self) -> bool:
        return self.options.pr and not self.step.domain  # in domains nothing hides in the background

    @property
    def num_hidden(self) -> int:
        return 1 if self._relabels else super().num_hidden

    @property
    def needs_medians(self) -> bool:
        return self.options.pr or super().needs_medians

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        if self._relabels:
            self.old_prototypes = old_prototypes(batches, self.step, self.old_prototypes)

    def targets(self, batch: Batch) -> Tensor:
        """Eq. 12. The weights of eq. 10 are computed where the features are, and interpolated to the pixels."""
        if not self._relabels:
            return super().targets(batch)
        features = batch.student.features.detach().float()
        weights = fn.prototype_weights(features, self.old_prototypes, self.options.temperature)
        weights = upsample(weights, batch.student.size)
        teacher, old = batch.teacher.log_probabilities, self.step.num_old
        return fn.prototypical_pseudo_labels(batch.labels, teacher, weights, self.medians, old, normalised=True)


@dataclass(frozen=True, kw_only=True)
class SGOptions:
    """`sg`: the switch; `new_weight`: the weight of the current step's classes, 1 or learned."""

    sg: bool = True
    new_weight: Literal["one", "learned"] = "one"


class SG(Part):
    """Step-aware gradient compensation (eq. 2-6): pixels weighted by how much their step is forgotten."""

    name = "sg"
    title = "SG"
    Options = SGOptions

    def __init__(self, options: SGOptions, step: Step):
        super().__init__(options, step)
        if self._learns:
            self.log_weight = nn.Parameter(torch.zeros(()))

    @property
    def _learns(self) -> bool:
        return self.options.sg and self.options.new_weight == "learned" and not self.step.domain

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Eq. 5 in place of any weights below (of PLOP's adaptive factor, which eq. 6 lacks)."""
        if not self.options.sg:
            return super().pixel_weights(batch, targets)
        weights = step_aware_weights(batch.student.logits.detach(), targets, self.step)
        return torch.where(self._is_new(targets), self.log_weight.exp(), weights) if self._learns else weights

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """A weight w that is learned costs −log w a pixel (Kendall et al., CVPR 2018), else it would become 0;
        where the loss of the new pixels is ℓ, w is best at 1/ℓ."""
        terms = super().terms(batch, targets)
        if self._learns:
            terms["new weight"] = -self.log_weight * self._is_new(targets).float().mean()
        return terms

    def _is_new(self, targets: Tensor) -> Tensor:
        return (targets >= self.step.num_old) & (targets != IGNORE)


@dataclass(frozen=True, kw_only=True)
class SROptions:
    """`sr`: the switch; `lambda1`: the weight."""

    sr: bool = True
    lambda1: float = 0.3


class SR(Part):
    """Soft semantic relation distillation (eq. 7)."""

    name = "sr"
    title = "SR"
    Options = SROptions
    needs_teacher = True

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms = super().terms(batch, targets)
        if self.options.sr:
            student, teacher = batch.student.log_probabilities, batch.teacher.logits
            relation = fn.soft_relation(student, teacher, batch.labels, normalised=True)
            terms["relation"] = self.options.lambda1 * relation.mean()
        return terms


@dataclass(frozen=True, kw_only=True)
class SCOptions:
    """`sc`: the switch; `lambda2`: the weight."""

    sc: bool = True
    lambda2: float = 0.1


class SC(Part):
    """Sharp confidence (eq. 8)."""

    name = "sc"
    title = "SC"
    Options = SCOptions

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms = super().terms(batch, targets)
        if self.options.sc:
            confidence = fn.sharp_confidence(batch.student.log_probabilities, normalised=True)
            terms["confidence"] = self.options.lambda2 * confidence.mean()
        return terms


def step_aware_weights(logits: Tensor, targets: Tensor, step: Step) -> Tensor:
    """Eq. 5. In a domain-incremental scenario all labelled pixels form one old group: an empty channel in
    front takes the place of the background, so that class 0 counts like the others."""
    if not step.domain:
        return fn.step_aware_weights(logits, targets, step.classes_per_step)
    shifted = torch.where(targets == IGNORE, targets, targets + 1)
    padded = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
    return fn.step_aware_weights(padded, shifted, (step.num_classes, 0))
