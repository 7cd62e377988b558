"""What methods share whose heads ask of each class whether it is there."""

from __future__ import annotations

import torch
from torch import Tensor

from issbench.methods.method import Batch
from issbench.methods.shared.collectives import total


def sure_classes(batch: Batch, threshold: float, before: int = 0) -> Tensor:
    """The labels, and where they name no class, the old class that the old model finds most likely, if its
    probability reaches a threshold: int64 [B, H, W]. The head has `before` channels ahead of the background's."""
    probability, channel = batch.teacher.logits.sigmoid().max(dim=1)
    sure = (batch.labels == 0) & (channel > before) & (probability >= threshold)
    return torch.where(sure, channel - before, batch.labels)


def mean_over(where: Tensor) -> Tensor:
    """The factor that makes of the mean over a batch, in which all else counts 0, the mean over the part of it
    `where` something holds (or as far as it does, in [0, 1]); of all processes together."""
    part, whole = total(torch.stack([where.float().sum(), torch.ones_like(where).float().sum()]))
    return whole / part.clamp(min=1e-6)
