"""Replay: Kwak, Cha and Moon, Towards Realistic Incremental Scenario in Class Incremental Semantic Segmentation,
2024: a part, to be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Count, Share
from issbench.methods.method import Batch, Part
from issbench.methods.shared.replay import Replay


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """`memory`: images that are kept; `memory_labels`: with the labels of the step in which an image was drawn, or
    of all classes up to now; `replay`: how much of a batch they are."""

    memory: Count = 100
    memory_labels: Literal["own", "all"] = "own"
    replay: Share = 0.5


class Memory(Part, Replay):
    """Replay of images of earlier steps, whose background may hide the current classes."""

    name = "memory"
    title = "M"
    cite = "kwak2024towards"
    Options = MemoryOptions
    published = {"ade": {"memory": 300}}

    def targets(self, batch: Batch) -> Tensor:
        """What is labelled in a replayed image needs no pseudo-label."""
        labelled = _replayed(batch) & (batch.labels != 0)
        return torch.where(labelled, batch.labels, super().targets(batch))

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        log_p, old = batch.student.log_probabilities, self.step.num_old
        replayed = fn.unbiased_memory_cross_entropy(log_p, batch.labels, old, normalised=True)
        return torch.where(_replayed(batch), replayed, super().pixel_loss(batch, targets))

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Replayed images count as they are."""
        weights = super().pixel_weights(batch, targets)
        return None if weights is None else torch.where(_replayed(batch), 1.0, weights)


def _replayed(batch: Batch) -> Tensor:
    return batch.replayed[:, None, None]
