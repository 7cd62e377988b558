"""PLOP: Douillard et al., PLOP: Learning without Forgetting for Continual Semantic Segmentation, CVPR 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.equations.pseudo_labels import labelled_share
from issbench.methods.interface.numbers import Share, Weight
from issbench.methods.method import Batch, Batches, Step
from issbench.methods.shared.background import EntropyMedians, released_thresholds
from issbench.methods.shared.maps import distilled_maps, growth


@dataclass(frozen=True, kw_only=True)
class PLOPOptions:
    """`pod`, `pod_logits`: weights of the distillation of the feature maps and of the logits; `thresholds`: the
    medians of the paper or what the released code computes; `least_threshold`: their lower bound."""

    pod: Weight = 0.01
    pod_logits: Weight = 0.0005
    thresholds: Literal["paper", "released"] = "paper"
    least_threshold: Share = 0.001


class PLOP(EntropyMedians):
    """PLOP: pseudo-labels where the old model is confident, and multi-scale local distillation of features."""

    name = "plop"
    title = "PLOP"
    table_order = 110
    colour, marker, dashes = "#0072B2", "o", "-"
    cite = "douillard2021plop"
    Options = PLOPOptions
    published = {
        "ade": {"pod": 0.001, "pod_logits": 0.00001},
        "cityscapes": {"pod": 0.0001, "pod_logits": 0.001},
        "cityscapes_11-5": {"pod_logits": 0.0001},
        "cityscapes_11-1": {"pod_logits": 0.0001},
    }
    uses_stages = True
    new_classifier = "background"
    thresholds: Tensor

    def __init__(self, options: PLOPOptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("thresholds", torch.zeros(step.num_old))

    @property
    def needs_medians(self) -> bool:
        return self.options.thresholds == "paper"

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        least = self.options.least_threshold
        if self.step.all_labelled:
            return
        if self.options.thresholds == "paper":
            self.thresholds = self.medians.clamp(min=least)
        else:
            self.thresholds = released_thresholds(batches, self.step, least, self.thresholds.device)

    def targets(self, batch: Batch) -> Tensor:
        if self.step.all_labelled:  # all labels are given: nothing hides in the background
            return super().targets(batch)
        teacher, old = batch.teacher.log_probabilities, self.step.num_old
        return fn.entropy_pseudo_labels(batch.labels, teacher, self.thresholds, old, normalised=True)

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """The adaptive factor of each image."""
        if self.step.all_labelled:
            return super().pixel_weights(batch, targets)
        return labelled_share(batch.labels, targets, self.step.num_old)[:, None, None]

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """The distillation: weighted, mean over the six maps."""
        weights = [self.options.pod] * 5 + [self.options.pod_logits]
        pairs = zip(weights, distilled_maps(batch), strict=True)
        distances = [weight * fn.local_pod(new, old).mean() for weight, (new, old) in pairs]
        return {**super().terms(batch, targets), "pod": growth(self.step) * torch.stack(distances).mean()}
