"""DKD: Baek et al., Decomposed Knowledge Distillation for Class-Incremental Semantic Segmentation, NeurIPS 2022."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Positive, Weight
from issbench.methods.method import Batch, Head, Step
from issbench.methods.shared.frozen import FrozenNorms
from issbench.methods.shared.heads import classifier


class DKDHead(Head):
    """A sigmoid for each class, none for the background; channel 0 is an auxiliary one, for what no class is, whose
    gradient does not reach the features."""

    def __init__(self, features: int, classes_per_step: Sequence[int]):
        super().__init__()
        first, *later = classes_per_step
        self.auxiliary = classifier(features, 1)
        self.groups = nn.ModuleList(classifier(features, count) for count in (first - 1, *later))

    def forward(self, features: Tensor) -> Tensor:
        logits = [group(features) for group in self.groups]
        return torch.cat([self.auxiliary(features.detach()), *logits], dim=1)

    @staticmethod
    def scores(logits: Tensor) -> Tensor:
        """Background where no class is more likely than not."""
        probabilities = logits[:, 1:].sigmoid()
        return torch.cat([torch.full_like(probabilities[:, :1], 0.5), probabilities], dim=1)


@dataclass(frozen=True, kw_only=True)
class DKDOptions:
    """Weights: `distillation` of the logits, `positive` and `negative` of their two parts, `auxiliary`; `yes` and
    `first_yes` of the pixels of a class, in later steps and the first. Factors on the learning rate: `rate`
    in later steps, and `backbone_rate` of the backbone."""

    distillation: Weight = 5.0
    positive: Weight = 5.0
    negative: Weight = 5.0
    auxiliary: Weight = 1.0
    yes: Positive = 1.0
    first_yes: Positive = 2.0
    backbone_rate: Positive = 0.1
    rate: Positive = 1.0


class DKD(FrozenNorms):
    """DKD: a sigmoid for each class, and distillation of the reasons for and against a class apart."""

    name = "dkd"
    title = "DKD"
    table_order = 160
    colour, marker, dashes = "#56B4E9", "1", "-"
    cite = "baek2022decomposed"
    Options = DKDOptions
    # `shapes` has a backbone that starts at random, a rate that frozen norms do not bear, and few iterations.
    published = {
        "ade": {"yes": 35.0, "first_yes": 35.0},
        "shapes": {"backbone_rate": 1.0, "rate": 0.1, "yes": 4.0},
    }
    Head = DKDHead
    own_first_step = True
    first_step_options = ("auxiliary", "first_yes", "backbone_rate")
    not_composable_because = "its head has no background, which parts need"

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        self._weights: list[tuple[Tensor, Tensor]] = []

    def prepare(self, network: nn.Module) -> None:
        """A new class starts as what no class was."""
        super().prepare(network)
        if self.step.index == 0:
            return
        head: Any = network.classifier
        *olds, new = head.groups
        with torch.no_grad():
            for own, given in zip(new.parameters(), head.auxiliary.parameters(), strict=True):
                own.copy_(given.expand_as(own))
        # Of the student, and of the teacher, which it is a copy of.
        self._weights = [(old.weight, old.weight.detach().clone()) for old in olds]

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        """Of the classes that are labelled; what is not labelled as one of them is none."""
        first = self.step.num_hidden
        weight = self.options.first_yes if self.step.index == 0 else self.options.yes
        return fn.sigmoid_membership(batch.student.logits[:, first:], targets, first, weight)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        student, options = batch.student, self.options
        nothing = nnf.softplus(student.logits[:, 0]).mean()
        terms = {**super().terms(batch, targets), "auxiliary": options.auxiliary * nothing}
        if self.step.index == 0:
            return terms
        distance = fn.sigmoid_distillation(student.logits[:, 1:], batch.teacher.logits[:, 1:])
        terms["distillation"] = options.distillation * distance
        terms["positive"] = options.positive * self._reasons(batch, 1)
        terms["negative"] = options.negative * self._reasons(batch, -1)
        return terms

    def _reasons(self, batch: Batch, sign: int) -> Tensor:
        """Distillation of what the weights of one sign make of the features."""
        new, old = (torch.cat([pair[which] for pair in self._weights]) for which in (0, 1))
        parts = [
            nnf.conv2d(features, (sign * weight).clamp(min=0) * sign)
            for features, weight in ((batch.student.features, new), (batch.teacher.features, old))
        ]
        return fn.sigmoid_distillation(parts[0], parts[1])
