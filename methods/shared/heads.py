"""What heads of several methods are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods.method import Head


def convolved(features: int) -> nn.Sequential:
    """A 3×3 convolution that keeps the channels, with norm and ReLU."""
    convolution = nn.Conv2d(features, features, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight)
    return nn.Sequential(convolution, nn.BatchNorm2d(features), nn.ReLU())


def classifier(features: int, channels: int) -> nn.Conv2d:
    """A 1×1 convolution."""
    convolution = nn.Conv2d(features, channels, 1)
    nn.init.kaiming_normal_(convolution.weight)
    return convolution


class SigmoidClassifier(Head):
    """A sigmoid for each class, and none for the background: it has the logit 0, so that it wins where no class is
    more likely than not."""

    def __init__(self, features: int, classes_per_step: Sequence[int]):
        super().__init__()
        first, *later = classes_per_step
        self.groups = nn.ModuleList(classifier(features, count) for count in (first - 1, *later))

    def forward(self, features: Tensor) -> Tensor:
        logits = torch.cat([group(features) for group in self.groups], dim=1)
        return nnf.pad(logits, (0, 0, 0, 0, 1, 0))
