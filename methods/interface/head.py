"""The head of a network: from the features to logits, and from the logits to a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Makes logits of features.

    A head is made as `Head(features, classes_per_step)`: the channels of the features, and the classes that each
    step up to now added, the background (class 0) counted in the first. What it has in common with the head of the
    step before has the same name there, since those weights are loaded into it.
    """

    def forward(self, features: Tensor) -> Tensor:
        """[B, D, h, w] → logits [B, K, h, w]."""
        raise NotImplementedError

    @staticmethod
    def scores(logits: Tensor) -> Tensor:
        """The prediction rule: logits [B, K, H, W] → a score for each class [B, C, H, W]; the highest wins."""
        return logits


class Classifier(nn.ModuleList, Head):
    """The head of the published methods: a 1×1 convolution per step, and a channel for each class."""

    def __init__(self, features: int, classes_per_step: Sequence[int]):
        super().__init__(nn.Conv2d(features, count, 1) for count in classes_per_step)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([group(features) for group in self], dim=1)
