"""SSUL: Cha et al., SSUL: Semantic Segmentation with Unknown Label for Exemplar-based Class-Incremental Learning,
NeurIPS 2021, without saliency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Positive, Share
from issbench.methods.method import IGNORE, Batch, Head, Method, Step
from issbench.methods.shared.frozen import freeze, need_new_classes, rates
from issbench.methods.shared.heads import classifier, convolved
from issbench.methods.shared.sigmoids import mean_over, sure_classes


class SSULHead(Head):
    """Channels for the unknown, the background, and the classes of each step: of each group a 3×3 convolution with
    norm and ReLU, and a 1×1 convolution."""

    def __init__(self, features: int, classes_per_step: Sequence[int]):
        super().__init__()
        first, *later = classes_per_step
        self.groups = nn.ModuleList(
            convolved(features).append(classifier(features, count)) for count in (1, 1, first - 1, *later)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([group(features) for group in self.groups], dim=1)

    @staticmethod
    def scores(logits: Tensor) -> Tensor:
        """What is unknown is background to the test."""
        probabilities = logits.sigmoid()
        return torch.cat([probabilities[:, :2].sum(dim=1, keepdim=True), probabilities[:, 2:]], dim=1)


@dataclass(frozen=True, kw_only=True)
class SSULOptions:
    """`threshold`: least probability of a pseudo-label. Factors on the learning rate: `backbone_rate` of the
    backbone in the first step; in later ones `rate` of the heads of the new classes and the unknown, and
    `background_rate` on top of it of the background's."""

    threshold: Share = 0.7
    backbone_rate: Positive = 0.1
    rate: Positive = 10.0
    background_rate: Positive = 1e-4


class SSUL(Method):
    """SSUL: a sigmoid for each class and for the unknown, on a network that is frozen after the first step."""

    name = "ssul"
    title = "SSUL"
    table_order = 150
    colour, marker, dashes = "#CC79A7", "H", "--"
    cite = "cha2021ssul"
    Options = SSULOptions
    published = {"ade": {"rate": 12.5}, "shapes": {"backbone_rate": 1.0}}
    Head = SSULHead
    own_first_step = True
    first_step_options = ("backbone_rate",)
    not_composable_because = "its head has channels of its own, the unknown and a background, which no part knows"

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        need_new_classes(self.name, step)

    def prepare(self, network: nn.Module) -> None:
        """What is unknown turns out to be the new classes: their head starts as the unknown's. But for these two
        and the background's the network is frozen, norms included."""
        super().prepare(network)
        if self.step.index == 0:
            return
        freeze(network)
        unknown, background, new = _heads(network)
        with torch.no_grad():
            for own, given in zip(new.state_dict().values(), unknown.state_dict().values(), strict=True):
                own.copy_(given.expand_as(own))
        for head in (unknown, background, new):
            head[0].requires_grad_(True)
            head[3].requires_grad_(True)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        options = self.options
        if self.step.index == 0:
            return rates(network, options.backbone_rate)
        unknown, background, new = ([p for p in head.parameters() if p.requires_grad] for head in _heads(network))
        return [
            {"params": unknown + new, "scale": options.rate},
            {"params": background, "scale": options.rate * options.background_rate},
        ]

    def set_training_mode(self, network: nn.Module) -> None:
        network.train(self.step.index == 0)

    def targets(self, batch: Batch) -> Tensor:
        """The labels, and where they name no class, the old class of which the old model is sure."""
        if self.step.num_hidden == 1:
            return batch.labels
        return sure_classes(batch, self.options.threshold, before=1)

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        """What has no class is unknown, channel 0."""
        channels = torch.where((targets > 0) & (targets != IGNORE), targets + 1, targets)
        return fn.sigmoid_cross_entropy(batch.student.logits, channels)

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """The mean is one over the pixels that are not ignored."""
        return mean_over(targets != IGNORE)


def _heads(network: Any) -> tuple[Any, Any, Any]:
    """Those of the unknown, the background, and the new classes."""
    groups = network.classifier.groups
    return groups[0], groups[1], groups[-1]
