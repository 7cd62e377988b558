"""NeST: Xie et al., Early Preparation Pays Off: New Classifier Pre-tuning for Class Incremental Semantic
Segmentation, ECCV 2024. To be put on top of any method; published on MiB and PLOP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Count, Positive
from issbench.methods.method import IGNORE, Batch, Batches, Part, upsample
from issbench.methods.shared import collectives
from issbench.methods.shared.background import nearest_labels


@dataclass(frozen=True, kw_only=True)
class NeSTOptions:
    """`pretuning`: passes over the step's data before training; `pretuning_rate`: their learning rate."""

    pretuning: Count = 5
    pretuning_rate: Positive = 0.001


class NeST(Part):
    """New classes start as learned combinations of the old classes' weights, tuned before the step on its data."""

    name = "nest"
    title = "NeST"
    cite = "xie2024early"
    Options = NeSTOptions
    published = {"ade": {"pretuning": 15}, "shapes": {"pretuning_rate": 0.02}}
    needs_teacher = True
    new_classifier = "default"

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        if not self.step.num_new:
            return
        groups = [cast(nn.Conv2d, group) for group in network.get_submodule("classifier").children()]
        known = torch.cat([group.weight.detach()[:, :, 0, 0] for group in groups[:-1]])
        biases = torch.cat([cast(Tensor, group.bias).detach() for group in groups[:-1]])
        agreement, count = self._agreement(batches, known)
        start = Transformation(known, biases, agreement)
        with torch.enable_grad():
            self._tune(start, batches, count)
        background, new, new_biases = start.aligned()
        groups[0].weight[0, :, 0, 0] = background
        groups[-1].weight.copy_(new[:, :, None, None])
        cast(Tensor, groups[-1].bias).copy_(new_biases)

    def _agreement(self, batches: Batches, known: Tensor) -> tuple[Tensor, int]:
        """For each new class, old class and channel [C_new, C_old, D]: the mean over the new class's pixels of the
        old class's probability, where the channel speaks for the old class. And the number of batches."""
        old, classes, count = self.step.num_old, self.step.num_classes, 0
        sums, pixels = known.new_zeros(self.step.num_new, *known.shape), known.new_zeros(self.step.num_new)
        for batch in batches():
            features, sure = batch.teacher.features.float(), batch.teacher.low_logits.float().softmax(dim=1)
            labels = nearest_labels(batch.labels, features)
            for new, c in enumerate(range(old, classes)):
                shown = (labels == c).float()
                # f·w > 0 where both have the same sign.
                signs = [
                    torch.einsum("bdhw,bchw,bhw->cd", (s * features > 0).float(), sure, shown) for s in (1, -1)
                ]
                sums[new] += torch.where(known > 0, signs[0], torch.where(known < 0, signs[1], 0))
                pixels[new] += shown.sum()
            count += 1
        return collectives.total(sums) / collectives.total(pixels).clamp(min=1)[:, None, None], count

    def _tune(self, start: Transformation, batches: Batches, count: int) -> None:
        """By SGD with the field's settings, on the unbiased cross-entropy; the network itself does not change."""
        rate = self.options.pretuning_rate
        optimizer = torch.optim.SGD(start.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4, nesterov=True)
        iterations = self.options.pretuning * count
        for epoch in range(self.options.pretuning):
            for number, batch in enumerate(batches()):
                optimizer.param_groups[0]["lr"] = rate * (1 - (epoch * count + number) / iterations) ** 0.9
                gradients = torch.autograd.grad(self._loss(start, batch), list(start.parameters()))
                for parameter, gradient in zip(start.parameters(), collectives.mean(list(gradients)), strict=True):
                    parameter.grad = gradient
                optimizer.step()

    def _loss(self, start: Transformation, batch: Batch) -> Tensor:
        logits = upsample(start(batch.teacher.features.float()), batch.teacher.size)
        pixels = fn.unbiased_cross_entropy(logits, batch.labels, self.step.num_hidden, IGNORE)
        return batch.share * pixels.sum() / max(1, pixels.numel())


class Transformation(nn.Module):
    """Weights of the background and of new classes [C_new, D], made of those of the old classes [C_old, D]."""

    def __init__(self, known: Tensor, biases: Tensor, agreement: Tensor):
        super().__init__()
        self.known, self.known_biases = known, biases
        self.channels = nn.Parameter(agreement.clone())
        self.classes = nn.Parameter(agreement.sum(dim=2).softmax(dim=1))
        self.biases = nn.Parameter(biases[:1].repeat(len(agreement)))
        self.background = nn.Parameter(torch.ones_like(known[0]))

    def weights(self) -> tuple[Tensor, Tensor]:
        """Of the background [D] and of the new classes."""
        new = torch.einsum("nc,ncd,cd->nd", self.classes, self.channels, self.known)
        return self.background * self.known[0], new

    def forward(self, features: Tensor) -> Tensor:
        """[B, D, h, w] → logits [B, C, h, w]."""
        background, new = self.weights()
        weights = torch.cat([background[None], self.known[1:], new])
        biases = torch.cat([self.known_biases, self.biases])
        return torch.einsum("bdhw,cd->bchw", features, weights) + biases[:, None, None]

    @torch.no_grad()
    def aligned(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and biases as they start the step: the background's as long as it was, the new classes' of the
        old ones' mean length, the biases with the norm of the old ones."""
        background, new = self.weights()
        background = background * self.known[0].norm() / background.norm().clamp(min=1e-12)
        lengths = self.known.norm(dim=1).mean() / new.norm(dim=1).mean().clamp(min=1e-12)
        biases = self.biases * self.known_biases.norm() / self.biases.norm().clamp(min=1e-12)
        return background, lengths * new, biases
