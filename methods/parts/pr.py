"""Prototypical pseudo re-labelling: a part of GSC (methods/gsc.py), to be put on top of any method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Positive
from issbench.methods.method import Batch, Batches, Part, Step, upsample
from issbench.methods.shared.background import EntropyMedians, old_prototypes


@dataclass(frozen=True, kw_only=True)
class PROptions:
    """`pr`: the switch; `temperature`: T of eq. 10."""

    pr: bool = True
    temperature: Positive = 1.0


class PR(Part, EntropyMedians):
    """Prototypical pseudo re-labelling (eq. 10-12): labels for old classes in the background."""

    name = "pr"
    title = "PR"
    cite = "cong2024gradient"
    Options = PROptions
    needs_teacher = True
    old_prototypes: Tensor

    def __init__(self, options: PROptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("old_prototypes", torch.zeros(step.num_old, step.feature_channels))

    @property
    def _relabels(self) -> bool:
        return self.options.pr and not self.step.all_labelled  # then nothing hides in the background

    @property
    def num_hidden(self) -> int:
        return 1 if self._relabels else super().num_hidden

    @property
    def needs_medians(self) -> bool:
        return self.options.pr or super().needs_medians

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        if self._relabels:
            self.old_prototypes = old_prototypes(batches, self.step, self.old_prototypes)

    def targets(self, batch: Batch) -> Tensor:
        """Eq. 12. The weights of eq. 10 are computed where the features are, and interpolated to the pixels."""
        if not self._relabels:
            return super().targets(batch)
        features = batch.student.features.detach().float()
        weights = fn.prototype_weights(features, self.old_prototypes, self.options.temperature)
        weights = upsample(weights, batch.student.size)
        teacher, old = batch.teacher.log_probabilities, self.step.num_old
        return fn.prototypical_pseudo_labels(batch.labels, teacher, weights, self.medians, old, normalised=True)
