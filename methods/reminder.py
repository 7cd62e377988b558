"""REMINDER: Phan et al., Class Similarity Weighted Knowledge Distillation for Continual Semantic Segmentation, CVPR
2022."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods.interface.numbers import Positive, Weight
from issbench.methods.method import IGNORE, Batch, Batches, Step
from issbench.methods.plop import PLOP, PLOPOptions
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.carried import take_over
from issbench.methods.shared.class_means import class_means
from issbench.methods.shared.collectives import mean_where


@dataclass(frozen=True, kw_only=True)
class ReminderOptions(PLOPOptions):
    """`similarity`: weight of the distillation; `softness`: its temperature; `least_similarity`: an old class whose
    similarity is below this, in units of its mean over the old classes, is not distilled."""

    similarity: Weight = 0.5
    softness: Positive = 3.0
    least_similarity: Weight = 0.0


class Reminder(PLOP):
    """REMINDER: PLOP, with a distillation at new classes of those old classes that are similar to them."""

    name = "reminder"
    title = "REMINDER"
    table_order = 115
    colour, marker, dashes = "#17BECF", "|", "-"
    cite = "phan2022class"
    Options = ReminderOptions
    published = {
        "ade": {"pod": 0.001, "pod_logits": 0.00001, "least_similarity": 1.0},
        "cityscapes": {"pod": 0.0001, "pod_logits": 0.001},
        "cityscapes_11-5": {"pod_logits": 0.0001},
        "cityscapes_11-1": {"pod_logits": 0.0001},
    }
    prototypes: Tensor

    def __init__(self, options: ReminderOptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("prototypes", torch.zeros(step.num_classes, step.feature_channels))

    def after_first_step(self, network: nn.Module, batches: Batches) -> None:
        super().after_first_step(network, batches)
        self._remember(batches)

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        take_over(self, previous, "prototypes")

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms = super().terms(batch, targets)
        if self.step.num_new:
            terms["similarity"] = self.options.similarity * self._distillation(batch)
        return terms

    def end(self, network: nn.Module, batches: Batches) -> None:
        super().end(network, batches)
        self._remember(batches)

    @torch.no_grad()
    def _remember(self, batches: Batches) -> None:
        """The mean feature of each class that the step labels, from one pass over its data."""
        sums, counts = torch.zeros_like(self.prototypes), torch.zeros_like(self.prototypes[:, :1])
        for batch in batches():
            features = batch.student.features.float()
            means, count = class_means(features, nearest_labels(batch.labels, features), self.step.num_classes)
            sums += means * count[:, None]
            counts += count[:, None]
        first = self.step.num_old
        self.prototypes[first:] = (sums / counts.clamp(min=1))[first:]

    def _distillation(self, batch: Batch) -> Tensor:
        """Mean over the pixels of new classes, at the resolution of the logits."""
        old, softness = self.step.num_old, self.options.softness
        labels = nearest_labels(batch.labels, batch.student.low_logits)
        new = (labels >= old) & (labels != IGNORE)
        weights = self._similarities(batch, labels)[labels.clamp(max=self.step.num_classes - 1)].movedim(-1, 1)
        known = (batch.teacher.low_logits.float() / softness).softmax(dim=1)
        student = (batch.student.low_logits[:, :old].float() / softness).log_softmax(dim=1)
        return -(softness**2) * mean_where((weights * known * student).sum(dim=1), new)

    @torch.no_grad()
    def _similarities(self, batch: Batch, labels: Tensor) -> Tensor:
        """Softmax over the old classes of the cosine of each class's mean feature in the batch with theirs [C,
        C_old]."""
        old = self.step.num_old
        means, _ = class_means(batch.student.features.float(), labels, self.step.num_classes)
        similar = nnf.cosine_similarity(means[:, None], self.prototypes[None, :old], dim=2).softmax(dim=1)
        return similar.masked_fill(similar < self.options.least_similarity / old, 0)
