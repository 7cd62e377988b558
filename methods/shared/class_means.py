"""Means of features by class, over the batch of all processes."""

from __future__ import annotations

import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.shared import collectives


def class_means(features: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The mean feature of each class in the batch of all processes [C, D], and how many pixels it has [C]."""
    means, counts = fn.class_prototypes(features, classes, num_classes), class_counts(classes, num_classes)
    if collectives.world_size() == 1:
        return means, counts
    whole = collectives.total(counts)
    return collectives.total(means * counts[:, None]) / whole.clamp(min=1)[:, None], whole


def class_counts(classes: Tensor, num_classes: int) -> Tensor:
    """How many pixels of this process's share each class has, float32 [C]; 255 is not a class."""
    index = classes.flatten().clamp(max=num_classes)
    # As integers: a float32 that counts by ones stops at 2²⁴, which a large batch has in pixels.
    counts = index.new_zeros(num_classes + 1).index_add(0, index, torch.ones_like(index))
    return counts[:-1].float()
