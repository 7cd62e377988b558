"""BARM: Zhang and Gao, Background Adaptation with Residual Modeling for Exemplar-Free Class-Incremental Semantic
Segmentation, ECCV 2024."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Positive, Share, Weight
from issbench.methods.method import IGNORE, Batch, Head, Method, Step
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.collectives import mean_where
from issbench.methods.shared.frozen import freeze_norms, grouped, need_new_classes, rates
from issbench.methods.shared.heads import classifier, convolved
from issbench.methods.shared.sigmoids import mean_over, sure_classes


class BARMHead(Head):
    """For each step a 3×3 convolution with norm and ReLU, and on it a 1×1 convolution whose first channel is the
    background's; from the second step on it is what the step takes away from the background."""

    def __init__(self, features: int, classes_per_step: Sequence[int]):
        super().__init__()
        first, *later = classes_per_step
        self.ears = nn.ModuleList(convolved(features) for _ in classes_per_step)
        self.groups = nn.ModuleList(classifier(features, count) for count in (first, *(1 + c for c in later)))

    def forward(self, features: Tensor) -> Tensor:
        """A step may only take away; while it trains, it alone learns what."""
        _, logits = self.parts(features)
        (first, *olds), last = logits[:-1] or logits, logits[-1][:, :1]
        background = first[:, :1]
        for old in olds:
            background = background + old[:, :1].clamp(max=0)
        if len(logits) > 1:
            background = background.detach() + last if self.training else background + last.clamp(max=0)
        return torch.cat([background, *(each[:, 1:] for each in logits)], dim=1)

    def parts(self, features: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the 3×3 and the 1×1 convolutions of each step give, [B, D, h, w] and [B, 1 + classes, h, w]."""
        heard = [ear(features) for ear in self.ears]
        return heard, [group(each) for group, each in zip(self.groups, heard, strict=True)]


@dataclass(frozen=True, kw_only=True)
class BARMOptions:
    """`threshold`: least probability of a pseudo-label. Weights of the terms: the residual is `kept` at 0 in the
    background and `taken` away where a class is, `features` and `distillation` hold the old groups. Factors on the
    learning rate: `backbone_rate` of the backbone in the first step; in later ones `rate` of what the step adds,
    `aspp_rate` of the ASPP, `old_rate` of all else."""

    threshold: Share = 0.7
    kept: Weight = 5.0
    taken: Weight = 1.0
    features: Weight = 4.0
    distillation: Weight = 1.0
    backbone_rate: Positive = 0.1
    rate: Positive = 1.0
    aspp_rate: Positive = 1.0
    old_rate: Positive = 0.1


class BARM(Method):
    """BARM: each step learns what its classes take away from the background, on its own channel."""

    name = "barm"
    title = "BARM"
    table_order = 180
    colour, marker, dashes = "#E69F00", "_", ":"
    cite = "zhang2024background"
    Options = BARMOptions
    published = {"ade": {"rate": 2.5, "aspp_rate": 0.25, "old_rate": 0.025}, "shapes": {"backbone_rate": 1.0}}
    Head = BARMHead
    own_first_step = True
    first_step_options = ("backbone_rate",)
    not_composable_because = "its head learns only what a step adds, by sigmoids, which no part knows"

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        need_new_classes(self.name, step)
        self._heads: list[Any] = []

    def prepare(self, network: nn.Module) -> None:
        """The step's 3×3 convolution starts as the first one; norms are frozen."""
        super().prepare(network)
        if self.step.index == 0:
            return
        freeze_norms(network)
        head: Any = network.classifier
        head.ears[-1].load_state_dict(head.ears[0].state_dict())
        old = copy.deepcopy(head).requires_grad_(False).eval()
        old.ears, old.groups = old.ears[:-1], old.groups[:-1]
        self._heads = [head, old]  # the student's, and the teacher's, which it is a copy of

    def parameter_groups(self, network: Any) -> list[dict[str, Any]]:
        options = self.options
        if self.step.index == 0:
            return rates(network, options.backbone_rate)
        head = network.classifier
        new, olds = [head.ears[-1], head.groups[-1]], [network.backbone, head.ears[:-1], head.groups[:-1]]
        return grouped((new, options.rate), ([network.aspp], options.aspp_rate), (olds, options.old_rate))

    def set_training_mode(self, network: Any) -> None:
        network.train(self.step.index == 0)
        network.classifier.training = True  # but not its norms

    def targets(self, batch: Batch) -> Tensor:
        if self.step.num_hidden == 1:
            return batch.labels
        return sure_classes(batch, self.options.threshold)

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        """Old classes are held by distillation, and learned where they are labelled alone."""
        logits, step = batch.student.logits, self.step
        if step.num_hidden > 1:
            old = logits[:, 1 : step.num_old].detach()
            logits = torch.cat([logits[:, :1], old, logits[:, step.num_old :]], dim=1)
        return fn.sigmoid_cross_entropy(logits, targets)

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """The mean is one over the pixels that are not ignored."""
        return mean_over(targets != IGNORE)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms, options = super().terms(batch, targets), self.options
        if self.step.index == 0:
            return terms
        heard, logits = self._heads[0].parts(batch.student.features)
        heard_old, logits_old = self._heads[1].parts(batch.teacher.features)
        labels, residual = nearest_labels(batch.labels, logits[-1]), logits[-1][:, 0].float()
        nothing, shown = labels == 0, (labels != 0) & (labels != IGNORE)
        moved = [(a.float() - b.float()).square().mean(dim=1) for a, b in zip(heard[:-1], heard_old, strict=True)]
        distances = [fn.sigmoid_distillation(a, b) for a, b in zip(logits[:-1], logits_old, strict=True)]
        terms["kept"] = options.kept * mean_where(nnf.relu(1 - 2 * residual.sigmoid()), nothing)
        terms["taken"] = options.taken * mean_where(nnf.softplus(residual), shown)
        terms["features"] = options.features * (torch.stack(moved).sum(dim=0) * nothing).mean()
        terms["distillation"] = options.distillation * torch.stack(distances).sum()
        return terms
