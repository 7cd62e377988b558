"""UCB: Liang et al., Enhancing Continual Semantic Segmentation via Uncertainty and Class Balance Re-weighting, TIP
2025. To be put on top of any method."""

from __future__ import annotations

from dataclasses import dataclass
from math import e, sqrt

import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Positive
from issbench.methods.method import IGNORE, Batch, Part, Step
from issbench.methods.shared.class_means import class_counts
from issbench.methods.shared.collectives import maximum, total


@dataclass(frozen=True, kw_only=True)
class UCBOptions:
    """`uncertain`: the entropy from which on a pixel of an old class counts nothing, on a scale from the least of
    the batch (0) to the largest (1)."""

    uncertain: Positive = 0.8


class UCB(Part):
    """Pixels weighted by how certain the old model is there, and by how rare their class is."""

    name = "ucb"
    title = "UCB"
    cite = "liang2025enhancing"
    Options = UCBOptions
    needs_teacher = True
    class_shares: Tensor
    batches_seen: Tensor

    def __init__(self, options: UCBOptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("class_shares", torch.zeros(step.num_classes))
        self.register_buffer("batches_seen", torch.zeros(()))

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """On top of any weights below. Where every class is labelled, and no label is in doubt, those alone."""
        below = super().pixel_weights(batch, targets)
        if self.step.all_labelled:
            return below
        weights = self._weights(batch, targets)
        return weights if below is None else below * weights

    @torch.no_grad()
    def _weights(self, batch: Batch, targets: Tensor) -> Tensor:
        """Their mean over the batch is 1. Ignored pixels count as background."""
        labels = targets.masked_fill(targets == IGNORE, 0)
        counts = total(class_counts(labels, self.step.num_classes))
        self.batches_seen = self.batches_seen + 1
        self.class_shares = self.class_shares.lerp(counts / counts.sum(), 1 / self.batches_seen)
        weights = self._certainty(batch, labels) * self._balance()[labels]
        return weights * counts.sum() / total(weights.sum())

    def _certainty(self, batch: Batch, labels: Tensor) -> Tensor:
        """e^(1 − entropy / limit) below the limit, 0 from it on; new classes are certain."""
        entropy, limit = (
            fn.prediction_entropy(batch.teacher.log_probabilities, normalised=True),
            self.options.uncertain,
        )
        low, high = -maximum(-entropy.amin()), maximum(entropy.amax())
        entropy = (entropy - low) / (high - low).clamp(min=1e-12)
        certainty = (1 - entropy / limit).exp().masked_fill(entropy >= limit, 0)
        return certainty.masked_fill(labels >= self.step.num_old, e)

    def _balance(self) -> Tensor:
        """For each class the mean share of the classes seen so far over its own, between the root of the ratio of
        new and old channels and its inverse [C]. The background is left out, and has 1."""
        named = self.class_shares[1:]
        rarity = named.sum() / ((named > 0).sum().clamp(min=1) * self.class_shares)
        bounds = sqrt(self.step.num_new / self.step.num_old), sqrt(self.step.num_old / self.step.num_new)
        rarity[:1] = 1
        return rarity.clamp(min(bounds), max(bounds))
