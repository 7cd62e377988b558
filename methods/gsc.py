"""GSC: Cong et al., Gradient-Semantic Compensation for Incremental Semantic Segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from methods import functional as fn
from methods.method import IGNORE, Batch, Batches, Step, upsample
from methods.plop import PLOP, PLOPOptions


@dataclass(frozen=True, kw_only=True)
class GSCOptions(PLOPOptions):
    """Switches `pr` (prototypical re-labelling), `sg` (step-aware gradient compensation), `sr` (soft relation),
    `sc` (sharp confidence); `lambda1`, `lambda2`: weights of `sr` and `sc`; `temperature`: T of eq. 10."""

    pr: bool = True
    sg: bool = True
    sr: bool = True
    sc: bool = True
    lambda1: float = 0.3
    lambda2: float = 0.1
    temperature: float = 1.0


class GSC(PLOP):
    """GSC: PLOP's distillation, with step-aware gradient weights, soft-sharp relations and prototype labels."""

    name = "gsc"
    title = "GSC"
    Options = GSCOptions

    def __init__(self, options: GSCOptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("prototypes", torch.zeros(step.num_old, step.feature_channels))

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        if self.options.pr and not self.step.domain:
            self.prototypes = old_prototypes(batches, self.step, self.prototypes)

    def targets(self, batch: Batch) -> Tensor:
        """Eq. 12. The weights of eq. 10 are computed where the features are, and interpolated to the pixels."""
        if self.step.domain or not self.options.pr:
            return super().targets(batch)
        features = batch.student.features.detach().float()
        weights = fn.prototype_weights(features, self.prototypes, self.options.temperature)
        weights = upsample(weights, batch.student.size)
        return fn.prototypical_pseudo_labels(
            batch.labels, batch.teacher.logits, weights, self.medians, self.step.num_old
        )

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Eq. 5; without `sg` PLOP's adaptive factor, which belongs to the baseline of the ablation (Table V)."""
        if self.options.sg:
            return step_aware_weights(batch.student.logits.detach(), targets, self.step)
        return super().pixel_weights(batch, targets)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """Eq. 7 and 8 besides PLOP's distillation (eq. 13)."""
        terms = super().terms(batch, targets)
        student, teacher = batch.student, batch.teacher
        if self.options.sr:
            relation = fn.soft_relation(student.logits, teacher.logits, batch.labels).mean()
            terms["relation"] = self.options.lambda1 * relation
        if self.options.sc:
            terms["confidence"] = self.options.lambda2 * fn.sharp_confidence(student.logits).mean()
        return terms


def step_aware_weights(logits: Tensor, targets: Tensor, step: Step) -> Tensor:
    """Eq. 5. In a domain-incremental scenario all labelled pixels form one old group: an empty channel in
    front takes the place of the background, so that class 0 counts like the others."""
    if not step.domain:
        return fn.step_aware_weights(logits, targets, step.classes_per_step)
    shifted = torch.where(targets == IGNORE, targets, targets + 1)
    padded = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
    return fn.step_aware_weights(padded, shifted, (step.num_classes, 0))


def old_prototypes(batches: Batches, step: Step, like: Tensor) -> Tensor:
    """Eq. 11 over the step's data: mean feature of the background pixels that the old model predicts as each
    class [C_old, D], at the resolution of the features (labels are read at the centre of each cell)."""
    sums = torch.zeros_like(like, dtype=torch.float64)
    counts = torch.zeros(step.num_old, 1, dtype=torch.float64, device=like.device)
    for batch in batches():
        features, low = batch.teacher.features, batch.teacher.low_logits
        labels = nnf.interpolate(batch.labels[:, None].float(), features.shape[2:], mode="nearest-exact")[:, 0]
        classes = torch.where(labels < step.num_old, low.argmax(dim=1), IGNORE)
        count = torch.bincount(classes.flatten(), minlength=IGNORE + 1)[: step.num_old, None]
        sums += count * fn.class_prototypes(features.double(), classes, step.num_old)
        counts += count
    return (sums / counts.clamp(min=1)).float()
